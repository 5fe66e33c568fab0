"""A pilot has every stage, task and class once, is small, and is never taken for the study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.campaign import Campaign
from launch.cluster import Cluster, load_cluster
from launch.history import read_history
from launch.pilot import EXAMPLES, PILOTED_STAGES, UPDATES, begin_pilot, choose, make_pilot
from launch.plan import Plan
from launch.resources import Match, ResourceRule
from stilts.data.examples import Line, Pair, Translation
from stilts.data.first import take_first
from stilts.runs import PILOT_MARKER, canonical_json, write_json
from tests.launch.conftest import LOCAL, ONE_THREAD
from tests.launch.small import finish, plan_of, small
from tests.support.campaigns import TINY_TOY, Study, merge

FULL = {
    "intermediate": ["none", "mnli", "squad1", ["mnli", "squad1"], ["squad1", "hellaswag"]],
    "regime": ["multitask", "sequential"],
    "target": ["xnli", "xquad", "mlqa", "tatoeba"],
    "mlm": [False, True],
    "translated": [False, True],
    "seed": [1, 2],
}
SETS: list[Any] = ["none", "mnli", "squad1", "qqp", ["mnli", "qqp"], ["squad1", "qqp", "csqa"]]
NOTHING = "no metric file below it"
TRANSLATION = {"languages": ["de", "ru"], "model": "facebook/nllb-200-3.3B"}


def keys_of(plan: Plan) -> set[tuple[Any, ...]]:
    """Every (stage, task, class) of what computes, the slow way."""
    found = set()
    for run in plan.runs.values():
        if run.stage in PILOTED_STAGES:
            resources = {key: value for key, value in run.infra["resources"].items() if key != "timeout_min"}
            for task in run.config.get("tasks") or [run.config.get("task") or run.config.get("target") or ""]:
                found.add((run.stage, task, canonical_json(resources)))
    return found


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.sampled_from(SETS), min_size=1, unique_by=repr),
    st.lists(st.sampled_from(["xnli", "xquad", "mlqa", "tatoeba", "udpos"]), min_size=1, unique=True),
    st.lists(st.booleans(), min_size=1, unique=True),
    st.sampled_from([[], [ResourceRule(match=Match(task=["mnli"]), gpus=2)]]),
    st.integers(1, 3),
)
def test_every_key_of_the_plan_is_in_its_pilot_and_nothing_else(
    sets: list[Any], targets: list[str], mlm: list[bool], rules: list[ResourceRule], seeds: int
) -> None:
    axes = {"intermediate": sets, "target": targets, "mlm": mlm, "seed": list(range(seeds)), "regime": "sequential"}
    plan = plan_of(small(axes=axes), Cluster(name="c", resources=rules))
    pilot = make_pilot(plan)
    assert keys_of(pilot) == keys_of(plan)
    computing = [run for run in pilot.runs.values() if run.stage in PILOTED_STAGES]
    assert len(computing) <= len(keys_of(plan)) * 2, "a key alone and in a mixture"
    assert set(pilot.runs) & set(plan.runs) == {run.id for run in pilot.runs.values() if run.stage == "fetch"}
    for run in pilot.runs.values():
        assert all(need in pilot.runs for need in run.needs)
        if run.stage in PILOTED_STAGES:
            assert not any(need.startswith("intermediate-") for need in run.needs)


def test_a_pilot_is_small_and_otherwise_the_same() -> None:
    plan = plan_of(small(axes=FULL, translation=TRANSLATION, intermediate={"restarts": 2}), load_cluster(None))
    pilot = make_pilot(plan)
    trainings = [run for run in pilot.runs.values() if run.stage in ("intermediate", "target")]
    assert len(trainings) < 20
    for run in trainings:
        config, resources = run.config, run.infra["resources"]
        assert config["updates"] == UPDATES
        assert config["selection"] == {"points": 1, "examples": EXAMPLES}
        assert resources["timeout_min"] == 60
        assert resources["gpus"] == 1
        assert not {"restarts", "keep"} & set(run.infra)
    prepared = [run for run in pilot.runs.values() if run.stage == "prepare"]
    assert all(run.config["first_examples"] == EXAMPLES for run in prepared)
    assert all(len(run.config["translated"]) == 1 for run in prepared if "translated" in run.config)
    translations = [run for run in pilot.runs.values() if run.stage == "translate"]
    assert len(translations) == 3, "one of each task"
    assert all(run.config["shards"] == 1 for run in translations)
    assert sum(pilot.gpu_hours(run_id) for run_id in pilot.runs) < 0.05 * sum(map(plan.gpu_hours, plan.runs))


def test_a_mixture_stands_for_its_tasks_and_the_largest_is_taken() -> None:
    axes = {"intermediate": [["mnli", "qqp"], ["mnli", "qqp", "csqa"], ["csqa", "qqp"], "mnli"], "target": ["xnli"]}
    chosen = choose(plan_of(small(axes=axes)))
    assert [run_id.rpartition("-s")[0] for run_id in chosen if run_id.startswith("intermediate-")] == [
        "intermediate-csqa+mnli+qqp",
        "intermediate-mnli",
    ]


def test_what_is_fetched_already_is_linked(tmp_path: Path) -> None:
    """Relative links, so that the root can move; and compute nodes without a network need not fetch again."""
    plan = plan_of(small())
    campaign, pilot = Campaign(tmp_path), make_pilot(plan)
    opened = Campaign(tmp_path / "pilot")
    fetched = [run_id for run_id in plan.runs if run_id.startswith("fetch-")]
    finish(campaign, plan, fetched[:2])
    for _ in range(2):
        begin_pilot(pilot, opened)
    assert {path.name for path in opened.root.iterdir() if path.is_symlink()} == set(fetched[:2])
    tmp_path.rename(tmp_path.with_name("moved"))
    assert Campaign(tmp_path.with_name("moved") / "pilot").run(fetched[0]).read_done()


@pytest.mark.parametrize("count", [1, 3, 50])
def test_first_examples_can_still_be_scored(count: int) -> None:
    pairs = [Pair(str(number), "a", "b", "x") for number in range(9)]
    assert take_first(pairs, count) == pairs[:count]
    assert take_first([], count) == []
    golds = [4, 2, 0, 1, 3]
    rows = [Translation(str(place), f"query {gold}", f"candidate {place}", gold) for place, gold in enumerate(golds)]
    taken = [row for row in take_first(rows, count) if isinstance(row, Translation)]
    assert len(taken) == min(count, 5)
    for row in taken:
        assert row.gold is not None
        assert taken[row.gold].candidate == f"candidate {row.query.removeprefix('query ')}"
    unlabelled = [Translation("0", "q", "c", None)] * 4
    assert take_first(unlabelled, count) == unlabelled[:count]
    foreign = [Line(f"f{number}", "x", False, (f"e{number + 3}",) if number % 2 else ()) for number in range(8)]
    lines = [*foreign, *(Line(f"e{number}", "y", True) for number in range(12))]
    cut = [line for line in take_first(lines, count) if isinstance(line, Line)]
    known = {line.id for line in cut if line.english}
    assert len([line for line in cut if not line.english]) == min(count, 8)
    assert any(line.partners for line in cut)
    assert all(partner in known for line in cut for partner in line.partners)


@pytest.fixture(scope="module")
def piloted(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The pilot of a study, on the local pool; the study itself has not begun."""
    grid = merge(TINY_TOY, {"toy": {"sizes": {"dev": 120, "test": 70}}, "resources": [{"gpus": 0}]})
    study = Study(tmp_path_factory.mktemp("piloted"), grid, LOCAL, ONE_THREAD)
    output = study.launch("--pilot").stdout
    assert "runs are done" in output
    assert "what the pilot measured" in output
    assert "- {match: {stage: intermediate, task: mnli}, micro_tokens: 4096}" in output
    return study


