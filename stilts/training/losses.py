"""What a training counts while it runs: losses, tokens, time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from stilts.training.heartbeat import Heartbeat, Row
from stilts.training.world import World

# Losses stay on the device this many updates: reading one makes the CPU wait for the GPU.
LOSS_INTERVAL = 10


@dataclass
class Tally:
    """What a training counted: losses of all updates, tokens, time."""

    losses: list[float] = field(default_factory=list)
    real_tokens: int = 0
    padded_tokens: int = 0
    seconds: float = 0.0
    first_update_seconds: float = 0.0

    def count(self, real_tokens: int, padded_tokens: int) -> None:
        """Add an update's tokens."""
        self.real_tokens += real_tokens
        self.padded_tokens += padded_tokens

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the losses."""
        return {name: getattr(self, name) for name in ("real_tokens", "padded_tokens", "first_update_seconds")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of an earlier attempt."""
        for name, value in state.items():
            setattr(self, name, value)

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


class LossLog:
    """Mean losses of the updates: summed over ranks and written some updates at a time."""

    def __init__(self, world: World, heartbeat: Heartbeat, updates: int) -> None:
        self.world, self.heartbeat, self.updates = world, heartbeat, updates
        self.tally = Tally()
        self.latest: dict[str, Any] = {}
        self._waiting: list[tuple[int, str, float, torch.Tensor]] = []

    def start(self, rows: Sequence[Row]) -> None:
        """Begin with the rows (step, task, loss, rate) of an earlier attempt, none in a new training."""
        self.heartbeat.start_losses()
        self.heartbeat.log_losses(rows)
        self.tally.losses = [loss for _, _, loss, _ in rows]

    def add(self, step: int, task: str, rate: float, loss: torch.Tensor) -> None:
        """`loss`: this rank's part of the update's mean loss, on the device."""
        self._waiting.append((step, task, rate, loss))
        if len(self._waiting) == LOSS_INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Write what waits (a collective: all ranks flush after the same updates).

        Raises FloatingPointError for a loss that is not finite.
        """
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
