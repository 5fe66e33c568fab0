"""What a status says: numbers against plain arithmetic, tables and lines, why and logs, and what it cannot know."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from launch import status
from launch.logs import follow, tail
from launch.observation.states import STATES
from launch.view.attempts import Attempt, read_all
from launch.view.interval import interval_s
from launch.view.overview import make_overview, spell_seconds
from launch.view.reasons import explain_reason
from launch.view.tables import plain_lines, render, share_out, stage_bar, summary_line
from stilts.runs import write_json
from tests.launch.gallery import Gallery, hours_by_hand
from tests.launch.site import GRID
from tests.launch.small import finish


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Every state at once; look, do not touch."""
    found = Gallery(tmp_path_factory.mktemp("gallery"))
    (found.slurm.folder / "grid.yaml").write_text(yaml.safe_dump(GRID, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(found.slurm.path))
        yield found


def run(gallery: Gallery, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """status.py on the gallery, in this process."""
    options = ["--grid", str(gallery.slurm.folder / "grid.yaml"), "--root", str(gallery.campaign.root)]
    found = status.main([*options, *arguments])
    output = capsys.readouterr()
    assert found == code, output
    return output.out + output.err


# ---- the numbers


def test_the_overview_against_plain_arithmetic(gallery: Gallery) -> None:
    scene = gallery.scene
    plan, now = scene.plan, time.time()
    overview = make_overview(scene, now)
    states = {run_id: seen.state for run_id, seen in scene.observations.items()}
    assert overview.counts == {state: list(states.values()).count(state) for state in STATES}
    assert overview.total == len(plan.runs)
    running = gallery.encoders[1]
    for stage in overview.stages:
        members = [run_id for run_id in plan.runs if plan.runs[run_id].stage == stage.stage]
        assert stage.total == len(members)
        assert Counter(stage.counts) == Counter(states[run_id] for run_id in members)
        spent = sum(hours_by_hand(gallery, plan, run_id) for run_id in members if run_id != running)
        left = sum(plan.gpu_hours(run_id) for run_id in members if states[run_id] != "done")
        if running in members:
            spent += 1.0  # an hour on one GPU so far
            left -= plan.gpu_hours(running) / 2  # it is at half
        assert stage.spent_h == pytest.approx(spent, abs=0.01)
        assert stage.left_h == pytest.approx(left)
    assert [stage.stage for stage in overview.stages] == ["fetch", "prepare", "intermediate", "target"]


def test_the_end_is_estimated_from_the_pace(gallery: Gallery) -> None:
    """In the last four hours one encoder, its target and four baselines were finished, and half an encoder."""
    scene = gallery.scene
    plan, hours = scene.plan, scene.plan.gpu_hours
    overview = make_overview(scene, time.time())
    finished = hours(gallery.encoders[0]) * 1.5 + sum(map(hours, gallery.baselines[:4]))
    finished += hours(gallery.child(gallery.encoders[0]))
    unfinished = [run_id for run_id in plan.runs if scene.observations[run_id].state != "done"]
    left = sum(max(0.01, hours(run_id)) for run_id in unfinished) - hours(gallery.encoders[1]) / 2
    assert overview.eta_s == pytest.approx(left / finished * 4 * 3600, rel=0.01)
    assert overview.pace in ("at the pace of the last 4 h 0 min", "at the pace of the last 3 h 59 min")


def test_there_is_no_estimate_before_anything_has_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.launch.site import Site

    site = Site(tmp_path)
    monkeypatch.setenv("PATH", str(site.slurm.path))
    overview = make_overview(site.look())
    assert (overview.eta_s, overview.pace) == (None, "no run has begun")
    site.attempt(site.encoders[0], "12_0")
    assert make_overview(site.look()).pace.startswith("nothing was finished in the last")
    finish(site.campaign, site.plan, [run_id for run_id in site.plan.runs if run_id not in site.data])
    overview = make_overview(site.look())
    assert (overview.eta_s, overview.pace) == (0.0, "all runs are done")
    assert summary_line(overview).endswith("all runs are done")


def test_failures_by_kind_and_by_axis(gallery: Gallery) -> None:
    overview = make_overview(gallery.scene)
    ((kind, count, signature),) = overview.kinds
    assert (kind, count) == ("code", 1)
    assert signature.startswith("ValueError: <PATH><img") and "\x1b" not in signature
    found = {(entry.axis, entry.value): (entry.failed, entry.total) for entry in overview.axes}
    assert found["seed", "4"] == (1, 3)  # its encoder, that one's target, the baseline
    assert found["intermediate", "mnli"] == (1, 12)
    assert ("intermediate", "none") not in found
    assert not any(axis in ("model", "target") for axis, _ in found), "an axis of one value tells nothing"


def test_what_waits_for_the_longest_time(gallery: Gallery) -> None:
    (waiting,) = make_overview(gallery.scene).waiting
    assert (waiting.run_id, waiting.reason, waiting.stuck) == (
        gallery.encoders[2],
        "QOSMaxWallDurationPerJobLimit",
        True,
    )
    assert "lower timeout_min" in waiting.meaning
    assert time.time() - waiting.since == pytest.approx(7200, abs=60)


@pytest.mark.parametrize(
    ("reason", "told", "stuck"),
    [
        ("Resources", "waits for free nodes", False),
        ("JobHeldUser", "held; grid.py release lets it go", True),
        ("(DependencyNeverSatisfied)", "what it is built on failed; the same grid.py command submits it anew", True),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "nodes that it needs are down, drained or reserved", False),
        ("AReasonOfTomorrow", "AReasonOfTomorrow", False),
        ("", "", False),
    ],
)
def test_slurms_reasons_in_plain_words(reason: str, told: str, stuck: bool) -> None:
    assert explain_reason(reason) == (told, stuck)


def test_attempts_that_are_damaged_count_for_nothing(tmp_path: Path) -> None:
    from launch.campaign import Campaign

    campaign = Campaign(tmp_path)
    attempts = campaign.run("a").attempts
    write_json(attempts / "1" / "attempt.json", {"started": 100.0, "resources": {"gpus": 2, "nodes": 2}})
    write_json(attempts / "1" / "outcome.json", {"ended": "soon", "state": "done"})
    write_json(attempts / "2" / "attempt.json", {"started": "x"})
    (attempts / "3").mkdir()
    (attempts / "4").write_text("a file")
    assert read_all(campaign, ["a", "b"]) == {"a": [Attempt("1", 100.0, None, "done", 4, "")], "b": []}
    assert read_all(Campaign(tmp_path / "nowhere"), ["a"]) == {"a": []}


# ---- how it looks


def text_of(console: Console, gallery: Gallery) -> str:
    scene = gallery.scene
    with console.capture() as capture:
        console.print(render("small", make_overview(scene), scene.notes, console))
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_picture_fits_the_terminal(gallery: Gallery, width: int) -> None:
    text = text_of(Console(width=width, force_terminal=False), gallery)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    if width >= 80:
        for told in ("intermediate", "GPU-h", "ETA", "an error in the code", "seed=4", "oldest pending"):
            assert told in text


def test_a_plain_terminal_gets_ascii(gallery: Gallery) -> None:
    stage = make_overview(gallery.scene).stages[2]
    assert stage_bar(stage).plain != stage_bar(stage, ascii_only=True).plain
    assert stage_bar(stage, ascii_only=True).plain.isascii()
    assert len(stage_bar(stage).plain) == 30


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 10_000), min_size=1))
def test_a_bar_is_shared_out_with_a_mark_for_whatever_there_is(counts: dict[str, int]) -> None:
    widths = share_out(counts, 30)
    assert sum(widths.values()) == (30 if any(counts.values()) else 0)
    assert all((widths[name] > 0) == (count > 0) for name, count in counts.items())
    total = sum(counts.values())
    assert all(abs(widths[name] - 30 * count / total) <= len(counts) for name, count in counts.items() if count)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (86400, "1 d"),
        (-5, "0 s"),
        (93600, "1 d 2 h"),
    ],
)
def test_times_are_spelled_short(seconds: float, told: str) -> None:
    assert spell_seconds(seconds) == told


