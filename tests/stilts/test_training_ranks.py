"""Two gloo ranks compute what one computes, at every ZeRO stage, whatever the micro-batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stilts.model.multitask import HEADS_FILE
from stilts.training.heartbeat import Heartbeat
from stilts.training.save import WEIGHTS_FILE
from stilts.training.train import Sources, train
from stilts.training.world import World
from tests.stilts.prepared_folders import draw_examples, training_config, write_encoder, write_prepared
from tests.support.ranks import train_on_ranks

# Tasks with their families: masked language modelling under the name that takes a fresh head.
TASKS = {"pair": "pair", "choice": "choice", "span": "span", "tagging": "tagging", "text": "mlm"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same multitask training on one rank ("one") and on two at stages 0 to 3, some in bf16: run folders.

    25 examples in batches of 8 leave a last batch with a single example for two ranks; the seed draws every task and
    some of those. The large epsilon keeps Adam from dividing rounding by rounding, where the true gradient is 0 (a
    key's bias, the bias of a span's soft-max).
    """
    folder = tmp_path_factory.mktemp("ranks")
    encoder = write_encoder(folder / "encoder")
    data = {t: write_prepared(folder / t, f, encoder, {"train.en": draw_examples(f, 25)}) for t, f in TASKS.items()}
    tasks = {task: {"batch_size": 8, "epochs": 1} for task in TASKS}
    config = training_config(tasks, seed=18, weight_decay=0.1, learning_rate=1e-2, adam_eps=1e-3)
    jobs = {
        f"stage{stage}": _job(folder / f"stage{stage}", config, encoder, data, stage, micro_tokens=(2 + stage) * 30)
        for stage in range(4)
    }
    half = training_config({"pair": tasks["pair"]}, precision="bf16", learning_rate=0.0)
    for stage in (1, 2, 3):
        jobs[f"bf16-{stage}"] = _job(folder / f"bf16-{stage}", half, encoder, data, stage, micro_tokens=400)
    one = folder / "one"
    train(config, Sources(encoder, data), one / "model", World.single(), Heartbeat(one))
    train_on_ranks(list(jobs.values()), 2, folder)
    return {"encoder": encoder, "one": one} | {name: folder / name for name in jobs}


def _job(
    folder: Path, config: dict[str, Any], encoder: Path, data: Any, stage: int, micro_tokens: int
) -> dict[str, Any]:
    data = {task: str(path) for task, path in data.items()}
    places = {"encoder": encoder, "data": data, "out": folder / "model", "run": folder}
    return {"config": config, **places, "layout": {"micro_tokens": micro_tokens, "zero_stage": stage}}


def read_losses(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stage", range(4))
def test_two_ranks_give_the_weights_of_one(trained: dict[str, Path], stage: int) -> None:
    start = load_file(trained["encoder"] / WEIGHTS_FILE)
    for name in (WEIGHTS_FILE, HEADS_FILE):
        one = load_file(trained["one"] / "model" / name)
        two = load_file(trained[f"stage{stage}"] / "model" / name)
        assert one.keys() == two.keys()
        for key, expected in one.items():
            assert torch.allclose(two[key], expected, rtol=0, atol=1e-5), key
    moved = load_file(trained["one"] / "model" / WEIGHTS_FILE)
    assert max(float((moved[key] - start[key]).abs().max()) for key in start) > 1e-2


@pytest.mark.parametrize("stage", range(4))
def test_two_ranks_log_the_losses_of_one(trained: dict[str, Path], stage: int) -> None:
    one, two = read_losses(trained["one"]), read_losses(trained[f"stage{stage}"])
    assert [row["task"] for row in one] == [row["task"] for row in two]
    assert {row["task"] for row in one} == set(TASKS)
    assert [row["lr"] for row in one] == [row["lr"] for row in two]
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], abs=1e-4)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_half_precision_keeps_exact_weights(trained: dict[str, Path], stage: int) -> None:
    """With learning rate 0 the saved weights are those that were loaded, to the last bit: the masters were never
    rounded to bf16."""
    start = load_file(trained["encoder"] / WEIGHTS_FILE)
    end = load_file(trained[f"bf16-{stage}"] / "model" / WEIGHTS_FILE)
    assert start.keys() == end.keys()
    assert all(torch.equal(start[key], end[key]) for key in start)
    assert any(not torch.equal(values, values.bfloat16().float()) for values in start.values())
