"""Small grids, the plans made of them, and run folders as a finished job leaves them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from launch.campaign import Campaign
from launch.cluster import Cluster, load_cluster
from launch.plan import Plan, make_plan
from launch.spec import Grid, load_grid
from stilts.errors import UserError
from stilts.runs import ENCODER_STAGES, done_record, write_json

# The least that a grid of original files may say.
SMALL: dict[str, Any] = {
    "name": "small",
    "data_root": "/nowhere",
    "axes": {"model": "xlm-roberta-base", "intermediate": ["none"], "target": ["xnli"], "seed": [1]},
}


def small(**changes: Any) -> dict[str, Any]:
    """SMALL with other axes (`axes` is merged into its axes) and further keys."""
    axes = {name: values for name, values in {**SMALL["axes"], **changes.pop("axes", {})}.items() if values is not None}
    return {**SMALL, **changes, "axes": axes}


def read(text: str) -> Grid:
    """A grid from the text of its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.yaml"
        path.write_text(text, encoding="utf-8")
        return load_grid(path)


def plan_of(grid: Mapping[str, Any], cluster: Cluster | None = None) -> Plan:
    """The plan of a grid that goes through its YAML file, in the order of its keys."""
    return make_plan(read(yaml.safe_dump(dict(grid), sort_keys=False)), cluster or load_cluster(None))


def problems_of(text: str) -> list[str]:
    """The problems that a grid's text is refused with, each from its line number on; none where it is accepted."""
    try:
        read(text)
    except UserError as error:
        return [problem.partition("grid.yaml:")[2] or problem for problem in error.problems]
    return []


def finish(campaign: Campaign, plan: Plan, run_ids: Iterable[str], output: str = "one") -> None:
    """Write the DONE file of runs, parents first, each on the outputs that its parents have now; encoders have a
    folder of weights."""
    for run_id in run_ids:
        run, folder = plan.runs[run_id], campaign.run(run_id)
        needs = {}
        for need in run.needs:
            done = campaign.run(need).read_done()
            assert done is not None, f"{need} is not done: finish it first"
            needs[need] = done["output"]
        write_json(folder.spec, run.spec())
        if run_id.startswith(ENCODER_STAGES):
            folder.model.mkdir(exist_ok=True)
        more = {"attempt": "1", "data_root": run.infra.get("data_root")}
        write_json(folder.done, done_record(run, f"{output} output of {run_id}", needs, **more))
