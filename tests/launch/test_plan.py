"""The DAG: what changes a run's name and what does not, what is shared, and what is refused."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from launch.cluster import Cluster, load_cluster
from launch.observation.states import Observation
from launch.plan import Plan, make_plan
from launch.reconcile import decide
from launch.resources import Match, ResourceRule
from launch.spec import GRIDS, load_grid
from stilts.errors import UserError
from stilts.runs import Run
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS
from tests.launch.small import plan_of, small

STUDY = small(axes={"intermediate": ["none", "mnli"], "target": ["xnli", "tatoeba"]})


def ids(grid: dict[str, Any], *stages: str) -> set[str]:
    """Names of a grid's runs, of all stages or of some."""
    return {run.id for run in plan_of(grid).runs.values() if not stages or run.stage in stages}


def one(plan: Plan, prefix: str) -> Run:
    (found,) = [run for run in plan.runs.values() if run.id.startswith(prefix)]
    return found


def count(plan: Plan, stage: str) -> int:
    return sum(run.stage == stage for run in plan.runs.values())


# ---- what does not change a name


def test_the_order_of_keys_axes_and_values_changes_nothing() -> None:
    grid = small(
        axes={"intermediate": ["none", ["mnli", "squad1"]], "target": ["xnli", "xquad"], "seed": [1, 2]},
        intermediate={"precision": "fp32", "tasks": {"mnli": {"epochs": 1}, "squad1": {"epochs": 2}}},
    )
    draw = random.Random(1)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in draw.sample(list(value), len(value))}
        return draw.sample(value, len(value)) if isinstance(value, list) else value

    expected = ids(grid)
    for _ in range(5):
        assert ids(shuffled(grid)) == expected


def test_a_larger_grid_holds_the_smaller_one() -> None:
    larger = small(axes={"intermediate": ["mnli", "squad1", "none", "all"], "target": "all", "seed": [3, 2, 1]})
    assert ids(STUDY) < ids(larger)


@pytest.mark.parametrize(
    "rule",
    [
        {"partition": "long"},
        {"timeout_min": 7},
        {"mem_gb": 99},
        {"gpus": 4, "nodes": 2},
        {"cpus": 3, "ranks": 2, "gpus": 2},
        {"micro_tokens": 1},
        {"zero_stage": 3},
        {"activation_checkpointing": True, "checkpoint_min": 0.5},
        {"qos": "low", "constraint": "a100"},
        {"match": {"stage": "target"}, "micro_tokens": 2},
    ],
)
def test_where_and_how_it_runs_changes_no_name(rule: dict[str, Any]) -> None:
    assert ids({**STUDY, "resources": [rule]}) == ids(STUDY)
    plan = make_plan(plan_of(STUDY).grid, Cluster(name="c", resources=[ResourceRule(cpus=1)], tokens_per_second=1.0))
    assert set(plan.runs) == ids(STUDY)


@pytest.mark.parametrize("change", [{"name": "other"}, {"data_root": "/somewhere"}, {"exclude": [{"seed": 9}]}])
def test_neither_the_grid_s_name_nor_its_folders_change_a_name(change: dict[str, Any]) -> None:
    assert ids({**STUDY, **change}) == ids(STUDY)


@pytest.mark.parametrize(
    "change",
    [
        {"intermediate": {"precision": "bf16", "warmup_ratio": 0.1, "shuffle_labels": False, "dropout": None}},
        {"intermediate": {"learning_rate": 1e-5}},
        {
            "intermediate": {
                "tasks": {"mnli": {"learning_rate": 1e-5, "batch_size": 24, "epochs": 2, "max_length": 256}}
            }
        },
        {"intermediate": {"tasks": {"squad1": {"epochs": 9}}}},  # a task that the grid does not train on
        {"intermediate": {"sampling": {"cap": 131072, "rule": "proportional"}, "max_grad_norm": 1}},
        {"intermediate": {"sampling": {"cap": 5}}},  # nothing is mixed here
        {"target": {"learning_rate": 3e-6, "epochs": 2, "batch_size": 4, "weight_decay": 0.01}},
        {"retrieval": {"layer": None, "max_length": 512}},
        {"pretrain": {"steps": 3}},  # the model is not made here
        {"toy": {"seed": 3}},  # the suite is not the toy
    ],
)
def test_a_default_that_is_written_down_changes_no_name(change: dict[str, Any]) -> None:
    assert ids({**STUDY, **change}) == ids(STUDY)


