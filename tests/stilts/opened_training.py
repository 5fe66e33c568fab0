"""A small training without dropout on this CPU, opened as the loop opens it, whose passes and steps a test takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from stilts.training.engine import Updater, build_engine
from stilts.training.loop import Training
from stilts.training.passes import Passes, open_passes
from stilts.training.settings import Layout
from stilts.training.world import World, init_distributed
from tests.bench.synthetic import Workload

CPU = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))
GEOMETRY = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
BATCH = 8


def draw_training(mix: str, updates: int, precision: str, layout: Layout) -> Training:
    """Batches of 8 of a mix, the same ones each time."""
    work = dataclasses.replace(Workload.draw(mix, BATCH, updates, GEOMETRY, precision), dropout=0.0)
    return work.training(CPU.device, layout)


@dataclass
class Opened:
    """A training before its first update."""

    training: Training
    engine: Any
    updater: Updater
    passes: Passes

    @classmethod
    def of(cls, training: Training) -> Opened:
        init_distributed(CPU)
        engine = build_engine(training.model, training.settings, training.layout, CPU)
        engine.train()
        updater = Updater(engine, CPU)
        return cls(training, engine, updater, open_passes(training, engine, updater, CPU))
