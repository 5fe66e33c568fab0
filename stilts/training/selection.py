"""The best checkpoint: a training is scored on dev at equally spaced points and keeps the weights of the best one.

Phang et al. 2020 v1, appendix A: on the first 500 dev examples of each task; of several tasks the mean of their
primary metrics counts, masked language modelling left out; of equal scores the earlier point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from stilts.data.prepared import Prepared, PreparedSet
from stilts.evaluation.predict import MAX_TOKENS, Classifier, run_model
from stilts.model.multitask import Multitask
from stilts.tasks.columns import task_metrics
from stilts.tasks.families import family, finish_tables
from stilts.training.engine import full_weights
from stilts.training.world import World

DEV_SET = "dev.en"


@dataclass(frozen=True)
class DevSet:
    """The dev examples of one task that a training is judged by."""

    task: str
    prepared: PreparedSet
    examples: pa.Table

    @classmethod
    def open(cls, folder: Prepared, task: str, count: int) -> DevSet:
        """The first `count` examples of the folder's English dev set."""
        prepared = take_first(folder.open(DEV_SET), count)
        return cls(task, prepared, folder.examples(DEV_SET).slice(0, len(prepared)))

    def score(self, model: Multitask, pad_id: int, device: torch.device) -> dict[str, float]:
        """The task's metrics in percent."""
        # A training for several targets is tuned on the English set that it is named after.
        name = "squad1" if self.task == "squad" else self.task
        network = Classifier(model, self.task)
        outputs = run_model(network, [self.prepared], pad_id, device, MAX_TOKENS[device.type])[DEV_SET]
        module = family(self.prepared.family)
        table = module.decode(self.prepared, self.examples, outputs)
        metrics: dict[str, float] = module.score(
            finish_tables(self.prepared.family, name, {DEV_SET: table})[DEV_SET], task_metrics(name)
        )
        return metrics

    @property
    def chance(self) -> float:
        """Percent that a model at chance reaches: the most frequent label's share; 5 (nearly nothing right) where an
        answer is a stretch of text or a sequence of tags."""
        if self.prepared.family not in ("pair", "choice"):
            return 5.0
        counts = np.bincount(self.prepared.arrays["labels"])
        return 100.0 * float(counts.max() / counts.sum())


def take_first(prepared: PreparedSet, count: int) -> PreparedSet:
    """The set of the first `count` examples, with all their sequences."""
    count = min(count, len(prepared))
    owners = prepared.arrays.get("example")
    sequences = count * prepared.choices if owners is None else int(np.searchsorted(owners, count))
    tokens = int(prepared.offsets[sequences])
    ends = {len(prepared): count, len(prepared.lengths): sequences, len(prepared.tokens): tokens}
    return replace(
        prepared,
        tokens=prepared.tokens[:tokens],
        offsets=prepared.offsets[: sequences + 1],
        types=None if prepared.types is None else prepared.types[:tokens],
        arrays={name: values[: ends[len(values)]] for name, values in prepared.arrays.items()},
        examples=count,
    )


def primary_score(metrics: Mapping[str, float]) -> float:
    """One figure for a task, in percent: the mean of accuracy and F1 (QQP) or of exact match and F1 (SQuAD) where it
    has both, chunk F1 for tagging targets, else accuracy (jiant's `evaluate/core.py`)."""
    if "exact_match" in metrics:
        return fmean((metrics["f1"], metrics["exact_match"]))
    if set(metrics) == {"accuracy", "f1"} and next(iter(metrics)) == "accuracy":
        return fmean(metrics.values())
    return next(iter(metrics.values()))


def choose_points(updates: int, points: int) -> frozenset[int]:
    """After how many updates a training is judged: `points` equally spaced ones, the last of them the end."""
    return frozenset(math.ceil(point * updates / points) for point in range(1, points + 1))


@dataclass
class Judge:
    """Scores a training at its points. `history` has a record for each; `best` are the weights of the best point,
    whole and in fp32, on the first rank."""

    sets: tuple[DevSet, ...] = ()
    points: frozenset[int] = frozenset()
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, torch.Tensor] | None = None

    @classmethod
    def open(cls, folders: Mapping[str, Prepared], updates: int, points: int, examples: int) -> Judge:
        """A judge of the tasks that have a dev set; one without sets never judges."""
        sets = tuple(DevSet.open(f, task, examples) for task, f in sorted(folders.items()) if DEV_SET in f.sets)
        return cls(sets, choose_points(updates, points) if sets and points else frozenset())

    def consider(self, update: int, engine: Any, world: World, pad_id: int) -> None:
        """Score the engine's weights after `update` updates if that is a point (a collective)."""
        if update not in self.points:
            return
        engine.eval()
        scores = {dev.task: dev.score(engine.module, pad_id, world.device) for dev in self.sets}
        engine.train()
        figure = fmean(primary_score(metrics) for metrics in scores.values())
        before = self.chosen["score"] if self.chosen else -math.inf
        # The first rank's word: in half precision two devices may differ in the last digit.
        improved = bool(world.agree(int(world.first and figure > before)))
        self.history.append({"update": update, "score": figure, "tasks": scores})
        if improved:
            self.best = full_weights(engine)

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The record of the best point, of equal ones the earliest."""
        return max(self.history, key=lambda record: record["score"], default=None)

    def find_collapsed(self) -> list[str]:
        """Tasks whose best point is no better than chance (one percent point above it or less)."""
        found = []
        for dev in self.sets if self.history else ():
            best = max(_against_chance(record["tasks"][dev.task]) for record in self.history)
            if best <= dev.chance + 1:
                found.append(f"{dev.task} {best:.1f} (chance {dev.chance:.1f})")
        return found


def _against_chance(metrics: Mapping[str, float]) -> float:
    return metrics["accuracy"] if next(iter(metrics)) == "accuracy" else primary_score(metrics)
