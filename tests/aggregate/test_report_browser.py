"""The page of a study in a real Chromium: what is seen and what happens on a click or a key."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.aggregate.metric_tree import MNLI, write_document, write_task
from tests.aggregate.report_tree import COMMIT, HOSTILE, STATES, make_page, name_run, write_campaign
from tests.support.browser import Pages

WIDE = {"width": 1300, "height": 900}
NARROW = {"width": 400, "height": 800}
# The contrast of every visible text in a table with the background that it stands on (WCAG 2's formula).
CONTRASTS = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("td, th, li, p, i, a, h2")].filter((one) => one.checkVisibility()).map((one) => {
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), one.className + " " + one.textContent.slice(0, 30)];
  }).filter(([contrast, text]) => contrast < 4.5 && !text.startsWith("blocked")).map(([, text]) => text);
}"""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    write_campaign(folder / "runs")
    return make_page(folder / "runs", folder / "out")


def read_column(page: Page, table: str, column: int) -> list[list[str]]:
    """Texts of a column without their marks, by section of the table."""
    script = """([table, column]) => [...document.querySelector(table).tBodies]
        .filter((body) => !body.classList.contains("title"))
        .map((body) => [...body.rows].map((row) => (row.cells[column].firstChild || {}).nodeValue || ""))"""
    found: list[list[str]] = page.evaluate(script, [table, column])
    return found


def find_header(page: Page, table: str, name: str) -> Locator:
    return page.locator(f"{table} thead th").filter(has_text=name).first


def numbers(texts: list[str]) -> list[float]:
    return [float(text) for text in texts if text != "--"]


def open_cell(page: Page, table: str, row: str, heading: str) -> Locator:
    """Click the cell of a row below a heading; the dialog that opens."""
    headings = page.locator(f"{table} thead th").all_inner_texts()
    column = next(place for place, text in enumerate(headings) if text.startswith(heading)) - 1
    named = page.locator(f"{table} tr[data-n]").filter(has=page.get_by_role("rowheader", name=row, exact=True)).first
    named.locator("td").nth(column).click()
    dialog = page.locator("dialog#behind")
    expect(dialog).to_be_visible()
    return dialog


def read_facts(area: Locator) -> dict[str, str]:
    """The terms of the first list of facts in an area."""
    return read_list(area.locator("dl").first)


def read_list(facts: Locator) -> dict[str, str]:
    """The terms of a list, read at once when it is there: one that is opened is filled a moment later."""
    read = "list => ['dt', 'dd'].map(kind => [...list.querySelectorAll(kind)].map(one => one.innerText))"
    return dict(zip(*facts.evaluate(read), strict=True))


# ---- sorting and filtering


