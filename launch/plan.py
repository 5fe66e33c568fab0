"""From combinations to a DAG of content-addressed runs: whatever two rows of the study share stands in it once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from launch.cluster import Cluster
from launch.cost import estimate_hours
from launch.expand import Combination, expand
from launch.names import joiner_of, name_of, slug_of
from launch.recipes import Bundle, make_bundle, recipe_of, training_config, variant_text
from launch.resources import Resources, choose_resources
from launch.sources import describe_source, is_at_hand
from launch.spec import Grid
from stilts.errors import UserError
from stilts.results import DEFAULT_MODEL
from stilts.runs import STAGE_VERSIONS, Run, canonical_json
from stilts.settings import TrainingSettings
from stilts.tasks.catalogue import (
    INTERMEDIATES,
    TARGETS,
    TEXT,
    TRAININGS,
    served_targets,
    splits,
    target_languages,
    training_of,
)


@dataclass(frozen=True)
class Row:
    """One row of the study's tables."""

    model: str
    mode: str
    tasks: tuple[str, ...]
    variant: str

    @property
    def model_name(self) -> str:
        """How metric files call the model: the default one by its short name, others as the grid does."""
        return DEFAULT_MODEL if self.model.endswith(f"/{DEFAULT_MODEL}") else self.model

    @property
    def intermediate(self) -> dict[str, Any]:
        """The `intermediate` object of metric files."""
        return {"mode": self.mode, "tasks": list(self.tasks), "mlm": False, "translated": False}


@dataclass
class Plan:
    """The DAG in an order in which parents come first, and which run fills which cell of the tables."""

    grid: Grid
    cluster: Cluster
    runs: dict[str, Run] = field(default_factory=dict)
    cells: dict[tuple[Row, str], dict[int, str]] = field(default_factory=dict)

    def resources(self, run_id: str) -> Resources:
        """The resource class that the run was given."""
        return Resources(**self.runs[run_id].infra["resources"])

    def gpu_hours(self, run_id: str) -> float:
        """Estimated GPU-hours of one run (see `launch/cost.py` for what the estimate assumes)."""
        return float(self.runs[run_id].infra["gpu_hours"])


def make_plan(grid: Grid, cluster: Cluster) -> Plan:
    """Expand a grid into its DAG. Raises UserError where settings contradict each other."""
    combinations = expand(grid)
    planner = _Planner(grid, cluster, {combination.target for combination in combinations})
    for combination in combinations:
        planner.add(combination)
    if not planner.plan.runs:
        raise UserError(f"grid '{grid.name}': nothing is left after exclude; the study would have no runs")
    return planner.plan


