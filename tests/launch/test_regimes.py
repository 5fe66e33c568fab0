"""Text mixed in, translated training sets, fixed updates, replay and raw DeepSpeed keys: what jobs are told."""

from __future__ import annotations

from typing import Any

import pytest

from launch.campaign import expected_cells
from launch.plan import Plan
from launch.preparation import preparations
from launch.resources import ONE_RANK_STAGES
from stilts.errors import UserError
from stilts.runs import Run
from stilts.settings import MlmSettings
from stilts.tasks.catalogue import TARGETS
from tests.launch.small import plan_of, problems_of, small

MIXTURE = ["mnli", "squad1"]
TRANSLATION = {"languages": ["ru", "de"], "model": "facebook/nllb-200-distilled-600M", "shards": 2}


def study(tasks: Any, **changes: Any) -> dict[str, Any]:
    """A grid of one row of intermediate tasks on XNLI and Tatoeba."""
    axes = {"intermediate": tasks, "target": ["xnli", "tatoeba"], **changes.pop("axes", {})}
    return small(axes=axes, **changes)


def one(plan: Plan, prefix: str) -> Run:
    (found,) = [run for run in plan.runs.values() if run.id.startswith(prefix)]
    return found


def variants(plan: Plan) -> dict[tuple[str, bool, bool], str]:
    return {(row.mode, row.mlm, row.translated): row.variant for row, _ in plan.cells}


# ---- masked language modelling


def test_text_is_one_more_task_at_half_the_rate() -> None:
    plan = plan_of(study([MIXTURE], axes={"mlm": [True]}))
    run = one(plan, "intermediate-")
    assert run.slug == "mnli+squad1+mlm-s1"
    assert run.config["learning_rate"] == 5e-6
    assert run.config["tasks"]["mlm"] == {"batch_size": 8, "epochs": 3, "max_length": 256}
    assert set(run.config["tasks"]) == {"mnli", "squad1", "mlm"}
    assert run.infra["label"]["intermediate"] == {
        "mode": "multitask",
        "tasks": ["mnli", "squad1"],
        "mlm": True,
        "translated": False,
    }
    (prepared,) = [parent for parent in run.parents if parent.startswith("prepare-mlm-train-")]
    fetched = plan.runs[plan.runs[prepared].parents[1]]
    assert plan.runs[prepared].config == {"suite": "xtreme", "task": "mlm", "part": "train", "max_length": 256}
    assert fetched.id.startswith("fetch-mlm-train-")
    languages = fetched.config["languages"]
    assert languages == sorted({code for target in TARGETS.values() for code in target.languages})
    assert len(languages) == 40
    rest = {key: value for key, value in fetched.config.items() if key != "languages"}
    assert rest == {
        "kind": "data",
        "suite": "xtreme",
        "task": "mlm",
        "part": "train",
        "sentences": 2_000_000,
        "exponent": 0.3,
        "seed": 0,
    }
    assert fetched.infra["data_root"] == "/nowhere"


@pytest.mark.parametrize(
    ("tasks", "epochs"), [(["mnli"], 2), (["ccg"], 15), ([["ccg", "mnli"]], 3), (["none"], 1)], ids=str
)
def test_text_is_read_as_long_as_the_tasks_beside_it(tasks: Any, epochs: int) -> None:
    plan = plan_of(study(tasks, axes={"mlm": [True]}))
    assert one(plan, "intermediate-").config["tasks"]["mlm"]["epochs"] == epochs
    assert (
        one(plan_of(study(tasks, axes={"mlm": [True]}, mlm={"epochs": 4})), "intermediate-").config["tasks"]["mlm"][
            "epochs"
        ]
        == 4
    )


def test_text_alone_is_a_row_without_tasks_whose_retrieval_has_a_seed() -> None:
    plan = plan_of(study(["none"], axes={"mlm": [False, True], "seed": [1, 2]}))
    found = [run for run in plan.runs.values() if run.stage == "intermediate"]
    assert {run.slug for run in found} == {"mlm-s1", "mlm-s2"}
    assert all(list(run.config["tasks"]) == ["mlm"] and run.config["learning_rate"] == 5e-6 for run in found)
    assert all("sampling" not in run.config for run in found)
    assert found[0].infra["label"]["intermediate"] == {"mode": "none", "tasks": [], "mlm": True, "translated": False}
    retrieval = {run.slug: run.config.get("seed") for run in plan.runs.values() if run.stage == "retrieval"}
    assert retrieval == {"tatoeba-none": None, "tatoeba-mlm-s1": 1, "tatoeba-mlm-s2": 2}
    assert {run.slug for run in plan.runs.values() if run.stage == "target"} == {
        "xnli-none-s1",
        "xnli-none-s2",
        "xnli-mlm-s1",
        "xnli-mlm-s2",
    }


