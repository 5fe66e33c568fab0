"""Language means, task scores, differences paired by seed, and Avg (XTREME `evaluate.py`; Phang et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from aggregate.scores.columns import list_columns
from aggregate.scores.merging import Seed
from stilts.tasks.catalogue import TARGET_ORDER

NO_RESULTS = "no results"
NO_METRICS = "no metrics yet"

# Scores and cells are tuples, which are made twice as fast: tables by language have a hundred thousand.
# fmean sums exactly and rounds once, so no number depends on the order in which files were read.


class Gap(NamedTuple):
    """Why a seed has no score; `of_runs` where that is said of its run."""

    what: str
    of_runs: bool = False


class Waiting(NamedTuple):
    """The run that a seed's scores are awaited from, and how its last attempt ended if it ended badly."""

    run: str
    outcome: str


class Score(NamedTuple):
    """Scores of one row in one column. `by_seed` holds the complete seeds only, in order.

    `reason` says which seeds are missing or incomplete, "" where none is; `runs` are those that it names.
    `present` are the languages that every seed seen has. `excluded` means that nobody asked for this score.
    """

    by_seed: dict[Seed, float]
    present: tuple[str, ...]
    reason: str
    excluded: bool = False
    runs: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        return fmean(self.by_seed.values()) if self.by_seed else None


class Cell(NamedTuple):
    """One cell: a value (absolute in a baseline row, else a difference), or the reason why there is none.

    A value may have a reason too: seeds that are not in it. `runs` are those that the reason names. `complete`
    means that nothing expected is missing, `excluded` that nobody asked for this cell. The value is the mean of
    `by_seed`.
    """

    value: float | None
    seeds: int
    absolute: float | None
    baseline: float | None
    present: tuple[str, ...]
    reason: str
    complete: bool
    excluded: bool
    runs: tuple[str, ...]
    by_seed: Mapping[Seed, float]


@dataclass(frozen=True)
class Average:
    """`avg` exists for nine complete tasks, `partial` for one or more; `complete` counts them."""

    avg: float | None
    partial: float | None
    complete: int


def score_column(
    values: Mapping[Seed, Mapping[str, float]],
    conflicts: Mapping[Seed, Iterable[str]],
    languages: tuple[str, ...],
    seeds: tuple[Seed, ...] | None,
    waiting: Mapping[Seed, Waiting],
) -> Score:
    """Plain mean over `languages` for each seed; a seed that lacks one of them has no score.

    `values` and `conflicts` are per seed: a number per language, and languages whose files contradict each
    other. `seeds` are those expected, None where those seen are all; a score without a seed stands for every seed.
    `waiting` names the run of each seed where the plan does.
    """
    seen = set(values) | set(conflicts)
    wanted: set[Seed] = seen if seeds is None or None in seen else set(seeds)
    by_seed: dict[Seed, float] = {}
    gaps: dict[Gap, list[Seed]] = {}
    for seed in sorted(wanted, key=seed_order):
        numbers = values.get(seed, {})
        gap = describe_gap(numbers, set(conflicts.get(seed, ())), languages)
        if gap == NO_RESULTS and seed in waiting:
            gaps.setdefault(Gap(waiting[seed].outcome or NO_METRICS, of_runs=True), []).append(seed)
        elif gap:
            gaps.setdefault(Gap(gap), []).append(seed)
        else:
            by_seed[seed] = fmean(numbers[language] for language in languages)
    present = tuple(language for language in languages if seen and all(language in values.get(s, {}) for s in seen))
    silent = {seed: waiting[seed].run for gap, lacking in gaps.items() if gap.of_runs for seed in lacking}
    reason = describe_gaps(gaps, silent, bool(by_seed)) if wanted else NO_RESULTS
    return Score(by_seed, present, reason, runs=tuple(dict.fromkeys(silent.values())))


def seed_order(seed: Seed) -> tuple[bool, int]:
    return (seed is not None, seed or 0)


def describe_gap(numbers: Mapping[str, float], conflicts: set[str], languages: tuple[str, ...]) -> str:
    """Why one seed has no score; "" where it has one."""
    disputed = [language for language in languages if language in conflicts]
    missing = [language for language in languages if language not in numbers and language not in conflicts]
    if not disputed and len(missing) == len(languages):
        return NO_RESULTS
    parts = [f"conflict: {', '.join(disputed)}"] if disputed else []
    parts += [f"missing: {', '.join(missing)}"] if missing else []
    return "; ".join(parts)


