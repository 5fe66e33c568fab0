"""Product, zip, include and exclude against a slow oracle that spells everything out."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from launch.expand import expand
from launch.spec import Grid
from stilts.tasks.catalogue import TOY_INTERMEDIATES, TOY_TARGETS
from tests.launch.small import problems_of, read

VALUES: dict[str, list[Any]] = {
    "model": ["scratch", "m"],
    "intermediate": ["none", "each", "all", "mnli", ["mnli", "squad1"], ["squad1", "mnli"]],
    "regime": ["multitask", "sequential"],
    "target": ["xnli", "tatoeba", "all"],
    "seed": [1, 2, 3],
    "target.epochs": [1, 2],
    "mlm": [False, True],
    "translated": [False, True],
}


def grid_of(
    axes: dict[str, Any],
    groups: list[dict[str, Any]] | None = None,
    include: list[dict[str, Any]] | None = None,
    exclude: list[dict[str, Any]] | None = None,
) -> Grid:
    return Grid(name="g", suite="toy", axes=axes, zip=groups or [], include=include or [], exclude=exclude or [])


def meanings(name: str, value: Any) -> list[Any]:
    """What one value in the file stands for."""
    if name == "target":
        return list(TOY_TARGETS) if value == "all" else [value]
    if name != "intermediate":
        return [value]
    if value == "each":
        return [(task,) for task in TOY_INTERMEDIATES]
    if value == "all":
        return [TOY_INTERMEDIATES]
    if value == "none":
        return [()]
    return [tuple(value) if isinstance(value, list) else (value,)]


def oracle(grid: Grid) -> list[tuple[Any, ...]]:
    """(model, tasks, mode, target, seed, epochs, mlm, translated) of every combination, in the order of the file, each
    once."""
    found = [point for point in points(grid.axes, grid.zip) if not any(matches(point, e) for e in grid.exclude)]
    for entry in grid.include:
        axes = {**grid.axes, **{name: value if isinstance(value, list) else [value] for name, value in entry.items()}}
        groups = [{name: values for name, values in group.items() if name not in entry} for group in grid.zip]
        found += points(axes, groups)
    return list(dict.fromkeys(spell(point) for point in found))


def points(axes: dict[str, list[Any]], groups: list[dict[str, list[Any]]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{}]
    for name, values in axes.items():
        found = [{**point, name: m} for point in found for value in values for m in meanings(name, value)]
    for group in groups:
        if group:
            length = len(next(iter(group.values())))
            rows = [{name: values[index] for name, values in group.items()} for index in range(length)]
            found = [{**point, **row} for point in found for plain in rows for row in spelled(plain)]
    return found


def spelled(row: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{}]
    for name, value in row.items():
        found = [{**point, name: meaning} for point in found for meaning in meanings(name, value)]
    return found


def matches(point: dict[str, Any], entry: dict[str, Any]) -> bool:
    mixture = point.get("regime", "multitask") == "multitask"
    for name, value in entry.items():
        wanted = [m for v in (value if isinstance(value, list) else [value]) for m in meanings(name, v)]
        has: Any = point.get(name, "multitask" if name == "regime" else None)
        if name == "translated":
            has = spell(point)[-1]
        elif name == "mlm":
            has = point.get("mlm", False)
        if name == "intermediate" and mixture:
            has, wanted = set(has), [set(tasks) for tasks in wanted]
        if has not in wanted:
            return False
    return True


def spell(point: dict[str, Any]) -> tuple[Any, ...]:
    tasks, regime = point["intermediate"], point.get("regime", "multitask")
    mode = "none" if not tasks else "single" if len(tasks) == 1 else regime
    tasks = tuple(sorted(tasks)) if mode == "multitask" else tasks
    translated = bool(tasks) and point.get("translated", False)
    epochs, mlm = point.get("target.epochs"), point.get("mlm", False)
    return (point["model"], tasks, mode, point["target"], point["seed"], epochs, mlm, translated)


def expanded(grid: Grid) -> list[tuple[Any, ...]]:
    return [
        (c.model, c.tasks, c.mode, c.target, c.seed, dict(c.overrides).get("target.epochs"), c.mlm, c.translated)
        for c in expand(grid)
    ]


def some(name: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=3, unique_by=repr)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """A small grid: some names are axes, some stand in a zip group, some are left out."""
    needed = ["model", "intermediate", "target", "seed"]
    names = [*needed, *draw(st.sets(st.sampled_from(["regime", "target.epochs", "mlm", "translated"])))]
    zipped = draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    length = draw(st.integers(1, 3))
    row = {name: st.lists(st.sampled_from(VALUES[name]), min_size=length, max_size=length) for name in zipped}
    entry = st.dictionaries(st.sampled_from(names), st.none(), min_size=1, max_size=3).flatmap(
        lambda chosen: st.fixed_dictionaries(
            {
                name: st.one_of(st.sampled_from(VALUES[name]).filter(lambda v: not isinstance(v, list)), some(name))
                for name in chosen
            }
        )
    )
    return grid_of(
        {name: draw(some(name)) for name in names if name not in zipped},
        [draw(st.fixed_dictionaries(row))] if zipped else [],
        draw(st.lists(entry, max_size=2)),
        draw(st.lists(entry, max_size=2)),
    )


@settings(deadline=None, max_examples=300)
@given(grids())
def test_expand_is_what_the_oracle_spells_out(grid: Grid) -> None:
    assert expanded(grid) == oracle(grid)


def test_an_example_by_hand() -> None:
    grid = grid_of(
        {"model": ["m"], "intermediate": ["none", ["squad1", "mnli"]], "target": ["xnli"], "seed": [1, 2]},
        include=[{"intermediate": "hellaswag", "seed": 7}],
        exclude=[{"intermediate": "none", "seed": 2}],
    )
    assert [row[:5] for row in expanded(grid)] == [
        ("m", (), "none", "xnli", 1),
        ("m", ("mnli", "squad1"), "multitask", "xnli", 1),
        ("m", ("mnli", "squad1"), "multitask", "xnli", 2),
        ("m", ("hellaswag",), "single", "xnli", 7),
    ]


def test_a_zip_group_may_say_a_value_twice() -> None:
    """Its usual purpose: some learning rates for one task, others for another."""
    pairs = {"intermediate": ["mnli", "mnli", "squad1"], "intermediate.learning_rate": [1e-5, 2e-5, 1e-5]}
    grid = grid_of({"model": ["m"], "target": ["xnli"], "seed": [1]}, [pairs])
    found = [(combination.tasks, dict(combination.overrides)) for combination in expand(grid)]
    assert found == [
        (("mnli",), {"intermediate.learning_rate": 1e-5}),
        (("mnli",), {"intermediate.learning_rate": 2e-5}),
        (("squad1",), {"intermediate.learning_rate": 1e-5}),
    ]


def test_include_may_fix_a_whole_zip_group() -> None:
    grid = grid_of(
        {"intermediate": ["none"], "target": ["xnli"]},
        [{"model": ["a", "b"], "seed": [1, 2]}],
        include=[{"model": "c", "seed": 3}],
    )
    assert [(row[0], row[4]) for row in expanded(grid)] == [("a", 1), ("b", 2), ("c", 3)]


def test_exclude_takes_a_mixture_for_a_set_and_a_sequence_for_a_list() -> None:
    axes = {
        "model": ["m"],
        "regime": ["multitask", "sequential"],
        "intermediate": [["mnli", "squad1"]],
        "target": ["xnli"],
        "seed": [1],
    }
    reverse = [{"intermediate": [["squad1", "mnli"]]}]
    assert [row[2] for row in expanded(grid_of(axes, exclude=reverse))] == ["sequential"]
    del axes["regime"]
    assert expanded(grid_of(axes, exclude=[{"regime": "multitask"}])) == []


def test_everything_excluded_is_told() -> None:
    text = "name: g\naxes: {model: m, intermediate: none, target: xnli, seed: 1}\nexclude: [{seed: 1}]\n"
    assert problems_of(text) == []
    assert not expand(read(text))