def test_rows_without_text_do_not_know_of_it() -> None:
    plain = plan_of(study(["mnli"]))
    both = plan_of(study(["mnli"], axes={"mlm": [False, True]}, mlm={"exponent": 0.7, "sentences": 1000}))
    assert set(plain.runs) < set(both.runs)
    assert variants(both) == {
        ("single", False, False): "",
        ("single", True, False): "mlm.exponent=0.7; mlm.sentences=1000",
    }


def test_every_phase_of_a_sequence_has_the_text_beside_it() -> None:
    plan = plan_of(study([MIXTURE], axes={"mlm": [True], "regime": "sequential"}))
    last = one(plan, "intermediate-mnli-then-squad1+mlm")
    first = plan.runs[last.parents[0]]
    assert (list(first.config["tasks"]), list(last.config["tasks"])) == (["mnli", "mlm"], ["squad1", "mlm"])
    alone = plan_of(study(["mnli"], axes={"mlm": [True]}))
    assert first.id in alone.runs
    assert first.infra["label"]["intermediate"]["mode"] == "single"


def test_settings_of_the_text_reach_the_run() -> None:
    given = {"languages": ["sw", "de"], "seed": 3, "max_length": 64, "mask_probability": 0.3, "rate_factor": 1.0}
    plan = plan_of(study(["mnli"], axes={"mlm": [True]}, mlm={**given, "batch_size": 4}))
    run = one(plan, "intermediate-")
    assert run.config["tasks"]["mlm"] == {"batch_size": 4, "epochs": 2, "max_length": 64}
    assert (run.config["mask_probability"], run.config["learning_rate"]) == (0.3, 1e-5)
    fetched = one(plan, "fetch-mlm-train")
    assert (fetched.config["languages"], fetched.config["seed"]) == (["de", "sw"], 3)
    default = one(plan_of(study(["mnli"], axes={"mlm": [True]})), "intermediate-")
    assert "mask_probability" not in default.config


def test_a_setting_of_the_text_may_be_an_axis() -> None:
    plan = plan_of(study(["mnli"], axes={"mlm": [False, True], "mlm.exponent": [0.3, 0.7]}))
    rows = {(row.mlm, row.variant) for row, _ in plan.cells}
    assert rows == {(False, ""), (True, ""), (True, "mlm.exponent=0.7")}


def test_text_comes_from_the_hub_where_the_grid_says_so() -> None:
    grid = study(["none"], axes={"mlm": [True]}, hub=["mlm"], mlm={"languages": ["de"]})
    fetched = one(plan_of({**grid, "revisions": {"wikimedia/wikipedia": "abc"}}), "fetch-mlm-train")
    assert (fetched.config["source"], fetched.config["revisions"]) == ("hub", {"wikimedia/wikipedia": "abc"})
    assert "data_root" not in fetched.infra


def test_text_of_the_toy_suite_is_its_own() -> None:
    plan = plan_of({**study(["none"], axes={"mlm": [True]}), "suite": "toy", "data_root": None, "toy": {"seed": 4}})
    fetched = one(plan, "fetch-mlm-train")
    assert (fetched.config["languages"], fetched.config["toy"]) == (["en", "qaa", "qab", "qac"], {"seed": 4})
    assert "source" not in fetched.config


def test_a_model_that_has_learnt_no_words_has_no_head_to_go_on_with() -> None:
    grid = {**study(["mnli"], axes={"mlm": [True], "model": "scratch"}), "suite": "toy"}
    with pytest.raises(UserError, match=r"set pretrain\.steps"):
        plan_of(grid)
    assert one(plan_of({**grid, "pretrain": {"steps": 5}}), "intermediate-mnli+mlm")


