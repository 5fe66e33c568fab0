"""Golden trainings: 20 losses and the batches behind them for each stage kind that trains.

A change here is a change of results: raise that stage's number in `STAGE_VERSIONS` (stilts/runs.py), then record the
new figures with `python -m tests.stilts.test_golden`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from stilts.data.prepared import Prepared
from stilts.model.scratch import pretrain
from stilts.runs import STAGE_VERSIONS
from stilts.training.heartbeat import Heartbeat
from stilts.training.train import Sources, open_training_set, plan_mixture, train
from stilts.training.world import World
from tests.stilts.prepared_folders import draw_examples, scratch_config, training_config, write_encoder, write_prepared
from tests.stilts.test_model_scratch import draw_texts

RECORD = Path(__file__).with_name("golden.json")
CPU = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))
UPDATES = 20

# One target-like training on a single task with dropout, one mixture of three families.
RECIPES: dict[str, dict[str, dict[str, int]]] = {
    "target": {"pair": {"batch_size": 8, "epochs": 4}},
    "intermediate": {
        "pair": {"batch_size": 8, "epochs": 2},
        "choice": {"batch_size": 4, "epochs": 1},
        "span": {"batch_size": 8, "epochs": 1},
    },
}


def run_stage(stage: str, folder: Path) -> dict[str, Any]:
    """Losses of the first 20 updates, with task and examples where a mixture draws them."""
    heartbeat = Heartbeat(folder)
    batches: list[Any] = []
    if stage == "pretrain":
        pretrain(scratch_config(steps=UPDATES, batch_size=8), draw_texts(200), folder / "model", CPU, heartbeat)
    else:
        recipes = RECIPES[stage]
        encoder = write_encoder(folder / "encoder")
        data = {
            task: write_prepared(folder / task, task, encoder, {"train.en": draw_examples(task, 40)})
            for task in recipes
        }
        config = training_config(recipes, learning_rate=3e-3, dropout=0.1)
        train(config, Sources(encoder, data), folder / "model", CPU, heartbeat)
        sets = {task: open_training_set(Prepared.load(data[task]), task, config) for task in sorted(recipes)}
        mixture = plan_mixture(config, sets)
        drawn = [mixture.batch(update) for update in range(UPDATES)]
        batches = [[task, examples.tolist()] for task, examples in drawn]
    rows = [json.loads(line) for line in heartbeat.losses.read_text().splitlines()[:UPDATES]]
    return {"version": STAGE_VERSIONS[stage], "losses": [round(row["loss"], 5) for row in rows], "batches": batches}


@pytest.mark.parametrize("stage", ["pretrain", "intermediate", "target"])
def test_twenty_updates_are_those_on_record(stage: str, tmp_path: Path) -> None:
    recorded = json.loads(RECORD.read_text())[stage]
    found = run_stage(stage, tmp_path)
    assert found["version"] == recorded["version"], "a new version needs new figures: see the head of this file"
    assert found["batches"] == recorded["batches"]
    assert len(found["losses"]) == UPDATES
    assert found["losses"] == pytest.approx(recorded["losses"], abs=5e-4)


if __name__ == "__main__":
    figures = {}
    for name in ("pretrain", "intermediate", "target"):
        with tempfile.TemporaryDirectory() as temporary:
            figures[name] = run_stage(name, Path(temporary))
    RECORD.write_text(json.dumps(figures) + "\n", encoding="utf-8")
