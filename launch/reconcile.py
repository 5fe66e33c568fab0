"""Wanted against observed gives actions: which jobs to cancel, and which arrays to submit in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from launch.observation.states import LIVE, Observation
from launch.packs import cut_packs, job_resources
from launch.plan import Plan
from launch.resources import Resources
from stilts.runs import Run, canonical_json


@dataclass(frozen=True)
class Array:
    """One sbatch call: runs that share a resource class and what they wait for.

    Elements wait for `after_ok` (the encoder that they all start from) to succeed, or, with `same_index`, each
    for the element of that array that has its own index. For prepared data they wait only until it has ended:
    one broken data set must not keep the others' runs from starting, and the guard in each job refuses those
    whose own data is not done.
    """

    runs: tuple[str, ...]
    resources: Resources
    after_ok: str | None = None
    same_index: tuple[str, ...] = ()
    after_any: tuple[str, ...] = ()
    size: int = 1

    @property
    def elements(self) -> int:
        """Elements of the array, each of `size` runs."""
        return -(-len(self.runs) // self.size)

    @property
    def job_resources(self) -> Resources:
        """What one element asks for; `resources` are those of one run."""
        return job_resources(self.resources, self.size)

    @property
    def gpus(self) -> int:
        """GPUs of one element."""
        return self.job_resources.gpus * self.resources.nodes

    def name(self, plan: Plan) -> str:
        """How it reads in squeue before its elements take their own names."""
        stages = sorted({plan.runs[run_id].stage for run_id in self.runs})
        return self.runs[0] if len(self.runs) == 1 else "+".join(stages)


@dataclass
class Actions:
    """What the launcher will do, and why nothing is done for the rest."""

    cancel: list[str] = field(default_factory=list)
    arrays: list[Array] = field(default_factory=list)

    @property
    def runs(self) -> list[str]:
        return [run_id for array in self.arrays for run_id in array.runs]


def decide(
    plan: Plan, observations: Mapping[str, Observation], max_array: int = 1001, wanted: Iterable[str] | None = None
) -> Actions:
    """The fewest actions that bring every runnable run of the plan (of `wanted` alone, where it is given) to done.

    Jobs that can do no good are cancelled: the doomed (their parent failed or was cancelled, they would wait for
    ever), and those of a run that has another one. What is neither done nor live is submitted.
    """
    useless = [o.job for o in observations.values() if o.doomed and o.job]
    useless += [job for o in observations.values() for job in o.surplus]
    working = working_jobs(observations)
    useless = [job for job in dict.fromkeys(useless) if job not in working]
    chosen = wanted_runs(plan, observations) if wanted is None else wanted
    return Actions(useless, group(plan, chosen, observations, max_array))


def wanted_runs(plan: Plan, observations: Mapping[str, Observation]) -> list[str]:
    """Runs to start, parents first: neither done nor live, nor in a pack whose other runs are."""
    working = working_jobs(observations)
    ended = (run_id for run_id in plan.runs if observations[run_id].state not in ("done", *LIVE))
    return [run_id for run_id in ended if observations[run_id].job not in working]


def working_jobs(observations: Mapping[str, Observation]) -> set[str]:
    """Jobs that some run is at work in, or waits for: a pack is not cancelled for one of its runs."""
    return {o.job for o in observations.values() if o.job and o.state in LIVE}


def narrow(plan: Plan, wanted: Iterable[str], chosen: Container[str], limit: int | None) -> tuple[list[str], list[str]]:
    """Of the wanted runs the first `limit` that are chosen, with their unfinished ancestors; and those ancestors."""
    order = list(wanted)
    asked = set([run_id for run_id in order if run_id in chosen][:limit])
    needed = set(asked)
    for run_id in reversed(order):  # children before their parents
        if run_id in needed:
            needed.update(plan.runs[run_id].needs)
    kept = [run_id for run_id in order if run_id in needed]
    return kept, [run_id for run_id in kept if run_id not in asked]


def group(plan: Plan, wanted: Iterable[str], observations: Mapping[str, Observation], max_array: int) -> list[Array]:
    """Arrays in an order in which every parent is submitted before its children.

    Children of one array of encoders go, whichever takes fewer calls, into one array for each encoder
    (`afterok:<A>_<i>`) or into one array for each kind of child with `aftercorr:<A>` on equal index ranges.
    """
    waves: dict[int, list[str]] = {}
    depth: dict[str, int] = {}
    wanted = list(wanted)
    shapes = _shapes(plan, wanted)
    for run_id in wanted:
        depth[run_id] = 1 + max((depth.get(need, -1) for need in plan.runs[run_id].needs), default=-1)
        waves.setdefault(depth[run_id], []).append(run_id)
    arrays: list[Array] = []
    for _, runs in sorted(waves.items()):
        arrays.extend(_group_wave(plan, runs, observations, arrays, shapes, max_array))
    return arrays


def _shapes(plan: Plan, wanted: list[str]) -> dict[str, frozenset[str]]:
    """The kinds of children of those encoders that share them with so many others that pairing saves calls."""
    kinds: dict[str, set[str]] = {}
    for run_id in wanted:
        encoder = _encoder(plan.runs[run_id])
        if encoder:
            kinds.setdefault(encoder, set()).add(_kind(plan.runs[run_id]))
    shapes = {encoder: frozenset(found) for encoder, found in kinds.items()}
    sizes = Counter(shapes.values())
    return {encoder: shape for encoder, shape in shapes.items() if len(shape) < sizes[shape]}


def _group_wave(
    plan: Plan,
    runs: list[str],
    observations: Mapping[str, Observation],
    before: list[Array],
    shapes: Mapping[str, frozenset[str]],
    max_array: int,
) -> list[Array]:
    families: dict[str | None, list[str]] = {}
    for run_id in runs:
        encoder = _encoder(plan.runs[run_id])
        waits = encoder if encoder and observations[encoder].state != "done" else None
        families.setdefault(waits, []).append(run_id)
    arrays: list[Array] = []
    paired: set[str] = set()
    for parents in before:
        corresponding = _correspond(plan, parents, families, observations)
        if corresponding:
            arrays.extend(corresponding)
            paired.update(parents.runs)
    for waits, children in families.items():
        if waits not in paired:
            arrays.extend(_cut(plan, children, waits, observations, shapes, max_array))
    return arrays


def _cut(
    plan: Plan,
    runs: list[str],
    waits: str | None,
    observations: Mapping[str, Observation],
    shapes: Mapping[str, frozenset[str]],
    max_array: int,
) -> list[Array]:
    """Arrays of one resource class, none larger than the site allows.

    Encoders have arrays of their own, one for each shape: children can pair with them only on equal index ranges.
    """
    classes: dict[tuple[str, bool, frozenset[str] | None], list[str]] = {}
    for run_id in runs:
        key = (_class(plan, run_id), plan.runs[run_id].stage == "intermediate", shapes.get(run_id))
        classes.setdefault(key, []).append(run_id)
    arrays: list[Array] = []
    for members in classes.values():
        resources = plan.resources(members[0])
        for chunk, size in cut_packs(members, resources, max_array):
            data = _data_needs(plan, chunk, observations)
            arrays.append(Array(chunk, resources, after_ok=waits, after_any=data, size=size))
    return arrays


def _correspond(
    plan: Plan,
    parents: Array,
    families: Mapping[str | None, list[str]],
    observations: Mapping[str, Observation],
) -> list[Array] | None:
    """One array per kind of child on the index range of `parents`; None where per-parent arrays are no worse."""
    if len(parents.runs) < 2 or any(parent not in families for parent in parents.runs):
        return None
    if parents.size > 1 or any(plan.resources(run).pack_size > 1 for run in families[parents.runs[0]]):
        return None  # elements of packs do not pair
    by_kind = [{_kind(plan.runs[run]): run for run in families[parent]} for parent in parents.runs]
    kinds = list(by_kind[0])
    complete = all(set(found) == set(kinds) for found in by_kind)
    sizes = all(len(found) == len(families[parent]) for found, parent in zip(by_kind, parents.runs, strict=True))
    if not complete or not sizes:
        return None
    if any(len({_class(plan, found[kind]) for found in by_kind}) > 1 for kind in kinds):
        return None
    per_parent = sum(len({_class(plan, run) for run in families[parent]}) for parent in parents.runs)
    if len(kinds) >= per_parent:
        return None
    arrays = []
    for kind in kinds:
        runs = tuple(found[kind] for found in by_kind)
        data = _data_needs(plan, runs, observations)
        arrays.append(Array(runs, plan.resources(runs[0]), same_index=parents.runs, after_any=data))
    return arrays


def _kind(run: Run) -> str:
    """What makes two runs the same kind of child of two encoders: all but the seed."""
    config = {key: value for key, value in run.config.items() if key != "seed"}
    return canonical_json([run.stage, config])


def _class(plan: Plan, run_id: str) -> str:
    return canonical_json(plan.runs[run_id].infra["resources"])


def _encoder(run: Run) -> str | None:
    """The parent whose success a run waits for: the encoder (or, of a scratch model, its first text)."""
    return run.parents[0] if run.parents else None


def _data_needs(plan: Plan, runs: Iterable[str], observations: Mapping[str, Observation]) -> tuple[str, ...]:
    """Unfinished runs besides their encoders that any of these runs needs."""
    needs = dict.fromkeys(need for run_id in runs for need in plan.runs[run_id].needs)
    encoders = {_encoder(plan.runs[run_id]) for run_id in runs}
    return tuple(need for need in needs if need not in encoders and observations[need].state != "done")
