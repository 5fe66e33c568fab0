"""Which runs a command is about: the one language of `--select`, in every command the same.

    target=xnli seed=1,2        axis values: terms of one expression all hold, the values of one term are "any of"
    intermediate=mnli+squad1    a mixture; mnli-then-squad1 is a sequence, none the baseline
    target.learning_rate=1e-5   every axis of the grid, dotted ones too
    task=mnli stage=fetch       what a run trains on, scores, reads or tokenises; the stage
    state=failed,cancelled      the state
    state!=done                 not these
    target-xnli-none-s1-3f9a    a run by its id, or by the beginning of it that no other run has
    'intermediate-*-s1-*'       shell patterns, for ids and for values

A run that is shared (data, a base model, an encoder of several targets) has an axis's value only where everything
that is built on it has that value: `target=xnli` is what only xnli needs, so that cancelling it harms nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from launch.axes import NAMED_AXES
from launch.expand import Combination
from launch.names import IN_TURN, MIXED
from launch.observation.states import STATES, Observation
from launch.options import add_select as add_select
from launch.options import selected_expressions as selected_expressions
from launch.plan import Plan
from stilts.document import unknown
from stilts.errors import UserError
from stilts.runs import STAGE_VERSIONS, Run

RUN_KEYS = ("stage", "state", "task")
DOWNSTREAM = ("target", "retrieval")  # settings that an encoder does not depend on: `target`, `target.epochs`, ...
_TERM = re.compile(r"([a-z][a-z0-9_.]*)(!?=)(.*)", re.DOTALL)
_GLOB = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Term:
    """`key=a,b` or `key!=a,b`; a bare word has the key `id`."""

    key: str
    values: tuple[str, ...]
    negated: bool = False

    def holds(self, spelled: Iterable[str]) -> bool:
        """Whether any spelling of the run's own value is one of the term's, or none of them where it is negated."""
        found = any(_fits(value, own) for own in spelled for value in self.values)
        return found != self.negated


Expression = tuple[Term, ...]


@dataclass(frozen=True)
class Selection:
    """Expressions that were checked against a plan: a run is chosen where all terms of any of them hold for it."""

    plan: Plan
    expressions: tuple[Expression, ...]

    def choose(self, observations: Mapping[str, Observation]) -> list[str]:
        """Ids of the chosen runs, parents first; every run where there is no expression."""
        if not self.expressions:
            return list(self.plan.runs)
        lineage = _Lineage(self.plan)
        chosen = {run_id for terms in self.expressions for run_id in self._find(terms, observations, lineage)}
        return [run_id for run_id in self.plan.runs if run_id in chosen]

    def _find(self, terms: Expression, observations: Mapping[str, Observation], lineage: _Lineage) -> list[str]:
        axes = [term for term in terms if term.key not in (*RUN_KEYS, "id")]
        own = [term for term in terms if term.key in (*RUN_KEYS, "id")]
        candidates = lineage.find(axes) if axes else self.plan.runs
        return [
            run_id
            for run_id in candidates
            if all(term.holds(_own_values(term.key, self.plan.runs[run_id], observations)) for term in own)
        ]


def select(plan: Plan, observations: Mapping[str, Observation], expressions: Iterable[str]) -> list[str]:
    """Ids of the runs that any of the expressions selects, in the plan's order (parents first).

    Every run where no expression is given. Raises UserError with all problems of the expressions.
    """
    return read_selection(plan, expressions).choose(observations)


def read_selection(plan: Plan, expressions: Iterable[str]) -> Selection:
    """Check expressions against a plan, before anything is asked of the cluster.

    Raises UserError with every problem: unknown keys, values and runs, each with what is legal and the nearest name.
    """
    reader = _Reader(plan)
    parsed = tuple(reader.read(expression) for expression in expressions)
    if reader.problems:
        raise UserError(reader.problems)
    return Selection(plan, parsed)


class _Reader:
    """Parses expressions and collects what is wrong with them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.problems: list[str] = []

    def read(self, expression: str) -> Expression:
        words = expression.split()
        if not words:
            self.problems.append("--select: an empty expression selects nothing; leave it out to mean every run")
        return tuple(self._term(word) for word in words)

    def _term(self, word: str) -> Term:
        match = _TERM.fullmatch(word)
        if match is None:
            return Term("id", (self._run(word),))
        key, sign, text = match.groups()
        values = tuple(value for value in text.split(",") if value)
        if not values:
            self._say(f"'{word}' names no value; write {key}=VALUE or {key}=VALUE,VALUE")
        elif key not in self.legal:
            self._say(unknown(f"key '{key}'", key, self.legal))
        else:
            for value in values:
                self._check(key, value)
        return Term(key, values, sign == "!=")

    def _check(self, key: str, value: str) -> None:
        legal = self.legal[key]
        if any(_fits(value, known) for known in legal):
            return
        # A pattern may match nothing yet; a name that never stands there is a slip.
        if not _GLOB.search(value):
            self._say(unknown(f"value '{value}' of {key}", value, legal))

    def _run(self, word: str) -> str:
        """The one run that a bare word names; a pattern stays what it is."""
        if word in self.plan.runs or _GLOB.search(word):
            if not any(fnmatchcase(run_id, word) for run_id in self.plan.runs):
                self._say(f"no run's id matches the pattern '{word}'")
            return word
        found = [run_id for run_id in self.plan.runs if run_id.startswith(word)]
        if len(found) > 1:
            self._say(
                f"{len(found)} runs begin with '{word}' ({found[0]}, ...); write more of it, or '{word}*' for all"
            )
        elif not found:
            near = unknown("run", word, self.plan.runs).rpartition("; did you mean ")[2].rstrip("?")
            hint = f"; did you mean {near}?" if near.startswith("'") else ""
            self._say(f"no run begins with '{word}'{hint} (a term is KEY=VALUE, or a run's id)")
        return found[0] if found else word

    def _say(self, problem: str) -> None:
        if (told := f"--select: {problem}") not in self.problems:
            self.problems.append(told)

    @cached_property
    def legal(self) -> dict[str, set[str]]:
        """Every key with the values that occur in this plan (of states and stages: all there are)."""
        grid = self.plan.grid
        dotted = dict.fromkeys(name for c in self.plan.combinations for name, _ in c.overrides)
        tasks = {task for run in self.plan.runs.values() for task in _tasks(run)}
        legal: dict[str, set[str]] = {"stage": set(STAGE_VERSIONS), "state": set(STATES), "task": tasks}
        for axis in (*NAMED_AXES, *dotted):
            legal[axis] = {spelled for c in self.plan.combinations for spelled in _spell(axis_value(c, axis, grid))}
        return legal


