"""The whole way on real data: original files, real Slurm arrays, DeepSpeed, predictions, tables, LaTeX."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.conftest import MakeStudy
from tests.support.campaigns import Study, cone
from tests.support.scorer import score_predictions
from tests.support.slurm_cluster import SlurmCluster

LANGUAGES = {"xnli": "de en sw zh", "udpos": "de en zh", "xquad": "de en zh", "tatoeba": "de sw zh"}

REAL: dict[str, Any] = {
    "name": "real-slices",
    "suite": "xtreme",
    # sw is in XNLI and Tatoeba, the others are in all four: at least three languages for each target.
    "languages": ["de", "en", "sw", "zh"],
    "axes": {
        "model": "scratch",
        "intermediate": ["none", "mnli", "squad1", "hellaswag", ["mnli", "squad1", "hellaswag"]],
        "target": ["xnli", "udpos", "xquad", "tatoeba"],
        "seed": [1],
    },
    "pretrain": {
        "text": ["mnli", "squad1", "hellaswag", "xnli", "xquad", "udpos", "tatoeba"],
        "tokenizer": "unigram",
        "vocabulary": 6000,
        "layers": 2,
        "hidden": 64,
        "heads": 2,
        "feed_forward": 128,
    },
    "intermediate": {
        "precision": "fp32",
        "learning_rate": 1e-3,
        "batch_size": 16,
        "epochs": 8,
        "max_length": 128,
        "max_examples": 300,
    },
    "target": {
        "precision": "fp32",
        "learning_rate": 1e-3,
        "batch_size": 16,
        "epochs": 8,
        "max_length": 128,
        "max_examples": 300,
    },
    "retrieval": {"max_length": 128},
}


@pytest.fixture(scope="module")
def study(make_study: MakeStudy, slurm: SlurmCluster, data_root: Path) -> Study:
    """The grid, submitted and run to its end."""
    study = make_study({**REAL, "data_root": str(data_root)})
    study.launch()
    slurm.wait_empty(timeout_s=800)
    return study


def test_every_run_is_done(study: Study) -> None:
    states = study.status()
    assert {run["state"] for run in states.values()} == {"done"}, [
        (run_id, run["reason"], study.logs(run_id)[-2000:]) for run_id, run in states.items() if run["state"] != "done"
    ]
    stages = Counter(run["stage"] for run in states.values())
    assert stages["target"] == 15
    assert stages["intermediate"] == 4
    assert stages["retrieval"] == 5


def test_accounting_shows_arrays_that_waited_for_their_parents(study: Study, slurm: SlurmCluster) -> None:
    tags = {path.parent.name for path in study.root.glob("campaign/submissions/*/job.json")}
    listed = slurm.run("sacct", "-X", "-n", "-P", "-o", "JobID,JobName,State,Start,End", "-S", "now-2hours")
    jobs = {}
    for line in listed.splitlines():
        job, name, state, start, end = line.split("|")
        if name.rsplit("#")[-1] in tags:
            assert state == "COMPLETED"
            jobs[job] = (start, end)
    runs = {path.parent.name: json.loads(path.read_text()) for path in study.root.glob("*/DONE")}
    assert {run["job"] for run in runs.values()} == set(jobs), "every run was one job that is found by a tag"
    arrays = Counter(job.split("_")[0] for job in jobs if "_" in job)
    assert len(arrays) >= 4
    assert max(arrays.values()) >= 8
    for run_id, run in runs.items():
        for parent in run["needs"]:
            assert jobs[run["job"]][0] >= jobs[runs[parent]["job"]][1], f"{run_id} started before {parent} ended"


def test_submitted_scripts_name_arrays_dependencies_and_no_code_but_the_snapshot(study: Study) -> None:
    scripts = [path.read_text() for path in study.root.glob("campaign/submissions/*/*.sh")]
    assert any("--array=" in script for script in scripts)
    assert any("afterok:" in script for script in scripts)
    assert any("afterany:" in script for script in scripts)
    assert all("/campaign/code/" in script for script in scripts)


def test_stored_predictions_give_the_same_scores(study: Study) -> None:
    compared = 0
    for path in study.root.glob("*/metrics/*.json"):
        record = json.loads(path.read_text())
        table = path.parents[1] / "predictions" / f"{record['target']}.{record['split']}.parquet"
        slow = score_predictions(table, record["target"], record["language"])
        assert set(slow) == set(record["metrics"])
        for metric, value in slow.items():
            assert record["metrics"][metric] == pytest.approx(value, abs=1e-6), path
        compared += 1
    assert compared >= 5 * (8 + 6 + 3 + 3) + 6


def test_every_target_was_scored_in_its_languages(study: Study) -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for path in study.root.glob("*/metrics/*.json"):
        record = json.loads(path.read_text())
        if record["stage"] == "target":
            found.setdefault((record["target"], record["split"]), set()).add(record["language"])
    for target, languages in LANGUAGES.items():
        split = "dev" if target in ("xnli", "udpos") else "test"
        assert found[target, split] == set(languages.split())


def test_loss_fell_by_a_fifth_wherever_something_was_trained(study: Study) -> None:
    fallen = {}
    for path in study.root.glob("*/DONE"):
        done = json.loads(path.read_text())
        losses = done["facts"].get("losses")
        if losses:
            fallen[done["run"]] = 1 - losses["last"] / losses["first"]
    assert len(fallen) == 15 + 4
    assert min(fallen.values()) >= 0.2, sorted(fallen.items(), key=lambda item: item[1])[:5]


def test_main_table_is_complete_and_compiles(study: Study, latex: str, tmp_path: Path) -> None:
    study.tables(tmp_path)
    rows = list(csv.DictReader((tmp_path / "main.csv").open()))
    assert next(row["row"] for row in rows) == "scratch"
    assert len(rows) == 5
    for row in rows:
        assert row["targets_complete"] == "4"
        assert all(row[column] for column in ("xnli", "udpos", "xquad_f1", "xquad_em", "tatoeba", "avg_partial"))
        assert row["avg"] == ""
    document = tmp_path / "document.tex"
    document.write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}\\begin{document}"
        "\\input{main.tex}\\end{document}"
    )
    done = subprocess.run([latex, "-interaction=nonstopmode", document.name], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "document.pdf").stat().st_size > 5000


def test_the_same_command_again_submits_nothing_and_says_why(study: Study) -> None:
    before = sorted(study.root.glob("campaign/submissions/*"))
    again = study.launch()
    assert "nothing to submit" in again.stdout
    assert "done" in again.stdout
    assert sorted(study.root.glob("campaign/submissions/*")) == before


def test_a_deleted_folder_is_repaired_with_what_depends_on_it(study: Study, slurm: SlurmCluster) -> None:
    """Runs last in this file: it changes the campaign."""
    plan = study.plan()
    lost = study.find("intermediate-squad1-")
    weights = (study.root / lost / "model" / "model.safetensors").read_bytes()
    before = {path.name for path in study.root.glob("campaign/submissions/*")}
    shutil.rmtree(study.root / lost)
    assert set(study.plan()["submits"]) == cone(plan, lost)

    study.launch()
    slurm.wait_empty(timeout_s=300)
    submitted: list[str] = []
    for path in study.root.glob("campaign/submissions/*/submission.json"):
        if path.parent.name not in before:
            submitted += json.loads(path.read_text())["runs"]
    assert sorted(submitted) == sorted(cone(plan, lost))
    assert set(study.states().values()) == {"done"}
    # The training is deterministic: its children find the very weights that they were built on, and keep their results.
    assert (study.root / lost / "model" / "model.safetensors").read_bytes() == weights
    child = study.find("target-xnli-squad1-")
    assert len(list(study.root.glob(f"{child}/attempts/*"))) == 2
    assert "an earlier attempt had finished this run" in study.logs(child)
