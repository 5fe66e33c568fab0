"""CUDA graphs compute what DeepSpeed's own passes compute kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stilts.training.batches import MicroBatch, Piece
from stilts.training.engine import full_weights
from stilts.training.graphs import Graphs
from stilts.training.settings import Layout
from tests.bench.measured import compare_passes
from tests.stilts.opened_training import Opened, draw_training


@pytest.fixture
def open_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Opened]:
    """Open a packed training of a mix."""
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    return lambda mix: Opened.of(draw_training(mix, 2, "bf16", Layout(packed=True)))


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
