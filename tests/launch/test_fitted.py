"""Classes that have not run, fitted to those that have, with what they read counted in the sets that are prepared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from launch.campaign import Campaign
from launch.cluster import Cluster
from launch.cost import TOKENS_PER_EXAMPLE, count_tokens, recount
from launch.estimates import Estimate, estimate_plan
from launch.plan import Plan
from launch.prepared import PreparedSets
from launch.resources import ResourceRule
from stilts.runs import Run, write_json
from tests.launch.conftest import make
from tests.launch.small import plan_of, small
from tests.launch.test_estimates import finish, run_of, training
from tests.support.campaigns import Study

PER_TOKEN_S, PER_UPDATE_S, EXCHANGE_S = 2e-4, 0.05, 0.03
ONE_GPU = Cluster(name="c", tokens_per_second=1000, resources=[ResourceRule(gpus=1)])
TASKS = ("mnli", "qqp", "squad1", "hellaswag", "ccg", "cosmosqa")


def study(gpus: int = 1, **intermediate: Any) -> Plan:
    cluster = ONE_GPU.model_copy(update={"resources": [ResourceRule(gpus=gpus)]})
    grid = small(
        axes={"intermediate": list(TASKS), "target": ["tatoeba"]},
        intermediate={"updates": 1000, "selection": {"points": 0}, **intermediate},
    )
    return plan_of(grid, cluster)


def run_as_told(root: Path, plan: Plan, tasks: tuple[str, ...], devices: int = 1) -> None:
    """Runs that take exactly what an update, its sub-words and their exchange cost."""
    for task in tasks:
        run_id = run_of(plan, f"intermediate-{task}-")
        facts = training(1000, seconds_of(plan, run_id, devices) / 1000, startup_s=10)
        finish(root, plan, run_id, facts["seconds"] + 10, facts)


def seconds_of(plan: Plan, run_id: str, devices: int = 1) -> float:
    """By hand, at 1,000 updates."""
    per_update = plan.tokens[run_id].read / 1000
    exchanged = EXCHANGE_S if devices > 1 else 0.0
    return 1000 * (per_update / devices * PER_TOKEN_S + PER_UPDATE_S + exchanged)


def estimates(plan: Plan, root: Path) -> Mapping[str, Estimate]:
    return estimate_plan(plan, [root])


def test_a_class_that_has_not_run_is_fitted_to_those_that_have(tmp_path: Path) -> None:
    run_as_told(tmp_path, study(), TASKS[:4])
    plan = study()
    found = estimates(plan, tmp_path)
    for task in TASKS[4:]:
        run_id = run_of(plan, f"intermediate-{task}-")
        one = found[run_id]
        assert (one.source, one.runs, one.classes) == ("fitted", 4, 4)
        assert one.hours.expected * 3600 == pytest.approx(seconds_of(plan, run_id) + 10, rel=1e-3)
        assert one.hours.low < one.hours.expected < one.hours.high
    assert found[run_of(plan, "intermediate-mnli-")].source == "measured"


def test_another_batch_size_or_length_is_another_class(tmp_path: Path) -> None:
    """An update of four examples does not take a sixth of one of 24."""
    run_as_told(tmp_path, study(), TASKS[:4])
    plan = study(batch_size=4)
    run_id = run_of(plan, "intermediate-mnli-")
    one = estimates(plan, tmp_path)[run_id]
    assert one.source == "fitted"
    assert one.hours.expected * 3600 == pytest.approx(seconds_of(plan, run_id) + 10, rel=1e-3)
    longer = study(max_length=512)
    assert estimates(longer, tmp_path)[run_of(longer, "intermediate-mnli-")].source == "fitted"


def test_runs_on_several_gpus_are_fitted_together_with_those_on_one(tmp_path: Path) -> None:
    run_as_told(tmp_path, study(), TASKS[:4])
    unknown = study(gpus=4)
    run_id = run_of(unknown, "intermediate-ccg-")
    guess = estimates(unknown, tmp_path)[run_id].hours
    assert guess.high / guess.expected > 1.8, "what an exchange costs is not known yet"
    run_as_told(tmp_path, study(gpus=2), TASKS[2:5], devices=2)
    plan = study(gpus=4)
    one = estimates(plan, tmp_path)[run_id]
    assert (one.source, one.runs) == ("fitted", 4 + 3 - 2), "two of them are the same runs, on more GPUs now"
    assert one.hours.expected * 3600 == pytest.approx(seconds_of(plan, run_id, devices=4) + 10, rel=1e-3)


def test_a_stage_that_has_not_run_starts_as_the_others_do(tmp_path: Path) -> None:
    run_as_told(tmp_path, study(), TASKS[:1])
    plan = plan_of(small(axes={"target": ["xnli"]}), ONE_GPU)
    assert estimates(plan, tmp_path)[run_of(plan, "target-xnli-")].start.expected * 3600 == pytest.approx(10)


def test_ranks_share_a_training_and_wait_for_the_one_that_scores(tmp_path: Path) -> None:
    """A scoring that is taken for the third of an update takes as long on four GPUs as on one."""
    plan = plan_of(small(axes={"target": ["xnli"]}), Cluster(name="c", resources=[ResourceRule(gpus=4)]))
    run_id = run_of(plan, "target-xnli-")
    finish(tmp_path / "pilot", plan, run_id, 100, training(20, 1.0, startup_s=80), pilot={"examples": 50})
    one, tokens = estimates(plan, tmp_path)[run_id], plan.tokens[run_id]
    per_token_s = 1.0 / (tokens.read / tokens.updates + tokens.selection / 3 / 20)  # of all four
    by_hand = 80 + (tokens.trained + 4 * tokens.scored) * per_token_s
    assert one.hours.expected * 3600 == pytest.approx(by_hand, rel=1e-3)


def test_two_classes_are_too_few_and_scale_the_stated_rate(tmp_path: Path) -> None:
    run_as_told(tmp_path, study(), TASKS[:2])
    plan = study()
    assert estimates(plan, tmp_path)[run_of(plan, "intermediate-squad1-")].source == "measured on others"


def test_other_hardware_or_models_are_not_fitted_together(tmp_path: Path) -> None:
    run_as_told(tmp_path, study(), TASKS)
    for plan in (study(gpus=0), study(precision="fp32")):
        assert estimates(plan, tmp_path)[run_of(plan, "intermediate-mnli-")].source != "fitted"


def prepare(root: Path, plan: Plan, run_id: str, sets: Mapping[str, tuple[int, int, int]], choices: int = 1) -> None:
    """A prepared folder's manifest; sets as (examples, sequences, sub-words)."""
    run, folder = plan.runs[run_id], Campaign(root).run(run_id)
    write_json(folder.spec, run.spec())
    sizes = {name: dict(zip(("examples", "sequences", "tokens"), size, strict=True)) for name, size in sets.items()}
    manifest = {"max_length": run.config["max_length"], "choices": choices, "sets": sizes}
    write_json(folder.data / "manifest.json", manifest)


