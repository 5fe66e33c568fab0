"""The training loop: the same for masked language modelling, intermediate tasks and targets, on CPU and GPU."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from stilts.model.multitask import Multitask
from stilts.training.batches import Masking, Update, assemble, split_update
from stilts.training.engine import Updater, build_engine, full_weights
from stilts.training.examples import TrainingSet
from stilts.training.heartbeat import Heartbeat
from stilts.training.mixing import Plan
from stilts.training.randomness import numpy_generator, seed_torch
from stilts.training.schedule import learning_rate
from stilts.training.settings import Layout, Settings
from stilts.training.world import World

# Losses stay on the device this many updates: reading one makes the CPU wait for the GPU.
LOSS_INTERVAL = 10


@dataclass(frozen=True)
class Training:
    """Everything a training consists of, before it starts."""

    model: Multitask
    plan: Plan
    sets: Mapping[str, TrainingSet]
    settings: Settings
    layout: Layout
    pad_id: int
    masking: Masking | None = None

    def update(self, step: int) -> Update:
        """All sequences of an update: a pure function of the seed and `step`."""
        task, examples = self.plan.batch(step)
        rng = numpy_generator(self.settings.seed, "mask", step)
        return assemble(task, self.sets[task], examples, self.pad_id, self.masking, rng)


@dataclass
class Tally:
    """What a training counted: losses of all updates, tokens, time."""

    losses: list[float] = field(default_factory=list)
    real_tokens: int = 0
    padded_tokens: int = 0
    seconds: float = 0.0
    first_update_seconds: float = 0.0

    def facts(self) -> dict[str, Any]:
        """Mean loss of the first and the last tenth of the updates, and the speed."""
        tenth = math.ceil(len(self.losses) / 10)
        return {
            "updates": len(self.losses),
            "losses": {
                "first": sum(self.losses[:tenth]) / tenth,
                "last": sum(self.losses[-tenth:]) / tenth,
            },
            "tokens": self.real_tokens,
            "pad_share": 1 - self.real_tokens / self.padded_tokens,
            "seconds": self.seconds,
            "first_update_seconds": self.first_update_seconds,
            "tokens_per_s": self.real_tokens / self.seconds,
        }


def optimise(training: Training, world: World, heartbeat: Heartbeat) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Run all updates. Returns the weights (whole, fp32, on the first rank; empty elsewhere) and the facts.

    Raises FloatingPointError when a loss is not finite, at the latest 10 updates after it happened.
    """
    engine = build_engine(training.model, training.settings, training.layout, world)
    engine.train()
    updater = Updater(engine, world)
    heartbeat.start_losses()
    log = LossLog(world, heartbeat, Tally(), training.plan.updates)
    updates, started = training.plan.updates, time.monotonic()
    for step in range(updates):
        _take_update(training, updater, world, log, step)
        if step in (0, updates - 1):
            log.flush()
        if step == 0:
            log.tally.first_update_seconds = time.monotonic() - started
        heartbeat.beat("train", step + 1, updates, **log.latest)
    log.tally.seconds = time.monotonic() - started
    return full_weights(engine), log.tally.facts() | _describe(training, world)


class LossLog:
    """Mean losses of the updates: summed over ranks and written some updates at a time."""

    def __init__(self, world: World, heartbeat: Heartbeat, tally: Tally, updates: int) -> None:
        self.world, self.heartbeat, self.tally, self.updates = world, heartbeat, tally, updates
        self.latest: dict[str, Any] = {}
        self._waiting: list[tuple[int, str, float, torch.Tensor]] = []

    def add(self, step: int, task: str, rate: float, loss: torch.Tensor) -> None:
        """`loss`: this rank's part of the update's mean loss, on the device."""
        self._waiting.append((step, task, rate, loss))
        if len(self._waiting) == LOSS_INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Write what waits (a collective: all ranks flush after the same updates)."""
        if not self._waiting:
            return
        losses = self.world.sum(torch.stack([loss for *_, loss in self._waiting])).tolist()
        rows = [(step, task, loss, rate) for (step, task, rate, _), loss in zip(self._waiting, losses, strict=True)]
        for step, task, loss, _ in rows:
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"update {step + 1} of {self.updates} ({task}): the loss is {loss}; "
                    "lower learning_rate, or use precision: bf16 or fp32 in place of fp16"
                )
        self.heartbeat.log_losses(rows)
        self.tally.losses.extend(losses)
        _, task, loss, rate = rows[-1]
        self.latest = {"task": task, "loss": loss, "lr": rate}
        self._waiting.clear()


def _take_update(training: Training, updater: Updater, world: World, log: LossLog, step: int) -> None:
    settings = training.settings
    update = training.update(step)
    parts = split_update(update, training.layout.micro_batch, world.rank, world.size)
    total = torch.zeros((), device=world.device)
    for index, part in enumerate(parts):
        # Dropout becomes a function of the position in the training, so that a resumed run repeats itself.
        seed_torch(settings.seed, "dropout", step, index, world.rank)
        loss, _ = updater.engine(update.task, part.to(world.device))
        loss = loss * part.weight
        updater.backward(loss, update.terms, last=index == len(parts) - 1)
        total += loss.detach()
    rate = learning_rate(step, training.plan.updates, settings.learning_rate, settings.warmup_ratio)
    updater.step(rate)
    log.tally.real_tokens += update.real_tokens
    log.tally.padded_tokens += update.padded_tokens(training.layout.micro_batch, world.size)
    log.add(step, update.task, rate, total / max(update.terms, 1))


def _describe(training: Training, world: World) -> dict[str, Any]:
    """How it was computed: two runs that differ here differ in speed, and as two seeds would where there is dropout."""
    cuda = world.device.type == "cuda"
    return {
        "layout": asdict(training.layout) | {"world_size": world.size},
        "precision": training.settings.precision,
        "attention": training.model.encoder.config._attn_implementation,
        "device": torch.cuda.get_device_name(world.device) if cuda else "cpu",
        "peak_memory_gb": torch.cuda.max_memory_allocated(world.device) / 1e9 if cuda else None,
    }
