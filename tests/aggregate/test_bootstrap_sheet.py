"""The table `bootstrap`: intervals over examples from stored predictions, against loops over the files' own columns."""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from aggregate.evidence import bootstrap, example_samples
from aggregate.evidence.example_samples import Group, resample_group
from aggregate.sheets.bootstrap_sheet import build_bootstrap_sheet
from aggregate.study import read_study
from aggregate.tables import main
from aggregate.writing.plain import write_csv, write_markdown
from tests.aggregate.example_tree import SHARED_IDS, make_rows, write_run, write_study
from tests.aggregate.metric_tree import LANGUAGES, ONE_SET, QA
from tests.aggregate.test_output import compile_latex

RESAMPLES = 100
MODELS = "xlm-roberta-large", "mnli"
Recorded = dict[tuple[str, int], Any]  # counts by name and number of what is drawn
Draws = dict[str, tuple[dict[str, int], Any]]


def read_lines(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    with open(out / "bootstrap.csv", newline="") as file:
        return {(line["row"], line["column"]): line for line in csv.DictReader(file)}


def run_tables(results: Path, resamples: int = RESAMPLES, out: str = "out") -> dict[tuple[str, str], dict[str, str]]:
    """This table alone, written as all are."""
    study, folder = read_study(results), results.parent / out
    sheet = build_bootstrap_sheet(study, resamples)
    folder.mkdir(exist_ok=True)
    (folder / "bootstrap.csv").write_text(write_csv(sheet.records))
    (folder / "bootstrap.md").write_text(write_markdown(sheet, sheet.join_digests(study.digest)))
    return read_lines(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("examples") / "results"
    write_study(results, {"none": 0.5, "single mnli": 0.7})
    return results


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "results"))


def rows_of(results: Path, run: str, target: str) -> Iterator[dict[str, Any]]:
    split = "test" if target in ONE_SET else "dev"
    yield from pq.read_table(results / run / "predictions" / f"{target}.{split}.parquet").to_pylist()


def count_row(target: str, row: dict[str, Any], metric: str) -> tuple[float, float]:
    """What an example adds above and below the line, from what was predicted."""
    if target in ("udpos", "panx"):
        return 2 * row["chunks_right"], row["chunks_gold"] + row["chunks_predicted"]
    if target == "bucc2018":
        predicted = row["score"] is not None and row["score"] >= row["threshold"]
        return 2 * (predicted and row["gold"]), predicted + row["gold"]
    if target in QA:
        return float(row[metric]), 1
    return float(row["prediction"] == row["gold" if target == "tatoeba" else "label"]), 1


def score_slowly(results: Path, run: str, target: str, metric: str, draws: Draws) -> list[float]:
    """A run's score on each resample, by loops; `draws` are (place of each id, counts) by what they are drawn for."""
    rows = list(rows_of(results, run, target))
    languages = list(dict.fromkeys(row["language"] for row in rows))
    scores = []
    for number in range(RESAMPLES):
        of_languages = []
        for language in languages:
            units, counts = draws[target if target in SHARED_IDS else f"{target} {language}"]
            above = below = 0.0
            for row in (row for row in rows if row["language"] == language):
                times = counts[number, units[row["foreign_id" if target == "bucc2018" else "id"]]]
                hits, of = count_row(target, row, metric)
                above, below = above + times * hits, below + times * of
            of_languages.append(100 * above / below if below else 0.0)
        scores.append(sum(of_languages) / len(of_languages))
    return scores


def list_units(results: Path, target: str, language: str | None) -> list[str]:
    """What is drawn, in the order that it is drawn in."""
    runs = sorted(path.name for path in results.glob(f"target-{target}-*"))
    rows = [row for run in runs for row in rows_of(results, run, target)]
    own = [row for row in rows if language in (None, row["language"])]
    if target == "bucc2018":
        counted = [row["foreign_id"] for row in own if sum(count_row(target, row, "f1"))]
        return sorted(set(counted))
    ids = [row["id"] for row in own]
    return sorted(set(ids)) if target in SHARED_IDS else list(dict.fromkeys(ids))