def test_a_default_on_an_axis_changes_no_name_and_no_row() -> None:
    axis = small(axes={**STUDY["axes"], "intermediate.precision": ["bf16"], "target.learning_rate": [3e-6]})
    with_axis = plan_of(axis)
    assert set(with_axis.runs) == ids(STUDY)
    target_rates = {row.variant for row, _ in with_axis.cells}
    assert target_rates == {"target.learning_rate=3e-06"}  # None is the default: the published rate, whatever it is


# ---- what does


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"axes": {**STUDY["axes"], "seed": [2]}}, {"intermediate", "target"}),
        ({"axes": {**STUDY["axes"], "model": "xlm-roberta-large"}}, {"prepare", "intermediate", "target", "retrieval"}),
        ({"intermediate": {"learning_rate": 2e-5}}, {"intermediate"}),
        ({"intermediate": {"precision": "fp32"}}, {"intermediate"}),
        ({"intermediate": {"shuffle_labels": True}}, {"intermediate"}),
        ({"intermediate": {"max_examples": 10}}, {"intermediate"}),
        ({"intermediate": {"max_length": 128}}, {"intermediate"}),
        ({"intermediate": {"tasks": {"mnli": {"batch_size": 23}}}}, {"intermediate"}),
        ({"intermediate": {"attention": "eager"}}, {"intermediate"}),
        ({"intermediate": {"dropout": 0.0}}, {"intermediate"}),
        ({"target": {"learning_rate": 2e-5}}, {"target"}),
        ({"target": {"max_length": 128}}, {"target"}),
        ({"target": {"precision": "fp16"}}, {"target"}),
        ({"target": {"shuffle_labels": True}}, {"target"}),
        ({"target": {"adam_eps": 1e-6}}, {"target"}),
        ({"retrieval": {"layer": 7}}, {"retrieval"}),
        ({"retrieval": {"max_length": 128}}, {"retrieval", "prepare"}),
    ],
)
def test_what_changes_the_result_changes_the_name(change: dict[str, Any], stages: set[str]) -> None:
    """Every run of the stages named has another id; so have runs built on an intermediate one."""
    before, after = plan_of(STUDY), plan_of({**STUDY, **change})
    for stage in stages:
        fresh = {run.id for run in after.runs.values() if run.stage == stage}
        kept = fresh & set(before.runs)
        assert fresh
        if stage in ("prepare", "retrieval"):
            assert fresh - kept
            assert stage == "prepare" or not kept
        else:
            assert not kept
    if stages == {"intermediate"}:
        on_it = [
            run for run in after.runs.values() if any(parent.startswith("intermediate-") for parent in run.parents)
        ]
        assert len(on_it) == 2
        assert not {run.id for run in on_it} & set(before.runs)
        baseline = {run.id for run in after.runs.values() if "-none" in run.id}
        assert baseline
        assert baseline < set(before.runs)


def test_tasks_change_the_name() -> None:
    names = [one(plan_of(small(axes={"intermediate": [[*tasks]]})), "intermediate-").id for tasks in TASK_SETS]
    assert len(set(names)) == len(TASK_SETS)


TASK_SETS = [("mnli",), ("squad1",), ("mnli", "squad1"), ("mnli", "hellaswag"), ("mnli", "squad1", "hellaswag")]


def test_languages_change_what_is_scored_and_not_the_training() -> None:
    fewer = {**STUDY, "languages": ["en", "sw"]}
    assert ids(fewer, "intermediate", "target") == ids(STUDY, "intermediate", "target")
    assert not {name for name in ids(fewer, "fetch") if "-scored-" in name} & ids(STUDY, "fetch")
    assert one(plan_of(fewer), "fetch-xnli-scored").config["languages"] == ["en", "sw"]
    assert ids({**STUDY, "languages": ["sw", "en"]}) == ids(fewer)


