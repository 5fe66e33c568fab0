"""What the table is expected to hold: everything of the suite, or what a resolved grid names under `expected`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aggregate.scores.collection import Collection
from aggregate.scores.columns import released_split
from aggregate.scores.merging import Seed
from stilts.errors import UserError
from stilts.results import DEFAULT_MODEL, Intermediate, RowKey, describe_error
from stilts.runs import canonical_json
from stilts.tasks.catalogue import TARGET_ORDER, TARGETS, TOY_TARGETS, target_languages

GRID_IN_RESULTS = Path("campaign", "grid.json")
SPLIT = "dev"  # the main table reads dev


RunName = Annotated[str, Field(pattern=r"^[^/\x00]+$")]


class ExpectedRow(BaseModel):
    """One row; `runs` are those that fill it, by target and seed. Without them its files are known by their labels."""

    model_config = ConfigDict(extra="forbid")

    model: str = DEFAULT_MODEL
    mode: str
    tasks: list[str] = []
    mlm: bool = False
    translated: bool = False
    variant: str = ""
    runs: dict[str, dict[int, RunName]] = {}

    def key(self) -> RowKey:
        """Raises ValidationError where mode and tasks do not fit each other."""
        training = Intermediate.model_validate(
            {"mode": self.mode, "tasks": self.tasks, "mlm": self.mlm, "translated": self.translated}
        )
        return RowKey(self.model, self.variant, training.mode, training.tasks, self.mlm, self.translated)


class ScaleMark(BaseModel):
    """A point of a scale block: so many tasks, of this draw, in this order of it, stand in the row of this number.

    `variant` is the curve's; the row of a single task lacks settings that only several tasks have.
    """

    model_config = ConfigDict(extra="forbid")

    count: int
    draw: int
    regime: Literal["multitask", "sequential"]
    order: int
    variant: str = ""
    row: Annotated[int, Field(ge=0)]


class ScaleMarks(BaseModel):
    """The points of a scale block. Draws of the same `pool` and `seed` are the same in every grid."""

    model_config = ConfigDict(extra="forbid")

    pool: list[str]
    seed: int
    points: list[ScaleMark]


class Expected(BaseModel):
    """The key `expected` of a resolved grid. A part that is absent restricts nothing."""

    model_config = ConfigDict(extra="forbid")

    suite: Literal["xtreme", "toy"] = "xtreme"
    targets: dict[str, dict[Literal["dev", "test"], Annotated[list[str], Field(min_length=1)]]] | None = None
    seeds: Annotated[list[int], Field(min_length=1)] | None = None
    rows: list[ExpectedRow] = []
    scale: ScaleMarks | None = None

    def planned(self) -> dict[str, set[str]]:
        """Every run that the plan names, with the targets that it is to fill."""
        planned: dict[str, set[str]] = defaultdict(set)
        for row in self.rows:
            for target, runs in row.runs.items():
                for run in runs.values():
                    planned[run].add(target)
        return planned


@dataclass(frozen=True)
class Scope:
    """What a table covers. `languages` has every target of the suite; `seeds` None means those found.

    `required` are the targets whose absence counts as missing, `rows` those that must be there. `runs` says which
    run fills which cell: row, target, seed. One run under every seed has none of its own; it stands under None.
    `split` is the one whose scores it is about.
    """

    suite: str
    languages: dict[str, tuple[str, ...]]
    required: tuple[str, ...]
    seeds: tuple[int, ...] | None
    rows: tuple[RowKey, ...]
    from_grid: bool
    runs: dict[RowKey, dict[str, dict[Seed, str]]] = field(default_factory=dict)
    digest_text: str = ""
    split: str = SPLIT

    def full(self, target: str) -> tuple[str, ...]:
        """Languages of the published mean, whatever the grid restricts it to."""
        return target_languages(target, released_split(target, self.split), self.suite)

    def asks(self, row: RowKey, target: str) -> bool:
        """Whether the absence of this cell counts as missing."""
        return target in self.required and (row not in self.runs or target in self.runs[row])

    def is_narrow(self, target: str) -> bool:
        """Whether the mean is over fewer languages than XTREME's."""
        return len(self.languages[target]) < len(self.full(target))


def suite_targets(suite: str) -> tuple[str, ...]:
    return tuple(target for target in TARGET_ORDER if suite != "toy" or target in TOY_TARGETS)


def find_expected(results: Path, grid: Path | None) -> Expected | None:
    """The expectation of `grid`, else of the campaign root's own resolved grid, else None (the whole suite).

    Raises UserError where the file is unreadable, names what does not exist, or `grid` has no `expected`.
    """
    path = grid or results / GRID_IN_RESULTS
    if grid is None and not path.is_file():
        return None
    document = read_grid(path)
    if grid is not None and "expected" not in document and isinstance(document.get("name"), str):
        # The YAML that grid.py was given: its resolved copy has its name.
        resolved = results / GRID_IN_RESULTS.parent / "grids" / f"{Path(document['name']).name}.json"
        document = read_grid(resolved) if resolved.is_file() else document
    if "expected" not in document:
        if grid is None:
            return None
        raise UserError(
            f"{path}: no key `expected`; --grid takes the resolved copy that launch/grid.py keeps in the campaign "
            f"root as {GRID_IN_RESULTS.as_posix()}"
        )
    return parse_expected(path, document)


