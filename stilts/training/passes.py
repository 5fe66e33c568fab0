"""Forward and backward passes of micro-batches: padded or packed, kernel by kernel or as a CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from transformers import PretrainedConfig

from stilts.model.attention import PACKED, can_pack, find_first_position
from stilts.training.batches import Limits, MicroBatch, Piece, Update
from stilts.training.engine import Updater, sums_apart
from stilts.training.graphs import Graphs
from stilts.training.packing import Packing
from stilts.training.world import World

if TYPE_CHECKING:
    from stilts.training.loop import Training

# What a padded pass costs on a CPU beyond its tokens: about as long as these operations take (of 1 to 2e9 tried, see
# tests/bench/RESULTS.md). A study in small, whose tokens cost little, has few passes; a model of real size many.
PASS_OPERATIONS = 1.5e9

# Encoders with fewer weights for each token are not packed on a CPU: calling attention's kernel for each sequence costs
# them as much as pads do (3 layers of width 128 have 0.6 million, and gained nothing).
LEAST_PACKED_WEIGHTS = 2_000_000


class Passes:
    """The passes of a training. `graphs` is the number of CUDA graphs that were made."""

    def __init__(
        self, engine: Any, updater: Updater, world: World, packing: Packing | None, graphed: Graphs | None
    ) -> None:
        self.engine, self.updater, self.world = engine, updater, world
        self._packing, self._graphed = packing, graphed

    @property
    def packed(self) -> bool:
        return self._packing is not None

    @property
    def graphs(self) -> int:
        return self._graphed.count if self._graphed else 0

    @property
    def attention(self) -> str:
        """Which attention computes, for the run's record. All of them drop what the configuration says."""
        if self.packed:
            return "packed, flash" if self.world.device.type == "cuda" else "packed, sdpa"
        return str(self._config._attn_implementation)

    @property
    def _config(self) -> PretrainedConfig:
        return self.engine.module.encoder.config

    def limits(self, micro_tokens: int) -> Limits:
        """How an update is cut."""
        if self.packed or self.world.device.type == "cuda":
            return Limits(micro_tokens, packed=self.packed)
        return Limits(micro_tokens, pass_tokens=int(PASS_OPERATIONS / (6 * _count_weights(self._config))))

    def count_tokens(self, update: Update, pieces: Sequence[Sequence[Piece]]) -> int:
        """Tokens that go through the model on all ranks together, pads included."""
        counts = [update.tokens(piece) for mine in pieces for piece in mine]
        return sum(self._packing.size(real) if self._packing else padded for real, padded in counts)

    def form(self, update: Update, piece: Piece) -> MicroBatch:
        """What goes through the model."""
        part = update.cut(piece)
        return self._packing.pack(update.task, part) if self._packing else part

    def run(self, update: Update, piece: Piece, last: bool) -> Tensor:
        """Add the gradient of a piece; `last` marks the final one of the update. Returns the sum of its losses times
        its weight, detached; valid until the next pass."""
        part = self.form(update, piece)
        if self._graphed and piece.weight:
            self.engine.set_gradient_accumulation_boundary(last)
            return self._graphed.run(update.task, part, self.updater.factor(update.terms))
        return self._run_eagerly(update, part, last)

    def _run_eagerly(self, update: Update, part: MicroBatch, last: bool) -> Tensor:
        loss, _ = self.engine(update.task, part.to(self.world.device))
        loss = loss * part.weight
        self.updater.backward(loss, update.terms, last)
        return loss.detach()


def _count_weights(config: PretrainedConfig) -> int:
    """Weights that every token is multiplied with."""
    return int(config.num_hidden_layers * config.hidden_size * (4 * config.hidden_size + 2 * config.intermediate_size))


def open_passes(training: Training, engine: Any, updater: Updater, world: World) -> Passes:
    """The passes that suit the device: packed where its attention kernel allows (on a CPU where the encoder is no toy),
    and as CUDA graphs where one process alone trains in bf16 at ZeRO stage 1 (with several, graphs were not tried)."""
    encoder, layout, cuda = training.model.encoder, training.layout, world.device.type == "cuda"
    packed = layout.packed
    if packed is None:
        worth = cuda or _count_weights(encoder.config) >= LEAST_PACKED_WEIGHTS
        packed = worth and can_pack(encoder.config, training.settings.precision, world.device)
    if not packed:
        return Passes(engine, updater, world, None, None)
    encoder.set_attn_implementation(PACKED)
    first = find_first_position(encoder.config)
    assert first is not None, "asked of encoders that can be packed"
    packing = Packing.of(training.pad_id, first, training.sets, training.plan.batch_sizes, rounded=cuda)
    direct = cuda and world.size == 1 and sums_apart(engine) and not layout.activation_checkpointing
    return Passes(engine, updater, world, packing, Graphs(engine, layout.cuda_graphs) if direct else None)
