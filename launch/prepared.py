"""How large the prepared sets of a campaign are: with them, what its runs read is counted instead of assumed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from stilts.runs import Run, read_json

COUNTS = ("examples", "sequences", "tokens")  # of a set, in a manifest


@dataclass(frozen=True)
class SetSize:
    """Examples, their sequences, and the sub-words of these."""

    examples: int
    sequences: int
    tokens: int

    def __add__(self, other: SetSize) -> SetSize:
        return SetSize(self.examples + other.examples, self.sequences + other.sequences, self.tokens + other.tokens)


@dataclass(frozen=True)
class TaskSets:
    """The sets of one prepared run: all that is trained on together, the English dev set, and those to be scored."""

    train: SetSize | None
    dev: SetSize | None
    scored: tuple[SetSize, ...]


# (task, part) to its sets.
Known = Mapping[tuple[str, str], TaskSets]


class PreparedSets:
    """The prepared runs below some folders, by id; and, for runs that are not prepared yet, training sets by task and
    length."""

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self.runs: dict[str, TaskSets] = {}
        self.like: dict[tuple[str, int], SetSize] = {}
        for folder in folders:
            for name, sets, length in _read(folder):
                self.runs.setdefault(name, sets)
                if sets.train and sets.train.examples:
                    self.like.setdefault((_stem(name), length), sets.train)

    def of(self, run: Run) -> Known:
        """The sets that a run needs, of those that are prepared."""
        known = {need: self.runs[need] for need in run.needs if need in self.runs}
        return {(need.split("-")[1], need.split("-")[2]): sets for need, sets in known.items()}

    def find_like(self, run: Run) -> dict[str, SetSize]:
        """By task, a training set like the run's, cut at the same length: how long examples are, not how many."""
        recipes: Mapping[str, Any] = run.config.get("tasks", {})
        found: dict[str, SetSize] = {}
        for need in run.needs:
            _, task, part, *_ = [*need.split("-"), "", ""]
            like = self.like.get((_stem(need), recipes.get(task, {}).get("max_length", 0)))
            if part == "train" and like:
                found[task] = like
        return found


def _stem(name: str) -> str:
    return name.rpartition("-")[0]


def _read(folder: Path) -> list[tuple[str, TaskSets, int]]:
    found: list[tuple[str, TaskSets, int]] = []
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.startswith("prepare-"))
    except OSError:
        return found
    for name in names:
        manifest = read_json(folder / name / "data" / "manifest.json")
        # An older manifest without sub-words, or one that somebody has edited, counts as absent.
        with suppress(AttributeError, LookupError, TypeError, ValueError, ArithmeticError):
            if manifest and manifest["sets"]:
                found.append((name, _sort(manifest), int(manifest["max_length"])))
    return found


def _sort(manifest: Mapping[str, Any]) -> TaskSets:
    counted = {name: [int(one[key]) for key in COUNTS] for name, one in manifest["sets"].items()}
    sizes = {name: SetSize(*counts) for name, counts in counted.items()}
    # A training counts each window of a long text as an example of its own.
    choices = manifest.get("choices", 1)
    train = [
        replace(size, examples=size.sequences // choices) for name, size in sizes.items() if name.startswith("train.")
    ]
    scored = tuple(size for name, size in sizes.items() if not name.startswith("train."))
    return TaskSets(reduce(SetSize.__add__, train) if train else None, sizes.get("dev.en"), scored)
