"""Metric files found below a results folder: validated, merged by key, every doubt written down."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aggregate.scores.merging import Finding, ScoreSet, SetKey, merge
from aggregate.scores.reading_cache import ReadingCache
from aggregate.scores.readings import DAMAGED, DIGEST_BYTES, NO_TEXT, SCORE, Readings, show_path
from aggregate.scores.result_tree import read_tree
from aggregate.scores.standing import find_standing
from stilts.results import RowKey
from stilts.runs import RunFolder, read_json

ENDED_BADLY = ("failed", "cancelled", "blocked")
SHORT_REASON = 80  # characters


@dataclass(frozen=True)
class Collection:
    """All scores of a tree. `seedless` are planned runs whose files have no seed, `outcomes` says how planned runs
    without metrics ended. `caveats` are the reasons, by target, why its scores are not comparable with published ones.
    `files` counts metric files, broken ones included; `digest` is a SHA-256 over their sorted contents.
    """

    sets: tuple[ScoreSet, ...]
    seedless: frozenset[str]
    outcomes: dict[str, str]
    caveats: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]
    files: int
    digest: str

    @cached_property
    def runs(self) -> dict[SetKey, tuple[str, ...]]:
        """The runs that files name which are of no planned run, by key."""
        return {one.key: one.runs for one in self.sets if isinstance(one.key.owner, RowKey)}


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Python looks for cycles ever again while a hundred thousand small objects come, of which none is in a cycle:
    half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@without_garbage_collection()
def collect(results: Path, planned: Mapping[str, Set[str]], cache: ReadingCache | None = None) -> Collection:
    """Read every metric file below `results`; the outcome does not depend on the order on disk, nor on a cache of an
    earlier reading.

    `planned` are the runs that the plan names with the targets that each is to fill.
    """
    tree = read_tree(results, cache)
    readings, columns = tree.readings, tree.readings.columns
    standing = find_standing(os.fspath(results), readings)
    files = np.flatnonzero(standing & (columns.kind == SCORE))
    sets, doubts = merge(readings, files, planned)
    read = standing | (columns.kind == DAMAGED)
    wrong = np.flatnonzero(read & (columns.kind != SCORE)).tolist()
    findings = [Finding((show_path(path),), reason) for path, reason in tree.unreadable]
    findings += [Finding((readings.name(file),), readings.tables.texts.values[columns.text[file]]) for file in wrong]
    return Collection(
        sets=tuple(sets),
        seedless=find_seedless(readings, files, planned),
        outcomes=read_outcomes(results, planned, sets),
        caveats=list_caveats(readings, files),
        findings=tuple(sorted((*findings, *doubts))),
        files=int(read.sum()),
        digest=digest_contents(columns.digest[read]),
    )


def find_seedless(readings: Readings, files: NDArray[np.int64], planned: Mapping[str, object]) -> frozenset[str]:
    """Planned runs all of whose target scores have no seed."""
    labels = [readings.tables.labels.values[label] for label in np.unique(readings.columns.label[files]).tolist()]
    scored = [label for label in labels if label.stage == "target" and label.run in planned]
    return frozenset({label.run for label in scored} - {label.run for label in scored if label.seed is not None})


def list_caveats(readings: Readings, files: NDArray[np.int64]) -> dict[str, tuple[str, ...]]:
    """What the jobs noted in the provenance of a target's scores, once each."""
    noted = files[readings.columns.caveat[files] != NO_TEXT]
    pairs = np.stack([readings.columns.spot[noted], readings.columns.caveat[noted]], axis=1)
    caveats: dict[str, set[str]] = defaultdict(set)
    for spot, caveat in np.unique(pairs, axis=0).tolist():
        caveats[readings.tables.spots.values[spot].target].add(readings.tables.texts.values[caveat])
    return {target: tuple(sorted(reasons)) for target, reasons in sorted(caveats.items())}


def digest_contents(digests: NDArray[np.uint8]) -> str:
    """SHA-256 over the sorted hexadecimal SHA-256 of files, one a line."""
    words = np.ascontiguousarray(digests).view(">u8").astype(np.uint64)
    order = np.argsort(words[:, 0])
    head = words[order, 0]
    if (head[1:] == head[:-1]).any():
        order = np.lexsort(words.T[::-1])
    lines = digests[order].tobytes().hex("\n", DIGEST_BYTES) if len(order) else ""
    return hashlib.sha256(lines.encode()).hexdigest()


def read_outcomes(results: Path, planned: Mapping[str, Set[str]], sets: Iterable[ScoreSet]) -> dict[str, str]:
    """How planned runs ended that lack metrics of a target; those that may still get there are not listed."""
    found = {(one.key.owner, one.key.target) for one in sets}
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
