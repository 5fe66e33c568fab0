"""Every row by language and by group of languages, against plain sums over the files."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

from aggregate.sheets.languages import FACTS, list_groups, read_facts
from aggregate.tables import main
from stilts.tasks.catalogue import TARGETS
from tests.aggregate.metric_tree import (
    LANGUAGES,
    MNLI,
    make_document,
    make_metrics,
    read_table,
    write_document,
    write_row,
    write_task,
)
from tests.aggregate.test_output import compile_latex

Place = tuple[str, str, str]  # row, metric, group
BASE = "xlm-roberta-large"

# Typed in again, apart from the data file.
SLAVIC, AUSTRONESIAN = ["bg", "ru"], ["id", "jv", "ms", "tl"]
ARABIC, CYRILLIC = ["ar", "fa", "ur"], ["bg", "kk", "ru"]


def run_main(results: Path, out: Path, *options: str) -> None:
    assert main(["--results", str(results), "--out", str(out), *options]) == 0


def read_sheet(out: Path, target: str) -> dict[Place, dict[str, str]]:
    with open(out / "languages" / f"{target}.csv", newline="") as file:
        return {(line["row"], line["metric"], line["group"]): line for line in csv.DictReader(file)}


def write_random(folder: Path, target: str, seeds: list[int], **changes: object) -> dict[tuple[int, str], float]:
    """A score for every seed and language, which it returns."""
    generator = random.Random(f"{target} {changes}")
    scores = {(seed, code): generator.uniform(20, 90) for seed in seeds for code in LANGUAGES[target]}
    for (seed, code), score in scores.items():
        metrics = make_metrics(target, score, score - 10)
        write_document(folder, make_document(target, code, metrics, seed=seed, **changes))
    return scores


def test_means_and_differences_are_those_of_plain_sums(tmp_path: Path) -> None:
    base = write_random(tmp_path / "results" / "base", "panx", [1, 2])
    own = write_random(tmp_path / "results" / "mnli", "panx", [2, 1, 3], intermediate=MNLI)
    run_main(tmp_path / "results", tmp_path / "out")
    sheet = read_sheet(tmp_path / "out", "panx")
    groups = {code: [code] for code in LANGUAGES["panx"]} | {
        "Mean": LANGUAGES["panx"],
        "Slavic": SLAVIC,
        "Austronesian": AUSTRONESIAN,
        "Arabic": ARABIC,
        "Cyrillic": CYRILLIC,
        "<1 GiB": ["jv", "yo"],
        ">100 GiB": ["en", "fa", "id", "ru", "vi"],
    }
    for name, codes in groups.items():
        absolute = {seed: sum(base[seed, code] for code in codes) / len(codes) for seed in (1, 2)}
        trained = {seed: sum(own[seed, code] for code in codes) / len(codes) for seed in (1, 2)}
        difference = sum(trained[seed] - absolute[seed] for seed in (1, 2)) / 2
        assert float(sheet[BASE, "f1", name]["value"]) == pytest.approx(sum(absolute.values()) / 2, abs=1e-9)
        assert float(sheet["mnli", "f1", name]["value"]) == pytest.approx(difference, abs=1e-9)
        assert sheet["mnli", "f1", name]["seeds"] == "2"
        assert set(sheet["mnli", "f1", name]["languages"].split()) == set(codes)
    assert "seed 3 not in the baseline" in sheet["mnli", "f1", "af"]["reason"]
    whole = {line["row"]: line["panx"] for line in read_table(tmp_path / "out")}
    assert {row: sheet[row, "f1", "Mean"]["value"] for row in whole} == whole


def test_question_answering_has_both_metrics_of_every_language(tmp_path: Path) -> None:
    base = write_random(tmp_path / "results" / "base", "tydiqa", [1])
    own = write_random(tmp_path / "results" / "mnli", "tydiqa", [1], intermediate=MNLI)
    run_main(tmp_path / "results", tmp_path / "out")
    sheet = read_sheet(tmp_path / "out", "tydiqa")
    for code in LANGUAGES["tydiqa"]:
        assert float(sheet[BASE, "f1", code]["value"]) == pytest.approx(base[1, code])
        assert float(sheet[BASE, "exact_match", code]["value"]) == pytest.approx(base[1, code] - 10)
        assert float(sheet["mnli", "exact_match", code]["value"]) == pytest.approx(own[1, code] - base[1, code])
    text = (tmp_path / "out" / "languages" / "tydiqa.md").read_text()
    assert "| ar (F1) |" in text and "| ar (EM) |" in text


def test_group_that_lacks_a_language_has_no_mean_and_says_why(tmp_path: Path) -> None:
    kept = [code for code in LANGUAGES["xnli"] if code != "ru"]
    write_task(tmp_path / "results", "xnli", 50.0)
    write_task(tmp_path / "results", "xnli", 53.0, languages=kept, intermediate=MNLI)
    run_main(tmp_path / "results", tmp_path / "out")
    sheet = read_sheet(tmp_path / "out", "xnli")
    for group in ("Mean", "Slavic", "Cyrillic", ">100 GiB"):
        assert sheet["mnli", "accuracy", group]["value"] == ""
        assert sheet["mnli", "accuracy", group]["reason"] == "missing: ru"
        assert sheet[BASE, "accuracy", group]["value"] == "50.0"
    assert sheet["mnli", "accuracy", "ru"]["value"] == ""
    assert sheet["mnli", "accuracy", "ru"]["reason"] == "no results"
    for group in ("bg", "Germanic", "Latin", "1-10 GiB"):
        assert sheet["mnli", "accuracy", group]["value"] == "3.0"
    text = (tmp_path / "out" / "languages" / "xnli.md").read_text()
    assert "] missing: ru" in text and "-- [1]" in text


def test_language_with_contradicting_files_has_no_number_and_the_others_do(tmp_path: Path) -> None:
    write_task(tmp_path / "results", "xnli", 50.0)
    write_document(tmp_path / "results" / "other", make_document("xnli", "sw", {"accuracy": 51.0}))
    run_main(tmp_path / "results", tmp_path / "out")
    sheet = read_sheet(tmp_path / "out", "xnli")
    assert sheet[BASE, "accuracy", "sw"]["value"] == "" and sheet[BASE, "accuracy", "sw"]["reason"] == "conflict: sw"
    assert sheet[BASE, "accuracy", "ur"]["value"] == "50.0"


def test_run_that_gave_some_languages_is_not_said_to_have_no_metrics(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_task(results, "xnli", 50.0, languages=["en", "de"], run="target-xnli-none-s1-00000000")
    runs = {"xnli": {1: "target-xnli-none-s1-00000000", 2: "target-xnli-none-s2-11111111"}}
    expected = {"seeds": [1, 2], "targets": {"xnli": {"dev": ["en", "de", "sw"]}}, "rows": [{"mode": "none"}]}
    expected["rows"] = [{"mode": "none", "runs": runs}]
    (results / "campaign").mkdir()
    (results / "campaign" / "grid.json").write_text(json.dumps({"expected": expected}))
    run_main(results, tmp_path / "out")
    sheet = read_sheet(tmp_path / "out", "xnli")
    silent = "seed 2: run target-xnli-none-s2-11111111 has no metrics yet"
    assert sheet[BASE, "accuracy", "en"]["value"] == "50.0" and sheet[BASE, "accuracy", "en"]["reason"] == silent
    assert sheet[BASE, "accuracy", "sw"]["reason"].startswith("seed 1 no results; seed 2: run")
    assert sheet[BASE, "accuracy", "Germanic"]["value"] == "50.0"
    assert "over 3 of 15 languages" in (tmp_path / "out" / "languages" / "xnli.md").read_text()


def test_only_targets_with_a_score_have_a_sheet(tmp_path: Path) -> None:
    write_task(tmp_path / "results", "xnli", 50.0)
    write_task(tmp_path / "results", "panx", 50.0, languages=["de"])
    run_main(tmp_path / "results", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / "languages").iterdir()} == {
        f"{target}.{suffix}" for target in ("xnli", "panx") for suffix in ("csv", "tex", "md")
    }


def test_made_up_languages_have_no_groups(tmp_path: Path) -> None:
    write_task(tmp_path / "results", "xnli", 50.0, suite="toy")
    run_main(tmp_path / "results", tmp_path / "out")
    sheet = read_sheet(tmp_path / "out", "xnli")
    assert [group for _, _, group in sheet] == ["Mean", "en", "qaa", "qab", "qac"]
    assert "toy languages" in (tmp_path / "out" / "languages" / "xnli.md").read_text()


def test_facts_cover_every_language_and_name_their_sources() -> None:
    facts = read_facts()
    assert set(facts) == {code for target in TARGETS.values() for code in target.languages}
    lines = FACTS.read_text().splitlines()
    sources = {line[2:].partition(":")[0] for line in lines if line.startswith("#")}
    header = next(line for line in lines if not line.startswith("#"))
    assert sources == set(header.split(","))
    assert facts["yo"].cc100_gib == 0 and facts["en"].cc100_gib == max(one.cc100_gib for one in facts.values())


def test_groups_part_the_languages_by_each_fact() -> None:
    """Every language is in one group of each kind, unless it would be alone there."""
    facts = read_facts()
    languages = tuple(LANGUAGES["panx"])
    groups = list_groups(languages, "xtreme")
    kinds: dict[str, Callable[[str], str]] = {
        "script": lambda code: facts[code].script,
        "family": lambda code: facts[code].family,
        "size": lambda code: facts[code].size,
    }
    for kind, read in kinds.items():
        named = {code: group.name for group in groups if group.kind == kind for code in group.languages}
        assert sum(len(group.languages) for group in groups if group.kind == kind) == len(named)
        values = [read(code) for code in languages]
        alone = {code for code in languages if values.count(read(code)) == 1}
        assert named == {code: read(code) for code in languages if code not in alone}
    assert [group.name for group in groups if group.kind == "size"] == ["<1 GiB", "1-10 GiB", "10-100 GiB", ">100 GiB"]
    assert fmean([len(group.languages) for group in groups if group.kind == "language"]) == 1


def test_latex_of_every_target_compiles_and_fits(tmp_path: Path, latex: str) -> None:
    for seed in (1, 2):
        write_row(tmp_path / "results", 60.0, seed=seed)
        write_row(tmp_path / "results", 71.5, seed=seed, without=["panx"], intermediate=MNLI)
        kept = LANGUAGES["panx"][seed:]
        write_task(tmp_path / "results", "panx", 47.0, seed=seed, languages=kept, intermediate=MNLI)
    run_main(tmp_path / "results", tmp_path / "out")
    inputs = "".join(f"\\input{{languages/{target}.tex}}\\clearpage\n" for target in LANGUAGES)
    (tmp_path / "out" / "main.tex").write_text(inputs)
    log = compile_latex(latex, tmp_path / "out")
    assert "Float too large" not in log and "Overfull" not in log and "multiply defined" not in log
    text = (tmp_path / "out" / "languages" / "panx.tex").read_text()
    assert text.count("\\begin{table}") == 4 and "\\label{tab:languages-panx}" in text
