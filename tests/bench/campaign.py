"""A finished campaign of ten thousand runs, as the launcher plans it and as its jobs would leave it, with made-up
scores."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launch.campaign import Campaign
from launch.cluster import load_cluster
from launch.plan import Plan, make_plan
from launch.spec import load_grid
from stilts.runs import Run, done_record
from stilts.tasks.catalogue import INTERMEDIATES, TARGET_METRICS, TRAININGS, splits, target_languages

ROOT = Path(__file__).resolve().parents[2]
DRAWS = 15  # the full matrix has three of them, and 2,892 runs
STARTED = 1_760_000_000.0
FACTS = {"tokens": 10_000_000, "seconds": 3600.0, "peak_memory_gb": 30.5, "resumed": [], "device": "NVIDIA H100"}


def make_campaign(root: Path, draws: int = DRAWS) -> tuple[int, int]:
    """The full matrix with so many draws of its scale block, below `root`; the numbers of runs and metric files."""
    plan = plan_campaign(draws)
    Campaign(root).write_grid(plan)
    files = 0
    for run in plan.runs.values():
        folder = root / run.id
        folder.mkdir(parents=True)
        needs = {need: plan.runs[need].digest for need in run.needs}
        facts = {
            "tokens": 10_000_000,
            "seconds": 3600.0,
            "peak_memory_gb": 30.5,
            "resumed": [],
            "device": "NVIDIA H100",
        }
        _write(folder / "run.json", run.spec())
        _write(folder / "DONE", done_record(run, run.digest, needs, facts=facts))
        attempt = folder / "attempts" / "100.0"
        attempt.mkdir(parents=True)
        place = {"ranks": 1, "resources": run.infra["resources"]}
        _write(attempt / "attempt.json", {"id": "100.0", "started": STARTED, **place})
        _write(attempt / "outcome.json", {"state": "done", "reason": "", "ended": STARTED + 3600})
        for name, document in list_documents(run):
            (folder / "metrics").mkdir(exist_ok=True)
            _write(folder / "metrics" / name, document)
            files += 1
    return len(plan.runs), files


def plan_campaign(draws: int) -> Plan:
    text = (ROOT / "launch" / "grids" / "full_matrix.yaml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "many_draws.yaml")
        path.write_text(text.replace("draws: 3", f"draws: {draws}"), encoding="utf-8")
        return make_plan(load_grid(path), load_cluster(None))


def list_documents(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """The metric files of a run with their names. A row is as good as its tasks are many, give or take its seed."""
    label = run.infra.get("label")
    if label is None or run.stage not in ("target", "retrieval", "intermediate"):
        return
    numbers = random.Random(run.id)
    level = 50 + len(label["intermediate"]["tasks"]) + numbers.gauss(0, 0.5)
    stage = "intermediate" if run.stage == "intermediate" else "target"
    for target, split, language, metrics in list_scores(run):
        document = {
            "schema": "stilts.metrics/1",
            "run": run.id,
            "model": label["model"],
            "variant": label["variant"],
            "suite": "xtreme",
            "stage": stage,
            "intermediate": label["intermediate"],
            "target": target,
            "language": language,
            "split": split,
            "seed": run.config.get("seed"),
            "layer": None,
            "draw": label["draw"],
            "metrics": {metric: round(level + numbers.gauss(0, 2), 6) for metric in metrics},
            "examples": 1000,
            "provenance": {
                "digest": run.digest,
                "recipe": label["recipe"],
                "attempt": "100.0",
                "parents": list(run.parents),
                "data": {"run": run.parents[-1], "digest": run.digest},
            },
        }
        yield f"{target}.{split}.{language}.json", document


def list_scores(run: Run) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Target, split, language and metrics of all that a run scores."""
    if run.stage == "intermediate":
        for task in run.config["tasks"]:
            if task in INTERMEDIATES:
                yield task, "dev", "en", INTERMEDIATES[task].metrics
        return
    scored = [run.slug.split("-")[0]]
    if run.stage == "target":
        scored = list(TRAININGS[scored[0]].serves)
    for target in scored:
        for split in splits(target):
            for language in target_languages(target, split, "xtreme"):
                yield target, split, language, TARGET_METRICS[target]


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