def test_weights_of_a_mixture_are_asked_for_the_text_too() -> None:
    sampling: dict[str, Any] = {"rule": "weights", "weights": {"mnli": 1.0, "mlm": 3.0, "qqp": 1.0}}
    plan = plan_of(study(["mnli"], axes={"mlm": [True]}, intermediate={"sampling": sampling}))
    assert one(plan, "intermediate-").config["sampling"]["weights"] == {"mlm": 3.0, "mnli": 1.0}
    del sampling["weights"]["mlm"]
    with pytest.raises(UserError, match=r"no weight for mlm, which the mixture mnli\+mlm draws"):
        plan_of(study(["mnli"], axes={"mlm": [True]}, intermediate={"sampling": sampling}))


def test_the_published_values_are_the_defaults() -> None:
    """Phang et al. 2020 v1, section 2 and appendix A."""
    settings = MlmSettings()
    assert (settings.sentences, settings.exponent, settings.batch_size, settings.rate_factor) == (
        2_000_000,
        0.3,
        8,
        0.5,
    )


# ---- translated training sets


def test_a_translated_set_is_prepared_of_english_and_all_shards() -> None:
    plan = plan_of(study(["mnli"], axes={"translated": [False, True]}, translation=TRANSLATION))
    run, plain = one(plan, "intermediate-mnli-translated-s1"), one(plan, "intermediate-mnli-s1")
    assert run.config == plain.config
    prepared = plan.runs[run.parents[1]]
    assert prepared.id.startswith("prepare-mnli-train-translated-")
    assert prepared.config == {**plan.runs[plain.parents[1]].config, "translated": ["de", "ru"]}
    names = [parent.rsplit("-", 1)[0] for parent in prepared.parents]
    shards = [f"translate-mnli-{language}-{shard}of2" for language in ("de", "ru") for shard in (1, 2)]
    assert names == ["fetch-model-xlm-roberta-base", "fetch-mnli-train", *shards]
    shard = plan.runs[prepared.parents[2]]
    assert shard.config == {
        "kind": "translate",
        "suite": "xtreme",
        "task": "mnli",
        "language": "de",
        "shard": 1,
        "shards": 2,
        "beams": 1,
        "max_length": 256,
    }
    model, english = (plan.runs[parent] for parent in shard.parents)
    assert model.config == {"kind": "model", "model": TRANSLATION["model"], "revision": "main", "role": "translator"}
    assert english.id == prepared.parents[1]
    assert run.infra["label"]["intermediate"]["translated"] is True
    assert run.infra["gpu_hours"] > plain.infra["gpu_hours"] * 2


def test_translations_that_are_there_are_fetched() -> None:
    translation = {"languages": ["ru", "de"]}
    plan = plan_of(study(["squad1"], axes={"translated": [True]}, translation=translation))
    fetched = one(plan, "fetch-squad1-translated")
    assert fetched.config == {
        "kind": "data",
        "suite": "xtreme",
        "task": "squad1",
        "part": "translated",
        "languages": ["de", "ru"],
    }
    assert fetched.infra["data_root"] == "/nowhere"
    prepared = one(plan, "prepare-squad1-train-translated")
    assert prepared.config["stride"] == 128
    assert prepared.parents[2] == fetched.id
    assert not [run for run in plan.runs.values() if run.stage == "translate"]
    with pytest.raises(UserError, match=r"squad1: name a `translation: \{model: \.\.\.\}` that translates it"):
        plan_of(study(["squad1"], axes={"translated": [True]}, translation=translation, data_root=None))


def test_a_translated_row_without_tasks_is_the_row_without() -> None:
    grid = study(["none"], axes={"mlm": [False, True]})
    both = {**grid, "axes": {**grid["axes"], "translated": [False, True]}, "translation": TRANSLATION}
    assert list(plan_of(both).runs) == list(plan_of(grid).runs)
    assert plan_of(both).cells == plan_of(grid).cells


def test_how_many_shards_share_the_work_is_no_part_of_a_row() -> None:
    plan = plan_of(study(["mnli"], axes={"translated": [True]}, translation={**TRANSLATION, "beams": 4}))
    assert variants(plan)["single", False, True] == (
        "translation.beams=4; translation.languages=ru+de; translation.model=facebook/nllb-200-distilled-600M"
    )


