"""CUDA graphs compute what DeepSpeed's own passes compute kernel by kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from stilts.training.batches import MicroBatch, Piece
from stilts.training.engine import Updater, build_engine, full_weights
from stilts.training.graphs import Graphs
from stilts.training.loop import Training
from stilts.training.passes import Passes, open_passes
from stilts.training.settings import Layout
from stilts.training.world import World, init_distributed
from tests.bench.measured import compare_passes
from tests.bench.synthetic import Workload

GEOMETRY = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@dataclass
class Opened:
    """A packed training without dropout on this CPU, before its first update."""

    training: Training
    engine: Any
    updater: Updater
    passes: Passes


@pytest.fixture
def open_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Opened]:
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    world = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))
    init_distributed(world)

    def build(mix: str) -> Opened:
        work = dataclasses.replace(Workload.draw(mix, 8, 2, GEOMETRY, "bf16"), dropout=0.0)
        training = work.training(world.device, Layout(packed=True))
        engine = build_engine(training.model, training.settings, training.layout, world)
        engine.train()
        updater = Updater(engine, world)
        return Opened(training, engine, updater, open_passes(training, engine, updater, world))

    return build


@pytest.mark.parametrize("mix", ["mnli", "squad"])
def test_what_a_graph_records_adds_the_same_gradients(
    mix: str, open_training: Callable[[str], Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not recorded here, for want of a GPU: the same steps, run."""
    opened = open_training(mix)
    engine, passes = opened.engine, opened.passes
    update, piece = opened.training.update(0), Piece(0, 8, 1.0)
    loss = passes.run(update, piece, last=True)
    buffers = engine.optimizer.fp32_groups_gradients_flat
    expected = [values.clone() for values in buffers]
    engine.optimizer.zero_grad()
    engine.optimizer.clear_hp_grads()
    graphs = Graphs(engine)
    part = passes.form(update, piece)

    def record(task: str, part: MicroBatch) -> None:
        """What is rehearsed before a recording adds zeros."""
        graphs.factor.zero_()

    monkeypatch.setattr(graphs, "_find", record)
    torch.testing.assert_close(graphs.run("task", part, opened.updater.factor(update.terms)), loss)
    for values, wanted in zip(buffers, expected, strict=True):
        assert wanted.any()
        torch.testing.assert_close(values, wanted)
    assert all(parameter.grad is None for parameter in engine.module.parameters())


def test_two_updates_without_a_pass_through_the_engine(open_training: Callable[[str], Opened]) -> None:
    """Where a resource class says how large micro-batches are, DeepSpeed's engine sees the steps alone."""
    before, weights = full_weights(open_training("mnli").engine), []
    for direct in (False, True):
        opened = open_training("mnli")
        opened.passes._graphed = Graphs(opened.engine, enabled=False) if direct else None
        for step in range(2):
            opened.passes.run(opened.training.update(step), Piece(0, 8, 1.0), last=True)
            opened.updater.step(1e-3)
        weights.append(full_weights(opened.engine))
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    assert any(not torch.equal(value, before[name]) for name, value in weights[1].items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_graphs_draw_and_learn_what_single_kernels_do() -> None:
    found = compare_passes(torch.device("cuda:0"))
    assert found["attention"] == "packed, flash"
    assert [found[name]["graphs"] for name in ("eager", "spoiled")] == [0, 0]
    assert found["graphs"]["graphs"] > 1
    assert found["last"] < found["first"] - 0.3
    # bf16 and sums in another order; other dropout would be a hundred times as far.
    assert max(found[name]["difference"] for name in ("graphs", "spoiled")) < 0.02
