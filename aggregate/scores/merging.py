"""Metric files that say the same thing: counted once where they agree, a conflict where they do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from aggregate.scores.columns import released_split
from stilts.results import MetricFile, RowKey
from stilts.tasks.catalogue import TARGET_METRICS

Seed = int | None


class ResultKey(NamedTuple):
    """What one number is the score of. The one released set of a target counts as split `test`.

    `owner` is the row that the file's labels name, or the run where the plan says which cells that run fills;
    a planned run has no seed here, for the plan says that too.
    """

    suite: str
    stage: str
    owner: RowKey | str
    target: str
    language: str
    split: str
    seed: Seed
    layer: int | None


class Metric(NamedTuple):
    """What a metric file says (see `stilts.results.MetricFile`), its labels as a table row."""

    run: str
    row: RowKey
    suite: str
    stage: str
    target: str
    language: str
    split: str
    seed: Seed
    layer: int | None
    draw: int | None
    metrics: dict[str, float]
    provenance: dict[str, Any]

    @classmethod
    def of(cls, file: MetricFile, row: RowKey) -> Metric:
        labels: dict[str, Any] = {name: getattr(file, name) for name in cls._fields if name != "row"}
        return cls(row=row, **labels)


# Files by what they are the score of, each with its name relative to the results folder.
Groups = dict[ResultKey, list[tuple[str, Metric]]]


@dataclass(frozen=True, order=True)
class Finding:
    """Something wrong with files (relative to the results folder): named, and not averaged in."""

    files: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{', '.join(self.files)}: {self.reason}"


def result_key(metric: Metric, planned: Mapping[str, object]) -> ResultKey:
    """The key of a file; `planned` are the runs that the plan names."""
    scored = metric.stage == "target"
    by_run = scored and metric.run in planned
    return ResultKey(
        metric.suite,
        metric.stage,
        metric.run if by_run else metric.row,
        metric.target,
        metric.language,
        released_split(metric.target, metric.split) if scored else metric.split,
        None if by_run else metric.seed,
        metric.layer,
    )


def merge(groups: Groups) -> tuple[dict[ResultKey, dict[str, float]], list[ResultKey], list[Finding]]:
    """One set of numbers per key, or a conflict. Equal numbers under both labels of a one-set target are fine."""
    metrics: dict[ResultKey, dict[str, float]] = {}
    conflicts: list[ResultKey] = []
    findings: list[Finding] = []
    for key, group in groups.items():
        if len(group) == 1:
            metrics[key] = read_numbers(key, group[0][1])
            continue
        numbers = [read_numbers(key, metric) for _, metric in group]
        files = tuple(sorted(name for name, _ in group))
        labels = {metric.split for _, metric in group}
        if all(number == numbers[0] for number in numbers):
            metrics[key] = numbers[0]
            if len(group) > len(labels):
                findings.append(Finding(files, f"duplicate: the same numbers for {describe(key)}; counted once"))
            continue
        conflicts.append(key)
        where = " (its one released set, labelled dev and test)" if len(labels) > 1 else ""
        values = " against ".join(
            sorted({", ".join(f"{name} {value!r}" for name, value in sorted(number.items())) for number in numbers})
        )
        findings.append(Finding(files, f"conflict: different numbers for {describe(key)}{where}: {values}; none used"))
    return metrics, conflicts, findings


def read_numbers(key: ResultKey, metric: Metric) -> dict[str, float]:
    """The metrics that make up a score; others (a loss, a time) may differ between copies."""
    names = TARGET_METRICS[key.target] if key.stage == "target" else tuple(metric.metrics)
    return {name: metric.metrics[name] for name in names if name in metric.metrics}


def find_stray_seeds(groups: Groups) -> dict[ResultKey, Finding]:
    """Scores without a seed where the same row and target has seeds: nothing says which of them counts."""
    seeds: dict[ResultKey, set[int]] = defaultdict(set)
    if not any(key.seed is None for key in groups):
        return {}
    for key in groups:
        if key.seed is not None:
            seeds[key._replace(language="", seed=None)].add(key.seed)
    strays = {}
    for key, group in groups.items():
        if key.seed is None and (numbered := sorted(seeds[key._replace(language="")])):
            reason = f"{describe(key)}: seed null beside seeds {', '.join(map(str, numbered))}; set apart"
            strays[key] = Finding(tuple(sorted(name for name, _ in group)), reason)
    return strays


def list_recipes(group: list[tuple[str, Metric]]) -> dict[str, str]:
    """Recipes that files carry (a hash of the run's configuration without its seed), each with its first file."""
    recipes: dict[str, str] = {}
    for name, metric in group if len(group) == 1 else sorted(group, key=lambda item: item[0]):
        recipe = metric.provenance.get("recipe")
        if isinstance(recipe, str):
            recipes.setdefault(recipe, name)
    return recipes


def describe(key: ResultKey) -> str:
    """A key in words, defaults left out."""
    layer = "" if key.layer is None else f" layer {key.layer}"
    what = f"{key.target} {key.split} {key.language}"
    if isinstance(key.owner, str):
        return f"run {key.owner}, {what}{layer}"
    return f"{describe_row(key.owner)}, {what} seed {'null' if key.seed is None else key.seed}{layer}"


def describe_row(row: RowKey) -> str:
    training = " > ".join(row.tasks) if row.mode == "sequential" else "+".join(row.tasks)
    marks = [mark for mark, there in (("mlm", row.mlm), ("translated", row.translated)) if there]
    marks += [f"variant {row.variant}"] if row.variant else []
    return " ".join([row.model, training or "without intermediate training", *marks])
