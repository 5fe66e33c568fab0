"""The campaign's page in a real browser: found, clicked, zoomed, and safe whatever the words of a run are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from launch.view.layout import place_runs
from launch.view.overview import make_overview
from launch.view.page import build_page, embed, write_page
from stilts.runs import write_json
from tests.launch.gallery import HOSTILE, NOW, Gallery
from tests.launch.small import plan_of, small
from tests.support.browser import Pages

WINDOW = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    found = Gallery(tmp_path_factory.mktemp("gallery"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(found.slurm.path))
        yield found


@pytest.fixture(scope="module")
def file(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "campaign.html"
    told = write_page(gallery.scene, path)
    assert re.fullmatch(rf"{path}: 25 runs, 0\.\d MB; opens in any browser, offline", told)
    return path


def bright(page: Page) -> int:
    """How many runs are not dimmed."""
    return int(page.evaluate("campaign.bright()"))


def click_run(page: Page, run_id: str) -> None:
    """Click where the run is drawn."""
    x, y = page.evaluate("id => campaign.where(id)", run_id)
    page.locator("#dag").click(position={"x": x, "y": y})


def test_a_click_shows_the_runs_facts_and_the_end_of_its_log(pages: Pages, file: Path, gallery: Gallery) -> None:
    page = pages.open(file, viewport=WINDOW)
    failed = gallery.encoders[3]
    assert not page.locator("#facts").is_visible()
    click_run(page, failed)
    facts = page.inner_text("#facts")
    for told in (failed, "failed", "12_3", "n1", "code: an error in the code; code, 1 of at most 2: again"):
        assert told in facts
    log = page.inner_text("#facts pre")
    assert log.startswith("step 7 loss 2.5") and "<img src=x onerror=alert(1)>" in log
    assert page.locator("img").count() == 0, "words of a run never become elements"
    assert bright(page) == 1 + len(ancestors(gallery, failed)) + 1  # itself, what it is built on, its target
    page.locator("#facts .kin", has_text=gallery.child(failed)).click()
    assert gallery.child(failed) in page.inner_text("#facts h2 >> nth=0")
    assert page.url.endswith(f"#{gallery.child(failed)}")
    page.keyboard.press("Escape")
    assert not page.locator("#facts").is_visible()
    assert bright(page) == 25


def ancestors(gallery: Gallery, run_id: str) -> set[str]:
    found: set[str] = set()
    waiting = [run_id]
    while waiting:
        needs = set(gallery.plan.runs[waiting.pop()].needs) - found
        found |= needs
        waiting += needs
    return found


def test_search_finds_by_id_state_and_reason(pages: Pages, file: Path, gallery: Gallery) -> None:
    page = pages.open(file, viewport=WINDOW)
    search = page.locator("#search")
    search.fill("intermediate done")
    assert page.inner_text("#found") == "1 found"
    assert bright(page) == 1
    search.press("Enter")
    assert gallery.encoders[0] in page.inner_text("#facts")
    assert "step 1\nfinished" in page.inner_text("#facts pre")
    search.fill("qosmaxwall")
    page.locator("#results button").click()
    assert gallery.encoders[2] in page.inner_text("#facts")
    search.fill("nothing like it")
    assert (page.inner_text("#found"), bright(page)) == ("0 found", 0)
    search.fill("")
    assert page.inner_text("#found") == ""


def test_states_can_be_hidden(pages: Pages, file: Path) -> None:
    page = pages.open(file, viewport=WINDOW)
    done = page.locator("button.state.done")
    assert done.inner_text() == "done 13"
    done.click()
    assert (bright(page), done.get_attribute("aria-pressed")) == (12, "false")
    done.click()
    assert bright(page) == 25


def test_zoom_and_pan(pages: Pages, file: Path, gallery: Gallery) -> None:
    page = pages.open(file, viewport=WINDOW)
    run_id = gallery.encoders[0]
    before, scale = page.evaluate("id => campaign.where(id)", run_id), page.evaluate("campaign.scale()")
    box = page.locator("#dag").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + before[0], box["y"] + before[1])
    page.mouse.wheel(0, -400)
    page.wait_for_function("before => campaign.scale() > before * 1.5", arg=scale)
    after = page.evaluate("id => campaign.where(id)", run_id)
    assert after == pytest.approx(before, abs=0.5), "what is under the pointer stays there"
    page.mouse.down()
    page.mouse.move(box["x"] + before[0] + 120, box["y"] + before[1] + 50, steps=4)
    page.mouse.up()
    moved = page.evaluate("id => campaign.where(id)", run_id)
    assert moved == pytest.approx([before[0] + 120, before[1] + 50], abs=0.5)
    assert not page.locator("#facts").is_visible(), "a drag is no click"
    page.locator("#farther").click()
    page.locator("#whole").click()
    assert page.evaluate("campaign.scale()") == scale
    page.locator("#dag").focus()
    page.keyboard.press("+")
    assert page.evaluate("campaign.scale()") > scale


def test_a_link_opens_a_run(pages: Pages, file: Path, gallery: Gallery) -> None:
    page = pages.open(file, gallery.encoders[1], viewport=WINDOW)
    assert gallery.encoders[1] in page.inner_text("#facts")
    assert "running" in page.inner_text("#facts")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_is_drawn_in_its_colour(pages: Pages, file: Path, gallery: Gallery, scheme: Any) -> None:
    page = pages.open(file, viewport=WINDOW, color_scheme=scheme)
    page.evaluate("campaign.draw()")
    states = {seen.state: run_id for run_id, seen in gallery.scene.observations.items()}
    pixels = """ids => {
        const canvas = document.getElementById("dag"), dense = canvas.width / canvas.getBoundingClientRect().width;
        const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height), size = campaign.scale();
        return ids.map((id) => {
            const [x, y] = campaign.where(id);
            const at = 4 * (Math.round(y * dense) * canvas.width + Math.round((x - size * 0.3) * dense));
            return `rgb(${image.data[at]}, ${image.data[at + 1]}, ${image.data[at + 2]})`;
        });
    }"""
    colours = dict(zip(states, page.evaluate(pixels, list(states.values())), strict=True))
    for state, colour in colours.items():
        swatch = page.locator(f"button.state.{state} .swatch")
        assert swatch.evaluate("node => getComputedStyle(node).backgroundColor") == colour, state
    assert len(set(colours.values())) == len(states) == 7


def test_without_scripts_the_tables_are_there(pages: Pages, file: Path) -> None:
    page = pages.open(file, viewport=WINDOW, java_script_enabled=False)
    text = page.inner_text("body")
    for told in ("The picture needs scripts", "GPU-hours", "QOSMaxWallDurationPerJobLimit", "code"):
        assert told in text


def test_it_fits_a_narrow_window(pages: Pages, file: Path, gallery: Gallery) -> None:
    page = pages.open(file, gallery.encoders[3], viewport={"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_ten_thousand_runs_are_drawn_in_a_moment(pages: Pages, tmp_path: Path) -> None:
    from launch.campaign import Campaign
    from launch.ledger import Ledger
    from launch.scene import look

    axes = {"intermediate": ["none", "each"], "target": "all", "target.learning_rate": [1e-5, 2e-5, 3e-5]}
    plan = plan_of(small(axes={**axes, "seed": list(range(45))}))
    campaign = Campaign(tmp_path / "runs")
    file = tmp_path / "page.html"
    write_page(look(plan, campaign, Ledger(campaign.submissions, read_only=True)), file)
    assert len(plan.runs) > 9_000
    assert file.stat().st_size < 3_000_000
    page = pages.open(file, viewport=WINDOW)
    page.evaluate("campaign.draw()")
    took_ms = min(page.evaluate("campaign.draw()") for _ in range(3))
    assert took_ms < 500, "a slow machine under load; it is about 5 ms on an idle one"
    page.locator("#search").fill("target-xnli-none-s7-")
    page.locator("#search").press("Enter")
    assert "target-xnli-none-s7-" in page.inner_text("#facts h2 >> nth=0")


# ---- without a browser


def test_the_same_moment_gives_the_same_page(gallery: Gallery) -> None:
    pages = {build_page(gallery.scene, make_overview(gallery.scene, NOW)) for _ in range(2)}
    assert len(pages) == 1
    (text,) = pages
    assert "2027-01-15" in text
    assert text.count("http") == 1 and 'http-equiv="Content-Security-Policy"' in text, "it needs no network"


def test_hostile_words_stay_words(gallery: Gallery) -> None:
    text = build_page(gallery.scene, make_overview(gallery.scene, NOW))
    assert text.count("<script") == text.count("</script>") == 2
    assert "<img" not in text and "\x1b" not in text and "49" not in re.findall(r"\{\{.*?\}\}", text)
    data = json.loads(embed({"told": HOSTILE, "</script>": 1}).replace("\\u003c", "<"))
    assert data["told"] == HOSTILE


def test_a_page_is_whole_or_not_there(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(OSError, match=r"page\.html"):
        write_page(gallery.scene, tmp_path / "page.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html"]


@pytest.mark.parametrize("seeds", [1, 3, 20])
def test_no_two_runs_share_a_place_and_children_stand_right_of_their_parents(seeds: int) -> None:
    lists = ["none", "each", ["mnli", "squad1"], ["mnli", "squad1", "qqp"]]
    axes = {"intermediate": lists, "regime": ["sequential", "multitask"], "target": ["xnli", "tatoeba"]}
    models = {"seed": list(range(seeds)), "model": ["xlm-roberta-base", "scratch"]}
    plan = plan_of({**small(axes={**axes, **models}), "pretrain": {"text": ["mnli"]}})
    places = place_runs(plan)
    assert len(set(places.values())) == len(plan.runs)
    for run in plan.runs.values():
        assert all(places[parent][0] < places[run.id][0] for parent in run.parents)
    width, height = (max(place[axis] for place in places.values()) + 1 for axis in (0, 1))
    assert height <= width * 1.2 or seeds == 1, "it has the shape of a screen"


def test_damage_in_the_records_does_not_spoil_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(tmp_path)
    monkeypatch.setenv("PATH", str(gallery.slurm.path))
    for number, run_id in enumerate(gallery.encoders):
        folder = gallery.campaign.run(run_id)
        folder.progress.parent.mkdir(parents=True, exist_ok=True)
        folder.progress.write_text(["{", "[]", '{"step": "x", "total": 0}', "", '{"step": 3}', "null"][number])
        write_json(folder.attempts / "x" / "attempt.json", {"started": 1e12, "gpus": "many", "node": None})
    assert "campaign" in build_page(gallery.scene, make_overview(gallery.scene))
