"""The slow, obvious collection of metric files, file by file and key by key, with nothing of the fast one but the
parsing of a single file (`parse_metric_file`, which has tests of its own)."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, NamedTuple

from aggregate.scores.columns import released_split
from aggregate.scores.expectation import Scope
from aggregate.scores.merging import Finding, SetKey, describe
from aggregate.scores.metric_files import check_place
from aggregate.scores.selection import Found, LabelPlaces, RunPlaces
from aggregate.scores.standing import stands
from stilts.results import MetricFile, RowKey, parse_metric_file, row_key
from stilts.tasks.catalogue import TARGET_METRICS

File = tuple[str, MetricFile]


class PlainKey(NamedTuple):
    """What one number is the score of."""

    of: SetKey
    language: str


class PlainCollection(NamedTuple):
    metrics: dict[PlainKey, dict[str, float]]
    conflicts: set[PlainKey]
    recipes: dict[PlainKey, dict[str, str]]
    seedless: set[str]
    caveats: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]
    files: int
    digest: str


def collect_plainly(results: Path, planned: Mapping[str, Set[str]]) -> PlainCollection:
    findings: list[Finding] = []
    digests: list[str] = []
    groups: dict[PlainKey, list[File]] = defaultdict(list)
    for name, file in _read(results, findings, digests):
        groups[_key(file, planned)].append((name, file))
    metrics: dict[PlainKey, dict[str, float]] = {}
    conflicts: set[PlainKey] = set()
    for key, group in groups.items():
        told = [_numbers(key, file) for _, file in group]
        names = tuple(sorted(name for name, _ in group))
        labels = {file.split for _, file in group}
        if all(numbers == told[0] for numbers in told):
            metrics[key] = told[0]
            if len(group) > len(labels):
                what = describe(*key)
                findings.append(Finding(names, f"duplicate: the same numbers for {what}; counted once"))
            continue
        conflicts.add(key)
        where = " (its one released set, labelled dev and test)" if len(labels) > 1 else ""
        texts = sorted({", ".join(f"{name} {value!r}" for name, value in sorted(one.items())) for one in told})
        reason = f"conflict: different numbers for {describe(*key)}{where}: {' against '.join(texts)}; none used"
        findings.append(Finding(names, reason))
    for key, group in groups.items():
        seeds = {other.of.seed for other in groups if other.of._replace(seed=None) == key.of} - {None}
        if key.of.seed is None and seeds:
            numbered = ", ".join(str(seed) for seed in sorted(seeds, key=lambda seed: seed or 0))
            reason = f"{describe(*key)}: seed null beside seeds {numbered}; set apart"
            findings.append(Finding(tuple(sorted(name for name, _ in group)), reason))
            metrics.pop(key, None)
    return PlainCollection(
        metrics,
        conflicts,
        {key: _recipes(group) for key, group in groups.items()},
        _find_seedless(groups),
        _list_caveats(groups),
        tuple(sorted(findings)),
        len(digests),
        hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest(),
    )


def _read(results: Path, findings: list[Finding], digests: list[str]) -> Iterator[File]:
    for folder, folders, files in os.walk(results):
        parts = ("attempts", "checkpoints", "data", "model", "predictions") if "run.json" in files else ()
        folders[:] = sorted(name for name in folders if name not in ("superseded", *parts))
        for name in sorted(file for file in files if file.endswith(".json")):
            path = Path(folder, name)
            shown = str(path.relative_to(results))
            if not path.is_file():
                continue
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            try:
                file = parse_metric_file(content)
            except ValueError as error:
                findings.append(Finding((shown,), str(error)))
                digests.append(digest)
                continue
            if file is None or not stands(Path(folder).parent):
                continue
            digests.append(digest)
            if problem := _problem(file):
                findings.append(Finding((shown,), problem))
            else:
                yield shown, file


def _problem(file: MetricFile) -> str:
    if file.stage != "target":
        return ""
    stranger, needed = check_place(file.suite, file.target, file.language, file.split)
    lacking = [name for name in needed if name not in file.metrics]
    need = f"{file.target} needs the metric {', '.join(lacking)}; given: {', '.join(file.metrics)}" if lacking else ""
    return "; ".join(filter(None, (stranger, need)))


def _key(file: MetricFile, planned: Mapping[str, Any]) -> PlainKey:
    scored = file.stage == "target"
    by_run = scored and file.run in planned
    owner: RowKey | str = file.run if by_run else row_key(file)
    split = released_split(file.target, file.split) if scored else file.split
    seed = None if by_run else file.seed
    return PlainKey(SetKey(file.suite, file.stage, owner, file.target, split, seed, file.layer), file.language)


def _numbers(key: PlainKey, file: MetricFile) -> dict[str, float]:
    names = TARGET_METRICS[key.of.target] if key.of.stage == "target" else tuple(file.metrics)
    return {name: file.metrics[name] for name in names if name in file.metrics}


def _recipes(group: list[File]) -> dict[str, str]:
    recipes: dict[str, str] = {}
    for name, file in sorted(group, key=lambda one: one[0]):
        recipe = file.provenance.get("recipe")
        if isinstance(recipe, str):
            recipes.setdefault(recipe, name)
    return recipes


def _find_seedless(groups: Mapping[PlainKey, list[File]]) -> set[str]:
    by_run: dict[str, set[int | None]] = defaultdict(set)
    for key, group in groups.items():
        if isinstance(key.of.owner, str):
            by_run[key.of.owner] |= {file.seed for _, file in group}
    return {run for run, seeds in by_run.items() if seeds == {None}}


def _list_caveats(groups: Mapping[PlainKey, list[File]]) -> dict[str, tuple[str, ...]]:
    caveats: dict[str, set[str]] = defaultdict(set)
    for group in groups.values():
        for _, file in group:
            if file.provenance.get("caveat"):
                caveats[file.target].add(str(file.provenance["caveat"]))
    return {target: tuple(sorted(reasons)) for target, reasons in sorted(caveats.items())}


def select_plainly(
    plain: PlainCollection, scope: Scope, by_label: LabelPlaces, by_run: RunPlaces
) -> tuple[dict[tuple[RowKey, str], Found], tuple[str, ...], set[tuple[str, str]]]:
    """Cells, what is left out, and runs with scores on the other split, key by key; the rules of places are shared."""
    left_out: Counter[str] = Counter()
    found: dict[tuple[RowKey, str], Found] = {}
    elsewhere: set[tuple[str, str]] = set()
    for key in (*plain.metrics, *plain.conflicts):
        of, owner = key.of, key.of.owner
        labelled = isinstance(owner, RowKey)
        if of.stage != "target" or (labelled and of.layer is not None):
            continue
        if of.suite != scope.suite:
            left_out[f"suite {of.suite}"] += 1
            continue
        if labelled and scope.seeds is not None and of.seed is not None and of.seed not in scope.seeds:
            left_out[f"seed {of.seed}, not in the grid"] += 1
            continue
        if of.split != released_split(of.target, scope.split):
            elsewhere |= {(owner, of.target)} if isinstance(owner, str) else set()
            continue
        places = by_run.find(of, owner) if isinstance(owner, str) else by_label.find(of, owner)
        if places is None:
            left_out["runs that the plan does not name for these cells"] += 1
        for row, seed in places or ():
            cell = found.setdefault((row, of.target), Found())
            if key in plain.conflicts:
                cell.conflicts.setdefault(seed, set()).add(key.language)
            for metric, value in plain.metrics.get(key, {}).items():
                cell.numbers.setdefault(metric, {}).setdefault(seed, {})[key.language] = value
            for recipe, file in plain.recipes[key].items():
                first, seeds = cell.recipes.get(recipe, (file, set()))
                cell.recipes[recipe] = (min(first, file), seeds | {seed})
    return found, tuple(f"{what}: {count} scores" for what, count in sorted(left_out.items())), elsewhere