class _Planner:
    """Adds runs to a plan; the same configuration always gives the same run."""

    def __init__(self, grid: Grid, cluster: Cluster, asked: set[str]) -> None:
        self.plan = Plan(grid, cluster)
        self.asked = asked
        self.rules = [*cluster.resources, *grid.resources]
        self.recipes: dict[str, str] = {}
        self.bundle = lru_cache(maxsize=None)(partial(make_bundle, grid))
        self.base = lru_cache(maxsize=None)(self._base)
        self.prepared = lru_cache(maxsize=None)(self._prepared)
        self.multitask = lru_cache(maxsize=None)(self._multitask)
        self.chained = lru_cache(maxsize=None)(self._chained)
        self.trained = lru_cache(maxsize=None)(self._trained)
        self.variant = lru_cache(maxsize=None)(self._variant)
        self.served = lru_cache(maxsize=None)(self._served)

    def add(self, combination: Combination) -> None:
        """Add the run of one combination with all its ancestors, and its cell."""
        bundle = self.bundle(combination.overrides)
        tasks, mode = combination.tasks, combination.mode
        row = Row(
            combination.model, mode, tasks, self.variant(combination.overrides, mode, combination.model == "scratch")
        )
        base = self.base(combination.model, combination.overrides)
        if mode == "multitask":
            encoder = self.multitask(tasks, base, combination.seed, combination.overrides, row)
        else:
            encoder = self.chained(tasks, base, combination.seed, combination.overrides, row)
        training = training_of(combination.target)
        if training is None:
            run = self._retrieval(combination.target, encoder, bundle, row, combination.seed)
        else:
            run = self.trained(training.name, encoder, combination.seed, combination.overrides, row)
        self.plan.cells.setdefault((row, combination.target), {})[combination.seed] = run.id

    def _variant(self, overrides: tuple[tuple[str, Any], ...], mode: str, scratch: bool) -> str:
        return variant_text(self.bundle(overrides), mode, scratch)

    def _put(self, run: Run, tasks: tuple[str, ...], row: Row | None) -> Run:
        """Add a run with its resources and label, unless it is there."""
        known = self.plan.runs.get(run.id)
        if known is not None:
            if known.digest != run.digest:
                raise UserError(f"two different runs have the name {run.id}; change one of their settings a little")
            return known
        resources = choose_resources(self.rules, run.stage, tasks)
        infra: dict[str, Any] = {"resources": resources.model_dump(exclude_none=True)}
        # Two GPUs take half of the time: the hours on one are the GPU-hours of any number.
        hours = estimate_hours(run, self.plan.cluster.tokens_per_second)
        infra["gpu_hours"] = hours if resources.gpus else 0.0
        if run.config.get("kind") == "data" and "source" not in run.config and self.plan.grid.data_root:
            infra["data_root"] = self.plan.grid.data_root
        if row is not None:
            infra["label"] = {"model": row.model_name, "intermediate": row.intermediate, "variant": row.variant}
            infra["label"]["recipe"] = self._recipe(run)
        run = Run(run.stage, run.slug, run.config, run.parents, run.scores, infra)
        self.plan.runs[run.id] = run
        return run

    def _recipe(self, run: Run) -> str:
        """What two seeds of one cell must have in common: a hash like the run's own, but without seeds."""
        if run.id not in self.recipes:
            config = {key: value for key, value in run.config.items() if key != "seed" or run.stage == "pretrain"}
            parents = sorted(self._recipe(self.plan.runs[parent]) for parent in run.parents)
            text = canonical_json([run.stage, STAGE_VERSIONS[run.stage], config, parents])
            self.recipes[run.id] = hashlib.sha256(text.encode()).hexdigest()[:8]
        return self.recipes[run.id]

    def _base(self, model: str, overrides: tuple[tuple[str, Any], ...]) -> Run:
        """The pretrained encoder: fetched by name or path, or made from scratch."""
        if model != "scratch":
            slug = "model-" + slug_of(model.rstrip("/").rsplit("/", 1)[-1])
            revision = self.plan.grid.revisions.get(model, "main")
            config: dict[str, Any] = {"kind": "model", "model": model, "revision": revision}
            return self._put(Run("fetch", slug, config), ("model",), None)
        settings = self.bundle(overrides).pretrain
        toy = self.plan.grid.suite == "toy"
        if not settings.text and not toy:
            raise UserError(
                "model 'scratch' learns from the campaign's own text: name its tasks under pretrain.text, for "
                "example `pretrain: {text: [mnli, squad1, xnli]}`"
            )
        texts = tuple(sorted(settings.text)) or (TEXT,)
        parents = tuple(self._fetched(*_text_source(name)).id for name in texts)
        config = {**settings.changed(), "text": list(texts)}
        return self._put(Run("pretrain", "scratch", config, parents), ("scratch",), None)

    def _fetched(self, task: str, part: str) -> Run:
        grid = self.plan.grid
        config: dict[str, Any] = {"kind": "data", "suite": grid.suite, "task": task, "part": part}
        if part == "scored":
            config["languages"] = self._languages(task)
        if grid.suite == "toy":
            config["toy"] = grid.toy.changed()
        config |= describe_source(task, part, grid)
        slug = task if task == TEXT else f"{task}-{part}"
        return self._put(Run("fetch", slug, config), (task,), None)

    def _languages(self, target: str) -> list[str]:
        expected = sorted({code for split in splits(target) for code in target_languages(target, split, self.suite)})
        asked = self.plan.grid.languages_of(target)
        chosen = expected if asked is None else [language for language in expected if language in asked]
        if not chosen and target in self.asked:
            raise UserError(
                f"target '{target}' has none of the languages that the grid asks for ({', '.join(asked or [])}); "
                f"it has {', '.join(expected)}"
            )
        return chosen

    @property
    def suite(self) -> str:
        return self.plan.grid.suite

    def _prepared(self, task: str, part: str, family: str, base: Run, max_length: int) -> Run:
        """Tokenised once for each (task, tokenizer, length)."""
        config: dict[str, Any] = {"suite": self.suite, "task": task, "part": part, "max_length": max_length}
        if family == "span":
            config["stride"] = max_length // 3  # 128 of 384, as XTREME's scripts
        parents = (base.id, self._fetched(task, part).id)
        return self._put(Run("prepare", f"{task}-{part}", config, parents), (task,), None)

    def _multitask(
        self, tasks: tuple[str, ...], base: Run, seed: int, overrides: tuple[tuple[str, Any], ...], row: Row
    ) -> Run:
        settings = self.bundle(overrides).intermediate
        return self._intermediate(tasks, base, base, seed, settings, row)

    def _chained(
        self, tasks: tuple[str, ...], base: Run, seed: int, overrides: tuple[tuple[str, Any], ...], row: Row
    ) -> Run:
        """none, single and sequential: each phase starts from the one before it, so prefixes are shared."""
        if not tasks:
            return base
        prefix = Row(row.model, "single" if len(tasks) == 2 else row.mode, tasks[:-1], row.variant)
        encoder = self.chained(tasks[:-1], base, seed, overrides, prefix)
        return self._intermediate(tasks[-1:], encoder, base, seed, self.bundle(overrides).intermediate, row)

    def _intermediate(
        self, tasks: tuple[str, ...], encoder: Run, base: Run, seed: int, settings: TrainingSettings, row: Row
    ) -> Run:
        recipes = {task: recipe_of(INTERMEDIATES[task], settings, several=len(tasks) > 1) for task in tasks}
        config = training_config(recipes, settings, seed)
        parents = [encoder.id]
        for task in tasks:
            family = INTERMEDIATES[task].family
            parents.append(self.prepared(task, "train", family, base, recipes[task]["max_length"]).id)
        joiner = "+" if row.mode == "multitask" else "-then-"
        slug = f"{name_of(row.tasks, joiner)}-s{seed}"
        return self._put(Run("intermediate", slug, config, tuple(parents)), tasks, row)

    def _trained(self, training: str, encoder: Run, seed: int, overrides: tuple[tuple[str, Any], ...], row: Row) -> Run:
        settings = self.bundle(overrides).target
        base = self.base(row.model, overrides)
        recipe = recipe_of(TRAININGS[training], settings, several=False)
        family = TRAININGS[training].family
        data = self.prepared(training, "train", family, base, recipe["max_length"])
        scores = tuple(
            self.prepared(target, "scored", family, base, recipe["max_length"]).id for target in self.served(training)
        )
        config = training_config({training: recipe}, settings, seed)
        slug = f"{training}-{name_of(row.tasks, joiner_of(row.mode))}-s{seed}"
        run = Run("target", slug, config, (encoder.id, data.id), scores)
        return self._put(run, (training,), row)

    def _served(self, training: str) -> tuple[str, ...]:
        """Targets that a training is scored on: those that the grid asks for, and others whose data is at hand.

        A grid filters tables, not scoring; but it must not wait for files of targets that nobody asked for.
        """
        return tuple(
            target
            for target in served_targets(training, self.suite)
            if target in self.asked or is_at_hand(target, self._languages(target), self.plan.grid)
        )

    def _retrieval(self, target: str, encoder: Run, bundle: Bundle, row: Row, seed: int) -> Run:
        """Scoring without training: the pretrained encoder's run has no seed and is shared by all of them."""
        settings = bundle.retrieval
        base = self._base_of(encoder)
        data = self.prepared(target, "scored", TARGETS[target].family, base, settings.max_length)
        config: dict[str, Any] = {**settings.changed(), "target": target}
        if encoder.stage == "intermediate":
            config["seed"] = seed
        slug = f"{target}-{name_of(row.tasks, joiner_of(row.mode))}" + (f"-s{seed}" if row.tasks else "")
        run = Run("retrieval", slug, config, (encoder.id,), (data.id,))
        return self._put(run, (target,), row)

    def _base_of(self, run: Run) -> Run:
        while run.stage == "intermediate":
            run = self.plan.runs[run.parents[0]]
        return run


def _text_source(name: str) -> tuple[str, str]:
    """(task, part) whose fetched files hold a text: a target's text is that of its languages."""
    return (name, "scored") if name in TARGETS else (name, "train")
