"""Metric files found below a results folder: validated, merged by key, every doubt written down."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from aggregate.columns import headline_metrics, released_split
from aggregate.merging import Finding, Groups, ResultKey, find_stray_seeds, list_recipes, merge, result_key
from stilts.results import MetricFile, parse_metric_file
from stilts.runs import RunFolder, is_output_of, read_json
from stilts.tasks.catalogue import TARGETS, TOY_TARGETS, target_languages

SKIPPED_FOLDERS = {"superseded"}
# A metric file has about 1 kB; a larger JSON in the tree is a tokenizer or a file of predictions.
MAX_METRIC_BYTES = 1 << 20
ENDED_BADLY = ("failed", "cancelled", "blocked")
SHORT_REASON = 80  # characters


@dataclass(frozen=True)
class Collection:
    """`metrics` per key; `conflicts` are keys with contradicting files, which have no metrics.

    `recipes` are those that the files of a key carry, each with one file. `seedless` are planned runs whose files
    have no seed, `outcomes` says how planned runs without metrics ended. `caveats` are the reasons, by target, why its
    scores are not comparable with published ones. `files` counts metric files, broken ones included; `digest` is a
    SHA-256 over their sorted contents.
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


def collect(results: Path, planned: Mapping[str, Set[str]]) -> Collection:
    """Read every metric file below `results`; the outcome does not depend on the order on disk.

    `planned` are the runs that the plan names with the targets that each is to fill.
    """
    groups: Groups = defaultdict(list)
    findings: list[Finding] = []
    digests: list[str] = []
    for name, metric in read_metric_files(results, findings, digests):
        groups[result_key(metric, planned)].append((name, metric))
    metrics, conflicts, doubts = merge(groups)
    strays = find_stray_seeds(groups)
    findings += doubts + list(strays.values())
    seeded = {key.owner for key, group in groups.items() if any(metric.seed is not None for _, metric in group)}
    return Collection(
        metrics={key: value for key, value in metrics.items() if key not in strays},
        conflicts=frozenset(conflicts),
        recipes={key: list_recipes(group) for key, group in groups.items()},
        seedless=frozenset(key.owner for key in groups if isinstance(key.owner, str) and key.owner not in seeded),
        outcomes=read_outcomes(results, planned, groups),
        caveats=list_caveats(groups),
        findings=tuple(sorted(findings)),
        files=len(digests),
        digest=hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest(),
    )


def list_caveats(groups: Groups) -> dict[str, tuple[str, ...]]:
    """What the jobs noted in the provenance of a target's scores, once each."""
    caveats: dict[str, set[str]] = defaultdict(set)
    for group in groups.values():
        for _, metric in group:
            if metric.provenance.get("caveat"):
                caveats[metric.target].add(str(metric.provenance["caveat"]))
    return {target: tuple(sorted(reasons)) for target, reasons in sorted(caveats.items())}


def read_metric_files(results: Path, findings: list[Finding], digests: list[str]) -> Iterator[tuple[str, MetricFile]]:
    """Usable metric files with their names; the others become findings. A digest of each, usable or not."""
    standing: dict[Path, bool] = {}
    for path in walk_json_files(results, findings):
        name = show_path(path.relative_to(results))
        try:
            if not path.is_file() or path.stat().st_size > MAX_METRIC_BYTES:
                continue
            content = path.read_bytes()
            metric = parse_metric_file(content)
        except OSError as error:
            findings.append(Finding((name,), f"cannot be read: {error.strerror}"))
            continue
        except ValueError as error:
            findings.append(Finding((name,), str(error)))
            digests.append(hashlib.sha256(content).hexdigest())
            continue
        if metric is None:
            continue
        run = path.parent.parent
        if run not in standing:
            standing[run] = stands(run)
        if not standing[run]:
            continue
        digests.append(hashlib.sha256(content).hexdigest())
        problems = check_catalogue(metric)
        if problems:
            findings.append(Finding((name,), "; ".join(problems)))
        else:
            yield name, metric


def stands(run: Path) -> bool:
    """Whether the scores in a run's folder count: they do not while it has no DONE, nor after a run that it was built
    on was computed again with another output. A folder that is no run of a launcher (no run.json) always stands."""
    if not (run / "run.json").is_file():
        return True
    done = read_json(run / "DONE")
    if done is None:
        return False
    needs: dict[str, str] = done.get("needs", {})
    parents = {need: read_json(run.parent / need / "DONE") for need in needs}
    return all(parent is None or is_output_of(needs[need], parent) for need, parent in parents.items())


def walk_json_files(folder: Path, findings: list[Finding]) -> Iterator[Path]:
    """*.json files below `folder`, outside folders named `superseded`; a closed folder is a finding."""

    def note(error: OSError) -> None:
        findings.append(Finding((show_path(Path(error.filename).relative_to(folder)),), f"closed: {error.strerror}"))

    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        for name in sorted(files):
            if name.endswith(".json"):
                yield Path(parent, name)


def show_path(path: Path) -> str:
    """A path that can be printed, whatever bytes its name has."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def check_catalogue(metric: MetricFile) -> list[str]:
    """What is wrong with target, language or metric names; dev scores of intermediate tasks are not checked."""
    if metric.stage != "target":
        return []
    known = TOY_TARGETS if metric.suite == "toy" else tuple(TARGETS)
    if metric.target not in known:
        close = get_close_matches(metric.target, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return [f"unknown target {metric.target!r} of suite {metric.suite}; known: {', '.join(known)}{hint}"]
    problems = []
    split = released_split(metric.target, metric.split)
    languages = target_languages(metric.target, split, metric.suite)
    if metric.language not in languages:
        problems.append(
            f"language {metric.language!r} is not one of the {len(languages)} of {metric.target} {split} "
            f"(suite {metric.suite}): {' '.join(languages)}"
        )
    lacking = [name for name in headline_metrics(metric.target) if name not in metric.metrics]
    if lacking:
        problems.append(f"{metric.target} needs the metric {', '.join(lacking)}; given: {', '.join(metric.metrics)}")
    return problems


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
