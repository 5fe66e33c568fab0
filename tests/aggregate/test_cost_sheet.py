"""What the runs behind each row have taken, from run folders written by hand."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aggregate.tables import main
from tests.aggregate.metric_tree import MNLI, write_task
from tests.aggregate.test_output import compile_latex
from tests.aggregate.test_plan import PLAIN, TRAINED, keep_plan, write_run

BASE, TOTAL = "xlm-roberta-large", "All rows, each run once"
GPU = {"ranks": 2, "resources": {"nodes": 1, "gpus": 2, "cpus": 8}}
CPU = {"ranks": 1, "resources": {"nodes": 1, "gpus": 0, "cpus": 4}}
RETRIEVAL = GPU | {"ranks": 1}


def write_folder(
    results: Path,
    run: str,
    attempts: list[float | None],
    parents: tuple[str, ...] = (),
    facts: dict[str, Any] | None = None,
    place: dict[str, Any] = GPU,
) -> None:
    """A run with attempts of so many hours (None: killed without a word); done where it has facts."""
    folder = results / run
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"stage": run.partition("-")[0], "parents": parents}))
    for number, hours in enumerate(attempts):
        attempt = folder / "attempts" / str(number)
        attempt.mkdir(parents=True)
        (attempt / "attempt.json").write_text(json.dumps({"started": 1000.0, **place}))
        if hours is not None:
            outcome = {"state": "done", "ended": 1000.0 + 3600 * hours}
            (attempt / "outcome.json").write_text(json.dumps(outcome))
    if facts is not None:
        (folder / "DONE").write_text(json.dumps({"schema": "stilts.done/1", "run": run, "facts": facts}))


def trained(tokens: int, seconds: float, **changes: Any) -> dict[str, Any]:
    facts = {"tokens": tokens, "seconds": seconds, "peak_memory_gb": 10.0, "resumed": [], "device": "NVIDIA H200"}
    return facts | changes


def read_sheet(results: Path) -> dict[str, dict[str, str]]:
    out = results.parent / "out"
    assert main(["--results", str(results), "--out", str(out)]) == 0
    with open(out / "cost.csv", newline="") as file:
        return {line["row"]: line for line in csv.DictReader(file)}


def plan_study(results: Path) -> None:
    """A baseline and mnli, whose encoder serves two targets; both rows build on one pre-trained encoder."""
    base = {"xnli": {"1": "target-xnli-none"}, "tatoeba": {"1": "retrieval-tatoeba-none"}}
    own = {"xnli": {"1": "target-xnli-mnli"}, "tatoeba": {"1": "retrieval-tatoeba-mnli"}}
    keep_plan(results, [PLAIN | {"runs": base}, TRAINED | {"runs": own}])


def write_study(results: Path) -> None:
    plan_study(results)
    scratch, encoder = "pretrain-scratch", "intermediate-mnli"
    write_folder(results, "fetch-text", [50.0], facts={}, place=CPU)
    write_folder(results, scratch, [1.0], ("fetch-text",), trained(1000, 10.0, peak_memory_gb=30.0))
    write_folder(results, "prepare-mnli", [9.0], (scratch, "fetch-text"), {}, CPU)
    facts = trained(4000, 80.0, peak_memory_gb=20.0, resumed=[100, 200])
    write_folder(results, encoder, [0.5, 2.0], (scratch, "prepare-mnli"), facts)
    write_folder(results, "target-xnli-none", [3.0], (scratch,), trained(600, 6.0))
    write_folder(results, "target-xnli-mnli", [4.0], (encoder,), trained(700, 7.0))
    write_folder(results, "retrieval-tatoeba-none", [0.25], (scratch,), {}, RETRIEVAL)
    write_folder(results, "retrieval-tatoeba-mnli", [0.75], (encoder,), {}, RETRIEVAL)
    for run, target, intermediate in (
        ("target-xnli-none", "xnli", None),
        ("target-xnli-mnli", "xnli", MNLI),
        ("retrieval-tatoeba-none", "tatoeba", None),
        ("retrieval-tatoeba-mnli", "tatoeba", MNLI),
    ):
        write_run(results, run, target, 50.0, **({"intermediate": intermediate} if intermediate else {}))


def read_numbers(line: dict[str, str], *names: str) -> list[float]:
    return [float(line[name]) for name in names]


def test_hours_tokens_and_memory_are_those_of_all_runs_behind_a_row(tmp_path: Path) -> None:
    write_study(tmp_path / "results")
    sheet = read_sheet(tmp_path / "results")
    hours = ("encoder_hours", "target_hours", "hours")
    # Two GPUs but for retrieval, which has one rank; fetching and tokenising are left out.
    assert read_numbers(sheet[BASE], *hours) == pytest.approx([2.0, 6.25, 8.25])
    assert read_numbers(sheet["mnli"], *hours) == pytest.approx([2.0 + 5.0, 8.75, 15.75])
    figures = ("tokens", "seconds", "tokens_per_s", "peak_memory_gb", "attempts", "restarts", "resumes")
    assert read_numbers(sheet[BASE], *figures) == pytest.approx([1600, 16.0, 100.0, 30.0, 3, 0, 0])
    assert read_numbers(sheet["mnli"], *figures) == pytest.approx([5700, 97.0, 5700 / 97, 30.0, 5, 0, 2])
    assert all(line["unit"] == "GPU-hours" and line["partial"] == "False" for line in sheet.values())


def test_shared_run_counts_in_each_row_and_once_in_the_total(tmp_path: Path) -> None:
    write_study(tmp_path / "results")
    sheet = read_sheet(tmp_path / "results")
    total = sheet[TOTAL]
    assert read_numbers(total, "encoder_hours", "target_hours", "tokens", "runs", "attempts") == pytest.approx(
        [2.0 + 5.0, 6.25 + 8.75, 1000 + 4000 + 600 + 700, 6, 7]
    )
    assert float(total["hours"]) == pytest.approx(sum(float(sheet[row]["hours"]) for row in (BASE, "mnli")) - 2.0)
    assert list(sheet) == [BASE, "mnli", TOTAL]


def test_runs_that_are_not_done_make_a_row_partial(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_study(results)
    (results / "target-xnli-mnli" / "DONE").unlink()
    sheet = read_sheet(results)
    assert (sheet["mnli"]["runs"], sheet["mnli"]["runs_done"], sheet["mnli"]["partial"]) == ("4", "3", "True")
    assert float(sheet["mnli"]["tokens"]) == 5000 and float(sheet["mnli"]["target_hours"]) == pytest.approx(8.75)
    assert sheet[BASE]["partial"] == "False"
    text = (tmp_path / "out" / "cost.md").read_text()
    assert "| mnli | 3/4 | 7.00 | 8.75† | 15.8† | 0.005† | 90.0† |" in text
    assert "† so far" in text


def test_run_that_has_not_begun_counts_as_one_to_come(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_study(results)
    shutil.rmtree(results / "retrieval-tatoeba-mnli")
    line = read_sheet(results)["mnli"]
    assert (line["runs"], line["runs_done"], line["target_hours"], line["partial"]) == ("4", "3", "8.0", "True")
    assert float(line["tokens"]) == 5700
    assert "| 0.006 |" in (tmp_path / "out" / "cost.md").read_text()  # the trainings are complete


def test_attempt_that_left_no_end_is_told_and_not_guessed(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_study(results)
    (results / "intermediate-mnli" / "attempts" / "0" / "outcome.json").unlink()
    sheet = read_sheet(results)
    assert float(sheet["mnli"]["encoder_hours"]) == pytest.approx(2.0 + 4.0)
    assert sheet["mnli"]["partial"] == "True" and sheet["mnli"]["attempts"] == "5"
    assert sheet[BASE]["partial"] == "False"


def test_figure_that_a_record_lacks_is_missing_and_not_averaged(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_study(results)
    for run in ("target-xnli-mnli", "intermediate-mnli"):
        done = json.loads((results / run / "DONE").read_text())
        done["facts"]["peak_memory_gb"] = None
        (results / run / "DONE").write_text(json.dumps(done))
    sheet = read_sheet(results)
    assert sheet["mnli"]["peak_memory_gb"] == sheet[TOTAL]["peak_memory_gb"] == ""
    assert sheet["mnli"]["reason"] == "recorded by some of the trainings only"
    assert float(sheet[BASE]["peak_memory_gb"]) == 30.0
    assert "-- [1]" in (tmp_path / "out" / "cost.md").read_text()


def test_restarts_after_a_collapse_are_counted(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_study(results)
    record = {"identity": "x", "collapsed": ["seed 1: at chance", "seed 77: at chance"]}
    (results / "intermediate-mnli" / "restarts.json").write_text(json.dumps(record))
    sheet = read_sheet(results)
    assert [sheet[row]["restarts"] for row in (BASE, "mnli", TOTAL)] == ["0", "2", "2"]


def test_without_a_gpu_hours_are_of_cores(tmp_path: Path) -> None:
    results = tmp_path / "results"
    keep_plan(results, [PLAIN | {"runs": {"xnli": {"1": "target-xnli-none"}}}])
    write_folder(results, "target-xnli-none", [2.0], (), trained(600, 6.0, device="cpu"), CPU)
    write_run(results, "target-xnli-none", "xnli", 50.0)
    line = read_sheet(results)[BASE]
    assert (line["unit"], line["hours"], line["encoder_hours"]) == ("CPU-hours", "8.0", "0.0")
    assert "No GPU was used" in (tmp_path / "out" / "cost.md").read_text()


def test_local_worker_counts_the_gpu_that_it_had(tmp_path: Path) -> None:
    """Its resource class asks for none, or for more than one rank uses."""
    results = tmp_path / "results"
    keep_plan(results, [PLAIN | {"runs": {"xnli": {"1": "target-xnli-none"}}}])
    write_folder(results, "target-xnli-none", [2.0], (), trained(600, 6.0), CPU)
    write_run(results, "target-xnli-none", "xnli", 50.0)
    assert read_sheet(results)[BASE]["hours"] == "2.0"


def test_no_sheet_without_a_plan_or_run_folders(tmp_path: Path) -> None:
    write_task(tmp_path / "results", "xnli", 50.0)
    assert main(["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 0
    plan_study(tmp_path / "results")
    assert main(["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "cost.csv").exists()


def record_energy(results: Path, run: str, *kwh: float) -> None:
    for number, energy in enumerate(kwh):
        path = results / run / "attempts" / str(number) / "outcome.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"energy_kwh": energy}))


def test_energy_stands_where_every_attempt_records_it(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_study(results)
    assert "energy_kwh" not in read_sheet(results)[BASE]
    for run in ("pretrain-scratch", "target-xnli-none", "retrieval-tatoeba-none"):
        record_energy(results, run, 1.5)
    record_energy(results, "intermediate-mnli", 0.25, 4.0)
    sheet = read_sheet(results)
    assert (sheet[BASE]["energy_kwh"], sheet[BASE]["reason"]) == ("4.5", "")
    assert (sheet["mnli"]["energy_kwh"], sheet["mnli"]["reason"]) == ("", "energy not recorded by every attempt")
    record_energy(results, "target-xnli-mnli", 2.0)
    record_energy(results, "retrieval-tatoeba-mnli", 3.0)
    sheet = read_sheet(results)
    assert (sheet["mnli"]["energy_kwh"], sheet[TOTAL]["energy_kwh"]) == ("10.75", "13.75")
    assert "| energy (kWh) |" in (tmp_path / "out" / "cost.md").read_text()


def test_digest_of_this_table_alone_knows_what_runs_have_cost(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_study(results)

    def read_heads() -> list[str]:
        read_sheet(results)
        return [(tmp_path / "out" / f"{name}.md").read_text().splitlines()[0] for name in ("main", "cost")]

    main_head, cost_head = read_heads()
    assert read_heads() == [main_head, cost_head] and main_head != cost_head
    done = json.loads((results / "intermediate-mnli" / "DONE").read_text())
    done["facts"]["tokens"] += 1
    (results / "intermediate-mnli" / "DONE").write_text(json.dumps(done))
    assert read_heads()[0] == main_head and read_heads()[1] != cost_head


def test_latex_compiles_and_fits(tmp_path: Path, latex: str) -> None:
    write_study(tmp_path / "results")
    (tmp_path / "results" / "target-xnli-mnli" / "DONE").unlink()
    read_sheet(tmp_path / "results")
    (tmp_path / "out" / "main.tex").write_text("\\input{cost.tex}\n")
    log = compile_latex(latex, tmp_path / "out")
    assert "Float too large" not in log and "Overfull" not in log
