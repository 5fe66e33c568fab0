"""How fast finished runs were: what this root, its pilot and other roots tell about a cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from launch.cost import Tokens, count_tokens, recount
from launch.prepared import PreparedSets
from stilts.runs import STAGE_VERSIONS, Run, RunFolder, read_json

PILOT_FOLDER = "pilot"
# Runs of one name but for the seed tell the same; the rest of a large root need not be read.
READ_EACH, READ_STAGE = 3, 200

# Settings of a task that its speed depends on.
PACE = ("batch_size", "max_length")

Class = tuple[Any, ...]


@dataclass(frozen=True)
class Speed:
    """One finished run: what it read, and the seconds of its parts, None where it tells nothing about them.

    `training_s` is what all its updates would have taken if the first were like the others, `startup_s` what neither
    trains nor scores. `recipe` are its tasks with batch size and length, `devices` the GPUs, or processes, that shared
    the training.
    """

    stage: str
    tasks: tuple[str, ...]
    recipe: tuple[Any, ...]
    model: str
    kind: Class
    devices: int
    wall_s: float
    tokens: Tokens
    startup_s: float | None = None
    training_s: float | None = None
    scoring_s: float | None = None

    @cached_property
    def rate(self) -> float | None:
        """Sub-words of training a second on one device."""
        return self.tokens.trained / self.training_s / self.devices if self.training_s and self.tokens.trained else None

    @cached_property
    def scoring_rate(self) -> float | None:
        """The same of scoring, which one device does."""
        return self.tokens.scored / self.scoring_s if self.scoring_s and self.tokens.scored else None


def kind_of(resources: Mapping[str, Any], config: Mapping[str, Any]) -> Class:
    """What makes two runs of one stage and task equally fast, as far as settings tell."""
    hardware = [resources.get(key) for key in ("nodes", "gpus", "ranks", "partition", "constraint", "runs_per_gpu")]
    how = [resources.get("zero_stage"), resources.get("activation_checkpointing")]
    graphs = bool(resources.get("gpus") and resources.get("cuda_graphs"))
    return (*hardware, *how, graphs, config.get("precision"), config.get("attention"))


def hardware_of(kind: Class) -> Class:
    """The same, whatever the number of nodes and ranks."""
    _, gpus, _, *rest = kind
    return (bool(gpus), *rest)


def tasks_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The tasks of a run, whatever its stage; sorted."""
    named = config.get("tasks") or [config.get(key) for key in ("task", "target") if config.get(key)]
    return tuple(sorted(named))


def recipe_of(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """The tasks of a run with what makes them equally fast, as far as its configuration tells."""
    recipes = config.get("tasks", {})
    return tuple((task, *(recipes.get(task, {}).get(key) for key in PACE)) for task in tasks_of(config))


def read_history(roots: Iterable[Path], known: PreparedSets | None = None) -> list[Speed]:
    """Speeds of finished runs below these roots, and of their pilots; what they read, as far as it is `known` (None:
    as their roots tell)."""
    folders = history_folders(roots)
    sets = PreparedSets(folders) if known is None else known
    speeds = (read_speed(RunFolder(path), sets) for folder in folders for path in _choose(folder))
    return [speed for speed in speeds if speed is not None]


def history_folders(roots: Iterable[Path]) -> list[Path]:
    """The roots and their pilots, each once."""
    folders = [folder for root in roots for folder in (root, root / PILOT_FOLDER)]
    return list(dict.fromkeys(path.absolute() for path in folders))


def _choose(root: Path) -> Iterator[Path]:
    try:
        names = sorted(entry.name for entry in os.scandir(root))
    except OSError:
        return
    groups: dict[str, int] = {}
    stages = dict.fromkeys(STAGE_VERSIONS, 0)
    for name in names:
        stage = name.partition("-")[0]
        group = re.sub(r"(-s\d+)?-[0-9a-f]{8}$", "", name)
        if stage not in stages or groups.get(group, 0) == READ_EACH or stages[stage] == READ_STAGE:
            continue
        if (root / name / "DONE").exists():
            groups[group] = groups.get(group, 0) + 1
            stages[stage] += 1
            yield root / name


def read_speed(folder: RunFolder, known: PreparedSets) -> Speed | None:
    """How fast a finished run was; None where it was interrupted, or its records do not say."""
    done, spec = folder.read_done(), read_json(folder.spec)
    if done is None or spec is None:
        return None
    attempt = folder.attempts / str(done.get("attempt"))
    begun, outcome = read_json(attempt / "attempt.json") or {}, read_json(attempt / "outcome.json") or {}
    facts, config, infra = done.get("facts", {}), spec["config"], spec["infra"]
    resources = begun.get("resources") or infra.get("resources", {})
    if "started" not in begun or "ended" not in outcome or outcome.get("state") != "done" or facts.get("resumed"):
        return None
    wall_s = float(outcome["ended"] - begun["started"])
    on_gpu = facts.get("device", "cuda") != "cpu"
    if wall_s <= 0 or (resources.get("gpus") and not on_gpu):
        return None  # a GPU's class on a machine without one
    run = Run(spec["stage"], "", config, tuple(spec["parents"]), tuple(spec["scores"]), infra)
    updates = facts.get("updates")
    tokens = recount(run, count_tokens(run, facts.get("examples", {}), None, updates), known, updates)
    model, kind = infra.get("label", {}).get("model", ""), kind_of(resources, config)
    plain = Speed(
        run.stage, tasks_of(config), recipe_of(config), model, kind, _devices(resources), wall_s, tokens, wall_s
    )
    pilot = bool(infra.get("pilot"))
    if "updates" in facts and "tokens" in facts:
        return _of_training(plain, facts, pilot)
    if run.stage == "translate" and not pilot:
        seconds = float(facts.get("seconds") or wall_s)
        return replace(plain, startup_s=max(0.0, wall_s - seconds), training_s=seconds)
    return replace(plain, startup_s=0.0, scoring_s=wall_s) if tokens.scored and not pilot else plain


def _of_training(plain: Speed, facts: Mapping[str, Any], pilot: bool) -> Speed | None:
    """The first update, which compiles and warms up, belongs to the start."""
    updates, first, seconds = facts["updates"], float(facts["first_update_seconds"]), float(facts["seconds"])
    if seconds > plain.wall_s:
        return None  # it was trained by an earlier attempt
    steady = (seconds - first) / (updates - 1) * updates if updates > 1 else seconds
    startup = float(facts.get("startup_s", 0.0))
    rest, apart = plain.wall_s - seconds - startup, plain.tokens.scored and not pilot and "startup_s" in facts
    if not apart:
        startup, rest = startup + rest, 0.0  # 50 examples of a set take as long as opening it
    return replace(
        plain,
        startup_s=max(0.0, startup + seconds - steady),
        training_s=steady if steady > 0 else None,
        scoring_s=rest if rest > 0 else None,
    )


def _devices(resources: Mapping[str, Any]) -> int:
    """GPUs, or where there are none processes, that share a training."""
    return int(resources.get("nodes", 1)) * max(1, int(resources.get("ranks") or resources.get("gpus") or 1))