def test_a_target_without_any_of_the_languages_is_refused() -> None:
    with pytest.raises(UserError, match="target 'xnli' has none of the languages that the grid asks for \\(yo\\)"):
        plan_of({**STUDY, "languages": ["yo"]})


# ---- what is shared


def test_a_shared_parent_appears_once_and_parents_come_first() -> None:
    plan = plan_of(small(axes={"intermediate": ["none", "each", "all"], "target": "all", "seed": [1, 2]}))
    position = {run_id: place for place, run_id in enumerate(plan.runs)}
    assert all(position[need] < position[run.id] for run in plan.runs.values() for need in run.needs)
    assert len({run.digest for run in plan.runs.values()}) == len(plan.runs)
    fetched = [canonical(run) for run in plan.runs.values() if run.stage == "fetch"]
    assert len(fetched) == len(set(fetched))
    assert count(plan, "intermediate") == (9 + 1) * 2


def canonical(run: Run) -> str:
    return json.dumps(run.config, sort_keys=True)


def test_sequences_share_their_prefixes() -> None:
    chains = [["mnli", "squad1"], ["mnli", "squad1", "hellaswag"], ["mnli", "hellaswag"], "mnli"]
    plan = plan_of(small(axes={"intermediate": chains, "regime": "sequential"}))
    slugs = sorted(run.slug for run in plan.runs.values() if run.stage == "intermediate")
    assert slugs == ["mnli-s1", "mnli-then-hellaswag-s1", "mnli-then-squad1-s1", "mnli-then-squad1-then-hellaswag-s1"]
    last = one(plan, "intermediate-mnli-then-squad1-then-hellaswag")
    middle = plan.runs[last.parents[0]]
    assert middle.slug == "mnli-then-squad1-s1"
    assert plan.runs[middle.parents[0]].slug == "mnli-s1"
    assert list(last.config["tasks"]) == ["hellaswag"]
    assert last.infra["label"]["intermediate"]["tasks"] == ["mnli", "squad1", "hellaswag"]
    assert plan.runs[last.parents[1]].parents[0].startswith("fetch-model-")  # one tokenizer along the whole chain


def test_a_prefix_first_seen_inside_a_chain_is_labelled_as_what_it_is() -> None:
    plan = plan_of(small(axes={"intermediate": [["mnli", "squad1"], "mnli"], "regime": "sequential"}))
    assert one(plan, "intermediate-mnli-s1").infra["label"]["intermediate"] == {
        "mode": "single",
        "tasks": ["mnli"],
        "mlm": False,
        "translated": False,
    }


def test_the_order_of_a_mixture_does_not_matter_and_that_of_a_sequence_does() -> None:
    orders = [list(order) for order in itertools.permutations(["mnli", "squad1", "hellaswag"])]
    mixed = plan_of(small(axes={"intermediate": orders}))
    assert count(mixed, "intermediate") == 1
    assert len(mixed.cells) == 1
    in_turn = plan_of(small(axes={"intermediate": orders, "regime": "sequential"}))
    assert len(in_turn.cells) == len(orders)
    assert count(in_turn, "intermediate") == 3 + 6 + 6


def test_one_task_is_single_under_any_regime() -> None:
    plans = [
        plan_of(small(axes={"intermediate": [["mnli"]], "regime": regime})) for regime in ("multitask", "sequential")
    ]
    plans.append(plan_of(small(axes={"intermediate": "mnli", "regime": ["sequential", "multitask"]})))
    assert len({frozenset(plan.runs) for plan in plans}) == 1
    assert {row.mode for plan in plans for row, _ in plan.cells} == {"single"}


