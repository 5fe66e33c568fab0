"""The fetch stage: find, bring or invent the files of a task, read them once completely, say what they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stilts.data.corpus import SET, list_sources, write_corpus
from stilts.data.examples import Line, Reading
from stilts.data.fetch_model import fetch_model
from stilts.data.fetched import combine_digests
from stilts.data.files import Found, find_files
from stilts.data.folders import new_folder
from stilts.data.readers import iterate_texts, read_set
from stilts.data.toy import write_toy
from stilts.errors import UserError
from stilts.runs import file_digest, write_json
from stilts.tasks.catalogue import MLM

if TYPE_CHECKING:
    from stilts.data.prepare import Beat

__all__ = ["fetch_data", "fetch_model"]

# A target training reads toy files that carry its target's name.
_TOY_TASKS = {"squad": "xquad"}


def fetch_data(
    config: Mapping[str, Any],
    data_root: Path | None,
    out: Path,
    commits: Path | None = None,
    heartbeat: Beat | None = None,
) -> dict[str, Any]:
    """Find (below `data_root`), bring (config `source: hub`) or write (suite toy) the files of one task and part.

    All files are read, so that damage shows now and not in a job. What was brought or written lies in `out`;
    `out/manifest.json` names every file with size and SHA-256, relative to `out` where it lies there, with counts of
    examples and of entries left out. `commits` is the folder that holds the campaign to one commit of each repository;
    the text of task `mlm`, which takes long, tells `heartbeat` how far it is.

    Returns the manifest: suite, task, part, sets, counts, unlabelled and absent sets, sources (hub), digest; of the
    text also its languages (see `write_corpus`).
    Raises UserError with all problems of all files; then `out` is as it was before.
    """
    sources: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    with new_folder(out) as folder:
        if config["task"] == MLM:
            path, languages = write_corpus(config, data_root, folder, commits, heartbeat)
            found, sources, more = Found({SET: [path]}), list_sources(languages), {"languages": languages}
        elif config["suite"] == "toy":
            found = _write_toy(config, folder)
        elif config.get("source") == "hub":
            assert commits is not None, "a hub set needs a folder for its commits"
            found, sources = _bring(config, commits, folder)
        else:
            found = _find(config, data_root)
        manifest = _describe(config, found, folder) | {"sources": sources, **more}
        write_json(folder / "manifest.json", manifest)
    return manifest


def _write_toy(config: Mapping[str, Any], folder: Path) -> Found:
    toy = config.get("toy", {})
    write_toy(_TOY_TASKS.get(config["task"], config["task"]), folder, toy.get("seed", 0), toy.get("sizes"))
    return find_files(config["task"], config["part"], config.get("languages", ()), folder)


def _find(config: Mapping[str, Any], data_root: Path | None) -> Found:
    if data_root is None:
        raise UserError(f"{config['task']}: no data root; name the folder of the original files as `data_root`")
    return find_files(config["task"], config["part"], config.get("languages", ()), data_root.resolve())


def _bring(config: Mapping[str, Any], commits: Path, folder: Path) -> tuple[Found, list[dict[str, Any]]]:
    from stilts.data.hub import bring_sets  # brings in the datasets library

    languages, revisions = config.get("languages", ()), config.get("revisions", {})
    brought = bring_sets(config["task"], config["part"], languages, folder, revisions, commits)
    return brought.found, brought.sources


def _describe(config: Mapping[str, Any], found: Found, folder: Path) -> dict[str, Any]:
    counts, problems = {}, []
    for name, paths in found.sets.items():
        try:
            if config["task"] == MLM:  # written just now, and larger than one wants to hold
                counts[name] = {"examples": sum(1 for path in paths for _ in iterate_texts(path)), "skipped": 0}
                continue
            reading = read_set(config["task"], name, paths, labelled=name not in found.unlabelled)
            counts[name] = {"examples": _count(reading), "skipped": reading.skipped}
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(dict.fromkeys(problems))  # one file may serve several sets
    sets = {name: [_describe_file(path, folder) for path in paths] for name, paths in found.sets.items()}
    digests: dict[str, Any] = {name: [file["sha256"] for file in files] for name, files in sets.items()}
    return {
        "suite": config["suite"],
        "task": config["task"],
        "part": config["part"],
        "sets": sets,
        "counts": counts,
        "unlabelled": found.unlabelled,
        "absent": found.absent,
        "digest": combine_digests(digests | ({"unlabelled": found.unlabelled} if found.unlabelled else {})),
    }


def _count(reading: Reading) -> int:
    """Examples; of a corpus to be mined, its gold pairs."""
    return sum(len(example.partners) if isinstance(example, Line) else 1 for example in reading.examples)


def _describe_file(path: Path, folder: Path) -> dict[str, Any]:
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return {"path": str(shown), "bytes": path.stat().st_size, "sha256": file_digest(path)}
