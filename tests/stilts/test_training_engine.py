"""One rank alone computes the same at ZeRO stage 0, whose steps we shorten, as at stage 1."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from stilts.training.batches import Piece
from stilts.training.engine import Updater, build_engine, full_weights
from stilts.training.passes import open_passes
from stilts.training.settings import Layout
from stilts.training.world import World, init_distributed
from tests.bench.synthetic import Workload

GEOMETRY = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
RATE = 0.01


def train_three_updates(stage: int) -> dict[str, Tensor]:
    """Weights after three updates of two passes each, one of them of a model with a parameter that nothing uses."""
    world = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))
    init_distributed(world)
    work = dataclasses.replace(Workload.draw("mnli", 8, 3, GEOMETRY, "fp32"), dropout=0.0)
    training = work.training(world.device, Layout(zero_stage=stage, packed=False))
    training.model.unused = nn.Parameter(torch.ones(3, 3))
    engine = build_engine(training.model, training.settings, training.layout, world)
    engine.train()
    updater = Updater(engine, world)
    passes = open_passes(training, engine, updater, world)
    for step in range(3):
        update = training.update(step)
        for piece in (Piece(0, 5, 1.0), Piece(5, 8, 1.0)):
            passes.run(update, piece, last=piece.last == work.batch_size)
        updater.step(RATE)
    return full_weights(engine)


@pytest.fixture(scope="module")
def weights() -> dict[int, dict[str, Tensor]]:
    return {stage: train_three_updates(stage) for stage in (0, 1)}


def test_stage_0_gives_the_weights_of_stage_1(weights: dict[int, dict[str, Tensor]]) -> None:
    assert weights[0].keys() == weights[1].keys()
    for name, expected in weights[1].items():
        torch.testing.assert_close(weights[0][name], expected, rtol=0, atol=1e-5, msg=name)


def test_a_weight_without_a_gradient_decays(weights: dict[int, dict[str, Tensor]]) -> None:
    for stage in (0, 1):
        torch.testing.assert_close(weights[stage]["unused"], torch.full((3, 3), (1 - RATE * 0.01) ** 3), msg=str(stage))
