"""What a training is told: the settings of a combination, the published recipe where a grid is silent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launch.axes import SETTING_GROUPS
from launch.deepspeed_keys import split_deepspeed
from launch.rows import Row
from launch.spec import Grid
from stilts.errors import UserError
from stilts.settings import (
    MlmSettings,
    PretrainSettings,
    RetrievalSettings,
    Settings,
    TaskSettings,
    TrainingSettings,
    TranslationSettings,
)
from stilts.tasks.catalogue import INTERMEDIATES, MLM, Intermediate, Training

# arXiv 2005.13013 v1, appendix A: epochs of a mixture (table 3), and the rate of every intermediate task.
MULTITASK_EPOCHS = 3
INTERMEDIATE_RATE = 1e-5

Recipes = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Bundle:
    """The settings of one combination, after its overrides."""

    pretrain: PretrainSettings
    mlm: MlmSettings
    translation: TranslationSettings
    intermediate: TrainingSettings
    target: TrainingSettings
    retrieval: RetrievalSettings


def make_bundle(grid: Grid, overrides: tuple[tuple[str, Any], ...]) -> Bundle:
    """The settings of a grid with a combination's values laid over them."""
    groups = {name: getattr(grid, name).model_dump() for name in SETTING_GROUPS}
    for name, value in overrides:
        group, *path = name.split(".")
        place = groups[group]
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value
    made: dict[str, Any] = {name: model.model_validate(groups[name]) for name, model in SETTING_GROUPS.items()}
    return Bundle(**made)


def variant_text(bundle: Bundle, mode: str, mlm: bool, translated: bool, scratch: bool) -> str:
    """Every scientific setting of a row that is not at its published default.

    A row has no settings of what it does not do: intermediate training, text that is mixed in, translation, replay
    outside of sequences, sampling where nothing is mixed, and for a model from the hub pre-training.
    """
    used = {"intermediate": mode != "none" or mlm, "mlm": mlm, "translation": translated, "pretrain": scratch}
    parts: list[str] = []
    for name in SETTING_GROUPS:
        if used.get(name, True):
            changed = _shown(getattr(bundle, name))
            if name == "target" or mode != "sequential":
                changed.pop("replay", None)
            if name == "intermediate" and mode != "multitask" and not (mlm and mode != "none"):
                changed.pop("sampling", None)
            parts.extend(_spell_settings(name, changed))
    return "; ".join(sorted(parts))


def _shown(settings: Settings) -> dict[str, Any]:
    """Settings that differ from their defaults, but for those that do not change a row's figures."""
    changed = settings.changed()
    # More figures of the same row; the same translation in other pieces; further tries where there is no result yet.
    for key in ("sweep", "shards", "restarts"):
        changed.pop(key, None)
    if "deepspeed" in changed:
        changed["deepspeed"], _ = split_deepspeed(changed["deepspeed"])
    return changed


def recipe_of(task: Intermediate | Training, settings: TrainingSettings, several: bool) -> dict[str, Any]:
    """Hyper-parameters of one training set: its own settings, else the stage's, else the published ones."""
    own = settings.tasks.get(task.name, TaskSettings())
    published = {
        "learning_rate": task.recipe.learning_rate,
        "batch_size": task.recipe.batch_size,
        "epochs": MULTITASK_EPOCHS if several else task.recipe.epochs,
        "max_length": task.recipe.max_length,
    }
    return {key: getattr(own, key) or getattr(settings, key) or value for key, value in published.items()}


def intermediate_recipes(tasks: Sequence[str], settings: TrainingSettings) -> dict[str, dict[str, Any]]:
    """The recipe of each of the tasks that are trained together."""
    return {task: recipe_of(INTERMEDIATES[task], settings, several=len(tasks) > 1) for task in tasks}