def test_a_pilot_trains_and_scores_in_small(piloted: Study) -> None:
    root = piloted.root / "pilot"
    facts = {path.parent.name: json.loads(path.read_text())["facts"] for path in root.glob("*/DONE")}
    trained = {name: found for name, found in facts.items() if name.startswith(("intermediate-", "target-"))}
    assert len(trained) == 2
    assert all(found["updates"] == UPDATES for found in trained.values())
    assert all(found["startup_s"] > 0 for found in trained.values())
    metrics = [json.loads(path.read_text()) for path in root.glob("*/metrics/*.json")]
    assert metrics
    assert {metric["examples"] for metric in metrics} == {EXAMPLES}
    assert not list(root.glob("intermediate-*/model")), "nothing builds on it"


def test_a_pilot_is_done_once_and_the_study_is_untouched(piloted: Study) -> None:
    assert "nothing to submit" in piloted.launch("--pilot").stdout
    shown = piloted.launch("--pilot", "--dry-run", "--json").stdout
    assert json.loads(shown)["submits"] == []
    assert {run["state"] for run in piloted.plan()["runs"]} == {"planned"}
    assert [path.name for path in piloted.root.iterdir()] == ["pilot"]


def test_its_speed_is_known_to_the_plan(piloted: Study) -> None:
    speeds = {(speed.stage, speed.tasks): speed for speed in read_history([piloted.root])}
    assert speeds["intermediate", ("mnli",)].rate
    assert speeds["target", ("xnli",)].startup_s
    found = json.loads(piloted.launch("--dry-run", "--json").stdout)
    assert set(found["cost"]) == {"gpu_hours", "stages", "makespan_hours", "longest_chain_hours"}


def test_no_table_reads_a_pilot(piloted: Study, tmp_path: Path) -> None:
    """Neither below a results folder, wherever the pilot lies, nor named itself."""
    for results in (piloted.root, piloted.folder):
        assert NOTHING in tables(piloted, results, tmp_path / results.name)
    assert "a pilot, whose" in tables(piloted, piloted.root / "pilot", tmp_path / "own")
    metric = next(piloted.root.glob("pilot/*/metrics/*.json"))
    aside = tmp_path / "results" / "run" / "metrics" / metric.name
    write_json(aside, json.loads(metric.read_text()))
    assert NOTHING not in tables(piloted, tmp_path / "results", tmp_path / "aside"), "the marker makes it one"
    (tmp_path / "results" / "run" / PILOT_MARKER).write_text("")
    assert NOTHING in tables(piloted, tmp_path / "results", tmp_path / "marked")


def tables(study: Study, results: Path, out: Path) -> str:
    command = study.command("aggregate/tables.py", "--results", str(results), "--out", str(out))
    result = study.run(command, check=False)
    return result.stdout + result.stderr + "".join(path.read_text() for path in out.glob("main.md"))


def test_status_of_a_pilot(piloted: Study) -> None:
    options = ("--grid", str(piloted.path), "--root", str(piloted.root), "--pilot", "--json")
    found = json.loads(piloted.run(piloted.command("launch/status.py", *options)).stdout)
    assert {run["state"] for run in found["runs"]} == {"done"}
