"""The page of a study: its sentences against recomputed numbers, the coverage of injected run folders, its bytes."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from html import unescape
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from aggregate.report.island import find_base
from aggregate.report.page import HERE, inline_svg
from aggregate.sheets.sheet import TINT_STEPS, find_tint
from aggregate.study import read_study
from aggregate.tables import main
from aggregate.writing.figures import draw_figures
from tests.aggregate.claims_tree import T, made, same, write_claims, write_full_study, write_gains
from tests.aggregate.metric_tree import MNLI, write_document, write_row, write_task
from tests.aggregate.report_tree import (
    HOSTILE,
    SCORES,
    STATES,
    make_page,
    name_run,
    read_island,
    write_campaign,
    write_folder,
)
from tests.aggregate.scale_tree import SCORES as SCALE_SCORES
from tests.aggregate.scale_tree import keep, places, resolved, write_scores


def read_text(page: Path) -> str:
    """What a reader sees of the page without its scripts."""
    text = re.sub(r"<(script|style).*?</\1>", " ", page.read_text(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


def list_places(island: dict[str, Any]) -> dict[tuple[str, str, int | None], tuple[str, str, list[str]]]:
    """State, reason and runs by row, target and seed."""
    return {
        (row[0], target[0], seed): (
            island["states"][state][0],
            island["texts"][reason],
            [island["runs"][run][0] for run in runs],
        )
        for row, cells in zip(island["rows"], island["cells"], strict=True)
        for target, cell in zip(island["targets"], cells, strict=True)
        for seed, state, reason, runs in cell
    }


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    write_campaign(tmp_path / "runs")
    return make_page(tmp_path / "runs", tmp_path / "out")


def test_every_state_of_a_run_is_seen(campaign: Path) -> None:
    found = list_places(read_island(campaign))
    names = {"none": "xlm-roberta-large", "mnli": "mnli", "squad1": "squad1"}
    for (row, seed), state in STATES.items():
        assert found[names[row], "xnli", seed][0] == state, (row, seed)
        assert found[names[row], "xnli", seed][2] == [name_run(row, seed)]
        assert found[names[row], "tatoeba", seed] == ("missing", "not started", [f"retrieval-tatoeba-{row}-s{seed}"])
    assert found["xlm-roberta-large", "xnli", 3][1] == "train: 40 of 95"
    assert found["mnli", "xnli", 2][1] == "missing: de"
    assert found["mnli", "xnli", 3][1] == "out of memory"
    assert found["squad1", "xnli", 1][1] == "files contradict each other: de"
    assert found["squad1", "xnli", 3][1] == "waits for intermediate-squad1-s3 (failed)"


def test_the_legend_and_the_first_sentence_count_what_is_there(campaign: Path) -> None:
    text, page = read_text(campaign), campaign.read_text()
    counts = Counter(STATES.values()) + Counter(missing=9)
    assert {name: int(count) for name, count in re.findall(r'data-state="(\w+)" data-count="(\d+)"', page)} == counts
    assert "The study is not complete: 3 of 18 expected scores (row, target and seed) are there (17 %); " in text
    assert "1 scored in part, 1 set apart, 1 running, 1 failed, 1 cancelled, 1 blocked, 9 missing." in text
    signs = re.findall(r"<i class=(\w+)>", page[page.index('id="map"') : page.index("</table>")])
    assert Counter(signs) == counts


def test_the_facts_of_a_run_are_those_of_its_folder(campaign: Path) -> None:
    island = read_island(campaign)
    runs = {run[0]: run for run in island["runs"]}
    _, _, _, config, parents, gpu_hours, cpu_hours, work, attempts = runs[name_run("mnli", 1)]
    assert [island["runs"][parent][0] for parent in parents] == ["intermediate-mnli-s1"]
    assert (gpu_hours, cpu_hours) == (0.5 + 1.5, (0.5 + 1.5) * 4)
    assert runs["intermediate-mnli-s1"][5] == 2.0 * 4
    assert ["tasks.xnli.epochs", "2"] in island["configs"][config] and ["seed", "1"] in island["configs"][config]
    assert dict(zip(island["work"], work, strict=True))["device"] == "NVIDIA H200" and 1000 in work
    assert [island["texts"][attempt[1]] for attempt in attempts] == ["failed", "done"]
    assert attempts[1][0] == "002#a" and attempts[1][3] == 1_700_003_600 and attempts[1][8] == 1


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (("", None), ("running", "begun, no sign of progress yet")),
        (("cancelled", 1.0), ("cancelled", "out of memory")),
        (("done", 1.0), ("missing", "its run is done, but has no scores that count")),
    ],
)
def test_the_last_attempt_at_a_run_tells_its_state(
    tmp_path: Path, last: tuple[str, float | None], told: tuple[str, str]
) -> None:
    write_campaign(tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs" / name_run("mnli", 3))
    write_folder(tmp_path / "runs", name_run("mnli", 3), {}, [("failed", 1.0), last])
    found = list_places(read_island(make_page(tmp_path / "runs", tmp_path / "out")))
    assert found["mnli", "xnli", 3][:2] == told


def test_damaged_folders_are_no_obstacle(tmp_path: Path) -> None:
    write_campaign(tmp_path / "runs")
    folder = tmp_path / "runs" / name_run("squad1", 3)
    (folder / "run.json").write_text("{")
    (tmp_path / "runs" / name_run("mnli", 3) / "run.json").write_text('{"parents": [], "config": [1], "infra": 3}')
    (tmp_path / "runs" / name_run("squad1", 2) / "attempts" / "001#a" / "attempt.json").write_text("[]")
    found = list_places(read_island(make_page(tmp_path / "runs", tmp_path / "out")))
    states = [found[row, "xnli", seed][0] for row, seed in (("squad1", 3), ("mnli", 3), ("squad1", 2))]
    assert states == ["missing", "failed", "cancelled"]


def test_without_a_grid_the_page_shows_what_was_found(tmp_path: Path) -> None:
    write_row(tmp_path / "runs", 50.0, seed=1, run="base", without=["tatoeba"])
    write_task(tmp_path / "runs", "xnli", 55.0, seed=1, run="../elsewhere", intermediate=MNLI)
    write_task(tmp_path / "runs", "xnli", 55.0, languages=["en"], seed=2, run="b", intermediate=MNLI)
    page = make_page(tmp_path / "runs", tmp_path / "out")
    found = list_places(read_island(page))
    assert {place: one for place, one in found.items() if place[0] == "mnli"} == {
        ("mnli", "xnli", 1): ("done", "", ["../elsewhere"]),
        ("mnli", "xnli", 2): (
            "partly",
            f"missing: {', '.join('ar bg de el es fr hi ru sw th tr ur vi zh'.split())}",
            ["b"],
        ),
    }
    assert "No grid says what to expect; 10 scores (row, target and seed) were found, 9 of them complete." in read_text(
        page
    )


def test_sentences_say_what_the_numbers_say(tmp_path: Path) -> None:
    gains = {"holds": [8.0, 8.3, 8.2], "fails": [-1.0, -1.3, -1.1], "open": [3.0, -2.0, 1.0]}
    tasks = {"holds": "mnli", "fails": "qqp", "open": "csqa"}
    results = tmp_path / "runs"
    write_gains(results, made("none"), same([0.0, 0.0, 0.0]))
    for name, task in tasks.items():
        write_gains(results, made("single", task), same(gains[name]))
    asked: list[dict[str, Any]] = [
        {"name": name, "claim": f"{task} helps", "published": 8.2, "kind": "difference"}
        | {"rows": {"mode": "single", "tasks": [task]}, "targets": ["xnli", "pawsx"]}
        for name, task in (*tasks.items(), ("nobody", "ccg"))
    ]
    # One language a target: the grid says so.
    (results / "campaign").mkdir()
    only = {"xnli": {"dev": ["ar"]}, "pawsx": {"dev": ["de"]}}
    (results / "campaign" / "grid.json").write_text(json.dumps({"expected": {"targets": only}}))
    claims = write_claims(tmp_path / "mine.yaml", *asked)
    assert main(["--results", str(results), "--out", str(tmp_path / "out"), "--claims", str(claims)]) == 0
    text = read_text(tmp_path / "out" / "report.html")
    for name, verdict in (("holds", "✓ Holds"), ("fails", "✗ Does not hold"), ("open", "? Cannot tell")):
        half = T[3] * stdev(gains[name]) / 3**0.5
        low, high = mean(gains[name]) - half, mean(gains[name]) + half
        inside = "contains" if low <= 8.2 <= high else "does not contain"
        told = f"{verdict} {tasks[name]} helps. Measured {mean(gains[name]):+.1f} points"
        assert f"{told} (95 % interval {low:+.1f} to {high:+.1f}, 3 seeds" in text
        assert f"Published: +8.2, which the interval {inside}." in text[text.index(told) :][:300]
    assert "? Cannot tell ccg helps. Nothing could be measured. Published: +8.2. Missing to tell: no row ccg." in text
    assert "Of 4 claims 1 holds, 1 does not hold, 2 cannot be told." in text
    assert "XNLI: over 1 of 15 languages, not comparable with published numbers." in text


def test_the_tests_of_the_main_table_are_counted(tmp_path: Path) -> None:
    write_full_study(tmp_path / "runs")
    assert main(["--results", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    text = read_text(tmp_path / "out" / "report.html")
    details = [line.split(",") for line in (tmp_path / "out" / "main_detail.csv").read_text().splitlines()]
    head = {name: place for place, name in enumerate(details[0])}
    found = re.search(r"Of (\d+) differences .*? (\d+) can be told from 0 .*?: (\d+) gains and (\d+) losses", text)
    assert found is not None
    shown = read_island(tmp_path / "out" / "report.html")["numbers"]
    ps = [one[3] for row in shown for one in row.values() if one[3] is not None]
    ups = [one for row in shown for one in row.values() if one[3] is not None and one[3] < 0.05 and one[0] > 0]
    downs = [one for row in shown for one in row.values() if one[3] is not None and one[3] < 0.05 and one[0] < 0]
    assert tuple(map(int, found.groups())) == (len(ps), len(ups) + len(downs), len(ups), len(downs))
    assert len(ups) > 5 and head["p_holm"], "the study has effects"


def test_with_one_seed_nothing_is_tested(tmp_path: Path) -> None:
    write_row(tmp_path / "runs", 50.0, seed=1)
    write_row(tmp_path / "runs", 55.0, seed=1, intermediate=MNLI)
    text = read_text(make_page(tmp_path / "runs", tmp_path / "out"))
    assert "No difference to a baseline can be tested (one seed: no interval over seeds can be given)" in text
    assert "can be told from 0" not in text


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    results = tmp_path / "runs"
    write_task(results, "xnli", 50.0, model=f"m{HOSTILE}", seed=1, run=f"run{HOSTILE}")
    write_task(results, "xnli", 55.0, model=f"m{HOSTILE}", variant=HOSTILE, seed=1, intermediate=MNLI)
    write_task(results, "xnli", 50.0, model=f"m{HOSTILE}", variant=HOSTILE, seed=1)
    write_document(results / "<img src=y onerror=alert(1)>", {"schema": "stilts.metrics/1", HOSTILE: 1})
    page = make_page(results, tmp_path / "out")
    text = page.read_text()
    assert text.count("<script") == text.count("</script>") == 3
    assert "<img" not in text and "window.hit" in text
    assert HOSTILE.replace("\u2028", " ")[:40] in read_text(page)
    assert any(HOSTILE in run[0] for run in read_island(page)["runs"])


def test_the_same_input_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    write_campaign(tmp_path / "one" / "runs")
    shutil.copytree(tmp_path / "one", tmp_path / "another" / "place")
    first = make_page(tmp_path / "one" / "runs", tmp_path / "one" / "out").read_bytes()
    again = make_page(tmp_path / "another" / "place" / "runs", tmp_path / "another" / "place" / "out").read_bytes()
    assert first == again
    assert str(tmp_path).encode() not in first and b"file:" not in first


def test_the_page_asks_nobody(campaign: Path) -> None:
    text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", campaign.read_text())
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text[text.index("</style>") :].split('id="island"')[0])
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    ("results", "out", "base"),
    [
        ("runs", "runs/report", ".."),
        ("runs", "runs", "."),
        ("runs", "tables", "../runs"),
        ("a b/r#1%", "tables", "../a%20b/r%231%25"),
    ],
)
def test_links_lead_from_the_page_to_the_results(tmp_path: Path, results: str, out: str, base: str) -> None:
    assert find_base(tmp_path / results, tmp_path / out) == base


def test_the_page_has_every_number_of_the_tables_without_scripts(tmp_path: Path) -> None:
    for number, task in enumerate(["mnli", "qqp", "csqa"]):
        write_row(tmp_path / "runs", 55.0 + number, intermediate=MNLI | {"tasks": [task]}, without=["xnli"] * number)
    write_row(tmp_path / "runs", 50.0)
    assert main(["--results", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    table = page[page.index('<details id="table-main"') :]
    shown = [
        re.findall(r"<td[^>]*>([^<]*)", row) for row in re.findall(r"<tr data-n=.*", table[: table.index("</details>")])
    ]
    lines = [line for line in (tmp_path / "out" / "main.md").read_text().splitlines() if line.startswith("| ")]
    written = [line.strip("| ").split(" | ")[1:] for line in lines if "---" not in line and "XNLI" not in line]
    assert len(shown) == 4 and "--" in shown[3]
    assert shown == [[re.sub(r"( \[[\d,]+\]|[\\*†‡])+$", "", cell) for cell in row] for row in written]


def test_shades_are_those_of_the_printed_tables() -> None:
    style = (HERE / "page.css").read_text()
    light = style[: style.index("@media")]
    for step, limit in enumerate(TINT_STEPS, 1):
        assert f"--up{step}: #{find_tint(limit)}" in light and f"--down{step}: #{find_tint(-limit)}" in light


def test_figures_stand_in_the_page_with_ids_of_their_own(tmp_path: Path) -> None:
    for name, score in SCALE_SCORES.items():
        write_scores(tmp_path / "runs", name, score)
    keep(tmp_path / "runs", resolved(places()))
    figures = {name: svg for name, svg in draw_figures(read_study(tmp_path / "runs")) if name.endswith(".svg")}
    bodies = [inline_svg(name, svg.decode()) for name, svg in figures.items()]
    ids = [name for body in bodies for name in re.findall(r'\sid="([^"]*)"', body)]
    assert len(bodies) == 3 and len(ids) == len(set(ids)) > 10
    for body in bodies:
        used = {*re.findall(r'href="#([^"]*)"', body), *re.findall(r"url\(#([^)]*)\)", body)}
        assert used and used <= set(ids)
        assert body.startswith("<svg") and "<metadata" not in body and "<!DOCTYPE" not in body


def test_scores_of_the_tree_are_those_behind_a_cell(campaign: Path) -> None:
    island = read_island(campaign)
    numbers = dict(zip([row[0] for row in island["rows"]], island["numbers"], strict=True))
    assert numbers["mnli"]["xnli"][4] == [[1, SCORES["mnli", 1] - SCORES["none", 1]]]
    assert numbers["xlm-roberta-large"]["xnli"][4] == [[1, 50.0], [2, 52.0]]