def test_the_baseline_is_a_run_and_its_retrieval_is_one_for_all_seeds() -> None:
    plan = plan_of(small(axes={"intermediate": ["none", "mnli"], "target": ["xnli", "tatoeba"], "seed": [1, 2, 3]}))
    retrieval = [run for run in plan.runs.values() if run.stage == "retrieval"]
    (baseline,) = [run for run in retrieval if "seed" not in run.config]
    assert baseline.slug == "tatoeba-none"
    assert len(retrieval) == 1 + 3
    cells = {(row.mode, target): runs for (row, target), runs in plan.cells.items()}
    assert cells["none", "tatoeba"] == dict.fromkeys((1, 2, 3), baseline.id)
    assert len(set(cells["none", "xnli"].values())) == 3
    assert len(set(cells["single", "tatoeba"].values())) == 3


def test_one_training_serves_two_targets() -> None:
    plan = plan_of(small(axes={"target": ["xquad", "mlqa"]}))
    assert count(plan, "target") == 1
    assert {target for _, target in plan.cells} == {"xquad", "mlqa"}


def test_a_seed_names_a_whole_chain() -> None:
    plan = plan_of(small(axes={"intermediate": "mnli", "seed": [1, 2]}))
    for run in plan.runs.values():
        if run.stage == "target":
            assert plan.runs[run.parents[0]].config["seed"] == run.config["seed"]


# ---- rows and their variants


def test_the_variant_says_every_setting_that_is_not_published() -> None:
    grid = small(
        axes={"model": ["scratch", "hub"], "intermediate": ["none", "mnli"], "target.learning_rate": [1e-3, 3e-6]},
        suite="toy",
        pretrain={"steps": 5, "text": ["text", "mnli"]},
        intermediate={"shuffle_labels": True, "tasks": {"mnli": {"epochs": 1}}, "sampling": {"cap": 7}},
        retrieval={"max_length": 64},
    )
    variants = {(row.model, row.mode): row.variant for row, _ in plan_of(grid).cells if "0.001" in row.variant}
    mnli = "intermediate.shuffle_labels=true; intermediate.tasks.mnli.epochs=1; "
    scratch = "pretrain.steps=5; pretrain.text=text+mnli; "
    rest = "retrieval.max_length=64; target.learning_rate=0.001"
    assert variants == {
        ("scratch", "none"): scratch + rest,
        ("scratch", "single"): mnli + scratch + rest,
        ("hub", "none"): rest,
        ("hub", "single"): mnli + rest,
    }


def test_no_two_runs_of_one_cell_share_a_row() -> None:
    """A row holds one run for each target and seed, so two settings that give two runs give two rows."""
    grid = small(
        axes={
            "intermediate": ["none", "mnli"],
            "target": ["xnli", "tatoeba"],
            "intermediate.learning_rate": [1e-5, 2e-5],
            "target.epochs": [1, 2],
            "retrieval.layer": [None, 3],
        }
    )
    plan = plan_of(grid)
    cells = [run_id for runs in plan.cells.values() for run_id in runs.values()]
    assert len(plan.cells) == (1 + 2) * 2 * 2 * 2
    assert set(cells) == {run.id for run in plan.runs.values() if run.stage in ("target", "retrieval")}


# ---- what is refused


def test_one_mixture_has_one_learning_rate() -> None:
    rates = {"mnli": {"learning_rate": 1e-5}, "squad1": {"learning_rate": 2e-5}}
    mixture = small(axes={"intermediate": [["mnli", "squad1"]]}, intermediate={"tasks": rates})
    with pytest.raises(UserError, match="one learning rate, but its tasks ask for mnli 1e-05, squad1 2e-05"):
        plan_of(mixture)
    plan_of(small(axes={"intermediate": ["mnli", "squad1"]}, intermediate={"tasks": rates}))
    plan_of(small(axes={"intermediate": [["mnli", "squad1"]], "regime": "sequential"}, intermediate={"tasks": rates}))