class _Lineage:
    """Which combinations a run serves, along the DAG."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def find(self, terms: Sequence[Term]) -> list[str]:
        """Runs that have the axis values: those that score any such combination, encoders that any such row has made
        where all their targets fit, and what nothing else is built on."""
        cells, encoders = self._hold(terms)
        below = [term for term in terms if term.key.partition(".")[0] in DOWNSTREAM]
        above = [term for term in terms if term not in below]
        all_fit = self._all(cells)
        downstream_fits = self._all(self._hold(below)[0])
        own_fits = self._hold(above)[1]

        def has(run: Run) -> bool:
            if run.id in cells:
                return any(cells[run.id])
            if run.stage == "intermediate" and run.id in encoders:
                return any(own_fits[run.id]) and downstream_fits[run.id]
            return all_fit[run.id]

        return [run.id for run in self.plan.runs.values() if has(run)]

    def _hold(self, terms: Sequence[Term]) -> tuple[dict[str, list[bool]], dict[str, list[bool]]]:
        """For each scoring run and each encoder whether each of its combinations has the values."""
        cells: dict[str, list[bool]] = {}
        encoders: dict[str, list[bool]] = {}
        for combination, (cell, encoder) in self.plan.combinations.items():
            holds = all(term.holds(_spell(axis_value(combination, term.key, self.plan.grid))) for term in terms)
            cells.setdefault(cell, []).append(holds)
            encoders.setdefault(encoder, []).append(holds)
        return cells, encoders

    def _all(self, cells: Mapping[str, list[bool]]) -> dict[str, bool]:
        """For each run whether every combination that it serves has the values."""
        fits = {run_id: all(cells.get(run_id, ())) for run_id in self.plan.runs}
        for run_id, run in reversed(self.plan.runs.items()):
            if not fits[run_id]:
                fits.update(dict.fromkeys(run.needs, False))
        return fits


def axis_value(combination: Combination, axis: str, grid: Any) -> Any:
    """The value that a combination has on an axis; of a dotted one that it does not set, the grid's own."""
    if axis == "regime":
        return combination.mode
    if axis == "intermediate":
        return _spell_tasks(combination)
    if axis in NAMED_AXES:
        return getattr(combination, axis)
    overrides = dict(combination.overrides)
    if axis in overrides:
        return overrides[axis]
    value = grid
    for part in axis.split("."):
        value = getattr(value, part)
    return value


def _spell_tasks(combination: Combination) -> str:
    joiner = IN_TURN if combination.mode == "sequential" else MIXED
    return joiner.join(combination.tasks) or "none"


def _own_values(key: str, run: Run, observations: Mapping[str, Observation]) -> tuple[str, ...]:
    if key == "id":
        return (run.id,)
    if key == "stage":
        return (run.stage,)
    return (observations[run.id].state,) if key == "state" else _tasks(run)


def _tasks(run: Run) -> tuple[str, ...]:
    """What a run trains on, scores, reads or tokenises; nothing for models."""
    named = [run.config[key] for key in ("task", "target") if isinstance(run.config.get(key), str)]
    return (*named, *run.config.get("tasks", ()))


def _spell(value: Any) -> tuple[str, ...]:
    """How a value may be written: `1e-05` and `0.00001`, `none` and `default` for what the grid leaves open."""
    if value is None:
        return ("none", "default")
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, (list, tuple)):
        return ("+".join(map(str, value)),)
    if hasattr(value, "model_dump"):
        return (str(value.model_dump(exclude_defaults=True)),)
    return (str(value),)


def _fits(given: str, own: str) -> bool:
    """Whether a given value is a run's own: the same text, the same number, a mixture in another order, a pattern."""
    number = _number(given)
    if given == own or (number is not None and number == _number(own)):
        return True
    if MIXED in given and sorted(given.split(MIXED)) == sorted(own.split(MIXED)):
        return True
    return bool(_GLOB.search(given)) and fnmatchcase(own, given)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
