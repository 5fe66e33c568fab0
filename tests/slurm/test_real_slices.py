"""The whole way on real data: original files, real Slurm arrays, DeepSpeed, predictions, tables, LaTeX."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest

from stilts.tasks.catalogue import INTERMEDIATES, ONE_SET_TARGETS
from tests.slurm.conftest import MakeStudy
from tests.support.campaigns import Study, cone
from tests.support.scorer import score_predictions
from tests.support.slices_root import GRID, LANGUAGES, MLM_LANGUAGES, build_root
from tests.support.slurm_cluster import SlurmCluster
from tests.support.tiny_seq2seq import build_m2m100

# Figures of SQuAD 2.0 beside the two that count; tests/stilts/test_metrics_answers.py has their oracle.
SQUAD2_FIGURES = set("HasAns_f1 HasAns_exact NoAns_f1 NoAns_exact best_f1_thresh best_exact_thresh".split())


@pytest.fixture(scope="module")
def study(
    make_study: MakeStudy, slurm: SlurmCluster, data_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Study:
    """The grid, submitted and run to its end."""
    folder = tmp_path_factory.mktemp("data")
    translation = {**GRID["translation"], "model": str(build_m2m100(folder / "m2m100"))}
    study = make_study({**GRID, "data_root": str(build_root(data_root, folder / "root")), "translation": translation})
    study.launch()
    slurm.wait_empty(timeout_s=850)
    return study


def test_every_run_is_done(study: Study) -> None:
    states = study.status()
    assert {run["state"] for run in states.values()} == {"done"}, [
        (run_id, run["reason"], study.logs(run_id)[-2000:]) for run_id, run in states.items() if run["state"] != "done"
    ]
    stages = Counter(run["stage"] for run in states.values())
    assert stages["intermediate"] == 9 + 1 + 1 + 2
    assert stages["target"] == 2 * 6 + 1
    assert stages["retrieval"] == 2 * 2 + 9 + 1 + 2
    assert stages["translate"] == 2 * 2


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
        if record["layer"] is not None:
            continue  # a sweep keeps no predictions
        slow = score_predictions(table, record["target"], record["language"])
        assert set(slow) == set(record["metrics"]) - SQUAD2_FIGURES
        for metric, value in slow.items():
            assert record["metrics"][metric] == pytest.approx(value, abs=1e-6), path
        compared += 1
    assert compared >= 2 * sum(len(languages) for languages in LANGUAGES.values()) + 9 * 3 + 18


def test_every_target_was_scored_in_its_languages(study: Study) -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for path in study.root.glob("*/metrics/*.json"):
        record = json.loads(path.read_text())
        if record["stage"] == "target":
            found.setdefault((record["target"], record["split"]), set()).add(record["language"])
    for target, languages in LANGUAGES.items():
        split = "test" if target in ONE_SET_TARGETS else "dev"
        assert found[target, split] == set(languages)


def test_loss_fell_by_a_fifth_wherever_something_was_trained(study: Study) -> None:
    fallen = {}
    for path in study.root.glob("*/DONE"):
        done = json.loads(path.read_text())
        losses = done["facts"].get("losses")
        # Twenty updates make a head and no model; a mixture with text has losses of very different sizes.
        if losses and "+mlm" not in done["run"] and not done["run"].startswith("pretrain-"):
            fallen[done["run"]] = 1 - losses["last"] / losses["first"]
    assert len(fallen) == 12 + 12
    assert min(fallen.values()) >= 0.2, sorted(fallen.items(), key=lambda item: item[1])[:5]


def test_masked_language_modelling_is_one_more_task_of_a_mixture(study: Study) -> None:
    """Under the rule that draws the others, in four languages, with half of their rate and the pretrained head."""
    run_id = study.find("intermediate-mnli+squad1+mlm-")
    config = json.loads((study.root / run_id / "run.json").read_text())["config"]
    assert set(config["tasks"]) == {"mnli", "squad1", "mlm"}
    assert config["learning_rate"] == pytest.approx(0.5 * GRID["intermediate"]["learning_rate"])
    losses = [json.loads(line) for line in (study.root / run_id / "losses.jsonl").read_text().splitlines()]
    assert {row["task"] for row in losses} == {"mnli", "squad1", "mlm"}
    text = [row["loss"] for row in losses if row["task"] == "mlm"]
    assert text[0] < math.log(GRID["pretrain"]["vocabulary"]) - 0.3, "a fresh head would begin at the log"
    assert fmean(text[-5:]) < fmean(text[:5]) - 0.3
    manifest = json.loads((study.root / study.find("fetch-mlm-train-") / "data" / "manifest.json").read_text())
    assert {entry["language"] for entry in manifest["languages"]} == set(MLM_LANGUAGES)
    assert sum(entry["sentences"] for entry in manifest["languages"]) == 600


def test_translated_sets_are_trained_beside_the_english_ones(study: Study) -> None:
    for task in ("mnli", "squad1"):
        prepared = json.loads(
            (study.root / study.find(f"prepare-{task}-train-translated-") / "data/manifest.json").read_text()
        )
        assert {name for name in prepared["sets"] if name.startswith("train.")} == {"train.de", "train.en"}
        shards = study.plan_ids(f"translate-{task}-de-")
        facts = [json.loads((study.root / shard / "DONE").read_text())["facts"] for shard in shards]
        english = prepared["sets"]["train.en"]["examples"]
        assert sum(fact["examples"] for fact in facts) == english
        dropped = sum(fact["answers"].get("dropped", 0) for fact in facts)
        assert prepared["sets"]["train.de"]["examples"] == english - dropped
    made = [json.loads(path.read_text())["intermediate"] for path in study.root.glob("retrieval-*/metrics/*.json")]
    assert {(made["mlm"], made["translated"]) for made in made} == {(False, False), (True, False), (False, True)}


def test_main_table_is_complete_and_compiles(study: Study, latex: str, tmp_path: Path) -> None:
    study.tables(tmp_path)
    rows = list(csv.DictReader((tmp_path / "main.csv").open()))
    assert next(row["row"] for row in rows) == "scratch"
    assert len(rows) == 1 + 9 + 1 + 3
    whole = [row for row in rows if row["targets_complete"] == "9"]
    assert [row["row"] for row in whole] == ["scratch", "+".join(sorted(INTERMEDIATES))]
    assert all(row["avg"] for row in whole)
    document = tmp_path / "document.tex"
    document.write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage[table]{xcolor}\\usepackage[T1]{fontenc}\\begin{document}"
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
    lost = study.find("intermediate-squad1-s1-")
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
    child = study.find("retrieval-tatoeba-squad1-s1-")
    assert len(list(study.root.glob(f"{child}/attempts/*"))) == 2
    assert "an earlier attempt had finished this run" in study.logs(child)