def test_scratch_needs_a_text_unless_the_languages_are_made_up() -> None:
    scratch = small(axes={"model": "scratch"})
    with pytest.raises(UserError, match=r"name its tasks under pretrain\.text"):
        plan_of(scratch)
    plan = plan_of({**scratch, "pretrain": {"text": ["xnli", "mnli"]}})
    parents = one(plan, "pretrain-").parents
    assert [parent.rsplit("-", 1)[0] for parent in parents] == ["fetch-mnli-train", "fetch-xnli-scored"]
    toy = {**scratch, "suite": "toy"}
    assert ids({**toy, "pretrain": {"text": ["text"]}}) == ids(toy)


def test_a_study_without_runs_is_refused() -> None:
    with pytest.raises(UserError, match="nothing is left after exclude"):
        plan_of(small(exclude=[{"target": "all"}]))


def test_two_runs_of_one_name_are_refused() -> None:
    """A name ends in 8 of the digest's 64 digits: among a hundred thousand runs two can have the same."""
    template = one(plan_of(small()), "target-")
    seen: dict[str, float] = {}
    for number in itertools.count(1):
        rate = number / 2**24
        run = Run("target", template.slug, {**template.config, "learning_rate": rate}, template.parents)
        if run.id in seen:
            break
        seen[run.id] = rate
    with pytest.raises(UserError, match=f"two different runs have the name {run.id}"):
        plan_of(small(axes={"target.learning_rate": [seen[run.id], rate]}))


# ---- the whole study, and where its data comes from


def test_full_matrix_names_the_whole_study() -> None:
    plan = make_plan(load_grid(GRIDS / "full_matrix.yaml"), load_cluster(None))
    assert {target for _, target in plan.cells} == set(TARGETS)
    assert {task for row, _ in plan.cells for task in row.tasks} == set(INTERMEDIATES)
    assert {(row.mode, len(row.tasks)) for row, _ in plan.cells} >= {
        ("none", 0),
        ("single", 1),
        ("multitask", 9),
        ("sequential", 9),
    }
    assert all(set(runs) == {1, 2, 3} for runs in plan.cells.values())
    actions = decide(plan, {run_id: Observation("planned") for run_id in plan.runs})
    assert set(actions.runs) == set(plan.runs)


def test_without_a_data_root_every_set_comes_from_the_hub_and_its_name_says_so() -> None:
    files = plan_of(small())
    hub = plan_of({**small(), "data_root": None})
    assert one(hub, "fetch-xnli-scored").config["source"] == "hub"
    assert "data_root" not in one(hub, "fetch-xnli-scored").infra
    assert "source" not in one(files, "fetch-xnli-scored").config
    assert one(files, "fetch-xnli-scored").infra["data_root"] == "/nowhere"
    assert one(files, "fetch-xnli-scored").id != one(hub, "fetch-xnli-scored").id


def test_single_tasks_come_from_the_hub_where_the_grid_says_so() -> None:
    grid = small(axes={"intermediate": ["mnli"]}, hub="xnli", revisions={"facebook/xnli": "v1"})
    plan = plan_of(grid)
    assert one(plan, "fetch-xnli-scored").config["revisions"] == {"facebook/xnli": "v1"}
    assert "source" not in one(plan, "fetch-mnli-train").config


def test_a_licensed_task_comes_from_files_or_not_at_all() -> None:
    grid = small(axes={"intermediate": ["ccg"]}, hub="all")
    plan = plan_of(grid)
    assert one(plan, "fetch-ccg-train").infra["data_root"] == "/nowhere"
    assert one(plan, "fetch-xnli-scored").config["source"] == "hub"
    with pytest.raises(UserError, match=r"ccg: no hub set has it .*LDC2005T13.*data_root"):
        plan_of({**grid, "data_root": None})


