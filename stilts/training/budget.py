"""How many tokens go through the model at once: tried on the model itself, before the first update."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stilts.training.batches import Piece, assemble
from stilts.training.engine_state import count_bytes, count_missing_bytes
from stilts.training.passes import Passes
from stilts.training.randomness import numpy_generator
from stilts.training.stopping import OutOfMemory
from stilts.training.world import World

if TYPE_CHECKING:
    from stilts.training.loop import Training

# Powers of two between these are tried, so that a little more free memory does not change how a run is computed.
FIRST_TOKENS, MOST_TOKENS = 1_024, 65_536
# On a CPU larger micro-batches gain no speed.
CPU_TOKENS = 4_096
# The rest is for fragments, for NCCL's buffers, and for batches that fill their budget better than the one tried.
USABLE = 0.9


@dataclass(frozen=True)
class Trial:
    """A forward and a backward pass of the largest micro-batch of every task, with weight 0: the gradients stay 0."""

    training: Training
    passes: Passes
    memory: Memory

    def run(self, tokens: int) -> int:
        """Bytes in use at most (a collective); raises OutOfMemory."""
        self.memory.reset_peak()
        try:
            for task in self.training.sets:
                self._pass(task, tokens)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(tokens) from error
        return self.memory.peak()

    def most_tokens(self, ranks: int) -> int:
        """Tokens of the largest update, on one rank of so many."""
        batches, sets = self.training.plan.batch_sizes, self.training.sets.items()
        costs = [math.ceil(batches[task] / ranks) * int(one.lengths.max()) * one.width for task, one in sets]
        return max(costs)

    def _pass(self, task: str, tokens: int) -> None:
        training, training_set = self.training, self.training.sets[task]
        examples = choose_longest(training_set.lengths, training_set.width, training.plan.batch_sizes[task], tokens)
        rng = numpy_generator(training.settings.seed, "trial", task)
        update = assemble(task, training_set, examples, training.pad_id, training.masking, rng)
        self.passes.run(update, Piece(0, len(examples), 0.0), last=False)


def choose_longest(lengths: np.ndarray, width: int, batch_size: int, tokens: int) -> np.ndarray:
    """The longest examples (int64) that fill `tokens`: at least one, at most a batch. `lengths`: int64 [examples],
    the longest of an example's `width` sequences."""
    count = min(math.ceil(tokens / (int(lengths.max()) * width)), batch_size)
    return np.argsort(-lengths, kind="stable")[:count]


def find_micro_tokens(training: Training, passes: Passes, world: World) -> int:
    """Tokens of a micro-batch, the same for all ranks (a collective): those of the layout where it gives them, else
    as many as this rank's share of the memory holds.

    They double while the next size can be expected to fit, because what a pass needs beyond the model grows with its
    tokens. Raises OutOfMemory where a size that was tried does not fit.
    """
    given = training.layout.micro_tokens
    memory = Memory.of(world)
    if memory is None or (given and world.device.type == "cpu"):
        return given or CPU_TOKENS  # nothing to compare with, or nothing that would tell before the process is killed
    trial = Trial(training, passes, memory)
    tokens, peak = (given, trial.run(given)) if given else _search(trial, world)
    print(f"micro-batches of {tokens} tokens: {peak / 1e9:.1f} of {memory.share_bytes / 1e9:.1f} GB", flush=True)
    if world.device.type == "cuda":
        torch.cuda.empty_cache()
    return tokens


def _search(trial: Trial, world: World) -> tuple[int, int]:
    """(tokens, bytes in use at most)"""
    pending_bytes = count_missing_bytes(trial.passes.engine) + _count_copies(trial.passes.engine, world)
    trial.run(FIRST_TOKENS)  # the gradients are there from now on
    base = trial.memory.used()
    most = min(trial.most_tokens(world.size), MOST_TOKENS if world.device.type == "cuda" else CPU_TOKENS)
    tokens = FIRST_TOKENS
    while True:
        peak = trial.run(tokens)
        expected = peak + (peak - base) + pending_bytes
        if world.agree(int(tokens >= most or expected > USABLE * trial.memory.share_bytes)):
            return tokens, peak
        tokens *= 2


def _count_copies(engine: Any, world: World) -> int:
    """Bytes of a checkpoint and of the best weights, which are kept in the memory of the CPU."""
    return 2 * count_bytes(engine) if world.device.type == "cpu" else 0


@dataclass(frozen=True)
class Memory:
    """The memory that a rank computes in, its GPU's or its node's, and how much of it the rank may use."""

    device: torch.device
    share_bytes: int

    @classmethod
    def of(cls, world: World) -> Memory | None:
        """This rank's memory (a collective); None where nothing says how much a run on CPUs may use."""
        sharers = world.count_sharers() * int(os.environ.get("STILTS_SHARERS", "1"))
        if world.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(world.device)
            share = min(total // sharers, free + torch.cuda.memory_reserved(world.device))
        else:
            share = read_node_bytes(os.environ) // sharers
        unknown = world.agree(int(share == 0))
        return None if unknown else cls(world.device, share)

    def used(self) -> int:
        """Bytes in use now."""
        return torch.cuda.memory_allocated(self.device) if self._cuda else _read_status("VmRSS")

    def peak(self) -> int:
        """The most bytes in use since the last `reset_peak`."""
        return torch.cuda.max_memory_allocated(self.device) if self._cuda else _read_status("VmHWM")

    def reset_peak(self) -> None:
        """Begin to look for the peak again."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: VmHWM becomes VmRSS

    @property
    def _cuda(self) -> bool:
        return self.device.type == "cuda"


def read_node_bytes(environment: Mapping[str, str]) -> int:
    """The memory of a node that Slurm gave to the job (its variables count MiB); 0 where it says nothing."""
    if "SLURM_MEM_PER_NODE" in environment:
        return int(environment["SLURM_MEM_PER_NODE"]) * 2**20
    cpus = int(environment.get("SLURM_CPUS_ON_NODE", "1"))
    return int(environment.get("SLURM_MEM_PER_CPU", "0")) * cpus * 2**20


def _read_status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
