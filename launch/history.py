"""How fast finished runs were: what this root, its pilot and other roots tell about a cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launch.cost import Tokens, scoring_tokens, selection_tokens, task_tokens, translation_tokens
from stilts.runs import STAGE_VERSIONS, Run, RunFolder, read_json

PILOT_FOLDER = "pilot"
# Runs of one name but for the seed tell the same; the rest of a large root need not be read.
READ_EACH, READ_STAGE = 3, 200

Class = tuple[Any, ...]


@dataclass(frozen=True)
class Speed:
    """One finished run. `rate` and `scoring_rate`: assumed sub-words of training a second on one GPU (of the processes
    that score, on one); None where the run tells nothing about it. `startup_s` is what neither trains nor scores."""

    stage: str
    tasks: tuple[str, ...]
    model: str
    kind: Class
    wall_s: float
    startup_s: float | None = None
    rate: float | None = None
    scoring_rate: float | None = None


def kind_of(resources: Mapping[str, Any], config: Mapping[str, Any]) -> Class:
    """What makes two runs of one stage and task equally fast, as far as settings tell."""
    hardware = [resources.get(key) for key in ("nodes", "gpus", "ranks", "partition", "constraint", "runs_per_gpu")]
    how = [resources.get("zero_stage"), resources.get("activation_checkpointing")]
    return (*hardware, *how, config.get("precision"), config.get("attention"))


def tasks_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The tasks of a run, whatever its stage; sorted."""
    named = config.get("tasks") or [config.get(key) for key in ("task", "target") if config.get(key)]
    return tuple(sorted(named))


def read_history(roots: Iterable[Path]) -> list[Speed]:
    """Speeds of finished runs below these roots, and of their pilots."""
    folders = [folder for root in roots for folder in (root, root / PILOT_FOLDER)]
    found: list[Speed] = []
    for folder in dict.fromkeys(path.absolute() for path in folders):
        found.extend(speed for path in _choose(folder) if (speed := read_speed(RunFolder(path))) is not None)
    return found


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


def read_speed(folder: RunFolder) -> Speed | None:
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
    model = infra.get("label", {}).get("model", "")
    plain = Speed(run.stage, tasks_of(config), model, kind_of(resources, config), wall_s)
    pilot = bool(infra.get("pilot"))
    if "updates" in facts and "tokens" in facts:
        return _of_training(plain, run, facts, _devices(resources), pilot)
    if run.stage == "translate" and not pilot:
        seconds = float(facts.get("seconds") or wall_s)
        return replace(plain, startup_s=max(0.0, wall_s - seconds), rate=translation_tokens(config) / seconds)
    scored = Tokens({}, scoring_tokens(run)).scored
    return replace(plain, scoring_rate=scored / wall_s) if scored and not pilot else replace(plain, startup_s=wall_s)


def _of_training(plain: Speed, run: Run, facts: Mapping[str, Any], devices: int, pilot: bool) -> Speed | None:
    """The first update, which compiles and warms up, belongs to the start."""
    updates, first, seconds = facts["updates"], float(facts["first_update_seconds"]), float(facts["seconds"])
    if seconds > plain.wall_s:
        return None  # it was trained by an earlier attempt
    trained = float(facts["tokens"])
    if run.config.get("tasks"):
        training = task_tokens(run.config, facts.get("examples", {}), updates)
        trained = Tokens(training, selection=selection_tokens(run.config)).trained
    steady = (seconds - first) / (updates - 1) * updates if updates > 1 else seconds
    startup = float(facts.get("startup_s", 0.0))
    rest, scored = plain.wall_s - seconds - startup, Tokens({}, scoring_tokens(run)).scored
    if pilot or not scored or "startup_s" not in facts:
        startup, scored = startup + rest, 0.0  # 50 examples of a set take as long as opening it
    return replace(
        plain,
        startup_s=max(0.0, startup + seconds - steady),
        rate=trained / steady / devices if steady > 0 else None,
        scoring_rate=scored / rest if scored and rest > 1 else None,
    )


def _devices(resources: Mapping[str, Any]) -> int:
    """GPUs, or where there are none processes, that share a training."""
    return int(resources.get("nodes", 1)) * max(1, int(resources.get("ranks") or resources.get("gpus") or 1))
