"""Sets from the Hugging Face hub, at the commits that a campaign holds, as one Parquet file a set.

Files come into the hub's own cache and are loaded from there with the datasets library. A repository's name is never
given to it: offline it would take whatever version of the set it saw last, of any commit (datasets 5.2, load.py).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stilts.data.files import Found
from stilts.data.hub_sets import HubSet, hub_sets
from stilts.data.hub_snapshots import Snapshot, first_line, take_snapshots
from stilts.data.hub_tables import has_labels
from stilts.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Brought:
    """Files by set name, and where each came from: repo, config, split, revision asked for, commit, rows."""

    found: Found
    sources: list[dict[str, Any]]


def bring_sets(
    task: str, part: str, languages: Sequence[str], folder: Path, revisions: Mapping[str, str], commits: Path
) -> Brought:
    """Write `<folder>/<set>.parquet` for every set of a (task, part); `languages` count for part `scored` alone.

    Rows are the hub's. Where a set is made of several, a column `part` names them, and columns that one lacks are
    null. `revisions`: branch, tag or commit by repository, instead of the usual one; `commits` is the campaign's
    folder of held commits (see commits.py).
    Raises UserError with all that is missing (network, repository, revision, configuration, split); then no file of
    `folder` has changed.
    """
    wanted = [
        replace(hub_set, revision=revisions.get(hub_set.repo, hub_set.revision))
        for hub_set in hub_sets(task, part, languages or None)
    ]
    with bars_for_terminals():
        snapshots = take_snapshots(wanted, commits)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".hub-", dir=folder) as scratch:
            sources = _write_sets(wanted, snapshots, Path(scratch))
            names = list(dict.fromkeys(hub_set.name for hub_set in wanted))
            files = {name: f"{name}.parquet" for name in names}
            unlabelled = [name for name in names if not has_labels(task, Path(scratch) / files[name])]
            for file in files.values():
                os.replace(Path(scratch) / file, folder / file)
    return Brought(Found({name: [folder / files[name]] for name in names}, unlabelled), sources)


def _write_sets(wanted: Sequence[HubSet], snapshots: Mapping[str, Snapshot], scratch: Path) -> list[dict[str, Any]]:
    """One file a set into `scratch`; what it was made of."""
    from datasets import concatenate_datasets

    sources = []
    for name in dict.fromkeys(hub_set.name for hub_set in wanted):
        pieces = []
        for member in (hub_set for hub_set in wanted if hub_set.name == name):
            snapshot = snapshots[member.repo]
            pieces.append(_load(member, snapshot, scratch))
            sources.append(_describe(member, snapshot, len(pieces[-1])))
        try:
            whole = concatenate_datasets(pieces) if len(pieces) > 1 else pieces[0]
        except ValueError as error:
            raise UserError(f"{name}: its parts on the hub do not fit together ({error})") from None
        whole.to_parquet(str(scratch / f"{name}.parquet"))
    return sources


def _load(member: HubSet, snapshot: Snapshot, scratch: Path) -> Dataset:
    from datasets import load_dataset

    paths = [str(snapshot.folder / path) for path in snapshot.files[member.config, member.split]]
    try:
        loaded = load_dataset(
            "parquet", data_files={member.split: paths}, split=member.split, cache_dir=str(scratch / "cache")
        )
    except Exception as error:
        for fault in (error, error.__cause__):
            if isinstance(fault, OSError) and fault.errno is not None:  # the disk's, not the file's
                raise fault from None
        raise UserError(
            f"dataset {member.repo}, commit {snapshot.commit}, {member.config}, {member.split}: cannot be loaded "
            f"({first_line(error.__cause__ or error)}); remove {snapshot.folder.parents[1]} and fetch again"
        ) from None
    if member.id_prefix:
        loaded = loaded.filter(lambda name: name.startswith(member.id_prefix), input_columns="id", keep_in_memory=True)
    return loaded.add_column("part", [member.part] * len(loaded)) if member.part else loaded


def _describe(member: HubSet, snapshot: Snapshot, rows: int) -> dict[str, Any]:
    return {
        "set": member.name,
        "repo": member.repo,
        "config": member.config,
        "split": member.split,
        "revision": member.revision,
        "commit": snapshot.commit,
        "rows": rows,
    }


@contextmanager
def bars_for_terminals() -> Iterator[None]:
    """Progress bars on a terminal alone: in a log they are thousands of lines."""
    import datasets
    from huggingface_hub import utils

    if sys.stderr.isatty():
        yield
        return
    before = datasets.are_progress_bars_disabled(), utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if not before[0]:
            datasets.enable_progress_bars()
        if not before[1]:
            utils.enable_progress_bars()
