"""The pilot of a plan: each stage, task and resource class once, in small, in a root of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from launch.campaign import Campaign
from launch.cost import SCORED_EXAMPLES, Tokens, count_tokens, stated_hours
from launch.history import tasks_of
from launch.plan import Plan, training_sizes
from stilts.runs import ENCODER_STAGES, PILOT_MARKER, Run, canonical_json, write_text
from stilts.tasks.catalogue import MLM

UPDATES, EXAMPLES = 20, 50
# A short job starts earlier, and 20 updates that take longer than this are a finding.
TIMEOUT_MIN = 60
PILOTED_STAGES = ("translate", "pretrain", "intermediate", "target", "retrieval")

MARKER_TEXT = """\
A pilot: trainings of 20 updates that are scored on 50 examples of each set, to see what fails, how fast it is and how
much memory it takes. The tables read nothing below a folder with this file.
"""

Key = tuple[Any, ...]


def make_pilot(plan: Plan) -> Plan:
    """The plan of a pilot.

    Each (stage, model, task, resource class) has one run; mixtures and translated sets count apart, and a mixture
    stands for all of its tasks. All of them start from the pretrained encoder, so that one failure hides no other.
    Trainings take 20 updates of the whole training set, so that lengths and memory are the real ones.
    """
    pilot = Plan(plan.grid, plan.cluster.model_copy(update={"continue_by": None}))
    small = _Shrinker(plan, pilot)
    for run_id in choose(plan):
        small.shrink(run_id)
    return pilot


def choose(plan: Plan) -> list[str]:
    """The fewest runs, about, that have every key; of equals the first in the plan."""
    candidates: dict[frozenset[Key], str] = {}
    for run in plan.runs.values():
        if run.stage in PILOTED_STAGES:
            candidates.setdefault(_keys(run), run.id)
    left = set[Key]().union(*candidates)
    chosen: list[str] = []
    while left:
        keys = max(candidates, key=lambda keys: len(keys & left))
        chosen.append(candidates[keys])
        left -= keys
    return chosen


def _keys(run: Run) -> frozenset[Key]:
    label = run.infra.get("label", {})
    translated = run.stage == "intermediate" and label["intermediate"]["translated"]
    tasks = tasks_of(run.config) or ("",)
    rest = (translated, len(tasks) > 1, canonical_json(run.infra["resources"]))
    return frozenset((run.stage, label.get("model", ""), task, *rest) for task in tasks)


class _Shrinker:
    """Puts the small twins of runs, and of all that they need, into a pilot's plan."""

    def __init__(self, plan: Plan, pilot: Plan) -> None:
        self.plan, self.pilot = plan, pilot
        self.sizes = {MLM: plan.grid.mlm.sentences, **training_sizes(plan.grid)}
        self.twins: dict[str, Run] = {}

    def shrink(self, run_id: str) -> Run:
        """The twin of a run; what is only fetched is its own twin."""
        if run_id not in self.twins:
            run = self.plan.runs[run_id]
            self.twins[run_id] = self._put(run) if run.stage != "fetch" else self._keep(run)
        return self.twins[run_id]

    def _keep(self, run: Run) -> Run:
        self.pilot.runs[run.id], self.pilot.tokens[run.id] = run, self.plan.tokens[run.id]
        return run

    def _put(self, run: Run) -> Run:
        config = _shrink_config(run)
        parents = tuple(self.shrink(self._base(need)).id for need in self._parents(run, config))
        scores = tuple(self.shrink(need).id for need in run.scores)
        infra = {key: value for key, value in run.infra.items() if key not in ("keep", "report_to", "restarts")}
        infra |= {"pilot": {"examples": EXAMPLES}}
        if run.stage in PILOTED_STAGES:
            resources = infra["resources"]
            infra["resources"] = {**resources, "timeout_min": min(TIMEOUT_MIN, resources["timeout_min"])}
        twin = Run(run.stage, run.slug, config, tuple(dict.fromkeys(parents)), scores, infra)
        counted = count_tokens(twin, self.sizes)
        share = EXAMPLES / SCORED_EXAMPLES
        tokens = replace(counted, scoring=counted.scoring * share, examples=counted.examples * share)
        if run.stage == "translate":
            tokens = Tokens({})
        hours = stated_hours(tokens, self.plan.cluster.tokens_per_second)
        infra["gpu_hours"] = hours if infra["resources"]["gpus"] else 0.0
        self.pilot.runs[twin.id], self.pilot.tokens[twin.id] = twin, tokens
        return twin

    def _parents(self, run: Run, config: Mapping[str, Any]) -> list[str]:
        """A translated set is tokenised in one of its languages, of which one piece is translated."""
        others = {need for need in run.parents if need.startswith("translate-")}
        if not others:
            return list(run.parents)
        (language,) = config["translated"]
        kept = next(need for need in run.parents if self.plan.runs[need].config.get("language") == language)
        return [need for need in run.parents if need not in others or need == kept]

    def _base(self, run_id: str) -> str:
        """The pretrained encoder that a trained one goes back to."""
        while run_id.startswith("intermediate-"):
            run_id = next(need for need in self.plan.runs[run_id].parents if need.startswith(ENCODER_STAGES))
        return run_id


