"""The fetch stage: find or invent the original files, read them once completely, say what they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stilts.data.fetch_model import fetch_model
from stilts.data.fetched import combine_digests
from stilts.data.files import Found, find_files
from stilts.data.folders import new_folder
from stilts.data.readers import read_set
from stilts.data.toy import write_toy
from stilts.errors import UserError
from stilts.runs import file_digest, write_json

__all__ = ["fetch_data", "fetch_model"]

# A target training reads toy files that carry its target's name.
_TOY_TASKS = {"squad": "xquad"}


def fetch_data(config: Mapping[str, Any], data_root: Path | None, out: Path) -> dict[str, Any]:
    """Find (suite xtreme, below `data_root`) or write (suite toy, below `out`) the files of one task and part.

    All files are read, so that damage shows now and not in a job. `out/manifest.json` names them with sizes and
    SHA-256, relative to `out` where they lie in it, with counts of examples and of entries left out.

    Returns the manifest: suite, task, part, sets, counts, unlabelled and absent sets, digest.
    Raises UserError with all problems of all files; then `out` is as it was before.
    """
    if config["suite"] == "xtreme" and data_root is None:
        raise UserError(f"{config['task']}: no data root; name the folder of the original files as `data_root`")
    with new_folder(out) as folder:
        if config["suite"] == "toy":
            task = _TOY_TASKS.get(config["task"], config["task"])
            toy = config.get("toy", {})
            write_toy(task, folder, toy.get("seed", 0), toy.get("sizes"))
        root = folder if config["suite"] == "toy" or data_root is None else data_root.resolve()
        found = find_files(config["task"], config["part"], config.get("languages", ()), root)
        manifest = _describe(config, found, folder)
        write_json(folder / "manifest.json", manifest)
    return manifest


def _describe(config: Mapping[str, Any], found: Found, folder: Path) -> dict[str, Any]:
    counts, problems = {}, []
    for name, paths in found.sets.items():
        try:
            reading = read_set(config["task"], name, paths)
            counts[name] = {"examples": len(reading.examples), "skipped": reading.skipped}
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(dict.fromkeys(problems))  # one file may serve several sets
    sets = {name: [_describe_file(path, folder) for path in paths] for name, paths in found.sets.items()}
    return {
        "suite": config["suite"],
        "task": config["task"],
        "part": config["part"],
        "sets": sets,
        "counts": counts,
        "unlabelled": found.unlabelled,
        "absent": found.absent,
        "digest": combine_digests({name: [file["sha256"] for file in files] for name, files in sets.items()}),
    }


def _describe_file(path: Path, folder: Path) -> dict[str, Any]:
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return {"path": str(shown), "bytes": path.stat().st_size, "sha256": file_digest(path)}
