"""Hours from finished runs, by hand; what was not measured keeps its stated rate and says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from launch.campaign import Campaign
from launch.cluster import Cluster
from launch.estimates import Estimate, estimate_plan
from launch.history import read_history
from launch.observation.states import Observation
from launch.outlook import Outlook, look_out, spell_hours
from launch.plan import Plan
from launch.resources import Match, ResourceRule
from launch.spans import Span
from launch.spending import spent_gpu_hours
from stilts.runs import done_record, write_json
from tests.launch.conftest import make
from tests.launch.small import plan_of, small

ONE_GPU = ResourceRule(match=Match(stage=["intermediate", "target", "retrieval"]), gpus=1)
CLUSTER = Cluster(name="c", tokens_per_second=1000, resources=[ONE_GPU])
AXES = {"intermediate": ["none", "mnli", "squad1", ["mnli", "squad1"]], "target": ["xnli", "tatoeba"], "seed": [1, 2]}


def study(cluster: Cluster = CLUSTER, **changes: Any) -> Plan:
    return plan_of(small(axes={**AXES, **changes}), cluster)


def run_of(plan: Plan, prefix: str) -> str:
    return next(run_id for run_id in plan.runs if run_id.startswith(prefix))


def finish(root: Path, plan: Plan, run_id: str, wall_s: float, facts: Mapping[str, Any], **changes: Any) -> None:
    """A run's folder as a finished attempt leaves it."""
    run, folder = plan.runs[run_id], Campaign(root).run(run_id)
    spec = run.spec()
    write_json(folder.spec, {**spec, "infra": {**spec["infra"], **changes}})
    begun = {"started": 1000.0, "slurm_job": "7", "resources": run.infra["resources"]}
    write_json(folder.attempts / "7.0" / "attempt.json", begun)
    write_json(folder.attempts / "7.0" / "outcome.json", {"state": "done", "ended": 1000.0 + wall_s})
    write_json(folder.done, done_record(run, "x", {}, attempt="7.0", facts=dict(facts)))


def training(
    updates: int, per_update_s: float, startup_s: float = 60.0, first_s: float | None = None
) -> dict[str, Any]:
    """Facts of a training whose updates took so long, the first one longer."""
    first = per_update_s if first_s is None else first_s
    seconds = first + (updates - 1) * per_update_s
    facts = {"updates": updates, "tokens": 1, "seconds": seconds, "first_update_seconds": first, "resumed": []}
    return {**facts, "examples": {}, "device": "NVIDIA", "startup_s": startup_s}


def estimates(plan: Plan, *roots: Path) -> dict[str, Estimate]:
    return estimate_plan(plan, roots)


def test_without_history_it_is_the_stated_rate_within_a_factor_of_two(tmp_path: Path) -> None:
    plan = study()
    run_id = run_of(plan, "intermediate-mnli-s1")
    found = estimates(plan, tmp_path, tmp_path / "none")[run_id]
    assert found.source == "stated"
    assert found.gpu_hours.expected == pytest.approx(plan.gpu_hours(run_id))
    assert found.gpu_hours.low == pytest.approx(found.gpu_hours.expected / 2)
    assert found.gpu_hours.high == pytest.approx(found.gpu_hours.expected * 2)


def test_the_other_seed_takes_as_long_as_the_first(tmp_path: Path) -> None:
    """16,363 updates an epoch: what counts is the time of an update, whatever a token was assumed to be."""
    plan = study()
    first, second = run_of(plan, "intermediate-mnli-s1"), run_of(plan, "intermediate-mnli-s2")
    updates = 2 * 16363
    finish(tmp_path, plan, first, 60 + updates * 0.1 + 20 - 0.1, training(updates, 0.1, first_s=20))
    found = estimates(plan, tmp_path)[second]
    assert found.source == "measured"
    start = 60 + 19.9 + 0
    expected = (start + updates * 0.1) / 3600
    assert found.gpu_hours.expected == pytest.approx(expected, rel=1e-3)
    assert found.gpu_hours.low == pytest.approx((start + updates * 0.1 / 1.1) / 3600, rel=1e-3)
    assert found.gpu_hours.high == pytest.approx((start + updates * 0.1 * 1.1) / 3600, rel=1e-3)
    assert plan.gpu_hours(second) == found.gpu_hours.expected, "and so for everything that shows hours"


def test_two_measurements_span_what_lies_between_them(tmp_path: Path) -> None:
    plan = study(seed=[1, 2, 3])
    for number, per_update in ((1, 0.1), (2, 0.3)):
        facts = training(1000, per_update, startup_s=0)
        finish(tmp_path, plan, run_of(plan, f"intermediate-mnli-s{number}"), facts["seconds"], facts)
    span = estimates(plan, tmp_path)[run_of(plan, "intermediate-mnli-s3")].gpu_hours
    assert span.high / span.low == pytest.approx(3 * 1.1**2, rel=0.01)