def _shrink_config(run: Run) -> dict[str, Any]:
    config = dict(run.config)
    match run.stage:
        case "pretrain":
            config |= {"steps": min(UPDATES, config["steps"])} if config.get("steps") else {}
        case "translate":
            config |= {"shard": 1, "shards": 1, "first_examples": EXAMPLES}
        case "prepare":
            config |= {"first_examples": EXAMPLES}
            if any(need.startswith("translate-") for need in run.parents):
                config["translated"] = config["translated"][:1]
        case "retrieval":
            config |= {"first_examples": EXAMPLES}  # what it is scored on does not name a run, and this is another one
        case "intermediate" | "target":
            tasks = config["tasks"].items()
            config["tasks"] = {task: {k: v for k, v in recipe.items() if k != "epochs"} for task, recipe in tasks}
            none = config.get("selection", {}).get("points") == 0
            config |= {"updates": UPDATES, "collapse": "off"}
            config["selection"] = {"points": 0} if none else {"points": 1, "examples": EXAMPLES}
    return config


def begin_pilot(pilot: Plan, campaign: Campaign) -> None:
    """Mark a pilot's root, and link into it what the campaign has fetched: compute nodes may have no network."""
    if not (campaign.root / PILOT_MARKER).exists():
        write_text(campaign.root / PILOT_MARKER, MARKER_TEXT)
    for run in pilot.runs.values():
        link = campaign.run(run.id).path
        if run.stage == "fetch" and not os.path.lexists(link) and (campaign.root.parent / run.id / "DONE").exists():
            os.symlink(os.path.join(os.pardir, run.id), link)


def show_pilot(pilot: Plan, campaign: Campaign, console: Console) -> None:
    """What the finished trainings tell: a line of measurements for each, and the resource rules that keep them."""
    facts = {run.id: (campaign.run(run.id).read_done() or {}).get("facts", {}) for run in pilot.runs.values()}
    trained = [run for run in pilot.runs.values() if "layout" in facts[run.id]]
    if not trained:
        return
    table = Table(title="what the pilot measured", title_justify="left")
    for name in ("run", "sub-words/s", "start-up", "memory", "micro_tokens", "on"):
        table.add_column(name, justify="left" if name in ("run", "on") else "right")
    rules: dict[str, None] = {}
    for run in trained:
        found = facts[run.id]
        start = f"{found['startup_s']:.0f} s" if "startup_s" in found else ""
        numbers = (f"{found['tokens_per_s']:,.0f}", start, f"{found['peak_memory_gb']:.1f} GB")
        tokens = found["layout"]["micro_tokens"]
        table.add_row(f"{run.stage}-{run.slug}", *numbers, f"{tokens:,}", found["device"])
        if run.stage != "pretrain" and len(tasks_of(run.config)) == 1:
            match = {"stage": run.stage, "task": tasks_of(run.config)[0]}
            rules[f"  - {{match: {{stage: {match['stage']}, task: {match['task']}}}, micro_tokens: {tokens}}}"] = None
    console.print(table)
    console.print(
        "resource rules that spare each job the search for its micro-batch (the cost knows the rest already):"
    )
    console.print("\n".join(["resources:", *rules]), markup=False, soft_wrap=True)
