"""Which of the expected scores are there: a state for every row, target and seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from aggregate.report.run_facts import RunReader
from aggregate.scores.averages import seed_order
from aggregate.scores.columns import headline_metrics, released_split
from aggregate.scores.merging import Seed
from aggregate.scores.selection import Found
from aggregate.scores.variants import TARGET_PARTS, drop_settings
from aggregate.study import Study
from stilts.results import RowKey
from stilts.tasks.catalogue import TARGET_ORDER, training_of


@dataclass(frozen=True)
class State:
    """`sign` is what tells it from the others where colours do not."""

    name: str
    sign: str
    meaning: str


STATES = (
    State("done", "D", "all scores are there"),
    State("partly", "P", "scored in part: languages, a metric or the other split are missing"),
    State("apart", "X", "there, but set apart: files contradict each other, or seeds are of different recipes"),
    State("running", "R", "an attempt has begun and not ended; whether it still lives launch/status.py knows"),
    State("failed", "F", "the last attempt failed"),
    State("cancelled", "C", "the last attempt was cancelled or interrupted"),
    State("blocked", "B", "something that it is built on failed or was cancelled"),
    State("missing", "M", "no scores, and nothing has been started"),
)


@dataclass(frozen=True)
class Place:
    """One expected score. `seed` None stands for every seed; `runs` are those behind it, none where nobody names one;
    `reason` says what lacks, "" where nothing does."""

    seed: Seed
    state: str
    runs: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Coverage:
    """`cells` have the places of every row of the main table and target that was asked for or found."""

    targets: tuple[str, ...]
    cells: dict[tuple[RowKey, str], tuple[Place, ...]]
    from_grid: bool

    @property
    def counts(self) -> Counter[str]:
        return Counter(place.state for places in self.cells.values() for place in places)

    @property
    def runs(self) -> dict[str, None]:
        """Every run behind a place, once."""
        return dict.fromkeys(run for places in self.cells.values() for place in places for run in place.runs)


def map_coverage(study: Study, reader: RunReader) -> Coverage:
    """With a grid everything that it expects and whatever else was found, without one what was found."""
    scope = study.scope
    expected = set(scope.rows or study.selection.rows) if scope.from_grid else set()
    found_runs = name_found_runs(study)
    cells: dict[tuple[RowKey, str], tuple[Place, ...]] = {}
    for row in study.table.rows:
        for target in TARGET_ORDER:
            if target not in scope.languages:
                continue
            asked = row.key in expected and scope.asks(row.key, target)
            places = tuple(list_places(study, reader, row.key, target, asked, found_runs))
            if places:
                cells[row.key, target] = places
    targets = tuple(target for target in TARGET_ORDER if any(other == target for _, other in cells))
    return Coverage(targets, cells, scope.from_grid)


def name_found_runs(study: Study) -> dict[tuple[RowKey, str, Seed], tuple[str, ...]]:
    """The runs that the metric files name, by row, target and seed, where no plan says whose they are."""
    runs: dict[tuple[RowKey, str, Seed], dict[str, None]] = {}
    for key, names in study.collection.runs.items():
        scored = key.stage == "target" and key.layer is None
        if isinstance(key.owner, RowKey) and scored and key.split == released_split(key.target, study.scope.split):
            runs.setdefault((key.owner, key.target, key.seed), {}).update(dict.fromkeys(names))
    return {place: tuple(sorted(names)) for place, names in runs.items()}


def list_places(
    study: Study,
    reader: RunReader,
    row: RowKey,
    target: str,
    asked: bool,
    found_runs: dict[tuple[RowKey, str, Seed], tuple[str, ...]],
) -> Iterator[Place]:
    """One place for each seed that was asked for or found."""
    planned = study.scope.runs.get(row, {}).get(target, {})
    # An encoder that is scored without any target training serves all rows that differ in settings of that alone.
    shared = drop_settings(row, TARGET_PARTS) if training_of(target) is None else row
    found = study.selection.found.get((row, target), Found())
    seen = {seed for by_seed in found.numbers.values() for seed in by_seed} | set(found.conflicts)
    seeds: set[Seed] = set(planned or study.scope.seeds or seen or {None}) if asked and None not in seen else seen
    for seed in sorted(seeds, key=seed_order):
        run = planned.get(seed) or planned.get(None)
        named = found_runs.get((row, target, seed)) or found_runs.get((shared, target, seed), ())
        runs = (run,) if run else named
        state, reason = judge_scores(study, found, target, seed)
        if state == "missing" and run:
            facts = reader.read(run)
            if (run, target) in study.selection.elsewhere:
                state, reason = "partly", "scored on the other split alone"
            elif facts.state == "done":
                reason = "its run is done, but has no scores that count"
            else:
                state, reason = facts.state, facts.reason
        yield Place(seed, state, runs, reason)


def judge_scores(study: Study, found: Found, target: str, seed: Seed) -> tuple[str, str]:
    """done, partly, apart or missing, with what lacks, from the scores of a seed alone."""
    languages = study.scope.languages[target]
    scores = [found.numbers.get(metric, {}).get(seed, {}) for metric in headline_metrics(target)]
    disputed = [language for language in languages if language in found.conflicts.get(seed, ())]
    lacking = [language for language in languages if any(language not in each for each in scores)]
    if disputed:
        return "apart", f"files contradict each other: {', '.join(disputed)}"
    if len(lacking) == len(languages):
        return "missing", ""
    if found.mixed:
        return "apart", "seeds of different recipes"
    return ("partly", f"missing: {', '.join(lacking)}") if lacking else ("done", "")
