"""A campaign with a score in every state there is, and studies for the page, written by hand from the contracts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from aggregate.report.page import build_report
from aggregate.study import read_study
from aggregate.tables import build_sheets
from tests.aggregate.metric_tree import BASELINE, MNLI, make_document, make_metrics

HOUR = 3600.0
STARTED = 1_700_000_000.0
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SQUAD = {"mode": "single", "tasks": ["squad1"], "mlm": False, "translated": False}
HOSTILE = '</script><script>window.hit=1</script><img src=x onerror="window.hit=2">&amp;\'"\u2028'

# Of xnli, by row and seed.
STATES = {
    ("none", 1): "done",
    ("none", 2): "done",
    ("none", 3): "running",
    ("mnli", 1): "done",
    ("mnli", 2): "partly",
    ("mnli", 3): "failed",
    ("squad1", 1): "apart",
    ("squad1", 2): "cancelled",
    ("squad1", 3): "blocked",
}
TRAININGS = {"none": BASELINE, "mnli": MNLI, "squad1": SQUAD}
SCORES = {("none", 1): 50.0, ("none", 2): 52.0, ("mnli", 1): 57.0, ("mnli", 2): 60.0, ("squad1", 1): 55.0}


def name_run(row: str, seed: int) -> str:
    return f"target-xnli-{row}-s{seed}"


def write_campaign(results: Path) -> None:
    """Every state on xnli, with retrieval that nobody has started."""
    rows = []
    for row, intermediate in TRAININGS.items():
        runs = {"xnli": {seed: name_run(row, seed) for seed in (1, 2, 3)}}
        runs["tatoeba"] = {seed: f"retrieval-tatoeba-{row}-s{seed}" for seed in (1, 2, 3)}
        rows.append({"mode": intermediate["mode"], "tasks": intermediate["tasks"], "runs": runs})
    targets = {"xnli": {"dev": ["en", "de"]}, "tatoeba": {"test": ["de"]}}
    grid = {"expected": {"targets": targets, "seeds": [1, 2, 3], "rows": rows}}
    (results / "campaign").mkdir(parents=True)
    (results / "campaign" / "grid.json").write_text(json.dumps(grid))
    write_folder(results, "intermediate-mnli-s1", {"seed": 1, "learning_rate": 1e-5}, [("done", 2.0)], gpus=4)
    write_folder(results, "intermediate-squad1-s3", {"seed": 3}, [("failed", 1.0)])
    for (row, seed), state in STATES.items():
        write_state(results, row, seed, state)


def write_state(results: Path, row: str, seed: int, state: str) -> None:
    run = name_run(row, seed)
    parents = {("mnli", 1): ["intermediate-mnli-s1"], ("squad1", 3): ["intermediate-squad1-s3"]}.get((row, seed), [])
    config = {"seed": seed, "tasks": {"xnli": {"epochs": 2, "batch_size": 32}}}
    if state in ("done", "partly", "apart"):
        attempts: list[tuple[str, float | None]] = [("failed", 0.5), ("done", 1.5)] if seed == 1 else [("done", 1.0)]
        write_folder(results, run, config, attempts, parents)
        languages = ["en"] if state == "partly" else ["en", "de"]
        labels: dict[str, Any] = {"run": run, "seed": seed, "intermediate": TRAININGS[row]}
        for language in languages:
            write_metric(results / run, language, SCORES[row, seed], **labels)
        if state == "apart":
            write_metric(results / run, "de", 99.0, "again", **labels)
    elif state == "blocked":
        write_folder(results, run, config, [], parents)
    elif state == "running":
        write_folder(results, run, config, [("", None)], parents)
        (results / run / "progress.json").write_text(json.dumps({"phase": "train", "step": 40, "total": 95}))
    else:
        write_folder(results, run, config, [(state, 0.25)], parents)


def write_metric(folder: Path, language: str, value: float, name: str = "xnli.dev", **labels: Any) -> None:
    (folder / "metrics").mkdir(exist_ok=True)
    document = make_document("xnli", language, make_metrics("xnli", value), **labels)
    (folder / "metrics" / f"{name}.{language}.json").write_text(json.dumps(document))


def write_folder(
    results: Path,
    run: str,
    config: dict[str, Any],
    attempts: list[tuple[str, float | None]],
    parents: list[str] | tuple[str, ...] = (),
    gpus: int = 1,
    reason: str = "out of memory",
) -> None:
    """A run with attempts of a state and so many hours (None: no end yet), done where the last one is."""
    folder = results / run
    folder.mkdir(parents=True)
    label = {"model": "xlm-roberta-large", "variant": ""}
    spec = {"id": run, "stage": run.partition("-")[0], "config": config, "parents": list(parents), "scores": []}
    (folder / "run.json").write_text(json.dumps(spec | {"infra": {"label": label}}))
    for number, (state, hours) in enumerate(attempts):
        attempt = folder / "attempts" / f"{number + 1:03d}#a"
        attempt.mkdir(parents=True)
        started = STARTED + number * HOUR
        begun = {
            "id": attempt.name,
            "host": "node7",
            "started": started,
            "ranks": gpus,
            "slurm_job": f"{number}_7",
            "resources": {"gpus": gpus, "cpus": 4},
            "code": {"commit": COMMIT, "dirty": False, "digest": "f" * 64},
            "versions": {"python": "3.11.2", "torch": "2.9.0"},
        }
        (attempt / "attempt.json").write_text(json.dumps(begun))
        for rank in range(gpus):
            (attempt / f"rank{rank}.log").write_text("hello")
        if hours is not None:
            ended = {"state": state, "reason": "finished" if state == "done" else reason}
            (attempt / "outcome.json").write_text(json.dumps(ended | {"ended": started + hours * HOUR}))
    if attempts and attempts[-1][0] == "done":
        done = {"schema": "stilts.done/1", "run": run, "needs": {}, "facts": {"device": "NVIDIA H200", "tokens": 1000}}
        (folder / "DONE").write_text(json.dumps(done))


def make_page(results: Path, out: Path) -> Path:
    """report.html of a study as tables.py writes it, but for the figures."""
    study = read_study(results)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "report.html"
    path.write_bytes(build_report(study, build_sheets(study), dict, out))
    return path


def read_island(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="island">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    document: dict[str, Any] = json.loads(found[1])
    return document
