"""Repositories of the hub at held commits, with the wanted files of each in the hub's own cache.

With a commit's list of files and the files themselves in the cache, nothing here asks the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from stilts.data.commits import hold_commit
from stilts.data.hub_sets import CONVERTED, HubSet
from stilts.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import DatasetCardData

CARD = "README.md"

# The footers of a large file with thousands of row groups are smaller.
_FOOTER_BYTES = 2**18
# Names of configurations in a message; Wikipedia has more than 300.
_MOST_NAMES = 20


@dataclass(frozen=True)
class Snapshot:
    """A repository at a commit: its folder in the cache, the files of each wanted (configuration, split)."""

    folder: Path
    commit: str
    files: Mapping[tuple[str, str], list[str]]


def take_snapshots(wanted: Sequence[HubSet], commits: Path) -> dict[str, Snapshot]:
    """One snapshot a repository. UserError with the problems of all."""
    snapshots, problems = {}, []
    for repo in dict.fromkeys(hub_set.repo for hub_set in wanted):
        members = [hub_set for hub_set in wanted if hub_set.repo == repo]
        try:
            snapshots[repo] = list_snapshot(repo, members, commits)
            paths = {path for files in snapshots[repo].files.values() for path in files}
            download_files(members[0], snapshots[repo], sorted(paths))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return snapshots


def list_snapshot(repo: str, members: Sequence[HubSet], commits: Path) -> Snapshot:
    """Which files hold the members, sets of one repository; of them none is brought yet."""
    revision = members[0].revision
    with _explain(repo, revision):
        commit = hold_commit(commits, repo, revision, lambda: _resolve(repo, revision))
        folder = _download(repo, commit, [CARD])
        configs, listing = _read_card(folder / CARD), _list_files(repo, commit, folder)
    files, problems = {}, []
    for member in members:
        try:
            files[member.config, member.split] = _choose_files(member, configs, listing)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(dict.fromkeys(problems))
    return Snapshot(folder, commit, files)


def download_files(hub_set: HubSet, snapshot: Snapshot, paths: list[str]) -> None:
    """Bring these files of the set's repository into the snapshot's folder."""
    with _explain(hub_set.repo, hub_set.revision):
        _download(hub_set.repo, snapshot.commit, paths)


def count_rows(hub_set: HubSet, snapshot: Snapshot) -> int:
    """Rows of a set, of which no file need be there: what the repository's card says, else the files' own footers."""
    card = _load_card(snapshot.folder / CARD)
    infos = (card.get("dataset_info") if card else None) or []
    for info in [infos] if isinstance(infos, dict) else infos:
        if info.get("config_name", "default") == hub_set.config:
            for split in info.get("splits", ()):
                if split["name"] == hub_set.split and split.get("num_examples"):
                    return int(split["num_examples"])
    with _explain(hub_set.repo, hub_set.revision):
        paths = snapshot.files[hub_set.config, hub_set.split]
        return sum(_read_footer(hub_set.repo, snapshot, path).num_rows for path in paths)


def _read_footer(repo: str, snapshot: Snapshot, path: str) -> pq.FileMetaData:
    """The footer of a Parquet file, from the cache or as the last bytes of the file on the hub."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    if (snapshot.folder / path).is_file():
        return pq.read_metadata(snapshot.folder / path)
    url = hf_hub_url(repo, path, repo_type="dataset", revision=snapshot.commit)

    def take(size: int) -> bytes:
        answer = http_backoff("GET", url, headers=build_hf_headers() | {"Range": f"bytes=-{size}"})
        hf_raise_for_status(answer)
        return bytes(answer.content)

    tail = take(_FOOTER_BYTES)
    # The last eight bytes are the footer's length and a mark.
    if (needed := int.from_bytes(tail[-8:-4], "little") + 8) > len(tail):
        tail = take(needed)
    return pq.read_metadata(pa.BufferReader(tail))


def _resolve(repo: str, revision: str) -> str:
    """The hub's answer; without network that of the last time, from the cache."""
    from huggingface_hub import HfApi

    return str(HfApi().resolve_revision(repo, repo_type="dataset", revision=revision).resolved)


