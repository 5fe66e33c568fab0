"""From combinations to a DAG of content-addressed runs: whatever two rows of the study share stands in it once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

from launch.cluster import Cluster
from launch.cost import Tokens, count_tokens, stated_hours
from launch.data_runs import DataRuns
from launch.deepspeed_keys import split_deepspeed
from launch.expand import Combination, expand
from launch.recipes import (
    intermediate_config,
    make_bundle,
    prefix_updates,
    recipe_of,
    training_config,
    variant_text,
)
from launch.resources import Resources, choose_resources
from launch.rows import Row
from launch.scale import UPDATES, Place, find_draws
from launch.spec import Grid
from stilts.errors import UserError
from stilts.runs import STAGE_VERSIONS, Run, canonical_json
from stilts.settings import Settings, TrainingSettings
from stilts.tasks.catalogue import INTERMEDIATES, MLM, TRAININGS, training_of

Overrides = tuple[tuple[str, Any], ...]


@dataclass
class Plan:
    """The DAG in an order in which parents come first, and which run fills which cell of the tables. `classes` are the
    resource classes of runs that were given other resources since.

    `points` are the places on the scale block's curves with the variant of the curve and the row that stands there;
    `combinations` the run that scores each combination, and the one that made the encoder it starts from; `tokens` what
    each run reads, `measured` the GPU-hours of those whose like has run (see `launch/estimates.py`).
    """

    grid: Grid
    cluster: Cluster
    runs: dict[str, Run] = field(default_factory=dict)
    cells: dict[tuple[Row, str], dict[int, str]] = field(default_factory=dict)
    points: set[tuple[Place, str, Row]] = field(default_factory=set)
    classes: dict[str, Resources] = field(default_factory=dict)
    combinations: dict[Combination, tuple[str, str]] = field(default_factory=dict)
    tokens: dict[str, Tokens] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    _described: dict[int, tuple[object, Resources]] = field(default_factory=dict, repr=False)

    def resources(self, run_id: str) -> Resources:
        """What the run asks for: its resource class, or what it was given since."""
        described = self.runs[run_id].infra["resources"]
        if id(described) not in self._described:  # runs of one class share it; while it is kept, its id is its own
            self._described[id(described)] = described, Resources(**described)
        return self._described[id(described)][1]

    def resource_class(self, run_id: str) -> Resources:
        """What the rules give the run."""
        return self.classes.get(run_id) or self.resources(run_id)

    def give(self, run_id: str, resources: Resources) -> None:
        """Let a run ask for other resources than its class; its name does not change with them."""
        self.classes.setdefault(run_id, self.resources(run_id))
        run = self.runs[run_id]
        self.runs[run_id] = replace(run, infra={**run.infra, "resources": resources.model_dump(exclude_none=True)})

    def gpu_hours(self, run_id: str) -> float:
        """Estimated GPU-hours of one run: measured on others like it, else at the stated rate (`launch/cost.py`)."""
        return self.measured.get(run_id, float(self.runs[run_id].infra["gpu_hours"]))


def make_plan(grid: Grid, cluster: Cluster) -> Plan:
    """Expand a grid into its DAG. Raises UserError where settings contradict each other."""
    combinations = expand(grid)
    planner = _Planner(grid, cluster, {combination.target for combination in combinations})
    for combination, places in combinations.items():
        planner.add(combination, places)
    if not planner.plan.runs:
        raise UserError(f"grid '{grid.name}': nothing is left after exclude; the study would have no runs")
    return planner.plan


class _Planner:
    """Adds runs to a plan; the same configuration always gives the same run."""

    def __init__(self, grid: Grid, cluster: Cluster, asked: set[str]) -> None:
        self.plan = Plan(grid, cluster)
        self.data = DataRuns(grid, asked, self._put)
        self.rules = [*cluster.resources, *grid.resources]
        self.draws = find_draws(grid.scale, grid.suite) if grid.scale else {}
        self.recipes: dict[str, str] = {}
        self.toy_sizes = training_sizes(grid)
        self.bundle = lru_cache(maxsize=None)(partial(make_bundle, grid))
        self.row = lru_cache(maxsize=None)(self._row)
        self.encoder = lru_cache(maxsize=None)(self._encoder)
        self.trained = lru_cache(maxsize=None)(self._trained)
        self.resources = lru_cache(maxsize=None)(self._resources)
        self.target_config = lru_cache(maxsize=None)(self._target_config)
        self.shared: dict[Any, dict[str, Any]] = {}
        self.counted: dict[tuple[str, Any], Tokens] = {}

    def add(self, combination: Combination, places: list[Place]) -> None:
        """Add the run of one combination with all its ancestors, its cell, and its places on curves."""
        c = combination
        row = self.row(c.model, c.mode, c.tasks, c.mlm, c.translated, c.overrides)
        training = training_of(c.target)
        if training is None:
            run = self._retrieval(c.target, row, c.seed, c.overrides)
        else:
            run = self.trained(training.name, row, c.seed, c.overrides)
        self.plan.cells.setdefault((row, c.target), {})[c.seed] = run.id
        self.plan.combinations[c] = run.id, run.parents[0]
        for place in places:
            # A single task has fewer settings than the curve that it begins, for instance no replay.
            curve = self.row(c.model, place.regime, c.tasks, c.mlm, c.translated, c.overrides)
            self.plan.points.add((place, curve.variant, row))

    def _row(
        self, model: str, mode: str, tasks: tuple[str, ...], mlm: bool, translated: bool, overrides: Overrides
    ) -> Row:
        variant = variant_text(self.bundle(overrides), mode, mlm, translated, scratch=model == "scratch")
        return Row(model, mode, tasks, variant, mlm, translated)

    def _encoder(self, row: Row, seed: int, overrides: Overrides) -> Run:
        """The run that makes a row's encoder: the pretrained one, or what is trained from it.

        Each phase of a sequence starts from the one before it, so prefixes are shared.
        """
        bundle = self.bundle(overrides)
        base = self.data.base(row.model, bundle)
        if not row.tasks and not row.mlm:
            return base
        config = intermediate_config(row, bundle, seed)
        before = self._prefix(row, seed, overrides) if row.mode == "sequential" else base
        parents = [before.id]
        for task, recipe in config["tasks"].items():
            if task == MLM:
                data = self.data.mlm(base, bundle.mlm)
            elif row.translated:
                data = self.data.translated(task, base, recipe["max_length"], bundle)
            else:
                data = self.data.prepared(task, "train", base, recipe["max_length"])
            parents.append(data.id)
        settings = bundle.intermediate
        sizes = {task: INTERMEDIATES[task].examples for task in config["tasks"] if task != MLM}
        if row.translated:
            sizes = {task: size * (1 + len(bundle.translation.languages)) for task, size in sizes.items()}
        sizes[MLM] = bundle.mlm.sentences
        own = tuple(task for task in config["tasks"] if task in (config.get("phase", task), MLM))
        return self._put(
            "intermediate",
            f"{row.name}-s{seed}",
            config,
            tuple(parents),
            own,
            row=row,
            sizes=sizes,
            settings=settings,
            same=(row, overrides),
        )

    def _prefix(self, row: Row, seed: int, overrides: Overrides) -> Run:
        """The encoder of all phases but the last. A fixed number of updates is cut by the last phase's share, so the
        prefix is the same run as a shorter sequence of that many."""
        tasks, settings = row.tasks[:-1], self.bundle(overrides).intermediate
        if settings.updates:
            shorter = {**dict(overrides), UPDATES: prefix_updates(settings, row.tasks)}
            overrides = tuple(sorted(shorter.items()))
        mode = "single" if len(tasks) == 1 else row.mode
        return self.encoder(self.row(row.model, mode, tasks, row.mlm, row.translated, overrides), seed, overrides)

    def _trained(self, training: str, row: Row, seed: int, overrides: Overrides) -> Run:
        bundle, encoder = self.bundle(overrides), self.encoder(row, seed, overrides)
        base = self.data.base(row.model, bundle)
        config = {**self.target_config(training, overrides), "seed": seed}
        length = config["tasks"][training]["max_length"]
        data = self.data.prepared(training, "train", base, length)
        scores = tuple(self.data.prepared(name, "scored", base, length).id for name in self.data.served(training))
        slug, parents, same = f"{training}-{row.name}-s{seed}", (encoder.id, data.id), (training, row, overrides)
        return self._put(
            "target", slug, config, parents, (training,), scores, row=row, settings=bundle.target, same=same
        )

    def _target_config(self, training: str, overrides: Overrides) -> dict[str, Any]:
        """What all seeds and rows of a target are told; the seed stands in its place."""
        settings = self.bundle(overrides).target
        return training_config({training: recipe_of(TRAININGS[training], settings, several=False)}, settings, seed=0)

    def _retrieval(self, target: str, row: Row, seed: int, overrides: Overrides) -> Run:
        """Scoring without training: the pretrained encoder's run has no seed and is shared by all of them."""
        bundle, encoder = self.bundle(overrides), self.encoder(row, seed, overrides)
        base, settings = self.data.base(row.model, bundle), bundle.retrieval
        data = self.data.prepared(target, "scored", base, settings.max_length)
        config: dict[str, Any] = {**settings.changed(), "target": target}
        slug = f"{target}-{row.name}"
        if encoder is not base:
            config["seed"] = seed
            slug += f"-s{seed}"
        same = (target, row, overrides, encoder is base)
        return self._put("retrieval", slug, config, (encoder.id,), (target,), (data.id,), row=row, same=same)

    def _put(
        self,
        stage: str,
        slug: str,
        config: dict[str, Any],
        parents: tuple[str, ...],
        tasks: tuple[str, ...],
        scores: tuple[str, ...] = (),
        row: Row | None = None,
        sizes: Mapping[str, int] | None = None,
        settings: TrainingSettings | None = None,
        same: Any = None,
    ) -> Run:
        """Add a run with its resources and label, unless it is there. Runs that differ in their seed alone have the
        same infra, found by `same`: one object, computed once."""
        infra: dict[str, Any] = self.shared.get((stage, same), {}) if same is not None else {}
        run = Run(stage, slug, config, parents, scores, infra)
        known = self.plan.runs.setdefault(run.id, run)
        if known is not run:
            if known.digest != run.digest:
                raise UserError(f"two different runs have the name {run.id}; change one of their settings a little")
            return known
        if infra:
            self.plan.tokens[run.id] = self.counted[stage, same]
            return run
        self.shared[stage, same] = infra
        gpus, infra["resources"] = self.resources(stage, tasks)
        # Two GPUs take half of the time: the hours on one are the GPU-hours of any number.
        tokens = count_tokens(run, {**(sizes or {}), **self.toy_sizes})
        self.plan.tokens[run.id] = self.counted[stage, same] = tokens
        infra["gpu_hours"] = stated_hours(tokens, self.plan.cluster.tokens_per_second) if gpus else 0.0
        if config.get("kind") == "data" and "source" not in config and self.plan.grid.data_root:
            infra["data_root"] = self.plan.grid.data_root
        if self.plan.grid.report_to and stage in ("pretrain", "intermediate", "target"):
            infra["report_to"] = self.plan.grid.report_to
        if settings is not None:
            _, deepspeed = split_deepspeed(settings.deepspeed)
            infra |= {"deepspeed": deepspeed} if deepspeed else {}
            infra |= {"restarts": settings.restarts} if settings.restarts else {}
        if row is not None:
            infra["label"] = {"model": row.model_name, "intermediate": row.intermediate, "variant": row.variant}
            infra["label"] |= {"draw": self.draws.get(frozenset(row.tasks)), "recipe": self._recipe(run)}
            if self.plan.grid.keep:
                infra["keep"] = True
        return run

    def _resources(self, stage: str, tasks: tuple[str, ...]) -> tuple[int, dict[str, Any]]:
        chosen: Settings = choose_resources(self.rules, stage, tasks)
        described = chosen.model_dump(exclude_none=True)
        return described["gpus"], described

    def _recipe(self, run: Run) -> str:
        """What two seeds of one cell must have in common: a hash like the run's own, but without seeds."""
        if run.id not in self.recipes:
            # The seeds of a pretrained model and of a text belong to what it is.
            own = run.stage in ("pretrain", "fetch")
            config = {key: value for key, value in run.config.items() if own or key != "seed"}
            parents = sorted(self._recipe(self.plan.runs[parent]) for parent in run.parents)
            text = canonical_json([run.stage, STAGE_VERSIONS[run.stage], config, parents])
            self.recipes[run.id] = hashlib.sha256(text.encode()).hexdigest()[:8]
        return self.recipes[run.id]


def training_sizes(grid: Grid) -> dict[str, int]:
    """Training examples by task and by target training, where they are not the catalogue's: of the made-up sets."""
    if grid.suite != "toy":
        return {}
    from stilts.data.toy.write import TOY_SIZES

    sizes = {task: grid.toy.sizes.get("train", found["train"]) for task, found in TOY_SIZES.items() if "train" in found}
    return {**sizes, "squad": sizes["xquad"]}
