"""From files to scores: all files of one thing under one key, counted once where they agree, a conflict where they do
not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregate.scores.columns import released_split
from aggregate.scores.readings import NO_TEXT, Label, Readings
from stilts.results import RowKey
from stilts.tasks.catalogue import TARGET_METRICS

Seed = int | None
MAX_NAMED = 20  # files of one finding


class SetKey(NamedTuple):
    """What a set of scores is of. The one released set of a target counts as split `test`.

    `owner` is the row that the files' labels name, or the run where the plan says which cells that run fills;
    a planned run has no seed here, for the plan says that too.
    """

    suite: str
    stage: str
    owner: RowKey | str
    target: str
    split: str
    seed: Seed
    layer: int | None


@dataclass
class ScoreSet:
    """The scores of one key in all its languages: `numbers` by metric and language.

    `conflicts` are languages with contradicting files, which have no numbers. `recipes` are those that the files carry,
    each with the first of them; `runs` are the runs that they name.
    """

    key: SetKey
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    conflicts: set[str] = field(default_factory=set)
    recipes: dict[str, str] = field(default_factory=dict)
    runs: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Languages that files have told a score of, contradicting files included."""
        return len(self.conflicts.union(*self.numbers.values()))


@dataclass(frozen=True, order=True)
class Finding:
    """Something wrong with files (relative to the results folder): named, and not averaged in."""

    files: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        more = len(self.files) - MAX_NAMED
        return f"{', '.join(self.files[:MAX_NAMED])}{f' and {more:,} files more' if more > 0 else ''}: {self.reason}"


def merge(
    readings: Readings, files: NDArray[np.int64], planned: Mapping[str, object]
) -> tuple[list[ScoreSet], list[Finding]]:
    """The scores that these files tell, sets in the order of their first files, and all doubts about them.

    `planned` are the runs that the plan names.
    """
    if not len(files):
        return [], []
    merging = _Merging(readings, files, planned)
    merging.settle_doubles()
    merging.set_strays_apart()
    return merging.make_sets(), merging.findings


class _Keys:
    """Keys of sets as numbers: the part that the files of a run share, beside the part that those of a target share."""

    def __init__(self, readings: Readings, planned: Mapping[str, object]) -> None:
        columns, labels, spots = readings.columns, readings.tables.labels.values, readings.tables.spots.values
        owners: dict[tuple[str, str, RowKey | str, Seed], int] = {}
        parts: dict[tuple[str, str, int | None], int] = {}
        self._owner = np.array([owners.setdefault(_find_owner(label, planned), len(owners)) for label in labels])
        # The one released set of a target has one name for the scores of targets alone.
        named = [(spot.target, spot.split, spot.layer) for spot in spots]
        released = [(spot.target, released_split(spot.target, spot.split), spot.layer) for spot in spots]
        self._part = np.array([[parts.setdefault(part, len(parts)) for part in own] for own in (named, released)])
        self._scored = np.array([label.stage == "target" for label in labels], np.int64)
        self._owners, self._parts, self._columns = list(owners), list(parts), columns

    def encode(self, files: NDArray[np.int64]) -> NDArray[np.int64]:
        labels, spots = self._columns.label[files], self._columns.spot[files]
        part = self._part[self._scored[labels], spots]
        return np.asarray(self._owner[labels] * len(self._parts) + part)

    def decode(self, code: int) -> SetKey:
        owner, part = divmod(code, len(self._parts))
        (suite, stage, name, seed), (target, split, layer) = self._owners[owner], self._parts[part]
        return SetKey(suite, stage, name, target, split, seed, layer)


def _find_owner(label: Label, planned: Mapping[str, object]) -> tuple[str, str, RowKey | str, Seed]:
    if label.stage == "target" and label.run in planned:
        return label.suite, label.stage, label.run, None
    return label.suite, label.stage, label.row, label.seed


