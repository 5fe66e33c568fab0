"""Metric files found below a results folder: validated, merged by key, every doubt written down."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from aggregate.scores.merging import Finding, Groups, ResultKey, find_stray_seeds, list_recipes, merge, result_key
from aggregate.scores.metric_files import MetricFiles
from stilts.runs import RunFolder, read_json

ENDED_BADLY = ("failed", "cancelled", "blocked")
SHORT_REASON = 80  # characters


@dataclass(frozen=True)
class Collection:
    """`metrics` per key; `conflicts` are keys with contradicting files, which have no metrics.

    `recipes` are those that the files of a key carry, each with one file. `seedless` are planned runs whose files
    have no seed, `outcomes` says how planned runs without metrics ended. `caveats` are the reasons, by target, why its
    scores are not comparable with published ones. `files` counts metric files, broken ones included; `digest` is a
    SHA-256 over their sorted contents. `runs` are those that files of no planned run name, by key.
    """

    metrics: dict[ResultKey, dict[str, float]]
    conflicts: frozenset[ResultKey]
    recipes: dict[ResultKey, dict[str, str]]
    seedless: frozenset[str]
    outcomes: dict[str, str]
    caveats: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]
    files: int
    digest: str
    runs: Mapping[ResultKey, tuple[str, ...]] = field(default_factory=dict)


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Python looks for cycles ever again while a hundred thousand small objects come, of which none is in a cycle:
    half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_garbage_collection()
def collect(results: Path, planned: Mapping[str, Set[str]]) -> Collection:
    """Read every metric file below `results`; the outcome does not depend on the order on disk.

    `planned` are the runs that the plan names with the targets that each is to fill.
    """
    groups: Groups = defaultdict(list)
    files = MetricFiles(results)
    for name, metric in files.read():
        groups[result_key(metric, planned)].append((name, metric))
    metrics, conflicts, doubts = merge(groups)
    strays = find_stray_seeds(groups)
    findings = [*files.findings, *doubts, *strays.values()]
    by_run = {key: group for key, group in groups.items() if isinstance(key.owner, str)}
    seeded = {key.owner for key, group in by_run.items() if any(metric.seed is not None for _, metric in group)}
    return Collection(
        metrics={key: value for key, value in metrics.items() if key not in strays} if strays else metrics,
        conflicts=frozenset(conflicts),
        recipes={key: list_recipes(group) for key, group in groups.items()},
        seedless=frozenset(str(key.owner) for key in by_run if key.owner not in seeded),
        outcomes=read_outcomes(results, planned, groups),
        caveats=list_caveats(groups),
        findings=tuple(sorted(findings)),
        files=len(files.digests),
        digest=hashlib.sha256("\n".join(sorted(files.digests)).encode()).hexdigest(),
        runs={key: tuple(metric.run for _, metric in group) for key, group in groups.items() if key not in by_run},
    )


def list_caveats(groups: Groups) -> dict[str, tuple[str, ...]]:
    """What the jobs noted in the provenance of a target's scores, once each."""
    caveats: dict[str, set[str]] = defaultdict(set)
    for group in groups.values():
        for _, metric in group:
            if metric.provenance.get("caveat"):
                caveats[metric.target].add(str(metric.provenance["caveat"]))
    return {target: tuple(sorted(reasons)) for target, reasons in sorted(caveats.items())}


def read_outcomes(results: Path, planned: Mapping[str, Set[str]], groups: Groups) -> dict[str, str]:
    """How planned runs ended that lack metrics of a target; those that may still get there are not listed."""
    found = {(key.owner, key.target) for key in groups}
    silent = [run for run, targets in planned.items() if any((run, target) not in found for target in targets)]
    outcomes = {run: read_outcome(RunFolder(results / run)) for run in silent}
    return {run: outcome for run, outcome in outcomes.items() if outcome}


def read_outcome(folder: RunFolder) -> str:
    """State and reason of the newest attempt, in short; nothing where it did not end badly."""
    try:
        attempts = [(start_time(path), path.name, path) for path in folder.attempts.iterdir() if path.is_dir()]
        outcome = read_json(max(attempts)[2] / "outcome.json") if attempts else None
    except OSError:
        return ""
    if outcome is None or outcome.get("state") not in ENDED_BADLY:
        return ""
    reason = " ".join(str(outcome.get("reason") or "").split())
    short = reason if len(reason) <= SHORT_REASON else reason[: SHORT_REASON - 3] + "..."
    return f"{outcome['state']}: {short}" if short else str(outcome["state"])


def start_time(attempt: Path) -> float:
    """When an attempt began (seconds since 1970), so that one that is running hides the failure before it."""
    started = (read_json(attempt / "attempt.json") or {}).get("started")
    return float(started) if isinstance(started, int | float) else attempt.stat().st_mtime
