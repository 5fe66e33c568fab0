"""What a claim about rows comes to in a study: the contrast at every seed, and what is not there to compute it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from aggregate.evidence.claims import ALL, Best, Count, Difference, Selector, Xtreme
from aggregate.evidence.statistics import Estimate, estimate, paired
from aggregate.scores.averages import at_seed, list_seeds
from aggregate.scores.columns import TARGET_TITLES, list_columns
from aggregate.scores.main_table import TableRow
from aggregate.scores.merging import Seed
from aggregate.scores.variants import name_row, split_variant
from aggregate.study import Study
from stilts.results import RowKey
from stilts.tasks.catalogue import INTERMEDIATES, TOY_INTERMEDIATES

WHOLE = ""  # the one part of a contrast that is of no single row
BySeed = Mapping[Seed, float]


@dataclass(frozen=True)
class Contrast:
    """The numbers of a claim. `parts` has one under WHOLE, or those of its rows by their names, None where there is
    none; `rows` are the names of all rows in it.

    `absent` names rows that are not there, `unclear` says which rows or curves cannot be chosen. `gaps` say what those
    that are there lack, in spite of which a part may be over what they have (fewer seeds).
    """

    parts: Mapping[str, Estimate | None]
    rows: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()

    @property
    def lacking(self) -> tuple[str, ...]:
        """All of it in sentences."""
        rows = f"no row{'s' if len(self.absent) > 1 else ''} {', '.join(self.absent)}"
        return (*([rows] if self.absent else []), *self.unclear, *self.gaps)


@dataclass(frozen=True)
class Rows:
    """The rows of a selector; `absent` names those that are not there, `unclear` says which cannot be chosen."""

    found: tuple[TableRow, ...] = ()
    absent: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return not self.absent and not self.unclear


def first_model(study: Study) -> str:
    """The model of the first block: the one that a claim is about unless it names another."""
    return next((row.key.model for row in study.table.rows), "")


def find_rows(study: Study, selector: Selector) -> Rows:
    """Rows with the selector's training; of several that differ in settings alone the one with the fewest."""
    model = selector.model or first_model(study)
    training = (model, selector.mode, selector.mlm, selector.translated)
    by_tasks: dict[tuple[str, ...], list[TableRow]] = defaultdict(list)
    for row in study.table.rows:
        key = row.key
        alike = (key.model, key.mode, key.mlm, key.translated) == training
        if alike and {*selector.settings} <= {*split_variant(key.variant)}:
            by_tasks[key.tasks].append(row)
    asked = list_sets(selector, study.scope.suite)
    chosen = sorted(by_tasks) if asked is None else asked
    found: list[TableRow] = []
    absent = [] if chosen else [f"of {spell_selector(selector, (), model)}"]
    unclear: list[str] = []
    for tasks in chosen:
        plainest = keep_plainest(by_tasks[tasks])
        name = spell_selector(selector, tasks, model)
        if len(plainest) == 1:
            found += plainest
        elif not plainest:
            absent.append(name)
        else:
            told = " and ".join(row.key.variant for row in plainest)
            unclear.append(f"several rows {name}, with {told}: name one of these settings in the claim")
    return Rows(tuple(row for row in study.table.rows if row in found), tuple(absent), tuple(unclear))


def list_sets(selector: Selector, suite: str) -> list[tuple[str, ...]] | None:
    """The tasks of each row that a selector names: single ones are a row each. None where any tasks will do."""
    if not selector.tasks:
        return [()] if selector.mode == "none" else None
    every = TOY_INTERMEDIATES if suite == "toy" else INTERMEDIATES
    tasks = list(every) if selector.tasks == [ALL] else selector.tasks
    if selector.mode == "single":
        return [(task,) for task in tasks]
    return [tuple(tasks) if selector.mode == "sequential" else tuple(sorted(tasks))]


def keep_plainest(rows: Sequence[TableRow]) -> list[TableRow]:
    """The rows with the fewest settings that are not the defaults: several where there are as many."""
    counts = [len(split_variant(row.key.variant)) for row in rows]
    return [row for row, count in zip(rows, counts, strict=True) if count == min(counts)]


def spell_selector(selector: Selector, tasks: tuple[str, ...], model: str) -> str:
    """`mnli (mlm)`, or where the tasks are not told `mode single (mlm)`; of language modelling alone the model."""
    key = RowKey(model, "", selector.mode, tasks, selector.mlm, selector.translated)
    nameless = model if selector.mode == "none" else f"mode {selector.mode}"
    return name_row(key, {model: nameless}, "; ".join(selector.settings))


def score_targets(values: Mapping[str, float | None], targets: Iterable[str]) -> float | None:
    """The mean over targets, F1 and EM of a QA task half each, from values by column key; None where one is missing."""
    scores: list[float] = []
    for target in targets:
        parts = [values[column.key] for column in list_columns(target)]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        scores.append(fmean(known))
    return fmean(scores)


def score_seeds(columns: Mapping[str, BySeed], targets: Sequence[str], others: Sequence[str] = ()) -> dict[Seed, float]:
    """The mean over `targets`, less that over `others` if there are any, at every seed that has them all."""
    used = [column.key for target in (*targets, *others) for column in list_columns(target)]
    found: dict[Seed, float] = {}
    for seed in list_seeds(columns[column] for column in used):
        values = {column: at_seed(columns[column], seed) for column in used}
        own, other = score_targets(values, targets), score_targets(values, others) if others else 0.0
        if own is not None and other is not None:
            found[seed] = own - other
    return found


def score_row(row: TableRow, targets: Sequence[str], others: Sequence[str] = ()) -> dict[Seed, float]:
    """What a row gains over its baseline, paired by seed."""
    return score_seeds({column: cell.by_seed for column, cell in row.cells.items()}, targets, others)