class _Merging:
    """Files sorted by the set that they belong to, those of a set in the order of the tree. A place is a file's number
    among them; `counted` are those whose numbers count, `known` those whose recipes and runs do."""

    def __init__(self, readings: Readings, files: NDArray[np.int64], planned: Mapping[str, object]) -> None:
        keys = _Keys(readings, planned)
        codes = keys.encode(files)
        order = np.argsort(codes, kind="stable")
        self.readings, self.files, codes = readings, files[order], codes[order]
        self.starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
        self.stops = np.append(self.starts[1:], len(files))
        self.keys = [keys.decode(code) for code in codes[self.starts].tolist()]
        self.set_of = np.repeat(np.arange(len(self.starts)), self.stops - self.starts)
        self.counted = np.ones(len(files), np.bool_)
        self.known = np.ones(len(files), np.bool_)
        self.findings: list[Finding] = []
        self.conflicts: dict[int, set[str]] = defaultdict(set)
        numbers: dict[str, int] = {}
        spots = [numbers.setdefault(spot.language, len(numbers)) for spot in readings.tables.spots.values]
        self.language = np.array(spots)[readings.columns.spot[self.files]]
        self.languages = list(numbers)

    def settle_doubles(self) -> None:
        """Of several files of one thing the first counts where all have the same numbers, else none."""
        codes = self.set_of * len(self.languages) + self.language
        order = np.argsort(codes, kind="stable")
        again = np.flatnonzero(codes[order][1:] == codes[order][:-1])
        groups: dict[int, dict[int, None]] = defaultdict(dict)
        for place in np.concatenate([order[again], order[again + 1]]).tolist():
            groups[int(codes[place])][place] = None
        for group in groups.values():
            self._settle(sorted(group))

    def _settle(self, group: list[int]) -> None:
        """The one released set of a target may lie there under both its labels."""
        number, language = int(self.set_of[group[0]]), self.languages[int(self.language[group[0]])]
        what = describe(self.keys[number], language)
        told = [self._read_numbers(place) for place in group]
        spots = self.readings.columns.spot[self.files[group]].tolist()
        labels = {self.readings.tables.spots.values[spot].split for spot in spots}
        self.counted[group[1:]] = False
        if all(own == told[0] for own in told):
            if len(group) > len(labels):
                self._find(group, f"duplicate: the same numbers for {what}; counted once")
            return
        self.counted[group[0]] = False
        self.conflicts[number].add(language)
        where = " (its one released set, labelled dev and test)" if len(labels) > 1 else ""
        texts = {", ".join(f"{name} {value!r}" for name, value in sorted(own.items())) for own in told}
        values = " against ".join(sorted(texts))
        self._find(group, f"conflict: different numbers for {what}{where}: {values}; none used")

    def set_strays_apart(self) -> None:
        """Scores without a seed where the same row and target has seeds: nothing says which of them counts."""
        seeds: dict[SetKey, list[int]] = defaultdict(list)
        for key in self.keys:
            if key.seed is not None:
                seeds[key._replace(seed=None)].append(key.seed)
        for number, key in enumerate(self.keys if seeds else ()):
            if key in seeds:
                self._set_apart(number, sorted(seeds[key]))

    def _set_apart(self, number: int, seeds: list[int]) -> None:
        groups: dict[int, list[int]] = defaultdict(list)
        for place in range(int(self.starts[number]), int(self.stops[number])):
            groups[int(self.language[place])].append(place)
        for language, group in groups.items():
            what = describe(self.keys[number], self.languages[language])
            self._find(group, f"{what}: seed null beside seeds {', '.join(map(str, seeds))}; set apart")
            self.counted[group] = False
            self.known[group] = self.languages[language] in self.conflicts.get(number, ())

    def _find(self, group: list[int], reason: str) -> None:
        self.findings.append(Finding(tuple(sorted(self._name(place) for place in group)), reason))

    def _name(self, place: int) -> str:
        return self.readings.name(int(self.files[place]))

    def _read_numbers(self, place: int) -> dict[str, float]:
        file, columns = self.files[place], self.readings.columns
        names = self.readings.tables.metrics.values[columns.metrics[file]]
        key = self.keys[self.set_of[place]]
        wanted = list_wanted(key.stage, key.target, names)
        return {name: float(columns.values[columns.first[file] + offset]) for name, offset in wanted}

    def make_sets(self) -> list[ScoreSet]:
        """Every set that has a number or a conflict."""
        numbers = self._read_sets()
        starts, stops = self.starts.tolist(), self.stops.tolist()
        first = self.files[self.starts].tolist()
        recipe, label = (
            column[self.files].tolist() for column in (self.readings.columns.recipe, self.readings.columns.label)
        )
        alike = self._have_one_origin().tolist()
        sets = []
        for number in sorted({*numbers, *self.conflicts}, key=first.__getitem__):
            start, stop = starts[number], stops[number]
            # A folder's files are sorted, so that the first file tells all.
            places = [start] if alike[number] else (start + np.flatnonzero(self.known[start:stop])).tolist()
            conflicts = self.conflicts.get(number, set())
            one = ScoreSet(self.keys[number], numbers.get(number, {}), conflicts)
            one.recipes = self._list_recipes([(place, recipe[place]) for place in places if recipe[place] != NO_TEXT])
            one.runs = tuple(sorted({self.readings.tables.labels.values[label[place]].run for place in places}))
            sets.append(one)
        return sets

    def _have_one_origin(self) -> NDArray[np.bool_]:
        """Of each set whether all its files are of one run and recipe, and lie in one folder."""
        columns, alike = self.readings.columns, np.logical_and.reduceat(self.known, self.starts)
        folders = self.readings.folder_of(self.files)
        for values in (columns.recipe[self.files], columns.label[self.files], folders):
            alike &= np.minimum.reduceat(values, self.starts) == np.maximum.reduceat(values, self.starts)
        return np.asarray(alike)

    def _list_recipes(self, files: list[tuple[int, int]]) -> dict[str, str]:
        """Recipes (a hash of a run's configuration without its seed), each with the first file by name; from places of
        files, each with that of its recipe."""
        recipes: dict[str, str] = {}
        for place, recipe in files:
            text, name = self.readings.tables.texts.values[recipe], self._name(place)
            recipes[text] = min(recipes.get(text, name), name)
        return recipes

    def _read_sets(self) -> dict[int, dict[str, dict[str, float]]]:
        """The numbers of each set, read at once for files that have the same names of metrics."""
        columns, names = self.readings.columns, self.readings.tables.metrics.values
        places = np.flatnonzero(self.counted)
        if not len(places):
            return {}
        sets, files = self.set_of[places], self.files[places]
        metrics, first = columns.metrics[files], columns.first[files]
        changes = np.flatnonzero((sets[1:] != sets[:-1]) | (metrics[1:] != metrics[:-1])) + 1
        cuts = [0, *changes.tolist(), len(places)]
        languages = [self.languages[number] for number in self.language[places].tolist()]

        @cache
        def list_values(offset: int) -> list[float]:
            """What stands there in every file, or in the next one's place where a file has fewer."""
            values: list[float] = columns.values[np.minimum(first + offset, len(columns.values) - 1)].tolist()
            return values

        read: dict[int, dict[str, dict[str, float]]] = {}
        beginnings = zip(sets[cuts[:-1]].tolist(), metrics[cuts[:-1]].tolist(), strict=True)
        for (number, own), (start, stop) in zip(beginnings, pairwise(cuts), strict=True):
            key, found = self.keys[number], read.setdefault(number, {})
            for name, offset in list_wanted(key.stage, key.target, names[own]):
                numbers = dict(zip(languages[start:stop], list_values(offset)[start:stop], strict=True))
                found[name] = found[name] | numbers if name in found else numbers
        return read


@lru_cache(maxsize=1024)
def list_wanted(stage: str, target: str, names: tuple[str, ...]) -> list[tuple[str, int]]:
    """The metrics that make up a score, each with its place in a file; others (a loss) may differ between copies."""
    wanted = TARGET_METRICS[target] if stage == "target" else names
    return [(name, names.index(name)) for name in wanted if name in names]


def describe(key: SetKey, language: str) -> str:
    """What one number is the score of, in words, defaults left out."""
    layer = "" if key.layer is None else f" layer {key.layer}"
    what = f"{key.target} {key.split} {language}"
    if isinstance(key.owner, str):
        return f"run {key.owner}, {what}{layer}"
    return f"{describe_row(key.owner)}, {what} seed {'null' if key.seed is None else key.seed}{layer}"


def describe_row(row: RowKey) -> str:
    training = " > ".join(row.tasks) if row.mode == "sequential" else "+".join(row.tasks)
    marks = [mark for mark, there in (("mlm", row.mlm), ("translated", row.translated)) if there]
    marks += [f"variant {row.variant}"] if row.variant else []
    return " ".join([row.model, training or "without intermediate training", *marks])