def record_draws(results: Path, names: Recorded) -> Draws:
    """The draws that the table was made of, with the place of each id."""
    found: Draws = {}
    for (name, size), counts in names.items():
        target, *languages = name.split()[:-1]
        units = list_units(results, target, None if target in SHARED_IDS else languages[0])
        assert len(units) == size and counts.sum(axis=1).tolist() == [size] * RESAMPLES
        own = {unit: place for place, unit in enumerate(units)}
        found[target if target in SHARED_IDS else f"{target} {languages[0]}"] = (own, counts)
    return found


def test_intervals_are_those_of_loops(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every target and both rows, over languages and seeds, and Avg."""
    names: Recorded = {}
    draw = bootstrap._draw_counts

    def remember(draws: str, examples: int, resamples: int, dtype: Any) -> Iterator[Any]:
        blocks = list(draw(draws, examples, resamples, dtype))
        names[draws, examples] = np.concatenate(blocks)
        yield from blocks

    monkeypatch.setattr(bootstrap, "_draw_counts", remember)
    assert main(["--results", str(study), "--out", str(tmp_path), "--bootstrap", str(RESAMPLES)]) == 0
    lines, draws = read_lines(tmp_path), record_draws(study, names)
    averages: list[Any] = []
    for target in LANGUAGES:
        parts = []
        for column, metric in (
            [(f"{target}_f1", "f1"), (f"{target}_em", "exact_match")] if target in QA else [(target, "f1")]
        ):
            lone = target in ("bucc2018", "tatoeba")
            base, own = (
                [score_slowly(study, f"target-{target}-{row}{end}", target, metric, draws) for end in ends]
                for row, ends in (("none", [""] if lone else ["-s1", "-s2"]), ("single-mnli", ["-s1", "-s2"]))
            )
            absolute = np.mean(base, axis=0)
            parts.append(np.mean(own, axis=0) - absolute)
            for row, samples in zip(MODELS, (absolute, parts[-1]), strict=True):
                line = lines[row, column]
                bounds = [float(line["low_examples"]), float(line["high_examples"])]
                assert bounds == pytest.approx(np.percentile(samples, [2.5, 97.5]), abs=1e-4), (row, column)
        averages.append(np.mean(parts, axis=0))
    line = lines["mnli", "avg"]
    wanted = np.percentile(np.mean(averages, axis=0), [2.5, 97.5])
    assert [float(line["low_examples"]), float(line["high_examples"])] == pytest.approx(wanted, abs=1e-4)


def test_intervals_over_seeds_stand_beside_as_in_the_main_table(study: Path) -> None:
    out = study.parent / "out"
    assert main(["--results", str(study), "--out", str(out), "--bootstrap", str(RESAMPLES)]) == 0
    lines = read_lines(out)
    with open(out / "main_detail.csv", newline="") as file:
        details = {(line["row"], line["column"]): line for line in csv.DictReader(file)}
    for place, line in lines.items():
        assert (line["value"], line["low_seeds"], line["high_seeds"]) == tuple(
            details[place][name] for name in ("value", "low", "high")
        )
    text = (out / "bootstrap.md").read_text()
    assert "about these trained models only, languages fixed, not about other seeds" in text


def test_translations_are_drawn_together_and_others_apart(tmp_path: Path) -> None:
    """The same three sets as translations of one and as sets of their own: errors that go together do not cancel."""
    widths = {}
    for target in ("xnli", "tatoeba"):
        results = tmp_path / target / "results"
        write_study(results, {"none": 0.5}, [target], seeds=[1], count=300, languages=1)
        split = "test" if target in ONE_SET else "dev"
        (run,) = (path for path in results.glob("target-*"))
        rows = list(rows_of(results, run.name, target))
        languages = LANGUAGES[target][:3]
        every = [row | {"language": language} for language in languages for row in rows]
        made = {"mode": "none", "tasks": [], "mlm": False, "translated": False}
        write_run(results, run.name, target, every, split, intermediate=made, seed=1)
        grid = results / "campaign" / "grid.json"
        expected = json.loads(grid.read_text())
        expected["expected"]["targets"] = {target: {split: languages}}
        grid.write_text(json.dumps(expected))
        line = run_tables(results, 2000)["xlm-roberta-large", target]
        widths[target] = float(line["high_examples"]) - float(line["low_examples"])
    assert widths["xnli"] == pytest.approx(widths["tatoeba"] * 3**0.5, rel=0.1)


def test_order_of_rows_and_runs_changes_nothing(copy: Path, study: Path) -> None:
    """A run's rows shuffled, and a further row at the head of the grid."""
    before = run_tables(study)
    path = copy / "target-xnli-single-mnli-s2" / "predictions" / "xnli.dev.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(random.Random(1).sample(range(len(table)), len(table))), path)
    grid = json.loads((copy / "campaign" / "grid.json").read_text())
    grid["expected"]["rows"].insert(0, {"mode": "single", "tasks": ["qqp"], "runs": {"xnli": {1: "target-xnli-qqp"}}})
    (copy / "campaign" / "grid.json").write_text(json.dumps(grid))
    after = run_tables(copy)
    assert {place: line for place, line in after.items() if place[0] in MODELS} == before


def test_number_of_runs_in_memory_changes_nothing(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_tables(study)
    monkeypatch.setattr(example_samples, "RUNS_AT_ONCE", 1)
    assert run_tables(study) == before


def test_set_without_any_pair_scores_nothing() -> None:
    none = np.zeros(0, np.int64)
    group = Group("bucc2018 de", 0, {"de": (none, none)})
    (samples,) = resample_group(group, np.zeros((0, 2)), np.zeros((0, 2)), 5)
    assert samples.tolist() == [[0.0, 0.0]] * 5


def test_same_input_same_bytes_and_another_prediction_another_digest(copy: Path) -> None:
    heads = []
    for number in range(3):
        run_tables(copy, out=f"out{number}")
        text = (copy.parent / f"out{number}" / "bootstrap.md").read_text()
        heads.append((text.splitlines()[0], text))
        if number == 1:
            path = copy / "target-pawsx-none-s1" / "predictions" / "pawsx.dev.parquet"
            rows = pq.read_table(path).to_pylist()
            made = {"mode": "none", "tasks": [], "mlm": False, "translated": False}
            wrong = [row["label"] for row in rows if row["label"] != row["prediction"]]
            assert wrong
            for row in rows:
                row["prediction"] = row["label"]
            write_run(copy, "target-pawsx-none-s1", "pawsx", rows, "dev", intermediate=made, seed=1)
    assert heads[0] == heads[1] and heads[1][0] != heads[2][0]


def spoil(results: Path, run: str, what: str) -> str:
    """Damage the predictions of a run of pawsx; the reason that the table must give."""
    path = results / run / "predictions" / "pawsx.dev.parquet"
    table = pq.read_table(path)
    languages = LANGUAGES["pawsx"][:3]
    match what:
        case "gone":
            path.unlink()
            return "has no stored predictions"
        case "text":
            path.write_text("no table")
            return "has stored predictions that cannot be read"
        case "column":
            pq.write_table(table.drop_columns(["correct"]), path)
            return "has stored predictions without column correct"
        case "language":
            pq.write_table(table.filter(np.asarray(table["language"]) != languages[1]), path)
            return f"has no stored predictions of {languages[1]}"
        case "labels":
            correct = [None if language == languages[2] else True for language in table["language"].to_pylist()]
            place = table.column_names.index("correct")
            pq.write_table(table.set_column(place, "correct", [correct]), path)
            return f"has stored predictions without labels of {languages[2]}"
        case "examples":
            place = table.column_names.index("id")
            pq.write_table(table.set_column(place, "id", [[f"{name}x" for name in table["id"].to_pylist()]]), path)
            return "has stored predictions of other examples than the first row's"
    raise AssertionError(what)


@pytest.mark.parametrize("what", ["gone", "text", "column", "language", "labels", "examples"])
def test_what_is_missing_is_named_and_the_rest_stands(copy: Path, study: Path, what: str) -> None:
    reason = spoil(copy, "target-pawsx-single-mnli-s2", what)
    before, after = run_tables(study), run_tables(copy)
    line = after["mnli", "pawsx"]
    assert (line["low_examples"], line["resamples"]) == ("", "")
    assert line["reason"] == f"run target-pawsx-single-mnli-s2 {reason}"
    assert (
        line["value"] == before["mnli", "pawsx"]["value"] and line["low_seeds"] == before["mnli", "pawsx"]["low_seeds"]
    )
    assert after["mnli", "avg"]["reason"] == "no resamples of PAWS-X" and not after["mnli", "avg"]["low_examples"]
    changed = {place for place in after if after[place] != before[place]}
    assert changed == {("mnli", "pawsx"), ("mnli", "avg")}
    assert reason in (copy.parent / "out" / "bootstrap.md").read_text()


def test_predictions_that_give_another_figure_are_not_used(copy: Path) -> None:
    for path in (copy / "target-xnli-single-mnli-s1" / "metrics").glob("xnli.*.json"):
        document = json.loads(path.read_text())
        document["metrics"]["accuracy"] = 12.5
        path.write_text(json.dumps(document))
    line = run_tables(copy)["mnli", "xnli"]
    assert "where the metric files give" in line["reason"] and not line["low_examples"]


def test_models_that_differ_nowhere_get_no_interval(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_study(results, {"none": 1.0, "single mnli": 1.0}, ["xnli", "pawsx"])
    lines = run_tables(results)
    for place in (("xlm-roberta-large", "xnli"), ("mnli", "xnli"), ("mnli", "avg")):
        assert lines[place]["reason"] == "all resamples equal: no interval over examples"
        assert lines[place]["value"] and not lines[place]["low_examples"]


def test_row_of_no_planned_run_is_named(copy: Path) -> None:
    rows = make_rows("xnli", LANGUAGES["xnli"][0], 0.6, random.Random(1), 8)
    rows += [row for one in LANGUAGES["xnli"][1:3] for row in make_rows("xnli", one, 0.6, random.Random(1), 8)]
    made = {"mode": "single", "tasks": ["qqp"], "mlm": False, "translated": False}
    write_run(copy, "target-xnli-by-hand", "xnli", rows, "dev", intermediate=made, seed=1)
    line = run_tables(copy)["qqp", "xnli"]
    assert line["value"] and line["reason"] == "no run of the plan behind it"


def test_refused_without_a_plan_or_with_too_few_resamples(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", str(copy), "--out", str(copy.parent / "out"), "--bootstrap", "20"]) == 2
    assert "--bootstrap 20: give 100 resamples or more" in capsys.readouterr().err
    (copy / "campaign" / "grid.json").unlink()
    assert main(["--results", str(copy), "--out", str(copy.parent / "out"), "--bootstrap", "100"]) == 2
    assert "no plan names the runs" in capsys.readouterr().err
    assert not (copy.parent / "out").exists()


def test_not_made_unless_asked_for(study: Path, tmp_path: Path) -> None:
    assert main(["--results", str(study), "--out", str(tmp_path)]) == 0
    assert not (tmp_path / "bootstrap.csv").exists()


def test_latex_compiles_and_fits(copy: Path, latex: str) -> None:
    spoil(copy, "target-pawsx-single-mnli-s2", "gone")
    assert main(["--results", str(copy), "--out", str(copy.parent / "out"), "--bootstrap", str(RESAMPLES)]) == 0
    (copy.parent / "out" / "main.tex").write_text("\\input{bootstrap.tex}\n")
    log = compile_latex(latex, copy.parent / "out")
    assert "Float too large" not in log and "Overfull" not in log
