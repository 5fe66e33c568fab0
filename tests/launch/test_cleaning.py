"""Weights that another grid of the same campaign folder plans to use are not removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launch.campaign import Campaign
from launch.cleaning import find_removable
from launch.ledger import Ledger
from launch.observation.observe import observe
from launch.plan import Plan
from stilts.runs import remove_folder
from tests.launch.small import finish, plan_of, small

CHAIN = ["mnli", "squad1"]
OWN = plan_of(small(axes={"intermediate": ["none", "mnli"]}))


def other(**axes: Any) -> Plan:
    return plan_of(small(name="other", axes=axes))


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    """The own grid is finished."""
    campaign = Campaign(tmp_path / "runs")
    campaign.write_grid(OWN)
    finish(campaign, OWN, OWN.runs)
    return campaign


def removable(campaign: Campaign, plan: Plan = OWN) -> set[str]:
    observations, _ = observe(plan, campaign, Ledger(campaign.submissions))
    return {found.run_id for found in find_removable(plan, campaign, observations)}


def encoders(plan: Plan) -> set[str]:
    return {run_id for run_id in plan.runs if run_id.startswith("intermediate-")}


def plan_other(campaign: Campaign, **axes: Any) -> Plan:
    """Another grid whose data is prepared and of which nothing is submitted yet."""
    plan = other(**axes)
    campaign.write_grid(plan)
    assert not any(campaign.run(run_id).spec.exists() for run_id in set(plan.runs) - set(OWN.runs))
    return plan


def test_without_another_grid_the_encoder_goes(campaign: Campaign) -> None:
    assert removable(campaign) == encoders(OWN) and len(encoders(OWN)) == 1


@pytest.mark.parametrize(
    "axes",
    [
        {"intermediate": ["mnli"], "target": ["pawsx"]},
        {"intermediate": ["mnli"], "target": ["tatoeba"]},
        {"intermediate": [CHAIN], "regime": ["sequential"]},
        {"intermediate": ["mnli"], "target.learning_rate": [1e-4]},
    ],
)
def test_what_another_grid_plans_to_start_from_stays_until_that_is_done(campaign: Campaign, axes: Any) -> None:
    plan = plan_other(campaign, **axes)
    assert removable(campaign) == set()
    rest = [run_id for run_id in plan.runs if run_id not in OWN.runs]
    finish(campaign, plan, rest)
    assert removable(campaign) == encoders(OWN)
    assert removable(campaign, plan) == encoders(plan)


@pytest.mark.parametrize(
    "axes",
    [
        {"intermediate": ["qqp"]},  # another encoder
        {"intermediate": ["mnli"]},  # the very runs that are done
        {"intermediate": [CHAIN]},  # a mixture starts from the pretrained one
        {"intermediate": ["mnli"], "seed": [2]},
    ],
)
def test_another_grid_that_does_not_need_it_lets_it_go(campaign: Campaign, axes: Any) -> None:
    plan_other(campaign, **axes)
    assert removable(campaign) == encoders(OWN)


def test_a_later_phase_whose_weights_have_gone_needs_the_earlier_one_again(campaign: Campaign) -> None:
    chain = {"intermediate": [CHAIN], "regime": ["sequential"]}
    done = plan_other(campaign, **chain)
    finish(campaign, done, [run_id for run_id in done.runs if run_id not in OWN.runs])
    last = next(run_id for run_id in done.runs if run_id.startswith("intermediate-mnli-then-squad1"))
    campaign.write_grid(other(**chain, target=["xnli", "pawsx"]))  # pawsx waits
    assert removable(campaign) == encoders(OWN), "the second phase has its weights"
    remove_folder(campaign.run(last).model)
    assert removable(campaign) == set()


def test_a_grid_that_names_the_run_no_more_lets_it_go(campaign: Campaign) -> None:
    plan_other(campaign, intermediate=["mnli"], target=["pawsx"])
    assert removable(campaign) == set()
    plan_other(campaign, intermediate=["none"], target=["pawsx"])
    assert removable(campaign) == encoders(OWN)