def _download(repo: str, commit: str, paths: list[str]) -> Path:
    """The snapshot's folder, with these files in it; no network if they and the commit's file list are cached."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repo, repo_type="dataset", revision=commit, allow_patterns=paths))


def _list_files(repo: str, commit: str, folder: Path) -> list[str]:
    """All files of the commit; what of them is in the cache, where an older library kept no list."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return [file.path for file in get_cached_repo_tree(repo, repo_type="dataset", revision=commit)]
    except CachedRepoTreeNotFoundError:
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _read_card(path: Path) -> dict[str, dict[str, list[str]]]:
    """Patterns of files by configuration and split, as the repository's card declares them; empty if it does not."""
    from datasets.data_files import sanitize_patterns
    from datasets.utils.metadata import MetadataConfigs

    card = _load_card(path)
    if card is None:
        return {}
    configs = MetadataConfigs.from_dataset_card_data(card)
    return {
        config: {str(split): patterns for split, patterns in sanitize_patterns(facts["data_files"]).items()}
        for config, facts in configs.items()
        if facts.get("data_files")
    }


def _load_card(path: Path) -> DatasetCardData | None:
    """What the repository's card declares; None where there is no card."""
    from huggingface_hub import DatasetCard

    return DatasetCard.load(path, ignore_metadata_errors=True).data if path.is_file() else None


def _choose_files(member: HubSet, configs: Mapping[str, Mapping[str, list[str]]], listing: list[str]) -> list[str]:
    """The files of a configuration's split; UserError with what there is instead."""
    from huggingface_hub.utils import filter_repo_objects

    place = f"dataset {member.repo} at {member.revision}"
    # Without a declaration the layout is that of the hub's own conversions to Parquet.
    config = configs.get(member.config)
    patterns = [f"{member.config}/{member.split}/*.parquet"] if config is None else config.get(member.split, [])
    files = sorted(filter_repo_objects(listing, allow_patterns=patterns)) if patterns else []
    if others := [path for path in files if not path.endswith(".parquet")]:
        raise UserError(f"{place}: {others[0]} is no Parquet file; {_advise(member)}")
    if files:
        return files
    splits = config if config is not None else _list_names(listing, member.config)
    if splits:
        raise UserError(
            f"{place}: configuration {member.config} has no files of a split {member.split}; its splits are "
            f"{', '.join(splits)}; {_advise(member)}"
        )
    known = sorted({*configs, *_list_names(listing)})
    names = ", ".join(known[:_MOST_NAMES]) or "none"
    if len(known) > _MOST_NAMES:
        names += f" and {len(known) - _MOST_NAMES} more"
    raise UserError(f"{place}: no configuration {member.config}; there are {names}; {_advise(member)}")


def _list_names(listing: list[str], config: str | None = None) -> list[str]:
    """Configurations of the converted layout, or the splits of one."""
    parts = [path.split("/") for path in listing if path.endswith(".parquet") and path.count("/") == 2]
    return sorted({part[0] for part in parts} if config is None else {part[1] for part in parts if part[0] == config})


def _advise(member: HubSet) -> str:
    """What to do about a repository that is not as it was when this project was written."""
    other = f"name {CONVERTED} or a commit" if member.revision != CONVERTED else "name main or a commit"
    return f"{other} for it under `revisions`, or give the original files as `data_root`"


@contextmanager
def _explain(repo: str, revision: str) -> Iterator[None]:
    """Errors of the hub's library as a UserError."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        advice = "accept its terms on the hub and log in (`hf auth login`)"
        raise UserError(f"dataset {repo}: only for users who are allowed to see it; {advice}") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"dataset {repo}: no revision {revision}; give a branch, tag or commit of it") from None
    except errors.RepositoryNotFoundError:
        advice = "log in if it is private (`hf auth login`), or give the original files as `data_root`"
        raise UserError(f"dataset {repo}: not on the hub; {advice}") from None
    except _unreachable() as error:
        raise UserError(
            f"dataset {repo} at {revision}: the hub did not give it and the cache does not have all of it "
            f"({first_line(error)}); fetch where there is a network, or give the original files as `data_root`"
        ) from None


def _unreachable() -> tuple[type[Exception], ...]:
    """Errors for want of a network or of an answer; all those of the HTTP library that the hub's library uses."""
    from huggingface_hub import errors

    http = [base for base in errors.HfHubHTTPError.__bases__ if issubclass(base, Exception) and base is not OSError]
    return (*http, errors.OfflineModeIsEnabled, errors.RevisionResolutionError, errors.LocalEntryNotFoundError)


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