@pytest.fixture(scope="module")
def one_block(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gains of nine tasks on two targets, in no order; two rows without xnli, three each equal on pawsx."""
    folder = tmp_path_factory.mktemp("block")
    tasks = ["anli", "ccg", "cosmosqa", "csqa", "hellaswag", "mnli", "qqp", "squad1", "squad2"]
    gains = [2.5, 25.5, -22.0, 0.0, 10.0, -0.5, 9.5, None, None]
    for seed in (1, 2, 3):
        for target in ("xnli", "pawsx"):
            write_task(folder / "runs", target, 50.0, seed=seed, run=f"base-{target}-{seed}")
        for number, (task, gain) in enumerate(zip(tasks, gains, strict=True)):
            labels: dict[str, Any] = {"intermediate": {**MNLI, "tasks": [task]}, "seed": seed}
            if gain is not None:
                write_task(folder / "runs", "xnli", 50.0 + gain, run=f"xnli-{task}-{seed}", **labels)
            write_task(folder / "runs", "pawsx", 50.0 + number % 3, run=f"pawsx-{task}-{seed}", **labels)
    return make_page(folder / "runs", folder / "out")


def test_a_click_on_a_heading_sorts_numerically_with_gaps_last(pages: Pages, one_block: Path) -> None:
    """The baseline stays above its differences."""
    page = pages.open(one_block, viewport=WIDE)
    table = "#table-main table"
    written, header = read_column(page, table, 1), find_header(page, table, "XNLI")
    expect(header).to_have_attribute("aria-sort", "none")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    rising = ["-22.0", "-0.5", "0.0", "+2.5", "+9.5", "+10.0", "+25.5"]
    assert read_column(page, table, 1) == [["50.0"], [*rising, "--", "--"]]
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "descending")
    assert read_column(page, table, 1) == [["50.0"], [*rising[::-1], "--", "--"]]
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    find_header(page, table, "PAWS-X").get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "none")
    page.locator("#table-main").get_by_role("button", name="Reset").click()
    assert read_column(page, table, 1) == written
    expect(page.locator(f"{table} th[aria-sort=ascending]")).to_have_count(0)


def test_ties_keep_the_order_that_they_had(pages: Pages, one_block: Path) -> None:
    page = pages.open(one_block, viewport=WIDE)
    table = "#table-main table"
    find_header(page, table, "XNLI").get_by_role("button").click()
    by_xnli = read_column(page, table, 0)[1]
    find_header(page, table, "PAWS-X").get_by_role("button").click()
    pawsx, names = read_column(page, table, 2)[1], read_column(page, table, 0)[1]
    assert numbers(pawsx) == sorted(numbers(pawsx)) and len(set(pawsx)) == 3
    assert names == sorted(by_xnli, key=lambda name: numbers([pawsx[names.index(name)]]))


def test_keys_sort_too(pages: Pages, one_block: Path) -> None:
    page = pages.open(one_block, viewport=WIDE)
    button = find_header(page, "#table-main table", "row").get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    names = read_column(page, "#table-main table", 0)[1]
    assert names == sorted(names)
    page.keyboard.press("Space")
    assert read_column(page, "#table-main table", 0)[1] == sorted(names, reverse=True)


def test_every_column_of_every_table_can_be_sorted(pages: Pages, one_block: Path) -> None:
    page = pages.open(one_block, viewport=WIDE)
    page.evaluate("document.querySelectorAll('#tables > details').forEach((one) => (one.open = true))")
    tables = page.locator("#tables > details table")
    assert tables.count() > 4
    for table in tables.all():
        before = Counter(table.locator("tbody tr").all_inner_texts())
        for button in table.locator("thead button").all():
            button.evaluate("(button) => button.click()")
        assert Counter(table.locator("tbody tr").all_inner_texts()) == before


def test_a_filter_shows_the_rows_that_have_every_word(pages: Pages, one_block: Path) -> None:
    page = pages.open(one_block, viewport=WIDE)
    main = page.locator("#table-main")
    main.get_by_label("Filter rows of Main table").fill("qa")
    visible = [row for row in main.locator("tbody tr[data-n]").all() if row.is_visible()]
    assert [row.locator("th").inner_text() for row in visible] == ["cosmosqa", "csqa"]
    expect(main.get_by_role("status")).to_have_text("2 of 10 rows")
    main.get_by_label("Filter rows of Main table").fill("qa cos")
    expect(main.get_by_role("status")).to_have_text("1 of 10 rows")
    main.get_by_label("Filter rows of Main table").fill("nothing has this")
    expect(main.get_by_role("status")).to_have_text("0 of 10 rows")
    main.get_by_role("button", name="Reset").click()
    expect(main.get_by_role("status")).to_have_text("10 of 10 rows")
    assert main.get_by_label("Filter rows of Main table").input_value() == ""


# ---- the runs behind a cell


def test_a_click_on_a_cell_shows_its_runs(pages: Pages, campaign: Path) -> None:
    page = pages.open(campaign, viewport=WIDE)
    dialog = open_cell(page, "#table-main table", "mnli", "XNLI")
    assert dialog.get_by_role("heading").first.inner_text() == "mnli: XNLI"
    assert read_facts(dialog)["acc. (all languages)"].replace("\n", " ") == "+7.00 (no interval) seed 1: +7.00"
    said = dialog.inner_text()
    for words in ("seed 1: done", "seed 2: partly (missing: de)", "seed 3: failed (out of memory)"):
        assert words in said
    run = dialog.locator("details").filter(has=page.get_by_text(name_run("mnli", 1), exact=True)).first
    facts = read_facts(run)
    assert facts["run"] == name_run("mnli", 1)
    assert (facts["state"].split()[-1], facts["GPU-hours"]) == ("done", "2")
    assert {"seed 1", "tasks.xnli.epochs 2", "tasks.xnli.batch_size 32"} <= set(facts["configuration"].split("\n"))
    attempts = [read_list(one) for one in run.locator("dl").all()[1:3]]
    assert [attempt["end"] for attempt in attempts] == ["failed (out of memory)", "done (finished)"]
    assert attempts[1]["commit"] == COMMIT and "torch 2.9.0" in attempts[1]["versions"]
    assert attempts[1]["started"] == "2023-11-14 23:13 UTC" and attempts[1]["on"] == "node7, Slurm job 1_7, 1 rank"
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()


def test_a_lineage_is_followed(pages: Pages, campaign: Path) -> None:
    dialog = open_cell(pages.open(campaign, viewport=WIDE), "#table-main table", "mnli", "XNLI")
    parent = dialog.locator("details details").first
    parent.locator("summary").first.click()
    facts = read_facts(parent)
    assert facts["run"] == "intermediate-mnli-s1" and facts["GPU-hours"] == "8"
    assert parent.get_by_role("link").count() == 1 + 4, "itself and the logs of four ranks"
    base = dialog.locator("details").filter(has_text="Baseline: xlm-roberta-large").last
    base.locator("summary").first.click()
    expect(base.get_by_text("seed 3: running (train: 40 of 95)")).to_be_visible()


@pytest.mark.parametrize("out", ["out", "runs/report", "runs", "a b #1/out"])
def test_links_lead_to_files_that_exist(pages: Pages, tmp_path: Path, out: str) -> None:
    write_campaign(tmp_path / "runs")
    page = pages.open(make_page(tmp_path / "runs", tmp_path / out), viewport=WIDE)
    dialog = open_cell(page, "#table-main table", "mnli", "XNLI")
    links = dialog.locator("a").all()
    paths = [Path(unquote(urlparse(str(link.evaluate("(link) => link.href"))).path)) for link in links]
    assert len(paths) >= 5 and all(path.exists() for path in paths), paths
    logs = [link.inner_text() for link in links if link.inner_text().endswith(".log")]
    assert f"{name_run('mnli', 1)}/attempts/002#a/rank0.log" in logs
    assert all((tmp_path / "runs" / log).is_file() for log in logs)
    page.goto(str(dialog.get_by_role("link", name=logs[0], exact=True).evaluate("(link) => link.href")))
    assert page.inner_text("body").strip() == "hello"


def test_runs_of_studies_without_a_plan_are_those_that_files_name(pages: Pages, one_block: Path) -> None:
    page = pages.open(one_block, viewport=WIDE)
    dialog = open_cell(page, "#table-main table", "qqp", "XNLI")
    assert {f"xnli-qqp-{seed}" for seed in (1, 2, 3)} <= set(dialog.locator("summary").all_inner_texts())
    assert "no folder of this name among the results" in dialog.inner_text()


def test_averages_and_languages_have_runs_behind_them(pages: Pages, one_block: Path) -> None:
    page = pages.open(one_block, viewport=WIDE)
    dialog = open_cell(page, "#table-main table", "qqp", "Partial")
    assert dialog.locator("h4").all_inner_texts()[:2] == ["XNLI", "PAWS-X"]
    page.keyboard.press("Escape")
    page.evaluate("document.getElementById('table-languages-xnli').open = true")
    dialog = open_cell(page, "#table-languages-xnli table", "qqp", "sw")
    assert "xnli-qqp-2" in dialog.locator("summary").all_inner_texts()


def test_cells_are_reached_by_keys(pages: Pages, campaign: Path) -> None:
    page = pages.open(campaign, viewport=WIDE)
    page.locator("#map td").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    dialog = page.locator("dialog#behind")
    expect(dialog).to_be_visible()
    assert dialog.get_by_role("heading").first.inner_text() == "squad1: XNLI"
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).not_to_be_visible()
    assert page.locator("#map td[tabindex='0']").count() == 1


# ---- coverage


def test_the_map_and_its_legend_count_what_is_in_the_tree(pages: Pages, campaign: Path) -> None:
    page = pages.open(campaign, viewport=WIDE)
    counts = Counter(STATES.values()) + Counter(missing=9)
    shown = page.evaluate("[...document.querySelectorAll('#map i')].map((one) => one.className)")
    legend = page.locator(".legend li").evaluate_all(
        "(all) => all.map((one) => [one.dataset.state, one.dataset.count])"
    )
    assert Counter(shown) == counts and {name: int(count) for name, count in legend} == counts
    signs = page.evaluate("[...document.querySelectorAll('#map i')].map((one) => one.className + one.textContent)")
    assert len(set(signs)) == 8 and len({sign[-1] for sign in signs}) == 8, "each state has its own sign"
    cell = page.locator("#map tr[data-n]").nth(1).locator("td").first
    cell.hover()
    assert cell.get_attribute("title") == "seed 1: done\nseed 2: partly (missing: de)\nseed 3: failed (out of memory)"


def test_the_map_opens_the_same_runs(pages: Pages, campaign: Path) -> None:
    dialog = open_cell(pages.open(campaign, viewport=WIDE), "#map", "squad1", "XNLI")
    assert "seed 3: blocked (waits for intermediate-squad1-s3 (failed))" in dialog.inner_text()
    assert "seed 1: apart (files contradict each other: de)" in dialog.inner_text()


# ---- the page as a whole


def test_hostile_names_stay_text(pages: Pages, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    named: dict[str, Any] = {"model": f"m{HOSTILE}", "seed": 1}
    write_task(results, "xnli", 50.0, run=f"run{HOSTILE}", **named)
    write_task(results, "xnli", 55.0, run=f"run{HOSTILE}2", intermediate=MNLI, **named)
    write_document(results / "<img src=y onerror=alert(1)>", {"schema": "stilts.metrics/1", HOSTILE: 1})
    page = pages.open(make_page(results, tmp_path / "out"), viewport=WIDE)
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.locator("#table-main tr[data-n]").nth(1).locator("td").first.click()
    assert f"run{HOSTILE}2".replace("\u2028", "") in page.locator("dialog").inner_text().replace("\u2028", "")
    page.keyboard.press("Escape")
    page.locator("#map tr[data-n] td").first.hover()
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 0 and page.locator("script").count() == 3


def test_tables_are_read_without_scripts(pages: Pages, one_block: Path) -> None:
    page = pages.open(one_block, viewport=WIDE, java_script_enabled=False)
    main = page.locator("#table-main table")
    assert main.locator("tbody tr").count() == 10 and "+25.5" in main.inner_text()
    assert page.get_by_text("Without JavaScript tables can be read").is_visible()
    assert page.locator("thead button, .tools:visible, .scripted:visible").count() == 0
    assert page.locator("#map i").count() == 2 * 3 * 10 - 3 * 2


def test_a_link_opens_a_folded_table(pages: Pages, one_block: Path) -> None:
    page = pages.open(one_block, viewport=WIDE)
    page.evaluate("document.querySelectorAll('#tables > details').forEach((one) => (one.open = false))")
    page.get_by_role("navigation").get_by_role("link", name="PAWS-X by language").click()
    expect(page.locator("#table-languages-pawsx table")).to_be_visible()
    again = pages.open(one_block, "table-languages-pawsx", viewport=WIDE)
    expect(again.locator("#table-languages-pawsx table")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_on_their_backgrounds(pages: Pages, campaign: Path, one_block: Path, scheme: str) -> None:
    for path in (campaign, one_block):
        page = pages.open(path, viewport=WIDE, color_scheme=scheme)
        assert page.evaluate(CONTRASTS) == []


def test_a_narrow_window_scrolls_tables_and_not_the_page(pages: Pages, one_block: Path) -> None:
    page = pages.open(one_block, viewport=NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert page.locator("#table-main .box").evaluate("(box) => box.scrollWidth > box.clientWidth")


def test_everything_named_has_a_name(pages: Pages, campaign: Path) -> None:
    """Ids stand once, labels lead to ids, headings do not skip a level, every field and dialog has a name."""
    page = pages.open(campaign, viewport=WIDE)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    used = page.evaluate(
        "[...document.querySelectorAll('[aria-labelledby], [aria-describedby]')]"
        ".map((one) => one.getAttribute('aria-labelledby') || one.getAttribute('aria-describedby'))"
    )
    assert set(used) - {"behind-title"} <= set(ids)
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels))
    links = page.locator("nav a").evaluate_all("(all) => all.map((one) => one.getAttribute('href'))")
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert page.get_by_role("searchbox").count() == page.locator("#tables > details").count()
    names = page.get_by_role("searchbox").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
    assert all(re.match(r"Filter rows of \w", name) for name in names) and len(set(names)) == len(names)


def test_paper_has_every_table_and_no_tools(pages: Pages, one_block: Path) -> None:
    page = pages.open(one_block, viewport=WIDE)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("table.sheet:visible").count() == page.locator("table.sheet").count()
    assert page.locator("nav:visible, .tools:visible").count() == 0