def test_a_training_is_scored_on_all_that_it_serves_whatever_the_grid_names(tmp_path: Path) -> None:
    """XQuAD and MLQA come from one SQuAD training; files that nobody asked for are not waited for."""
    grid = {**small(axes={"target": ["xquad"]}), "languages": {"xquad": ["de"], "mlqa": ["de"]}}
    from_hub = plan_of({**grid, "data_root": None})
    assert {need.split("-")[1] for need in one(from_hub, "target-squad").scores} == {"xquad", "mlqa"}
    without = plan_of({**grid, "data_root": str(tmp_path)})
    assert {need.split("-")[1] for need in one(without, "target-squad").scores} == {"xquad"}
    for split in ("dev", "test"):
        path = tmp_path / "mlqa" / "MLQA_V1" / split / f"{split}-context-de-question-de.json"
        path.parent.mkdir(parents=True)
        answer = {"text": "b", "answer_start": 2}
        questions = [{"id": "1", "question": "a?", "answers": [answer]}]
        path.write_text(json.dumps({"data": [{"paragraphs": [{"context": "a b", "qas": questions}]}]}))
    with_files = plan_of({**grid, "data_root": str(tmp_path)})
    assert {need.split("-")[1] for need in one(with_files, "target-squad").scores} == {"xquad", "mlqa"}
    assert one(with_files, "target-squad").id == one(without, "target-squad").id


def test_languages_may_be_given_for_each_target() -> None:
    grid = small(axes={"target": ["xnli", "xquad"]})
    plan = plan_of({**grid, "languages": {"all": ["de", "en"], "xnli": ["sw"]}})
    assert one(plan, "fetch-xnli-scored").config["languages"] == ["sw"]
    assert one(plan, "fetch-xquad-scored").config["languages"] == ["de", "en"]


# ---- how a mixture is drawn


def test_a_mixture_keeps_the_weights_of_its_own_tasks() -> None:
    weights = {"mnli": 2.0, "squad1": 1.0, "hellaswag": 5.0}
    grid = small(axes={"intermediate": [["mnli", "squad1"]], "target": ["tatoeba"]})
    plan = plan_of({**grid, "intermediate": {"sampling": {"rule": "weights", "weights": weights}}})
    config = one(plan, "intermediate-").config
    assert config["sampling"] == {"rule": "weights", "weights": {"mnli": 2.0, "squad1": 1.0}}
    del weights["mnli"]
    with pytest.raises(UserError, match=r"no weight for mnli, which the mixture mnli\+squad1 draws"):
        plan_of({**grid, "intermediate": {"sampling": {"rule": "weights", "weights": weights}}})


# ---- resources


def test_a_later_rule_overrules_an_earlier_one_field_by_field() -> None:
    rules = [
        ResourceRule(cpus=3, mem_gb=30),
        ResourceRule(match=Match(stage=["target"]), cpus=4, gpus=2),
        ResourceRule(match=Match(stage=["target"], task=["squad"]), cpus=5),
        ResourceRule(match=Match(task=["mnli"]), mem_gb=31),
    ]
    cluster = Cluster(name="c", resources=rules)
    grid = small(axes={"intermediate": ["none", ["mnli", "squad1"]], "target": ["xnli", "xquad"]})
    plan = plan_of({**grid, "resources": [{"match": {"task": "xnli"}, "qos": "night"}]}, cluster)
    classes = {
        prefix: plan.resources(one(plan, prefix).id) for prefix in ("target-xnli-none", "target-squad-none", "inter")
    }
    found = {prefix: (r.cpus, r.mem_gb, r.gpus, r.qos) for prefix, r in classes.items()}
    assert found == {
        "target-xnli-none": (4, 30, 2, "night"),
        "target-squad-none": (5, 30, 2, None),
        "inter": (3, 31, 0, None),
    }


# ---- size, and names that must not change


def test_ten_thousand_runs() -> None:
    seeds = list(range(1, 101))
    tasks = ["mnli", "squad1", "hellaswag"]
    sets = [list(chosen) for size in (1, 2, 3) for chosen in itertools.permutations(tasks, size)]
    axes = {"intermediate": ["none", *sets], "regime": ["multitask", "sequential"], "target": "all", "seed": seeds}
    plan = plan_of(small(axes=axes))
    assert len(plan.runs) > 10_000
    actions = decide(plan, {run_id: Observation("planned") for run_id in plan.runs})
    assert len(actions.runs) == len(plan.runs)
    assert len(set(actions.runs)) == len(actions.runs)
    assert len(actions.arrays) < 200


