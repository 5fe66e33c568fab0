"""Token counts, multiplied out by hand from the catalogue's sizes."""

from __future__ import annotations

from typing import Any

import pytest

from launch.cluster import Cluster
from launch.cost import estimate_hours, scoring_tokens, selection_tokens, training_tokens
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


def test_a_mixture_reads_what_its_updates_draw_on_average() -> None:
    """Both epochs' updates: 5,462 of MNLI (131,072 of its 392,702 pairs), 10,950 of SQuAD (87,599, below the cap)."""
    mixture = {"mnli": recipe(24, 3), "squad1": recipe(8, 3)}
    updates, chance = 3 * (5462 + 10950), 131072 / (131072 + 87599)
    expected = updates * (chance * 24 * 42 + (1 - chance) * 8 * 200)
    assert training_tokens({"tasks": mixture}) == pytest.approx(expected)
    small_cap = {"tasks": mixture, "sampling": {"cap": 48}}
    assert training_tokens(small_cap) == pytest.approx(3 * (2 + 6) * (24 * 42 + 8 * 200) / 2)


@pytest.mark.parametrize(
    ("sampling", "chance"),
    [
        ({"rule": "uniform"}, 1 / 2),
        ({"rule": "temperature", "temperature": 2.0}, 362.0386719675 / (362.0386719675 + 87599**0.5)),
        ({"rule": "weights", "weights": {"mnli": 3.0, "squad1": 1.0}}, 3 / 4),
    ],
)
def test_other_rules_draw_other_shares(sampling: dict[str, Any], chance: float) -> None:
    config = {"tasks": {"mnli": recipe(24, 3), "squad1": recipe(8, 3)}, "sampling": sampling, "updates": 1000}
    assert training_tokens(config) == pytest.approx(1000 * (chance * 24 * 42 + (1 - chance) * 8 * 200))


def test_a_number_of_updates_takes_the_place_of_epochs() -> None:
    assert training_tokens({"tasks": {"mnli": recipe(24, 2)}, "updates": 500}) == 500 * 24 * 42


def test_text_and_translations_have_the_sizes_that_are_told() -> None:
    assert training_tokens({"tasks": {"mlm": recipe(8, 1)}}, {"mlm": 2_000_000}) == 250_000 * 8 * 32
    assert training_tokens({"tasks": {"csqa": recipe(1, 1)}}, {"csqa": 4 * 9741}) == 4 * 9741 * 360
    mixed = {"tasks": {"csqa": recipe(4, 10), "mlm": recipe(8, 10)}}
    updates, chance = 10 * (2436 + 2500), 9741 / (9741 + 20_000)
    expected = updates * (chance * 4 * 360 + (1 - chance) * 8 * 32)
    assert training_tokens(mixed, {"mlm": 20_000}) == pytest.approx(expected)


def test_replay_comes_on_top_of_a_phase_s_own_updates() -> None:
    """A fifth of all updates for two earlier tasks: the 4 fifths are the phase's own, whatever the cap."""
    tasks = {"mnli": recipe(24, 2), "squad1": recipe(8, 3), "csqa": recipe(4, 10)}
    config = {"tasks": tasks, "replay": 0.2, "phase": "csqa", "sampling": {"cap": 5}}
    own = 10 * 2436
    replayed = own / 0.8 * 0.1
    assert training_tokens(config) == pytest.approx(own * 4 * 360 + replayed * 24 * 42 + replayed * 8 * 200)


def test_a_translation_reads_once_and_writes_in_every_beam() -> None:
    shard = {"task": "mnli", "language": "de", "shard": 1, "shards": 8}
    one = estimate_hours(Run("translate", "x", {**shard, "beams": 1}), 1000.0)
    four = estimate_hours(Run("translate", "x", {**shard, "beams": 4}), 1000.0)
    tokens = 392_702 * 42 / 8
    assert one == pytest.approx(0.05 + tokens * (1 / 3 + 1) / 1000 / 3600)
    assert four == pytest.approx(0.05 + tokens * (1 / 3 + 4) / 1000 / 3600)


def test_scoring_reads_every_language_and_split() -> None:
    """XNLI: 15 languages, dev and test. UD POS: 29 languages with a dev set, 33 with a test set."""
    assert scoring_tokens(Run("target", "x", {"tasks": {"xnli": recipe(4, 2)}})) == 15 * 2 * 2000 * 42
    assert scoring_tokens(Run("target", "x", {"tasks": {"udpos": recipe(4, 2)}})) == (29 + 33) * 2000 * 28
    assert scoring_tokens(Run("retrieval", "x", {"target": "tatoeba"})) == 36 * 2000 * 20
    assert scoring_tokens(Run("intermediate", "x", {"tasks": {"mnli": recipe(4, 2)}})) == 0


def test_hours_are_tokens_over_the_rate_with_scoring_at_a_third() -> None:
    run = Run("target", "x", {"tasks": {"xnli": recipe(4, 2)}})
    tokens = 2 * 98176 * 4 * 42 + (15 * 2 * 2000 + 10 * 500) * 42 / 3  # ten points on the first 500 of dev
    assert estimate_hours(run, 1000.0) == pytest.approx(0.05 + tokens / 1000 / 3600)


def test_choosing_the_best_point_costs_forward_passes() -> None:
    two = {"mnli": recipe(24, 2), "mlm": recipe(8, 2)}  # the text has no dev set
    assert selection_tokens({"tasks": two}) == 10 * 500 * 42
    assert selection_tokens({"tasks": two, "selection": {"points": 4, "examples": 100}}) == 4 * 100 * 42
    assert selection_tokens({"tasks": two, "selection": {"points": 0}}) == 0


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
