"""One rank alone computes the same at ZeRO stage 0, whose steps we shorten, as at stage 1."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stilts.training.batches import Piece
from stilts.training.engine import full_weights
from stilts.training.settings import Layout
from tests.stilts.opened_training import BATCH, Opened, draw_training

RATE = 0.01


def train_three_updates(stage: int) -> dict[str, Tensor]:
    """Weights after three updates of two passes each, of a model with a parameter that nothing uses."""
    training = draw_training("mnli", 3, "fp32", Layout(zero_stage=stage, packed=False))
    training.model.unused = nn.Parameter(torch.ones(3, 3))
    opened = Opened.of(training)
    for step in range(3):
        update = training.update(step)
        for piece in (Piece(0, 5, 1.0), Piece(5, BATCH, 1.0)):
            opened.passes.run(update, piece, last=piece.last == BATCH)
        opened.updater.step(RATE)
    return full_weights(opened.engine)


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
