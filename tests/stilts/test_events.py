"""TensorBoard event files, read by TensorBoard's own reader."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stilts.errors import UserError
from stilts.training.checkpoints import CheckpointStore
from stilts.training.heartbeat import Heartbeat
from stilts.training.settings import LAYOUT
from stilts.training.stopping import Interrupted, Request, Stop
from stilts.training.train import Sources, train
from stilts.training.world import World
from tests.stilts.prepared_folders import draw_examples, training_config, write_encoder, write_prepared

CPU = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))
RECIPES = {"mnli": {"batch_size": 8, "epochs": 2}, "hellaswag": {"batch_size": 8, "epochs": 1}}


class Crash(Exception):
    """The machine goes away."""


class EndAfter(Stop):
    """After so many updates: a request to stop, or a crash that leaves no checkpoint."""

    def __init__(self, updates: int, crash: bool) -> None:
        super().__init__()
        self.left, self.crash = updates, crash

    def look(self, reserve_s: float) -> tuple[Request, str]:
        self.left -= 1
        if self.left == 0 and self.crash:
            raise Crash
        return (Request.STOP, "the test asks for it") if self.left == 0 else (Request.GO_ON, "")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    encoder = write_encoder(folder / "encoder")
    families = {"mnli": "pair", "hellaswag": "choice"}
    sets = {f: {"train.en": draw_examples(f, 80), "dev.en": draw_examples(f, 20, seed=1)} for f in families.values()}
    return Sources(encoder, {task: write_prepared(folder / task, f, encoder, sets[f]) for task, f in families.items()})


def run(sources: Sources, folder: Path, stop: Stop | None = None, report_to: tuple[str, ...] = ("tensorboard",)) -> Any:
    config = training_config(RECIPES, selection={"points": 5, "examples": 12})
    store = CheckpointStore(folder / "checkpoints", "this run", CPU)
    beat = Heartbeat(folder, report_to=report_to)
    return train(config, sources, folder / "model", CPU, beat, LAYOUT, store, stop)


def read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """By tag: (step, value), without what a later attempt has made void."""
    reader = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}, purge_orphaned_data=True)
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_curves_are_those_of_the_training_whatever_interrupted_it(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(sources, tmp_path, EndAfter(12, crash=False))
    with pytest.raises(Crash):
        run(sources, tmp_path, EndAfter(11, crash=True))
    assert max(step for step, _ in read_events(tmp_path)["train/loss"]) > 12
    facts = run(sources, tmp_path)
    assert facts["resumed"] == [12]
    found = read_events(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    expected: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        for tag, value in (("train/loss", row["loss"]), ("train/learning_rate", row["lr"])):
            expected.setdefault(tag, []).append((row["step"] + 1, value))
        expected.setdefault(f"loss/{row['task']}", []).append((row["step"] + 1, row["loss"]))
    for record in facts["dev"]:
        expected.setdefault("dev/score", []).append((record["update"], record["score"]))
        for task, metrics in record["tasks"].items():
            for name, value in metrics.items():
                expected.setdefault(f"dev_{task}/{name}", []).append((record["update"], value))
    assert found.keys() == expected.keys() and {"loss/mnli", "dev_hellaswag/accuracy"} < found.keys()
    for tag, points in expected.items():
        assert [step for step, _ in found[tag]] == [step for step, _ in points], tag
        assert [value for _, value in found[tag]] == pytest.approx([value for _, value in points], rel=1e-5)


def test_nothing_is_written_unasked(sources: Sources, tmp_path: Path) -> None:
    run(sources, tmp_path, report_to=())
    assert not (tmp_path / "tensorboard").exists()


def test_a_missing_package_is_named(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        UserError, match=r"needs the package tensorboard .*; pip install tensorboard, or leave report_to"
    ):
        run(sources, tmp_path)