def test_a_log_file_gets_a_line_where_something_has_changed(gallery: Gallery) -> None:
    overview = make_overview(gallery.scene)
    first = list(plain_lines(overview, None))
    assert len(first) == 2
    assert "1 failed" in first[0] and "failed: 1 code (ValueError" in first[1]
    assert list(plain_lines(overview, overview)) == []


def test_watching_ends_when_all_is_done(
    gallery: Gallery, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    real = status.look

    def look_thrice(*arguments: object) -> object:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(status, "look", look_thrice)
    monkeypatch.setenv("STILTS_WATCH_LEAST_S", "0.01")
    text = run(gallery, capsys, "--watch", code=130)
    assert "\x1b" not in text
    assert text.count("ETA") == 1, "nothing changed between two looks"


def test_slurm_is_asked_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [interval_s(took) for took in (0.0, 1.0, 6.0, 20.0)] == [30.0, 30.0, 30.0, 100.0]
    monkeypatch.setenv("STILTS_WATCH_LEAST_S", "0.1")
    assert interval_s(0.01) == 0.1


# ---- the door


def test_json_keeps_its_contract(gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(gallery, capsys, "--json"))
    assert {"runs", "counts", "notes"} <= found.keys()
    assert list(found["counts"]) == list(STATES)
    assert {"id", "stage", "state", "reason", "slurm_job"} <= found["runs"][0].keys()
    kinds = {entry["id"]: entry["failure"] for entry in found["runs"] if entry["failure"]}
    assert kinds == {gallery.encoders[3]: "code"}
    assert found["failures"] == {"code": 1}


def test_the_plain_status(gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(gallery, capsys)
    assert "needs attention" in text and "ETA" in text
    assert "\x1b" not in text


def test_why_tells_kind_evidence_policy_remedy_and_the_log(
    gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    text = run(gallery, capsys, "why", gallery.encoders[3])
    for told in (
        "failed   code: an error in the code",
        "told by  the attempt's own word: RuntimeError",
        "job 12_3, node n1",
        "code, 1 of at most 2: again",
        "next     submits it again",
        "remedy   mend the code",
        "step 7 loss 2.5",
    ):
        assert told in text
    assert "\x1b" not in text and "\u2028" not in text
    assert "has not failed: it is running" in run(gallery, capsys, "why", gallery.encoders[1])


def test_logs_are_those_of_the_newest_attempt(gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(gallery, capsys, "logs", gallery.encoders[0])
    assert text.startswith("==> ") and text.endswith("step 1\nfinished\n")
    assert "has no log yet: it is pending (QOSMax" in run(gallery, capsys, "logs", gallery.encoders[2], code=2)
    assert "names 2 runs" in run(gallery, capsys, "logs", "intermediate-*-s[12]-*", code=2)
    assert "no run begins with 'x'" in run(gallery, capsys, "logs", "x", code=2)
    for wrong in (["logs"], ["--follow"], ["wye", "x"]):
        with pytest.raises(SystemExit):
            status.main(["--grid", "g", *wrong])


def test_a_log_is_followed_into_the_next_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.logs._POLL_S", 0.0)
    one, two = tmp_path / "1.log", tmp_path / "2.log"
    one.write_bytes(b"caf\xc3")
    moments = iter(range(10))

    def find() -> Path | None:
        moment = next(moments)
        if moment == 1:
            one.write_bytes(b"caf\xc3\xa9\n")
        if moment == 2:
            two.write_text("again\n")
        return two if moment >= 2 else one

    over = iter([False, False, False, True])
    assert "".join(follow(find, lambda: next(over))) == f"==> {one} <==\ncafé\n==> {two} <==\nagain\n"


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n" * 50_000 + b"10%\r50%\r100%\n\n\xff\x1b[0m last \tline\r\n")
    assert tail(log, 2) == "100%\n\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[0m last \tline"
    assert tail(tmp_path / "none") == ""


# ---- what it cannot know


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("squeue", "what is pending or running cannot be told"),
        ("sacct", "how jobs ended is read from the run folders alone"),
    ],
)
def test_a_status_without_slurms_answer_says_what_it_cannot_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, told: str
) -> None:
    site = Gallery(tmp_path)
    monkeypatch.setenv("PATH", str(site.slurm.path))
    whole = {run_id: seen.state for run_id, seen in site.scene.observations.items()}
    site.slurm.says(broken, code=1, complaint="Unable to contact slurm controller")
    scene = site.scene
    assert any(told in note for note in scene.notes)
    changed = {run_id: seen.state for run_id, seen in scene.observations.items() if seen.state != whole[run_id]}
    assert set(changed.values()) <= {"pending", "failed", "running"}
    make_overview(scene)
    site.slurm.lacks("squeue")
    site.slurm.lacks("sacct")
    assert len(site.scene.notes) >= 1