def find_grids(results: Path) -> Iterator[Expected]:
    """The expectations of all grids that the campaign root keeps, by name. Raises UserError like `find_expected`."""
    for path in sorted((results / GRID_IN_RESULTS.parent / "grids").glob("*.json")):
        document = read_grid(path)
        if "expected" in document:
            yield parse_expected(path, document)


def parse_expected(path: Path, document: dict[str, Any]) -> Expected:
    try:
        expected = Expected.model_validate(document["expected"])
    except ValidationError as error:
        raise UserError(f"{path}: expected.{describe_error(detail)}" for detail in error.errors()) from None
    problems = list(check_expected(expected))
    if problems:
        raise UserError(f"{path}: expected.{problem}" for problem in problems)
    return expected


def read_grid(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a JSON or YAML document: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: a resolved grid is a mapping, this is a {type(document).__name__}")
    return document


def check_expected(expected: Expected) -> Iterator[str]:
    known = suite_targets(expected.suite)
    for target, splits in (expected.targets or {}).items():
        if target not in known:
            yield f"targets: unknown target {target!r} of suite {expected.suite}; known: {', '.join(known)}"
            continue
        for split, languages in splits.items():
            legal = target_languages(target, released_split(target, split), expected.suite)
            strangers = [language for language in languages if language not in legal]
            if strangers:
                yield f"targets.{target}.{split}: unknown languages {', '.join(strangers)}; known: {' '.join(legal)}"
    named: dict[tuple[RowKey, str, int], str] = {}
    for index, row in enumerate(expected.rows):
        try:
            key = row.key()
        except ValidationError as error:
            yield from (f"rows.{index}: {describe_error(detail)}" for detail in error.errors())
            continue
        for target, runs in row.runs.items():
            if target not in known:
                yield f"rows.{index}.runs: unknown target {target!r} of suite {expected.suite}"
            for seed, run in runs.items():
                other = named.setdefault((key, target, seed), run)
                if other != run:
                    yield f"rows.{index}.runs.{target}.{seed}: {run}, but the same row has {other} there before"
    for index, mark in enumerate(expected.scale.points if expected.scale else ()):
        if mark.row >= len(expected.rows):
            yield f"scale.points.{index}.row: {mark.row}, but there are {len(expected.rows)} rows, counted from 0"
        elif len(expected.rows[mark.row].tasks) != mark.count:
            yield f"scale.points.{index}: {mark.count} tasks, but row {mark.row} has another number"


def define_scope(expected: Expected | None, collection: Collection, split: str = SPLIT) -> Scope:
    """Join a grid's restriction of a split with the catalogue. Without a grid the suite is that found, xtreme first."""
    if expected is None:
        suites = {one.key.suite for one in collection.sets}
        expected, from_grid = Expected(suite="toy" if suites == {"toy"} else "xtreme"), False
    else:
        from_grid = True
    restricted = {target: narrow_languages(expected, target, split) for target in expected.targets or {}}
    languages = {
        target: restricted.get(target) or target_languages(target, released_split(target, split), expected.suite)
        for target in suite_targets(expected.suite)
    }
    if expected.targets is None:
        required = suite_targets(expected.suite)
    else:
        required = tuple(target for target in TARGET_ORDER if restricted.get(target))
    return Scope(
        suite=expected.suite,
        languages=languages,
        required=required,
        seeds=tuple(sorted(set(expected.seeds))) if expected.seeds is not None else None,
        rows=tuple(row.key() for row in expected.rows),
        from_grid=from_grid,
        runs=name_runs(expected),
        # The main table does not depend on what is a point of a curve.
        digest_text=canonical_json(expected.model_dump(exclude={"scale"})) if from_grid else "",
        split=split,
    )


def name_runs(expected: Expected) -> dict[RowKey, dict[str, dict[Seed, str]]]:
    """The runs of each row that has some, by target and seed."""
    named: dict[RowKey, dict[str, dict[Seed, str]]] = {}
    for row in expected.rows:
        for target, runs in row.runs.items():
            named.setdefault(row.key(), {}).setdefault(target, {}).update(runs.items())
    for targets in named.values():
        for target, by_seed in targets.items():
            if len(by_seed) > 1 and len(set(by_seed.values())) == 1:
                targets[target] = {None: next(iter(by_seed.values()))}
    return named


def narrow_languages(expected: Expected, target: str, split: str) -> tuple[str, ...]:
    """Expected languages of a split, in the catalogue's order; none where only the other one is asked for."""
    splits = (expected.targets or {})[target]
    wanted = {code for label, languages in splits.items() if counts(target, label, split) for code in languages}
    full = target_languages(target, released_split(target, split), expected.suite)
    return tuple(language for language in full if language in wanted)


def counts(target: str, label: str, split: str) -> bool:
    """Whether scores labelled so enter a table of `split`: its own, and both labels of the one released set."""
    assert target in TARGETS
    return released_split(target, label) == released_split(target, split)