def test_prepared_sets_are_counted_instead_of_assumed(tmp_path: Path) -> None:
    """Two choices of 50 sub-words in each of 100 examples; a dev set of 10 with 40 sub-words each."""
    plan = plan_of(small(axes={"intermediate": ["hellaswag"], "target": ["tatoeba"]}))
    sets = {"train.en": (100, 200, 10_000), "dev.en": (10, 20, 400)}
    prepare(tmp_path, plan, run_of(plan, "prepare-hellaswag-train"), sets, choices=2)
    run = plan.runs[run_of(plan, "intermediate-hellaswag-")]
    found = count_tokens(run, known=PreparedSets([tmp_path]).of(run))
    updates = 7 * 5  # 100 examples in batches of 24, seven epochs
    assert found.updates == updates
    assert found.read == updates * 24 * 100
    assert found.squares == found.read * 50
    assert found.selection == 10 * 400, "ten points on the 10 examples that there are"
    assert (found.scoring, found.examples, found.sets) == (400, 10, 1)


def test_a_long_context_is_as_many_examples_as_windows(tmp_path: Path) -> None:
    plan = plan_of(small(axes={"target": ["xquad"]}, languages=["en", "de"]))
    prepare(tmp_path, plan, run_of(plan, "prepare-squad-train"), {"train.en": (10, 32, 3200)})
    prepare(tmp_path, plan, run_of(plan, "prepare-xquad-scored"), {"test.en": (5, 6, 600), "test.de": (5, 7, 700)})
    run = plan.runs[run_of(plan, "target-squad-")]
    found = count_tokens(run, known=PreparedSets([tmp_path]).of(run))
    assert found.read == 2 * 2 * 16 * 100
    assert (found.scoring, found.examples, found.sets) == (1300, 10, 2)


def test_the_sets_of_another_root_or_a_pilot_tell_how_long_examples_are_not_how_many(tmp_path: Path) -> None:
    """Somebody's trial on a slice must not make the study itself look small."""
    plan = plan_of(small(axes={"target": ["pawsx"]}))
    run, twin = plan.runs[run_of(plan, "target-pawsx-")], plan.runs[run_of(plan, "prepare-pawsx-train")]
    cut = Run(twin.stage, twin.slug, {**twin.config, "first_examples": 50}, twin.parents)
    pilot = Plan(plan.grid, plan.cluster, {cut.id: cut})
    prepare(tmp_path, pilot, cut.id, {"train.en": (320, 320, 32_000), "dev.en": (50, 50, 5000)})
    assumed, known = plan.tokens[run.id], PreparedSets([tmp_path])
    found = recount(run, assumed, known)
    assert found.read == pytest.approx(assumed.read * 100 / TOKENS_PER_EXAMPLE["pair"])
    assert found.squares == pytest.approx(found.read * 100)
    assert (found.updates, found.selection, found.scoring) == (assumed.updates, assumed.selection, assumed.scoring)
    longer = plan_of(small(axes={"target": ["pawsx"]}, target={"max_length": 512}))
    other = longer.runs[run_of(longer, "target-pawsx-")]
    assert recount(other, longer.tokens[other.id], known) == longer.tokens[other.id], "another length is another set"


