"""Models before they are fetched: whether a folder, or the hub's cache, has what the fetch job will ask for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stilts.data.pickles import has_pickles
from stilts.runs import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
MOST_HEADER_BYTES = 100 << 20


def check_model(config: Mapping[str, Any], commits: Path) -> tuple[list[str], str | None]:
    """Problems of the model of a fetch run, and a note where only the job will see it.

    Weights are read as safetensors alone (a translation model's pickles with torch's loader for tensors alone).
    """
    name = config["model"]
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")):
            return [f"model {name}: no such folder; give a folder with config.json, or a name on the hub"], None
        cached = find_cached(name, config["revision"], commits)
        if cached is None:
            if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
                return [f"model {name}: not in the hub's cache, and HF_HUB_OFFLINE is set; unset it to fetch it"], None
            return [], f"model {name}: not in the hub's cache of this machine; its fetch job needs a network"
        folder = cached
    translates = config.get("role") == "translator"
    problems = [] if read_json(folder / "config.json") else [f"no config.json that can be read in {folder}"]
    if not translates and not any((folder / other).is_file() for other in TOKENIZERS):
        problems.append(f"no tokenizer in {folder} ({', '.join(TOKENIZERS)})")
    if not any((folder / other).is_file() for other in (WEIGHTS, INDEX)):
        pickles = has_pickles(folder)
        if not (translates and pickles):
            found = "only pickles, which are never loaded," if pickles else "no weights"
            problems.append(f"{found} in {folder}; convert them to safetensors (save_pretrained) and give that folder")
    problems += find_damage(folder)
    return [f"model {name}: {problem}" for problem in problems], None


def find_cached(name: str, revision: str, commits: Path) -> Path | None:
    """The folder of a hub model's snapshot in this machine's cache: at the commit that the campaign holds, else at the
    one that the cache knows for the revision."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{name.replace('/', '--')}"
    held = read_json(commits / f"models--{name.replace('/', '--')}@{revision.replace('/', '--')}.json") or {}
    reference = cache / "refs" / revision
    commit = held.get("commit") or (reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision)
    folder = cache / "snapshots" / str(commit)
    # A snapshot may have been begun by something else, for its configuration alone.
    whole = folder.is_dir() and any(folder.glob("*.safetensors")) and (folder / "config.json").is_file()
    return folder if whole else None


def find_damage(folder: Path) -> Iterator[str]:
    """What is wrong with the safetensors files of a folder: a header that is none, or a size that does not fit it."""
    named = (read_json(folder / INDEX) or {}).get("weight_map", {})
    for name in sorted(set(named.values())):
        if not (folder / name).is_file():
            yield f"{folder / name} is missing, named in {INDEX}"
    for path in sorted(folder.glob("*.safetensors")):
        try:
            wanted, found = read_size(path), path.stat().st_size
        except (OSError, ValueError) as error:
            yield f"{path} cannot be read: {error}"
        else:
            if wanted != found:
                yield f"{path} has {found:,} bytes, its header says {wanted:,}: half a file"


def read_size(path: Path) -> int:
    """Bytes that a safetensors file should have: 8, its JSON header, and the end of its last tensor.

    Raises ValueError for a header that is none, OSError.
    """
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= MOST_HEADER_BYTES:
            raise ValueError("it has no header of safetensors")
        header = file.read(length)
    try:
        tensors = {name: facts for name, facts in json.loads(header).items() if name != "__metadata__"}
        return 8 + length + max((int(facts["data_offsets"][1]) for facts in tensors.values()), default=0)
    except (AttributeError, KeyError, TypeError, IndexError, ValueError):
        raise ValueError("it has no header of safetensors") from None