def average_rows(scores: Sequence[BySeed]) -> dict[Seed, float]:
    """The mean over rows at every seed that each of them has."""
    found: dict[Seed, float] = {}
    for seed in list_seeds(scores):
        values = [at_seed(by_seed, seed) for by_seed in scores]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            found[seed] = fmean(known)
    return found


def describe_gaps(rows: Iterable[TableRow], targets: Sequence[str]) -> list[str]:
    """What rows lack of these targets: a sentence for each reason, with the rows and targets that it is said of."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        titles: dict[str, list[str]] = defaultdict(list)
        for target in targets:
            for reason in dict.fromkeys(row.cells[column.key].reason for column in list_columns(target)):
                titles[reason].append(TARGET_TITLES[target])
        told = {reason: names for reason, names in titles.items() if reason}
        if not told and not score_row(row, targets):
            told = {"no seed that all targets have": []}
        for reason, names in told.items():
            places[reason, ", ".join(names) if len(names) < len(targets) else ""].append(row.name)
    return [
        f"{', '.join(dict.fromkeys(names))}: {reason}{f' ({shown})' if shown else ''}"
        for (reason, shown), names in places.items()
    ]


def estimate_seeds(by_seed: BySeed) -> Estimate | None:
    return estimate(by_seed.values()) if by_seed else None


def contrast_difference(study: Study, claim: Difference) -> Contrast:
    """Rows less other rows, less their own counterparts, or as they are: differences to their baselines; by seed."""
    own, other = find_rows(study, claim.rows), Rows()
    if claim.minus:
        other = find_rows(study, claim.minus)
    elif claim.minus_same:
        own, other = pair_rows(study, claim, own)
    rows = (*own.found, *other.found)
    gaps = describe_gaps(rows, [*claim.targets, *claim.other_targets])
    values: Mapping[Seed, float] = {}
    if own.whole and other.whole:
        mine, theirs = (
            average_rows([score_row(row, claim.targets, claim.other_targets) for row in side.found])
            for side in (own, other)
        )
        values = paired(mine, theirs) if claim.minus or claim.minus_same else mine
        gaps += [] if values or gaps else ["no seed that all rows have"]
    return gather({WHOLE: estimate_seeds(values)}, rows, (own, other), gaps)


def gather(
    parts: Mapping[str, Estimate | None], rows: Iterable[TableRow], sides: Sequence[Rows], gaps: Iterable[str]
) -> Contrast:
    absent = tuple(name for side in sides for name in side.absent)
    unclear = tuple(what for side in sides for what in side.unclear)
    return Contrast(parts, tuple(row.name for row in rows), absent, unclear, tuple(gaps))


def pair_rows(study: Study, claim: Difference, own: Rows) -> tuple[Rows, Rows]:
    """Rows with their counterparts (`minus_same`). A row without one is left out, unless the claim names its tasks."""
    assert claim.minus_same
    pairs: list[tuple[TableRow, TableRow]] = []
    absent: list[str] = []
    unclear: list[str] = []
    there = {row.key.tasks for row in study.table.rows if getattr(row.key, claim.minus_same)}
    for row in own.found:
        if claim.rows.tasks or row.key.tasks in there:
            changed: dict[str, object] = {claim.minus_same: True, "tasks": list(row.key.tasks)}
            other = find_rows(study, claim.rows.model_copy(update=changed))
            pairs += [(row, counterpart) for counterpart in other.found]
            absent += other.absent
            unclear += other.unclear
    if own.found and not pairs and not absent and not unclear:
        absent.append(f"with {claim.minus_same} beside the same row without")
    counterparts = Rows(tuple(row for _, row in pairs), tuple(absent), tuple(unclear))
    return Rows(tuple(row for row, _ in pairs), own.absent, own.unclear), counterparts


def contrast_best(study: Study, claim: Best) -> Contrast:
    """The row less each of the others, by seed."""
    own, others = find_rows(study, claim.row), find_rows(study, claim.others)
    rivals = [row for row in others.found if row not in own.found]
    rows = (*own.found, *rivals)
    mine = average_rows([score_row(row, claim.targets) for row in own.found]) if own.whole else {}
    parts = {row.name: estimate_seeds(paired(mine, score_row(row, claim.targets))) for row in rivals}
    gaps = describe_gaps(rows, claim.targets)
    gaps += [] if gaps or all(parts.values()) else ["no seed that both rows have"]
    return gather(parts, rows, (own, others), gaps)


def contrast_count(study: Study, claim: Count) -> Contrast:
    """What each row gains over its baseline."""
    rows = find_rows(study, claim.rows)
    parts = {row.name: estimate_seeds(score_row(row, claim.targets)) for row in rows.found}
    return gather(parts, rows.found, (rows,), describe_gaps(rows.found, claim.targets))


def contrast_xtreme(study: Study, claim: Xtreme) -> Contrast:
    """The best of the rows, or the baseline, for each target, chosen as the paper does, less the baseline on test."""
    rows = find_rows(study, claim.rows)
    keys = {row.key for row in rows.found}
    block = next((block for block in study.table.blocks if any(row.key in keys for row in block.rows)), None)
    if block is None:
        return gather({WHOLE: None}, (), (rows,), ())
    compared = tuple(row for row in block.rows if row.key in keys or row is block.rows[0])
    contest = study.scored.compare(replace(block, rows=compared), honest=False)
    gain = replace(contest.gain, name="best models")
    chosen = {choice.row.key for target, choice in contest.choices.items() if choice.row and target in claim.targets}
    best = [row for row in compared if row.key in chosen]
    values = score_row(gain, claim.targets)
    return gather({WHOLE: estimate_seeds(values)}, best, (rows,), describe_gaps([gain], claim.targets))