def intermediate_config(row: Row, bundle: Bundle, seed: int) -> dict[str, Any]:
    """The configuration of a row's last intermediate training (the only one but in a sequence).

    Of a sequence with `replay` it holds the recipes of all tasks so far, and in `phase` the one that is new.
    """
    phase, settings = row.mode == "sequential", bundle.intermediate
    tasks, before = (row.tasks[-1:], row.tasks[:-1]) if phase else (row.tasks, ())
    if phase and settings.updates:
        if settings.updates < len(row.tasks):
            raise UserError(
                f"intermediate.updates: {settings.updates} for the {len(row.tasks)} tasks of {row.name}; every phase "
                "needs one at least"
            )
        settings = settings.model_copy(update={"updates": settings.updates - prefix_updates(settings, row.tasks)})
    recipes = intermediate_recipes(tasks, settings)
    if not (phase and settings.replay):
        return training_config(recipes, settings, seed, bundle.mlm if row.mlm else None)
    replayed = {task: recipe_of(INTERMEDIATES[task], settings, several=False) for task in before}
    if row.mlm:
        raise UserError(f"{row.name}: `replay` beside masked language modelling has no rule; leave one of them out")
    config = training_config(recipes, settings, seed, None, replayed)
    config.pop("sampling", None)  # the share is the rule
    return {**config, "replay": settings.replay, "phase": tasks[0]}


def prefix_updates(settings: TrainingSettings, tasks: Sequence[str]) -> int:
    """Updates of all phases of a sequence but its last: T // k each, the first T % k of the k phases one more."""
    assert settings.updates is not None, "without a number of updates, phases are counted in epochs"
    return settings.updates - settings.updates // len(tasks)


def training_config(
    recipes: Recipes,
    settings: TrainingSettings,
    seed: int,
    mlm: MlmSettings | None = None,
    replayed: Recipes | None = None,
) -> dict[str, Any]:
    """The canonical configuration of a training: recipes in full, other settings where they differ from defaults.

    `mlm` is mixed in as one more task, at its share of the tasks' learning rate; `replayed` are tasks of earlier
    phases, whose learning rates have no part in this one.
    """
    rate = _one_rate(recipes, settings)
    mixed = {**(replayed or {}), **recipes}
    own = {*TaskSettings.model_fields, "tasks", "replay"}
    others = {key: value for key, value in _shown(settings).items() if key not in own}
    if mlm is not None:
        mixed[MLM] = _mlm_recipe(mlm, recipes)
        rate *= mlm.rate_factor
        others |= {key: value for key, value in mlm.changed().items() if key == "mask_probability"}
    if not others.get("deepspeed"):
        others.pop("deepspeed", None)
    if len(mixed) == 1:
        others.pop("sampling", None)
    elif settings.sampling.weights:
        others["sampling"] = {**others["sampling"], "weights": _choose_weights(mixed, settings.sampling.weights)}
    # One rate for all; and where updates are counted, epochs change nothing.
    unused = {"learning_rate", "epochs"} if settings.updates else {"learning_rate"}
    tasks = {task: {k: v for k, v in recipe.items() if k not in unused} for task, recipe in mixed.items()}
    return {**others, "seed": seed, "learning_rate": rate, "tasks": tasks}


def _one_rate(recipes: Recipes, settings: TrainingSettings) -> float:
    rates = {recipe["learning_rate"] for recipe in recipes.values()} or {settings.learning_rate or INTERMEDIATE_RATE}
    if len(rates) > 1:
        spelled = ", ".join(f"{task} {recipe['learning_rate']}" for task, recipe in recipes.items())
        raise UserError(
            f"a mixture has one optimiser and so one learning rate, but its tasks ask for {spelled}; "
            "set intermediate.learning_rate for all, or the same value for each task"
        )
    return float(rates.pop())


def _mlm_recipe(settings: MlmSettings, beside: Recipes) -> dict[str, Any]:
    """Masked language modelling as a task: as many epochs as the longest of the tasks beside it, 1 alone."""
    return {
        "batch_size": settings.batch_size,
        "epochs": settings.epochs or max((recipe["epochs"] for recipe in beside.values()), default=1),
        "max_length": settings.max_length,
    }


def _choose_weights(tasks: Iterable[str], weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of a mixture's own tasks: those of others do not change its result."""
    if missing := sorted(set(tasks) - set(weights)):
        raise UserError(
            f"intermediate.sampling.weights: no weight for {', '.join(missing)}, which the mixture {'+'.join(tasks)} "
            "draws; give every task of a mixture one"
        )
    return {task: weights[task] for task in sorted(tasks)}


def _spell_settings(prefix: str, changed: Mapping[str, Any]) -> list[str]:
    parts: list[str] = []
    for key, value in changed.items():
        if isinstance(value, Mapping):
            parts.extend(_spell_settings(f"{prefix}.{key}", value))
        else:
            parts.append(f"{prefix}.{key}={_spell_value(value)}")
    return parts


def _spell_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