def test_a_mixture_of_which_one_set_is_missing_has_as_many_updates_as_assumed(tmp_path: Path) -> None:
    """Text for masked language modelling has no size in the catalogue."""
    grid = small(axes={"intermediate": ["mnli"], "mlm": [True], "target": ["xquad"]}, languages=["en"])
    plan = plan_of(grid)
    prepare(tmp_path, plan, run_of(plan, "prepare-mnli-train"), {"train.en": (100, 100, 3000), "dev.en": (10, 10, 300)})
    prepare(tmp_path, plan, run_of(plan, "prepare-xquad-scored"), {"test.en": (5, 6, 600)})
    known = PreparedSets([tmp_path])
    run = plan.runs[run_of(plan, "intermediate-mnli")]
    assumed = plan.tokens[run.id]
    found = recount(run, assumed, known)
    assert found.updates == assumed.updates
    assert found.training["mlm"] == assumed.training["mlm"]
    assert found.training["mnli"] == pytest.approx(assumed.training["mnli"] * 30 / TOKENS_PER_EXAMPLE["pair"])
    assert found.selection == 10 * 300
    target = plan.runs[run_of(plan, "target-squad-")]
    assert recount(target, plan.tokens[target.id], known).scoring == 600
    estimate_plan(plan, [tmp_path])
    assert plan.gpu_hours(target.id) != pytest.approx(target.infra["gpu_hours"]), "counted hours are shown everywhere"


def test_damaged_manifests_are_passed_over(tmp_path: Path) -> None:
    plan = plan_of(small(axes={"target": ["pawsx"]}))
    run_id = run_of(plan, "prepare-pawsx-train")
    prepare(tmp_path, plan, run_id, {"train.en": (1, 1, 1)})
    manifest = tmp_path / run_id / "data" / "manifest.json"
    one = {"examples": 1, "sequences": 1, "tokens": 1}
    odd: list[dict[str, Any]] = [
        {"sets": 3, "max_length": 8},
        {"sets": {"train.en": None}, "max_length": 8},
        {"sets": {"train.en": one | {"tokens": "many"}}, "max_length": 8},
        {"sets": {"train.en": one | {"tokens": float("inf")}}, "max_length": 8},
        {"sets": {"train.en": one}, "max_length": None},
        {"sets": {"train.en": one}, "max_length": 8, "choices": 0},
    ]
    for text in ("{", "[]", "{}", '{"sets": {"train.en": {"examples": 3}}}', *map(json.dumps, odd)):
        manifest.write_text(text)
        assert not PreparedSets([tmp_path]).runs


def test_what_a_real_training_read_is_what_is_counted(finished: Study) -> None:
    """But for what the draw of its batches makes more or less."""
    known, compared = PreparedSets([finished.root]), 0
    for path in finished.root.glob("*/DONE"):
        facts = json.loads(path.read_text())["facts"]
        run = Run.from_spec(json.loads((path.parent / "run.json").read_text()))
        if run.stage in ("intermediate", "target"):
            found = count_tokens(run, known=known.of(run))
            assert found.updates == facts["updates"]
            assert found.read == pytest.approx(facts["tokens"], rel=0.02)
            metrics = list(path.parent.glob("metrics/*.json"))
            assert found.sets == len(metrics)
            assert found.examples == sum(json.loads(metric.read_text())["examples"] for metric in metrics)
            compared += 1
    assert compared == 3


def test_the_command_says_where_the_hours_of_each_stage_come_from(tmp_path: Path) -> None:
    """Three classes have run in another root."""
    axes = {"model": "scratch", "intermediate": ["none", "mnli", "squad1", "hellaswag"], "target": ["xnli", "xquad"]}
    command = make(tmp_path, axes=axes, resources=[{"gpus": 0}])
    plan = plan_of(command.grid)
    for prefix in ("intermediate-mnli-", "intermediate-squad1-", "target-xnli-none-"):
        run_id = run_of(plan, prefix)
        facts = training(500, plan.tokens[run_id].read / 500 * 1e-3, startup_s=5) | {"device": "cpu"}
        finish(tmp_path / "others", plan, run_id, facts["seconds"] + 60, facts)
    rates = ("--dry-run", "--rates", str(tmp_path / "others"))
    shown = command.launch(*rates).stdout
    words = " ".join(shown.replace("│", " ").split())
    assert "fitted (to 3 runs of 3 classes)" in words
    found = json.loads(command.launch(*rates, "--json").stdout)["cost"]["stages"]
    assert found["intermediate"]["rates"] == {"measured": 2, "fitted": 1}
    assert found["intermediate"]["fitted_to"] == {"runs": 3, "classes": 3}
    target = found["target"]
    assert target["rates"] == {"measured": 4, "measured on others": 4}, "one target's scoring is too little for a fit"
    assert target["hours"]["low"] < target["hours"]["expected"] < target["hours"]["high"]
    assert found["fetch"]["rates"] == {}