def test_a_mixture_is_put_together_from_its_tasks(tmp_path: Path) -> None:
    """An update of MNLI takes 0.1 s, one of SQuAD 0.5 s; the mixture draws 131,072 and 87,599 of them."""
    unselected = {"selection": {"points": 0}}
    plan = plan_of(small(axes=AXES, intermediate=unselected), CLUSTER)
    for task, per_update in (("mnli", 0.1), ("squad1", 0.5)):
        facts = training(100, per_update, startup_s=0)
        finish(tmp_path, plan, run_of(plan, f"intermediate-{task}-s1"), facts["seconds"], facts)
    found = estimates(plan, tmp_path)[run_of(plan, "intermediate-mnli+squad1")]
    assert found.source == "measured on others"
    chance, updates = 131072 / (131072 + 87599), 3 * (5462 + 10950)
    by_hand = updates * (chance * 0.1 + (1 - chance) * 0.5) / 3600
    assert found.gpu_hours.expected == pytest.approx(by_hand, rel=1e-3)


def test_another_task_of_the_class_tells_less_than_the_same_one(tmp_path: Path) -> None:
    plan = study()
    finish(tmp_path, plan, run_of(plan, "intermediate-mnli-s1"), 200, training(100, 1.0))
    found = estimates(plan, tmp_path)
    assert found[run_of(plan, "intermediate-squad1")].source == "measured on others"
    assert found[run_of(plan, "retrieval-tatoeba")].source == "measured on others"
    assert found[run_of(plan, "fetch-model")].source == "stated"


def test_another_class_or_model_is_not_taken_for_this_one(tmp_path: Path) -> None:
    finish(tmp_path, study(), run_of(study(), "intermediate-mnli-s1"), 200, training(100, 1.0))
    larger = Cluster(name="c", tokens_per_second=1000, resources=[ONE_GPU, ResourceRule(gpus=4)])
    other = study(larger)
    assert estimates(other, tmp_path)[run_of(other, "intermediate-mnli-s1")].source == "stated"
    base = study(model="xlm-roberta-large")
    assert estimates(base, tmp_path)[run_of(base, "intermediate-mnli-s1")].source == "stated"


def test_scoring_is_measured_apart_from_training(tmp_path: Path) -> None:
    """Four GPUs share a training; while one of them scores, the others wait and are paid for."""
    cluster = Cluster(
        name="c", tokens_per_second=1000, resources=[ONE_GPU, ResourceRule(match=Match(stage=["target"]), gpus=4)]
    )
    plan = study(cluster)
    target = run_of(plan, "target-xnli-none-s1")
    updates = 2 * 98176
    facts = training(updates, 0.01, startup_s=100)
    finish(tmp_path, plan, target, 100 + facts["seconds"] + 500, facts)
    found = estimates(plan, tmp_path)[run_of(plan, "target-xnli-none-s2")]
    assert found.source == "measured"
    assert found.hours.expected * 3600 == pytest.approx(100 + facts["seconds"] + 500, rel=0.01)
    assert found.gpus == 4
    assert found.gpu_hours.expected == pytest.approx(4 * found.hours.expected)


def test_what_was_interrupted_or_ran_without_the_gpu_tells_nothing(tmp_path: Path) -> None:
    plan = study()
    run_id = run_of(plan, "intermediate-mnli-s1")
    for facts in ({"resumed": [5]}, {"device": "cpu"}, {"seconds": 10_000.0}):
        finish(tmp_path, plan, run_id, 200, training(100, 1.0) | facts)
        assert estimates(study(), tmp_path)[run_id].source == "stated"


def test_pilots_and_other_roots_are_read_too(tmp_path: Path) -> None:
    """A pilot's scoring of a few examples is start-up: it says nothing about the speed of scoring."""
    plan = study()
    target = run_of(plan, "target-xnli-none-s1")
    finish(tmp_path / "pilot", plan, target, 100, training(20, 1.0, startup_s=30), pilot={"examples": 50})
    (speed,) = read_history([tmp_path])
    assert speed.scoring_rate is None
    assert speed.startup_s == pytest.approx(80)
    found = estimates(plan, tmp_path)[target]
    assert found.source == "measured on others", "trained as measured, scored as a third of an update"
    assert estimates(study(), tmp_path / "other", tmp_path)[target] == found


def test_of_many_seeds_a_few_are_read(tmp_path: Path) -> None:
    plan = study(seed=list(range(9)))
    for run_id in plan.runs:
        if run_id.startswith("target-"):
            finish(tmp_path, plan, run_id, 200, training(100, 1.0))
    assert len(read_history([tmp_path, tmp_path])) == 4 * 3


