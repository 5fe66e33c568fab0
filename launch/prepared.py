"""How large the prepared sets of a campaign are: with them, what its runs read is counted instead of assumed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from stilts.runs import Run, RunFolder, read_json


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
    """The prepared runs below some folders, by id; and, for runs that are not prepared yet, by task and length."""

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self.runs: dict[str, TaskSets] = {}
        self.alike: dict[tuple[str, int], TaskSets] = {}
        for folder in folders:
            for name, sets, length, whole in _read(folder):
                self.runs.setdefault(name, sets)
                # Of a pilot's sets only those that are trained on are whole.
                self.alike.setdefault((_stem(name), length), sets if whole else TaskSets(sets.train, None, ()))

    def of(self, run: Run) -> Known:
        """What is known of the sets that a run needs."""
        found: dict[tuple[str, str], TaskSets] = {}
        recipes = run.config.get("tasks", {})
        for need in run.needs:
            if not need.startswith("prepare-"):
                continue
            task, part = need.split("-")[1:3]
            recipe: Mapping[str, Any] = recipes.get(task) or next(iter(recipes.values()), {})
            sets = self.runs.get(need) or self.alike.get((_stem(need), recipe.get("max_length", 0)))
            if sets is not None and (need in self.runs or "pilot" not in run.infra):  # a pilot's are cut
                found[task, part] = sets
        return found


def _stem(name: str) -> str:
    return name.rpartition("-")[0]


def _read(folder: Path) -> Iterator[tuple[str, TaskSets, int, bool]]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.startswith("prepare-"))
    except OSError:
        return
    for name in names:
        run = RunFolder(folder / name)
        manifest, spec = read_json(run.data / "manifest.json"), read_json(run.spec)
        if manifest and spec and all("tokens" in one for one in manifest.get("sets", {}).values()):
            whole = "first_examples" not in spec["config"]
            yield name, _sort(manifest), int(manifest["max_length"]), whole


def _sort(manifest: Mapping[str, Any]) -> TaskSets:
    sizes = {name: SetSize(one["examples"], one["sequences"], one["tokens"]) for name, one in manifest["sets"].items()}
    # A training counts each window of a long text as an example of its own.
    choices = manifest.get("choices", 1)
    train = [
        replace(size, examples=size.sequences // choices) for name, size in sizes.items() if name.startswith("train.")
    ]
    scored = tuple(size for name, size in sizes.items() if not name.startswith("train."))
    return TaskSets(reduce(SetSize.__add__, train) if train else None, sizes.get("dev.en"), scored)
