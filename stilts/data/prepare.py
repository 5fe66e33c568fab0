"""The prepare stage: tokenise a fetched folder once for one tokenizer and length. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from stilts.data.examples import Sentence
from stilts.data.fetched import combine_digests
from stilts.data.first import take_first
from stilts.data.folders import new_folder
from stilts.data.sources import Sources, open_sources
from stilts.errors import UserError
from stilts.runs import file_digest, write_json
from stilts.tasks.catalogue import task_family, task_labels
from stilts.tasks.encoding import Encoded, EncodeSettings
from stilts.tasks.families import family


class Beat(Protocol):
    """What preparing needs of a heartbeat."""

    def beat(self, phase: str, step: int, total: int, **facts: Any) -> None: ...


def prepare(
    config: Mapping[str, Any],
    sources: Path | Sequence[Path],
    tokenizer: Path,
    out: Path,
    heartbeat: Beat | None = None,
) -> dict[str, Any]:
    """Tokenise all sets of a fetched folder with `tokenizer`/tokenizer.json and write them to `out`.

    `config`: task, part, max_length, stride (span family), and as `translated` the languages whose training sets stand
    in folders beside the English one, mostly in shards; these become one set `train.<language>` each. With
    `first_examples` every set but the training sets is cut to so many.
    Returns facts: examples, sequences and tokens in all sets, SHA-256 of the tokenizer file.
    Raises UserError (a source changed, missing or of another task, tokenizer missing, no room); then `out` is as it
    was before.
    """
    fetched, splitter = open_sources(config, sources), load_tokenizer(tokenizer)
    settings = EncodeSettings(config["max_length"], find_labels(fetched), config.get("stride", 0))
    sets: dict[str, dict[str, Any]] = {}
    choices = 1
    with new_folder(out) as folder:
        for number, name in enumerate(fetched.sets):
            if heartbeat:
                heartbeat.beat("prepare", number, len(fetched.sets), set=name)
            encoded = _write_set(fetched, name, splitter, settings, folder, config.get("first_examples"))
            path, choices = folder / f"{name}.safetensors", encoded.choices
            sets[name] = {
                "examples": encoded.examples,
                "sequences": len(encoded.arrays["offsets"]) - 1,
                "tokens": len(encoded.arrays["tokens"]),
                "labelled": fetched.is_labelled(name),
                "sha256": file_digest(path),
            }
        manifest = _describe(config, settings, choices, sets)
        write_json(folder / "manifest.json", manifest)
    totals = {key: sum(facts[key] for facts in sets.values()) for key in ("examples", "sequences", "tokens")}
    return {**totals, "tokenizer": file_digest(tokenizer / "tokenizer.json")}


def find_labels(fetched: Sources) -> tuple[str, ...]:
    """Labels of a task in the order of the classifier's outputs. Where they are no fixed set (supertagging) they are
    those of the training set, sorted; a tag that it lacks cannot be predicted and counts as an error."""
    task = fetched.manifest["task"]
    if (labels := task_labels(task)) or task_family(task) != "tagging":
        return labels
    sentences = (example for example in fetched.read("train.en").examples if isinstance(example, Sentence))
    return tuple(sorted({tag for sentence in sentences for tag in sentence.tags}))


def load_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer.json, without the padding and cutting that may be stored in it."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; the model's folder must hold a tokenizer.json (run its fetch again)")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise UserError(f"{path}: cannot be read: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _write_set(
    fetched: Sources, name: str, tokenizer: Tokenizer, settings: EncodeSettings, folder: Path, first: int | None
) -> Encoded:
    module = family(task_family(fetched.manifest["task"]))
    examples = fetched.read(name).examples
    if first is not None and not name.startswith("train."):
        examples = take_first(examples, first)
    encoded: Encoded = module.encode(examples, tokenizer, settings)
    path = folder / f"{name}.safetensors"
    path.touch()
    mode = path.stat().st_mode
    save_file(encoded.arrays, path)
    path.chmod(mode)  # the library leaves its files to their owner alone; a campaign is shared by a group
    if not name.startswith("train."):
        pq.write_table(module.tabulate(examples), folder / f"{name}.examples.parquet")
    return encoded


def _describe(
    config: Mapping[str, Any], settings: EncodeSettings, choices: int, sets: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    return {
        "task": config["task"],
        "part": config["part"],
        "family": task_family(config["task"]),
        "labels": list(settings.labels),
        "max_length": settings.max_length,
        "choices": choices,
        "sets": sets,
        "digest": combine_digests({name: facts["sha256"] for name, facts in sets.items()}),
    }