def test_spent_hours_are_those_of_every_attempt(tmp_path: Path) -> None:
    plan = study()
    finish(tmp_path, plan, run_of(plan, "target-xnli-none-s1"), 1800, training(100, 1.0))
    folder = Campaign(tmp_path).run(run_of(plan, "target-xnli-none-s2"))
    resources = {"gpus": 8, "nodes": 2}
    write_json(folder.attempts / "8.0" / "attempt.json", {"started": 0, "slurm_job": "8", "resources": resources})
    write_json(folder.attempts / "8.0" / "outcome.json", {"state": "failed", "ended": 3600})
    shared = {"gpus": 1, "runs_per_gpu": 4}
    write_json(folder.attempts / "9.0" / "attempt.json", {"started": 0, "slurm_job": "9", "resources": shared})
    write_json(folder.attempts / "9.0" / "outcome.json", {"state": "done", "ended": 3600})
    for number, gpu in (("local-1", ""), ("local-2", "3")):
        write_json(folder.attempts / number / "attempt.json", {"started": 0, "gpu": gpu, "resources": resources})
        write_json(folder.attempts / number / "outcome.json", {"state": "done", "ended": 3600})
    assert spent_gpu_hours(tmp_path) == pytest.approx(0.5 + 16 + 0.25 + 1)
    finish(tmp_path / "pilot", plan, run_of(plan, "target-xnli-none-s1"), 3600, training(100, 1.0))
    assert spent_gpu_hours(tmp_path) == pytest.approx(0.5 + 16 + 0.25 + 1 + 1)
    assert spent_gpu_hours(tmp_path / "none") == 0


def outlook_of(plan: Plan, root: Path, slots: int, done: str = "fetch") -> Outlook:
    seen = {run.id: Observation("done" if run.stage == done else "planned") for run in plan.runs.values()}
    return look_out(plan, seen, [root], slots)


def test_the_outlook_adds_up_what_is_not_done(tmp_path: Path) -> None:
    plan = study()
    found = outlook_of(plan, tmp_path, 4)
    left = [run_id for run_id, run in plan.runs.items() if run.stage != "fetch"]
    assert found.total.expected == pytest.approx(sum(plan.gpu_hours(run_id) for run_id in left))
    assert sum(cost.runs for cost in found.stages().values()) == len(left)
    cost = found.as_json()["cost"]
    assert cost["gpu_hours"]["expected"] == pytest.approx(found.total.expected, abs=1e-3)
    assert cost["makespan_hours"]["GPUs"] == 4
    assert cost["makespan_hours"]["low"] >= cost["longest_chain_hours"]["low"]
    assert cost["makespan_hours"]["expected"] >= found.total.expected / 4 - 0.001
    assert any("give or take a factor of 2" in line for line in found.lines())


def test_a_budget_counts_what_is_spent_and_queued_and_says_what_fits(tmp_path: Path) -> None:
    plan = study()
    found = outlook_of(plan, tmp_path, 4)
    runs = list(found.estimates)
    high = found.total.high
    assert found.find_excess(high + 10, 10, runs, ()) is None
    assert "10.5 are spent" in (found.find_excess(high + 10, 10.5, runs, ()) or "")
    free = [run_id for run_id in runs if not found.estimates[run_id].gpus]
    runs = [*free, *(run_id for run_id in runs if run_id not in free)]
    half = runs[: len(runs) // 2]
    cost = sum(found.estimates[run_id].gpu_hours.high for run_id in half)
    assert f"--limit {len(half)} starts those that fit" in (found.find_excess(cost + 0.001, 0, runs, ()) or "")
    assert found.find_excess(cost + 0.001, 0, half, ()) is None, "a part of the grid is judged as a part"
    queued = runs[len(half) :]
    assert "are in the queue" in (found.find_excess(cost + 1, 0, half, queued) or "")
    assert found.find_excess(high + 0.001, 0, half, queued) is None
    assert "None of them fits" in (found.find_excess(0, 1, runs, ()) or "")


def test_runs_larger_than_the_cluster_have_no_makespan(tmp_path: Path) -> None:
    plan = study(Cluster(name="c", resources=[ResourceRule(match=Match(stage=["target"]), gpus=8)]))
    found = outlook_of(plan, tmp_path, 4)
    assert found.makespan is None
    assert "asks for 8 GPUs, there are 4" in "\n".join(found.lines())
    assert found.as_json()["cost"]["makespan_hours"] is None


def test_without_gpus_runs_take_places(tmp_path: Path) -> None:
    plan = study(Cluster(name="c", tokens_per_second=1000))
    one, many = outlook_of(plan, tmp_path, 1, done="prepare"), outlook_of(plan, tmp_path, 1000, done="prepare")
    assert one.slot == "runs at once"
    assert one.makespan
    assert many.makespan
    assert one.makespan.expected > many.makespan.expected == pytest.approx(many.chain.expected)
    assert one.total == Span(0, 0, 0)


@pytest.mark.parametrize(("hours", "text"), [(0.5, "30 min"), (1, "1.0 h"), (47.9, "47.9 h"), (240, "10.0 days")])
def test_spelled_hours(hours: float, text: str) -> None:
    assert spell_hours(hours) == text


def test_the_command_refuses_what_is_over_budget_and_starts_nothing(tmp_path: Path) -> None:
    command = make(tmp_path, axes={"intermediate": ["none"], "target": ["tatoeba"]})
    refused = command.launch("--budget", "0.001", check=False)
    assert refused.returncode == 2
    assert "--budget 0.001" in refused.stderr
    assert not list(command.root.glob("*-*"))
    shown = command.launch("--dry-run", "--gpus", "2").stdout
    assert "GPU-hours at least" in shown
    assert "on 2 GPUs" in shown
    for wrong in (("--budget", "many"), ("--rates", "nowhere")):
        assert command.launch(*wrong, check=False).returncode == 2
