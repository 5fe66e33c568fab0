"""Runs of every kind that trains, made without a launcher: small, with dropout, on the made-up languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stilts.runs import Run, RunFolder, write_json

TOY = {"seed": 0, "sizes": {"train": 64, "dev": 24, "test": 12}}
LENGTH = 48
KINDS = ("pretrain", "intermediate", "target")

LABEL = {
    "model": "small",
    "intermediate": {"mode": "multitask", "tasks": ["mnli", "squad1"], "mlm": False, "translated": False},
    "variant": "",
    "recipe": "00000000",
}


@dataclass(frozen=True)
class SmallRuns:
    """The runs by kind, and every run that must be done before them, parents first."""

    kinds: Mapping[str, Run]
    before: tuple[Run, ...]


def make_runs() -> SmallRuns:
    """A tiny encoder, two tasks mixed on it, and a target on top."""
    text = _fetch("text", "train")
    scratch = {"tokenizer": "words", "vocabulary": 400, "layers": 2, "hidden": 32, "heads": 2, "feed_forward": 64}
    scratch |= {"positions": 66, "steps": 14, "batch_size": 8, "text": ["text"]}
    pretrain = Run("pretrain", "scratch", scratch, (text.id,))
    data = {task: _fetch(task, "train") for task in ("mnli", "squad1", "xnli")}
    scored = _fetch("xnli", "scored", languages=["en", "qaa", "qab", "qac"])
    prepared = {task: _prepare(task, "train", pretrain, fetched) for task, fetched in data.items()}
    prepared_scored = _prepare("xnli", "scored", pretrain, scored)
    mixture = Run(
        "intermediate",
        "mnli+squad1-s1",
        _training({"mnli": {"batch_size": 8, "epochs": 1}, "squad1": {"batch_size": 8, "epochs": 1}}),
        (pretrain.id, prepared["mnli"].id, prepared["squad1"].id),
        infra={"label": LABEL},
    )
    target = Run(
        "target",
        "xnli-mnli+squad1-s1",
        _training({"xnli": {"batch_size": 8, "epochs": 2}}),
        (mixture.id, prepared["xnli"].id),
        (prepared_scored.id,),
        infra={"label": LABEL, "keep": True},
    )
    before = (text, *data.values(), scored, pretrain, *prepared.values(), prepared_scored, mixture)
    return SmallRuns({"pretrain": pretrain, "intermediate": mixture, "target": target}, before)


def place(run: Run, root: Path, **resources: Any) -> RunFolder:
    """The run's folder with its specification, for these resources."""
    folder = RunFolder(root / run.id)
    write_json(folder.spec, replace(run, infra={**run.infra, "resources": resources}).spec())
    return folder


def _fetch(task: str, part: str, **more: Any) -> Run:
    config = {"kind": "data", "suite": "toy", "task": task, "part": part, "toy": TOY, **more}
    return Run("fetch", f"{task}-{part}", config)


def _prepare(task: str, part: str, base: Run, fetched: Run) -> Run:
    config: dict[str, Any] = {"suite": "toy", "task": task, "part": part, "max_length": LENGTH}
    if task == "squad1":
        config["stride"] = LENGTH // 3
    return Run("prepare", f"{task}-{part}", config, (base.id, fetched.id))


def _training(tasks: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    return {
        "seed": 1,
        "learning_rate": 1e-3,
        "precision": "fp32",
        "dropout": 0.1,
        "selection": {"points": 4, "examples": 20},
        "tasks": {task: {"max_length": LENGTH, **recipe} for task, recipe in tasks.items()},
    }
