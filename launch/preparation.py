"""The part of a plan that makes data: what a login node may do ahead, and what is read again to score anew."""

from __future__ import annotations

import os
from collections.abc import Mapping

from launch.campaign import Campaign
from launch.observation.states import LIVE, Observation
from launch.plan import Plan
from stilts.errors import UserError

LIGHT_STAGES = ("fetch", "prepare")


def preparations(plan: Plan) -> list[str]:
    """Runs that fetch or tokenise and need nothing but others of them, parents first.

    The tokenizer of `model: scratch` is made by a training, so what it tokenises is left to the jobs; and so is what
    a model has to translate first.
    """
    chosen: set[str] = set()
    for run in plan.runs.values():
        if run.stage in LIGHT_STAGES and all(need in chosen for need in run.needs):
            chosen.add(run.id)
    return [run_id for run_id in plan.runs if run_id in chosen]


def reopen_scored(plan: Plan, campaign: Campaign, observations: Mapping[str, Observation]) -> list[str]:
    """Let the scored sets be read again: their fetch runs lose DONE (renamed, not deleted), their cone is stale.

    A run whose prepared data comes out as before finds that at its start and keeps its scores; one with another
    digest is scored again from its weights. Returns the fetch runs. Raises UserError while one of them is live.
    """
    scored = [run.id for run in plan.runs.values() if run.stage == "fetch" and run.config.get("part") == "scored"]
    if live := [run_id for run_id in scored if observations[run_id].state in LIVE]:
        raise UserError(f"--rescore: {live[0]} is {observations[live[0]].state}; wait for it or cancel it first")
    for run_id in scored:
        done = campaign.run(run_id).done
        if done.exists():
            os.replace(done, done.with_name("DONE.before"))
    return scored