def test_labels_of_words_are_not_translated() -> None:
    with pytest.raises(UserError, match=r"ccg cannot be translated.*exclude: \[\{translated: true, intermediate: ccg"):
        plan_of(study(["ccg", "mnli"], axes={"translated": [False, True]}, translation=TRANSLATION))
    exclude = [{"translated": True, "intermediate": "ccg"}]
    grid = study(["ccg", "mnli"], axes={"translated": [False, True]}, translation=TRANSLATION, exclude=exclude)
    found = {(row.tasks, row.translated) for row, _ in plan_of(grid).cells}
    assert found == {(("ccg",), False), (("mnli",), False), (("mnli",), True)}


def test_a_sequence_may_be_translated_with_text_beside_it() -> None:
    axes = {"translated": [True], "mlm": [True], "regime": "sequential"}
    plan = plan_of(study([MIXTURE], axes=axes, translation=TRANSLATION))
    slugs = [run.slug for run in plan.runs.values() if run.stage == "intermediate"]
    assert slugs == ["mnli-translated+mlm-s1", "mnli-then-squad1-translated+mlm-s1"]


def test_targets_are_neither_mixed_nor_translated() -> None:
    axes = {"translated": [True], "mlm": [True]}
    plan = plan_of(study(["mnli"], axes=axes, translation=TRANSLATION))
    target = one(plan, "target-xnli")
    assert list(target.config["tasks"]) == ["xnli"]
    assert plan.runs[target.parents[1]].config == {
        "suite": "xtreme",
        "task": "xnli",
        "part": "train",
        "max_length": 256,
    }


def test_translating_is_a_job_s_work_on_one_rank() -> None:
    plan = plan_of(study(["mnli"], axes={"translated": [True]}, translation=TRANSLATION, resources=[{"gpus": 4}]))
    shards = [run.id for run in plan.runs.values() if run.stage == "translate"]
    assert {(plan.resources(run_id).ranks_per_node, plan.resources(run_id).gpus) for run_id in shards} == {(1, 1)}
    assert "translate" in ONE_RANK_STAGES
    ahead = preparations(plan)
    assert one(plan, "fetch-model-nllb").id in ahead
    assert not {*shards, one(plan, "prepare-mnli-train-translated").id} & set(ahead)


def test_a_translation_model_by_path_is_found_from_everywhere() -> None:
    grid = study(["mnli"], axes={"translated": [True]}, translation={**TRANSLATION, "model": "./nllb"})
    model = one(plan_of(grid), "fetch-model-nllb").config["model"]
    assert model.startswith("/")
    assert model.endswith("/nllb")


def test_tables_know_what_rows_are_expected() -> None:
    axes = {"translated": [False, True], "mlm": [False, True]}
    expected = expected_cells(plan_of(study(["none", "mnli"], axes=axes, translation=TRANSLATION)))["rows"]
    found = {(row["mode"], row["mlm"], row["translated"]) for row in expected}
    assert found == {("none", False, False), ("none", True, False)} | {
        ("single", mlm, translated) for mlm in (False, True) for translated in (False, True)
    }


# ---- updates, replay, selection, collapse


def test_a_number_of_updates_is_a_setting_of_the_run() -> None:
    plan = plan_of(study([MIXTURE, "none"], intermediate={"updates": 90}, target={"updates": 5}))
    assert one(plan, "intermediate-").config["updates"] == 90
    assert {run.config["updates"] for run in plan.runs.values() if run.stage == "target"} == {5}
    assert variants(plan) == {
        ("multitask", False, False): "intermediate.updates=90; target.updates=5",
        ("none", False, False): "target.updates=5",
    }


def test_replay_gives_a_later_phase_the_tasks_before_it() -> None:
    chain = ["ccg", "mnli", "squad1"]
    grid = study([chain], axes={"regime": "sequential"}, intermediate={"replay": 0.2})
    plan = plan_of(grid)
    last = one(plan, "intermediate-ccg-then-mnli-then-squad1")
    assert (last.config["replay"], last.config["phase"]) == (0.2, "squad1")
    assert list(last.config["tasks"]) == chain
    assert last.config["tasks"]["ccg"] == {"batch_size": 24, "epochs": 15, "max_length": 256}
    assert [plan.runs[parent].config["task"] for parent in last.parents[1:]] == chain
    first = plan.runs[plan.runs[last.parents[0]].parents[0]]
    assert not {"replay", "phase"} & set(first.config)
    assert first.id in plan_of(study(["ccg"])).runs
    assert first.infra["label"]["variant"] == ""
    assert variants(plan) == {("sequential", False, False): "intermediate.replay=0.2"}


