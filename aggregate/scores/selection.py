"""Which scores enter which cell of a table: by the plan's run where it names one, else by the files' labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from aggregate.scores.averages import seed_order
from aggregate.scores.collection import Collection
from aggregate.scores.columns import released_split
from aggregate.scores.expectation import Scope
from aggregate.scores.merging import Finding, ScoreSet, Seed, SetKey, describe_row
from aggregate.scores.variants import TARGET_PARTS, drop_settings, has_settings, split_variant
from stilts.results import RowKey
from stilts.tasks.catalogue import training_of

Place = tuple[RowKey, str]  # row and target


@dataclass
class Found:
    """Everything found for one (row, target).

    `numbers` are per metric, seed and language; `conflicts` are languages with contradicting files, per seed;
    `recipes` hold the seeds of each recipe and one file that carries it.
    """

    numbers: dict[str, dict[Seed, dict[str, float]]] = field(default_factory=dict)
    conflicts: dict[Seed, set[str]] = field(default_factory=dict)
    recipes: dict[str, tuple[str, set[Seed]]] = field(default_factory=dict)

    @property
    def mixed(self) -> bool:
        return len(self.recipes) > 1

    def add(self, one: ScoreSet, seed: Seed) -> None:
        if one.conflicts:
            self.conflicts.setdefault(seed, set()).update(one.conflicts)
        for metric, numbers in one.numbers.items():
            by_seed = self.numbers.setdefault(metric, {})
            by_seed[seed] = by_seed[seed] | numbers if seed in by_seed else numbers
        for recipe, file in one.recipes.items():
            first, seeds = self.recipes.get(recipe, (file, set()))
            self.recipes[recipe] = (min(first, file), seeds | {seed})


@dataclass(frozen=True)
class Selection:
    """The part of a collection that a table of one split reads. `left_out` counts what the grid or the suite excludes;
    `elsewhere` are planned runs with scores of a target on the other split."""

    rows: frozenset[RowKey]
    found: dict[Place, Found]
    left_out: tuple[str, ...]
    findings: tuple[Finding, ...]
    elsewhere: frozenset[tuple[str, str]]


def select(collection: Collection, scope: Scope) -> Selection:
    """Scores of the targets on the split of `scope` at the default layer, each in every cell that it counts in."""
    left_out: Counter[str] = Counter()
    sets = [one for one in collection.sets if enters(one, scope, left_out)]
    by_label, by_run = LabelPlaces(sets, scope), RunPlaces(sets, scope, collection.seedless)
    found: dict[Place, Found] = defaultdict(Found)
    elsewhere: set[tuple[str, str]] = set()
    for one in sets:
        key = one.key
        if key.split != released_split(key.target, scope.split):
            elsewhere |= {(key.owner, key.target)} if isinstance(key.owner, str) else set()
            continue
        places = by_run.find(key, key.owner) if isinstance(key.owner, str) else by_label.find(key, key.owner)
        if places is None:
            left_out["runs that the plan does not name for these cells"] += one.count
        for row, seed in places or ():
            found[row, key.target].add(one, seed)
    counts = tuple(f"{what}: {count} scores" for what, count in sorted(left_out.items()))
    findings = tuple(report_recipes(place, one) for place, one in found.items() if one.mixed)
    return Selection(by_label.rows, dict(found), counts, findings, frozenset(elsewhere))


def select_layers(collection: Collection, scope: Scope) -> dict[tuple[str, int | None], Selection]:
    """The scores of every layer that files name, by target and layer; those of the default layer name none."""
    layered = [one for one in collection.sets if one.key.layer is not None]
    if not layered:
        return {}
    sets = [one for one in collection.sets if enters(one, scope, Counter())]
    by_label, by_run = LabelPlaces(sets, scope), RunPlaces(sets, scope, collection.seedless)
    found: dict[tuple[str, int | None], dict[Place, Found]] = defaultdict(lambda: defaultdict(Found))
    for one in layered:
        key = one.key
        if key.split != released_split(key.target, scope.split) or not enters(one, scope, Counter(), any_layer=True):
            continue
        owner = key.owner
        places = by_run.list_served(key, owner) if isinstance(owner, str) else by_label.find(key, owner)
        for row, seed in places or ():
            found[key.target, key.layer][row, key.target].add(one, seed)
    return {place: Selection(by_label.rows, dict(own), (), (), frozenset()) for place, own in found.items()}


def enters(one: ScoreSet, scope: Scope, left_out: Counter[str], any_layer: bool = False) -> bool:
    """Whether scores can be in this table at all. A run of the plan may be one of another layer."""
    key = one.key
    by_label = isinstance(key.owner, RowKey)
    if key.stage != "target" or (by_label and key.layer is not None and not any_layer):
        return False
    if key.suite != scope.suite:
        left_out[f"suite {key.suite}"] += one.count
        return False
    if by_label and scope.seeds is not None and key.seed is not None and key.seed not in scope.seeds:
        left_out[f"seed {key.seed}, not in the grid"] += one.count
        return False
    return True


class LabelPlaces:
    """Cells by the labels in metric files; `rows` are all rows there are, with those that the grid names."""

    def __init__(self, sets: Iterable[ScoreSet], scope: Scope) -> None:
        self.scope = scope
        self.agreeing: dict[RowKey, list[RowKey]] = defaultdict(list)
        labelled = {(one.key.owner, one.key.target) for one in sets if isinstance(one.key.owner, RowKey)}
        self.own = {place for place in labelled if not is_shared(*place)}
        firm = {row for row, _ in self.own} | set(scope.rows)
        for row in firm:
            self.agreeing[drop_settings(row, TARGET_PARTS)].append(row)
        lone = {row for row, target in labelled if is_shared(row, target) and not self.agree(row)}
        self.rows = frozenset(firm | lone)

    def agree(self, row: RowKey) -> list[RowKey]:
        """Rows that differ from `row` in nothing but target settings of their own."""
        return self.agreeing.get(drop_settings(row, TARGET_PARTS), [])

    def find(self, key: SetKey, row: RowKey) -> list[tuple[RowKey, Seed]] | None:
        """Rows and seed that a score is for; None where only runs of the plan fill them."""
        rows = [row]
        if is_shared(row, key.target):
            rows = [other for other in self.agree(row) or rows if (other, key.target) not in self.own]
        free = [other for other in rows if other not in self.scope.runs]
        return None if rows and not free else [(other, key.seed) for other in free]


def is_shared(row: RowKey, target: str) -> bool:
    """Whether a score is of an encoder before any target training, and so belongs to each of those."""
    return training_of(target) is None and not has_settings(row, TARGET_PARTS)


class RunPlaces:
    """Cells of the plan's runs; one without a seed (`seedless`) stands for every seed of a cell that is its alone."""

    def __init__(self, sets: Iterable[ScoreSet], scope: Scope, seedless: frozenset[str]) -> None:
        self.scope, self.seedless = scope, seedless
        self.served: dict[str, dict[RowKey, set[Seed]]] = defaultdict(lambda: defaultdict(set))
        for row, targets in scope.runs.items():
            for runs in targets.values():
                for seed, run in runs.items():
                    self.served[run][row].add(seed)
        self.layers: dict[tuple[str, str], set[int | None]] = defaultdict(set)
        for one in sets:
            if isinstance(one.key.owner, str):
                self.layers[one.key.owner, one.key.target].add(one.key.layer)

    def find(self, key: SetKey, run: str) -> list[tuple[RowKey, Seed]]:
        """Rows and seeds that a run fills in the main table."""
        places = self.list_served(key, run)
        if key.layer is None or len(self.layers[run, key.target]) == 1:
            return places
        # Of a sweep the layer counts that the row asks for, else the default one, which names none.
        asked = f"retrieval.layer={key.layer}"
        return [(row, seed) for row, seed in places if asked in split_variant(row.variant)]

    def list_served(self, key: SetKey, run: str) -> list[tuple[RowKey, Seed]]:
        """Rows and seeds that a run is for, those of another target of its training included."""
        places: list[tuple[RowKey, Seed]] = []
        for row, seeds in self.served[run].items():
            named = self.scope.runs[row].get(key.target)
            chosen = seeds if named is None else {seed for seed, other in named.items() if other == run}
            if run in self.seedless and set((named or {}).values()) <= {run}:
                chosen = {None}
            places += [(row, seed) for seed in sorted(chosen, key=seed_order)]
        return places


def report_recipes(place: Place, found: Found) -> Finding:
    """One file of each recipe in a cell whose seeds must not be averaged."""
    row, target = place
    told = []
    for recipe, (_, seeds) in sorted(found.recipes.items()):
        numbers = ", ".join("null" if seed is None else str(seed) for seed in sorted(seeds, key=seed_order))
        told.append(f"{recipe} (seed{'s' if len(seeds) > 1 else ''} {numbers})")
    files = tuple(sorted(file for file, _ in found.recipes.values()))
    return Finding(files, f"seeds of different recipes for {describe_row(row)}, {target}: {', '.join(told)}; none used")
