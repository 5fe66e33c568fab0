"""Token counts, multiplied out by hand from the catalogue's sizes."""

from __future__ import annotations

import pytest

from launch.cluster import Cluster
from launch.cost import estimate_hours, scoring_tokens, training_tokens
from launch.resources import Match, ResourceRule
from stilts.runs import Run
from tests.launch.small import plan_of, small


def recipe(batch_size: int, epochs: int) -> dict[str, float]:
    return {"batch_size": batch_size, "epochs": epochs, "max_length": 256}


def test_a_single_task_reads_its_examples_in_whole_batches() -> None:
    """39,905 HellaSwag examples in batches of 24 are 1,663 updates, 39,912 examples; seven epochs of 360 sub-words."""
    assert training_tokens({"tasks": {"hellaswag": recipe(24, 7)}}) == 7 * 1663 * 24 * 360


def test_fewer_examples_are_fewer_tokens() -> None:
    assert training_tokens({"tasks": {"mnli": recipe(24, 2)}, "max_examples": 100}) == 2 * 5 * 24 * 42
    assert training_tokens({"tasks": {"csqa": recipe(4, 1)}, "max_examples": 10**9}) == 1 * 2436 * 4 * 360


def test_a_mixture_reads_each_task_up_to_the_cap() -> None:
    mixture = {"mnli": recipe(24, 3), "squad1": recipe(8, 3)}
    squad = 3 * 10950 * 8 * 200  # 87,599 questions: 10,950 batches of 8, below the cap
    assert training_tokens({"tasks": mixture}) == 3 * 5462 * 24 * 42 + squad  # 131,072 of MNLI's 392,702 pairs
    assert training_tokens({"tasks": mixture, "sampling": {"cap": 48}}) == 3 * 2 * 24 * 42 + 3 * 6 * 8 * 200


def test_scoring_reads_every_language_and_split() -> None:
    """XNLI: 15 languages, dev and test. UD POS: 29 languages with a dev set, 33 with a test set."""
    assert scoring_tokens(Run("target", "x", {"tasks": {"xnli": recipe(4, 2)}})) == 15 * 2 * 2000 * 42
    assert scoring_tokens(Run("target", "x", {"tasks": {"udpos": recipe(4, 2)}})) == (29 + 33) * 2000 * 28
    assert scoring_tokens(Run("retrieval", "x", {"target": "tatoeba"})) == 36 * 2000 * 20
    assert scoring_tokens(Run("intermediate", "x", {"tasks": {"mnli": recipe(4, 2)}})) == 0


def test_hours_are_tokens_over_the_rate_with_scoring_at_a_third() -> None:
    run = Run("target", "x", {"tasks": {"xnli": recipe(4, 2)}})
    tokens = 2 * 98176 * 4 * 42 + 15 * 2 * 2000 * 42 / 3
    assert estimate_hours(run, 1000.0) == pytest.approx(0.05 + tokens / 1000 / 3600)


def test_stages_without_a_gpu_cost_none() -> None:
    for stage in ("fetch", "prepare", "pretrain"):
        assert estimate_hours(Run(stage, "x", {"task": "mnli"}), 1.0) == 0


def test_gpu_hours_do_not_depend_on_how_many_gpus_share_them() -> None:
    """Two GPUs take half of the time; without a GPU there are no GPU-hours."""
    hours = []
    for gpus in (0, 1, 4):
        rule = ResourceRule(match=Match(stage=["target"]), gpus=gpus)
        plan = plan_of(small(), Cluster(name="c", resources=[rule]))
        hours.append(sum(plan.gpu_hours(run_id) for run_id in plan.runs))
    assert hours[0] == 0
    assert hours[1] == hours[2] > 0