def test_replay_is_nothing_to_other_regimes_and_a_replayed_task_keeps_its_own_rate_to_itself() -> None:
    with_replay = study([MIXTURE, "none", "qqp"], axes={"intermediate.replay": [0.0, 0.5]})
    assert set(plan_of(with_replay).runs) == set(plan_of(study([MIXTURE, "none", "qqp"])).runs)
    rates = {"mnli": {"learning_rate": 1e-5}, "squad1": {"learning_rate": 2e-5}}
    grid = study([MIXTURE], axes={"regime": "sequential"}, intermediate={"replay": 0.5, "tasks": rates})
    assert one(plan_of(grid), "intermediate-mnli-then-squad1").config["learning_rate"] == 2e-5


def test_how_a_training_is_judged_is_part_of_it() -> None:
    given = {"selection": {"points": 4, "examples": 100}, "collapse": "warn"}
    plan = plan_of(study(["mnli"], intermediate=given))
    config = one(plan, "intermediate-").config
    assert {key: config[key] for key in given} == given
    assert variants(plan)["single", False, False] == (
        "intermediate.collapse=warn; intermediate.selection.examples=100; intermediate.selection.points=4"
    )
    axes = {"intermediate.selection.points": [10, 0], "target.collapse": ["stop", "off"]}
    assert len({row for row, _ in plan_of(study(["mnli"], axes=axes)).cells}) == 4


def test_further_tries_change_no_run_that_has_a_result() -> None:
    plain, retried = plan_of(study(["mnli"])), plan_of(study(["mnli"], target={"restarts": 2}))
    assert set(plain.runs) == set(retried.runs)
    assert {run.infra.get("restarts") for run in retried.runs.values() if run.stage == "target"} == {2}
    assert {run.infra.get("restarts") for run in retried.runs.values() if run.stage != "target"} == {None}


def test_models_are_kept_where_the_grid_says_so() -> None:
    plan = plan_of(study(["mnli"], keep=True))
    assert {run.stage for run in plan.runs.values() if run.infra.get("keep")} == {"intermediate", "target", "retrieval"}
    assert set(plan.runs) == set(plan_of(study(["mnli"])).runs)


def test_event_files_are_asked_of_every_training_and_change_no_name() -> None:
    plan = plan_of(study(["mnli"], report_to="tensorboard"))
    asked = {run.stage for run in plan.runs.values() if run.infra.get("report_to") == ["tensorboard"]}
    assert asked == {"intermediate", "target"}
    assert set(plan.runs) == set(plan_of(study(["mnli"])).runs)


# ---- raw DeepSpeed keys

INFRASTRUCTURE: dict[str, Any] = {
    "wall_clock_breakdown": True,
    "comms_logger": {"enabled": True},
    "zero_optimization": {"overlap_comm": False, "reduce_bucket_size": 1000, "stage3_max_live_parameters": 5},
}


def test_infrastructure_keys_change_no_name() -> None:
    plain, raw = plan_of(study(["mnli"])), plan_of(study(["mnli"], intermediate={"deepspeed": INFRASTRUCTURE}))
    assert set(plain.runs) == set(raw.runs)
    assert plain.cells == raw.cells
    run = one(raw, "intermediate-")
    assert run.infra["deepspeed"] == INFRASTRUCTURE
    assert "deepspeed" not in run.config
    assert "deepspeed" not in one(raw, "target-").infra


def test_other_keys_are_part_of_the_run() -> None:
    science: dict[str, Any] = {"prescale_gradients": True, "zero_optimization": {"zero_hpz_partition_size": 2}}
    zero = {**INFRASTRUCTURE["zero_optimization"], **science["zero_optimization"]}
    block = {**INFRASTRUCTURE, **science, "zero_optimization": zero}
    plan = plan_of(study(["mnli"], target={"deepspeed": block}))
    run = one(plan, "target-")
    assert run.config["deepspeed"] == science
    assert run.infra["deepspeed"] == INFRASTRUCTURE
    assert variants(plan)["single", False, False] == (
        "target.deepspeed.prescale_gradients=true; target.deepspeed.zero_optimization.zero_hpz_partition_size=2"
    )
    assert "deepspeed" not in one(plan, "intermediate-").config


