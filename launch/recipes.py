"""What a training is told: the settings of a combination, the published recipe where a grid is silent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from launch.spec import Grid
from stilts.errors import UserError
from stilts.settings import PretrainSettings, RetrievalSettings, TaskSettings, TrainingSettings
from stilts.tasks.catalogue import Intermediate, Training

MULTITASK_EPOCHS = 3  # arXiv 2005.13013 v1, appendix A, table 3


@dataclass(frozen=True)
class Bundle:
    """The settings of one combination, after its overrides."""

    pretrain: PretrainSettings
    intermediate: TrainingSettings
    target: TrainingSettings
    retrieval: RetrievalSettings


def make_bundle(grid: Grid, overrides: tuple[tuple[str, Any], ...]) -> Bundle:
    """The settings of a grid with a combination's values laid over them."""
    groups = {name: getattr(grid, name).model_dump() for name in Bundle.__dataclass_fields__}
    for name, value in overrides:
        group, *path = name.split(".")
        place = groups[group]
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value
    return Bundle(
        PretrainSettings.model_validate(groups["pretrain"]),
        TrainingSettings.model_validate(groups["intermediate"]),
        TrainingSettings.model_validate(groups["target"]),
        RetrievalSettings.model_validate(groups["retrieval"]),
    )


def variant_text(bundle: Bundle, mode: str, scratch: bool) -> str:
    """Every scientific setting of a row that is not at its published default.

    A row without intermediate tasks has no settings of theirs, and a model from the hub none of pre-training.
    """
    unused = {"intermediate"} if mode == "none" else set()
    unused |= set() if scratch else {"pretrain"}
    parts: list[str] = []
    for name in Bundle.__dataclass_fields__:
        if name not in unused:
            changed = getattr(bundle, name).changed()
            changed.pop("sweep", None)  # more figures of the same row
            parts.extend(_spell_settings(name, changed))
    return "; ".join(sorted(parts))


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


def training_config(recipes: Mapping[str, dict[str, Any]], settings: TrainingSettings, seed: int) -> dict[str, Any]:
    """The canonical configuration of a training: recipes in full, other settings where they differ from defaults."""
    rates = {recipe["learning_rate"] for recipe in recipes.values()}
    if len(rates) > 1:
        spelled = ", ".join(f"{task} {recipe['learning_rate']}" for task, recipe in recipes.items())
        raise UserError(
            f"a mixture has one optimiser and so one learning rate, but its tasks ask for {spelled}; "
            "set intermediate.learning_rate for all, or the same value for each task"
        )
    others = {
        key: value for key, value in settings.changed().items() if key not in {*TaskSettings.model_fields, "tasks"}
    }
    if len(recipes) == 1:
        others.pop("sampling", None)
    elif settings.sampling.weights:
        others["sampling"] = {**others["sampling"], "weights": _choose_weights(recipes, settings.sampling.weights)}
    tasks = {task: {k: v for k, v in recipe.items() if k != "learning_rate"} for task, recipe in recipes.items()}
    return {**others, "seed": seed, "learning_rate": rates.pop(), "tasks": tasks}


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