def describe_gaps(gaps: Mapping[Gap, list[Seed]], silent: Mapping[Seed, str], some_complete: bool) -> str:
    """Reasons by seed; the seeds go unnamed where one reason holds for all of them."""
    alone = len(gaps) == 1 and not some_complete
    texts = []
    for gap, seeds in gaps.items():
        text = describe_silence(gap.what, [silent[seed] for seed in seeds]) if gap.of_runs else gap.what
        texts.append(text if alone else f"{name_seeds(seeds)}{':' if gap.of_runs else ''} {text}")
    return "; ".join(texts)


def describe_silence(what: str, runs: list[str]) -> str:
    """`run a has no metrics yet`, `runs a, b failed: out of memory`."""
    names = list(dict.fromkeys(runs))
    if what == NO_METRICS:
        what = f"{'has' if len(names) == 1 else 'have'} {NO_METRICS}"
    return f"run{'s' if len(names) > 1 else ''} {', '.join(names)} {what}"


def name_seeds(seeds: Iterable[Seed]) -> str:
    names = ["null" if seed is None else str(seed) for seed in seeds]
    return f"seed{'s' if len(names) > 1 else ''} {', '.join(names)}"


def show_absolute(score: Score) -> Cell:
    """The cell of a baseline row."""
    mean = score.mean
    return Cell(
        value=mean,
        seeds=len(score.by_seed),
        absolute=mean,
        baseline=mean,
        present=score.present,
        reason=score.reason,
        complete=not score.reason,
        excluded=score.excluded,
        runs=score.runs,
        by_seed=score.by_seed,
    )


def subtract_baseline(score: Score, baseline: Score) -> Cell:
    """The cell of any other row: mean over the seeds of both of the difference at that seed.

    A score without a seed (retrieval of the pretrained encoder is one run) is paired with every seed.
    """
    own, base = score.by_seed, baseline.by_seed
    reasons = [score.reason] if score.reason else []
    reasons += [f"baseline: {baseline.reason}"] if baseline.reason and not score.excluded else []
    if own.keys() == base.keys() and None not in own:
        differences = {seed: value - base[seed] for seed, value in own.items()}
    else:
        pairs = pair_seeds(own, base)
        differences = {
            seed: one - other for seed, (one, other) in pairs.items() if one is not None and other is not None
        }
        if own and base and len(differences) < len(pairs):
            reasons.append(describe_unpaired(pairs))
    return Cell(
        value=fmean(differences.values()) if differences else None,
        seeds=len(differences),
        absolute=score.mean,
        baseline=baseline.mean,
        present=score.present,
        reason="; ".join(reasons),
        complete=bool(differences) and not score.reason and not baseline.reason,
        excluded=score.excluded,
        runs=tuple(dict.fromkeys(score.runs + baseline.runs)) if score.runs or baseline.runs else (),
        by_seed=differences,
    )


def pair_seeds(own: Mapping[Seed, float], other: Mapping[Seed, float]) -> dict[Seed, tuple[float | None, float | None]]:
    """Both scores at every seed that either has; one without a seed is paired with every seed of the other."""
    return {seed: (at_seed(own, seed), at_seed(other, seed)) for seed in list_seeds((own, other)) or [None]}


def list_seeds(scores: Iterable[Mapping[Seed, float]]) -> list[Seed]:
    """Every seed that any of them has, in order; None, which stands for all of them, only where there is no other."""
    seeds = {seed for by_seed in scores for seed in by_seed}
    return sorted(seeds - {None} or seeds, key=seed_order)


def at_seed(by_seed: Mapping[Seed, float], seed: Seed) -> float | None:
    return by_seed.get(seed, by_seed.get(None))


def describe_unpaired(pairs: Mapping[Seed, tuple[float | None, float | None]]) -> str:
    paired = [seed for seed, (own, base) in pairs.items() if own is not None and base is not None]
    lone_own = [seed for seed, (_, base) in pairs.items() if base is None]
    lone_base = [seed for seed, (own, _) in pairs.items() if own is None]
    head = f"paired over {name_seeds(paired)}" if paired else "no seed shared with the baseline"
    tail = [f"{name_seeds(lone_own)} not in the baseline"] if lone_own else []
    tail += [f"{name_seeds(lone_base)} only in the baseline"] if lone_base else []
    return f"{head} ({'; '.join(tail)})"


def average_tasks(values: Mapping[str, float | None]) -> Average:
    """Avg of a row from its cells by column key: plain mean of the task scores, a QA task's being (F1 + EM) / 2."""
    scores = []
    for target in TARGET_ORDER:
        parts = [values[column.key] for column in list_columns(target)]
        whole = [part for part in parts if part is not None]
        if len(whole) == len(parts):
            scores.append(fmean(whole))
    partial = fmean(scores) if scores else None
    return Average(partial if len(scores) == len(TARGET_ORDER) else None, partial, len(scores))