GRID = """\
name: g
axes: {model: m, intermediate: mnli, target: xnli, seed: 1}
"""


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("intermediate: {deepspeed: {train_batch_size: 8}}", "3: deepspeed key 'train_batch_size' is set by this"),
        ("target: {deepspeed: {bf16: {enabled: true}}}", "3: deepspeed key 'bf16' is set by this project; use precis"),
        ("target: {deepspeed: {optimizer: {}}}", "3: deepspeed key 'optimizer' is set by this project; use learning"),
        (
            "intermediate: {deepspeed: {zero_optimization: {stage: 2}}}",
            "3: deepspeed key 'zero_optimization.stage' is set by this project; use zero_stage of the resource class",
        ),
        (
            "target: {deepspeed: {zero_optimization: 2}}",
            "3: deepspeed key 'zero_optimization' is 2; it holds a mapping",
        ),
        ("target: {deepspeed: 1}", "3: 'target.deepspeed' is 1: input should be a valid dictionary"),
        ("target: {replay: 0.1}", "3: 'target.replay': a target is one training; `replay` is for sequences"),
        ("intermediate: {replay: 1.0}", "3: 'intermediate.replay' is 1.0: input should be less than 1"),
        ("intermediate: {updates: 0}", "3: 'intermediate.updates' is 0: input should be greater than or equal to 1"),
        ("intermediate: {selection: {points: -1}}", "3: 'intermediate.selection.points' is -1: input should be great"),
        ("intermediate: {collapse: maybe}", "3: unknown 'maybe' for 'collapse'; legal: off, stop, warn"),
        (
            "intermediate: {tasks: {mlm: {epochs: 2}}}",
            "3: 'mlm' has a block of its own: give its settings under `mlm:`",
        ),
        ("intermediate: {sampling: {rule: weights, weights: {mml: 1}}}", "3: unknown intermediate task 'mml'; legal: "),
        ("mlm: {languages: [de, ge]}", "3: unknown language 'ge'; legal: af, ar, "),
        ("mlm: {languages: [de, de]}", "3: mlm.languages names 'de' twice; name it once"),
        ("mlm: {exponents: 1}", "3: unknown key 'exponents'; legal: batch_size, epochs, exponent, "),
        ("translation: {languages: [en]}", "3: language 'en' is what the training sets are in already"),
        ("translation: {languages: [qaa]}", "3: unknown language 'qaa'; legal: af, ar, "),
        ("translation: {model: ''}", "3: translation.model '' is not a name or a path"),
        ("include: [{translated: true}]", "3: 'translated: true' needs languages; name them, for example `translation"),
        ("include: [{mlm: 1}]", "3: mlm 1 is neither true nor false"),
        ("include: [{translation.languages: [[xx]], translated: true}]", "3: unknown language 'xx'; legal: af, ar, "),
        ("include: [{translation.model: ['']}]", "3: translation.model '' is not a name or a path"),
        ("include: [{translation.shards: 3}]", "3: unknown axis 'translation.shards'; legal: "),
        ("include: [{target.replay: 0.1}]", "3: unknown axis 'target.replay'; legal: "),
        ("hub: [mml]", "3: unknown task 'mml'; legal: all, anli, "),
        ("keep: 1", "3: 'keep' is 1: input should be a valid boolean"),
        ("resources: [{match: {task: mlm}, micro_tokens: 0}]", "3: 'resources.0.micro_tokens' is 0: input should be "),
        ("resources: [{match: {stage: translate}, activation_checkpointing: 1}]", "3: 'resources.0.activation_checkpo"),
        ("resources: [{micro_batch: 8}]", "3: unknown key 'micro_batch'; legal: activation_checkpointing, "),
    ],
)
def test_one_mistake_gives_its_own_message(wrong: str, problem: str) -> None:
    found = problems_of(GRID + wrong + "\n")
    assert len(found) == 1, found
    assert found[0].startswith(problem)


def test_a_whole_grid_of_all_this_is_good() -> None:
    good = """
hub: [mlm]
intermediate: {replay: 0.1, selection: {points: 5}, deepspeed: {zero_optimization: {overlap_comm: true}}}
mlm: {languages: [de], exponent: 1.0}
translation: {languages: [de, sw]}
include: [{mlm: true, translated: [true, false], translation.model: [null, m]}]
resources: [{match: {task: mlm, stage: translate}, micro_tokens: 100, checkpoint_min: 0.5}]
"""
    assert problems_of(GRID + good) == []