# A change here means that the same configuration would be computed again under another name, beside the old one.
# If its RESULT has changed, raise the version of its stage in stilts/runs.py; if not, something entered the
# identity that should not have. Then write the new names down.
GOLDEN = """
fetch-hellaswag-train-c6b025b4
fetch-mnli-train-68a9a6de
fetch-model-xlm-roberta-base-4aab5ef6
fetch-squad-train-e4d7ad21
fetch-squad1-train-497c2e16
fetch-tatoeba-scored-9f566dff
fetch-text-5a57b713
fetch-udpos-scored-7cfe985a
fetch-udpos-train-6e4b6921
fetch-xnli-scored-5b687e0c
fetch-xnli-scored-9c3d4c1f
fetch-xnli-train-07b040f1
fetch-xnli-train-aefb41a6
fetch-xquad-scored-b8b0a33c
intermediate-hellaswag+mnli-s1-4bf7fad5
intermediate-mnli-s1-2edd5529
intermediate-mnli-then-hellaswag-s1-968f72eb
intermediate-squad1-s1-545333ea
prepare-hellaswag-train-b58a2d99
prepare-mnli-train-0ef3b762
prepare-squad-train-caf97811
prepare-squad1-train-1ca3d5b0
prepare-tatoeba-scored-37389c28
prepare-udpos-scored-e5169e03
prepare-udpos-train-fedae5ef
prepare-xnli-scored-4ed3de85
prepare-xnli-scored-b957d09a
prepare-xnli-train-8bc23145
prepare-xnli-train-fbbcd005
prepare-xquad-scored-4a047ed1
pretrain-scratch-11256105
retrieval-tatoeba-hellaswag+mnli-s1-c4553ad5
retrieval-tatoeba-mnli-then-hellaswag-s1-5fe8cc60
retrieval-tatoeba-none-a531337f
retrieval-tatoeba-squad1-s1-272a5644
target-squad-hellaswag+mnli-s1-f0a5005b
target-squad-mnli-then-hellaswag-s1-eb2d6fd7
target-squad-none-s1-589d5a91
target-squad-squad1-s1-547ce557
target-udpos-hellaswag+mnli-s1-934b688f
target-udpos-mnli-then-hellaswag-s1-82022340
target-udpos-none-s1-7b621342
target-udpos-squad1-s1-6594b1b7
target-xnli-hellaswag+mnli-s1-5700b7ad
target-xnli-mnli-then-hellaswag-s1-154b5e41
target-xnli-none-s1-1fa6721c
target-xnli-none-s1-a71ea22e
target-xnli-squad1-s1-27508a23
""".split()


def test_golden_names() -> None:
    grid = small(
        axes={
            "intermediate": ["none", "squad1", ["mnli", "hellaswag"]],
            "regime": ["multitask", "sequential"],
            "target": ["xnli", "udpos", "xquad", "tatoeba"],
        }
    )
    toy = {**small(axes={"model": "scratch"}), "suite": "toy", "toy": {"sizes": {"train": 8}}}
    assert sorted(ids(grid) | ids(toy)) == GOLDEN


def test_every_rank_has_a_gpu_of_its_own() -> None:
    with pytest.raises(UserError, match="2 ranks on a node with 1 GPUs"):
        plan_of({**STUDY, "resources": [{"match": {"stage": "target"}, "gpus": 1, "ranks": 2}]})


def test_what_one_rank_does_gets_one() -> None:
    plan = plan_of({**STUDY, "resources": [{"nodes": 2, "gpus": 4}]})
    asked = {run.stage: plan.resources(run.id) for run in plan.runs.values()}
    assert (asked["target"].nodes, asked["target"].ranks_per_node) == (2, 4)
    for stage in ("fetch", "prepare", "retrieval"):
        assert (asked[stage].nodes, asked[stage].ranks_per_node) == (1, 1)
