"""Passes that add their gradients to DeepSpeed's flat fp32 buffers themselves, small ones as CUDA graphs: some two
thousand kernels of a small batch cost the CPU one launch.

That is what DeepSpeed does after its own backward passes of bf16 at stage 1, but without a copy of each gradient in
fp32. A graph reads its batch from fixed memory. Dropout follows torch's generator as without a graph: what a pass draws
depends on the seed that was set before it alone.
"""

from __future__ import annotations

import contextlib
import gc
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stilts.training.batches import Batch, MicroBatch, flatten, split_flat

# Larger rows keep the GPU busy without a graph, whose memory they would fill.
MOST_TOKENS = 16_384
MOST_GRAPHS = 48


@dataclass(frozen=True)
class _Graph:
    graph: torch.cuda.CUDAGraph
    flat: Tensor
    loss: Tensor

    def replay(self, part: MicroBatch) -> Tensor:
        self.flat.copy_(flatten(part.arrays), non_blocking=True)
        self.graph.replay()
        return self.loss


class Graphs:
    """One graph for each task and size of row, made when the size comes for the second time: the first pass goes
    kernel by kernel, in which libraries load what they need, and so does every pass of large rows or where `enabled`
    is false. All graphs share their memory: no two run at once, and nothing of one is read after another has run but
    its loss."""

    def __init__(self, engine: Any, enabled: bool = True) -> None:
        self.module, self.bare = engine.module, _Bare(engine.module)
        self.sums = find_sums(engine)
        self.factor = torch.zeros((), device=engine.device)
        self.pool = torch.cuda.graph_pool_handle()
        self.enabled = enabled
        self._seen: set[Any] = set()
        self._graphs: dict[Any, _Graph] = {}

    @property
    def count(self) -> int:
        """Graphs that were made."""
        return len(self._graphs)

    def run(self, task: str, part: MicroBatch, factor: float) -> Tensor:
        """Add the gradient of the sum of the losses times `factor`; returns that sum, valid until the next pass."""
        graph = self._find(task, part)
        self.factor.fill_(factor)  # after what may be recorded, which adds zeros
        return graph.replay(part) if graph else self._pass(task, part.to(self.factor.device))

    def _find(self, task: str, part: MicroBatch) -> _Graph | None:
        """The graph of this pass, made now if it is time for it."""
        key = _key(task, part)
        if key in self._graphs:
            return self._graphs[key]
        if not self.enabled or part.tokens > MOST_TOKENS or self.count >= MOST_GRAPHS:
            return None
        if key not in self._seen:
            self._seen.add(key)
            return None
        try:
            self._graphs[key] = self._capture(task, part)
        except RuntimeError as error:  # out of memory, too
            print(f"no CUDA graphs from here on: {_first_cause(error)}", flush=True)
            self._give_up()
        return self._graphs.get(key)

    def _give_up(self) -> None:
        """Leave everything as it was before a graph that could not be finished."""
        self.enabled = False
        self._graphs.clear()
        device = self.factor.device
        with contextlib.suppress(RuntimeError):  # where the end of the recording came as far as that
            torch._C._cuda_endAllocateToPool(device.index, self.pool)
        # The generator still takes itself for recorded; a new state, seeded as it was before this pass, does not.
        state = torch.Generator(device).graphsafe_get_state()
        torch.cuda.default_generators[device.index].graphsafe_set_state(state)
        torch.cuda.manual_seed(torch.initial_seed())
        torch.cuda.empty_cache()

    def _capture(self, task: str, part: MicroBatch) -> _Graph:
        flat = flatten(part.arrays).to(self.factor.device)
        batch = split_flat(flat, part.arrays)
        if not self._graphs:
            self._rehearse(task, batch)
        # DeepSpeed's hooks keep what autograd recorded of earlier passes in cycles, and their activations with it.
        gc.collect()
        graph = torch.cuda.CUDAGraph()
        # The mode: other threads (NCCL's, the pinned memory's) may talk to the driver meanwhile.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            loss = self._pass(task, batch)
        return _Graph(graph, flat, loss)

    def _rehearse(self, task: str, batch: Batch) -> None:
        """A pass that adds zeros, before the first graph: a kernel that is loaded while one is recorded spoils it."""
        state = torch.cuda.get_rng_state(self.factor.device)
        self.factor.zero_()
        self._pass(task, batch)
        torch.cuda.set_rng_state(state, self.factor.device)

    def _pass(self, task: str, batch: Batch) -> Tensor:
        # In place of the parameters tensors that share their memory: autograd binds a parameter to the stream on which
        # it was first used, and waits for that stream, which a recording cannot.
        weights = {name: p.detach().requires_grad_() for name, p in self.module.named_parameters(prefix="module")}
        loss, _ = functional_call(self.bare, weights, (task, batch))
        gradients = torch.autograd.grad(loss * self.factor, list(weights.values()), allow_unused=True)
        for name, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                self.sums[name].add_(gradient.reshape(-1))
        return loss.detach()


class _Bare(nn.Module):
    """A module without the hooks that DeepSpeed has put before and after the whole of it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, task: str, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, terms = self.module.forward(task, batch)
        return loss, terms


def find_sums(engine: Any) -> dict[str, Tensor]:
    """DeepSpeed's flat fp32 buffer of each parameter's gradient, named as `_Bare` names the parameter."""
    optimizer = engine.optimizer
    groups = zip(optimizer.bf16_groups, optimizer.fp32_groups_gradients, strict=True)
    sums = {id(p): total for group, totals in groups for p, total in zip(group, totals, strict=True)}
    return {name: sums[id(p)] for name, p in engine.module.named_parameters(prefix="module")}


def _first_cause(error: BaseException) -> BaseException:
    """What went wrong while a graph was recorded, rather than that it could not be finished."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _key(task: str, part: MicroBatch) -> Any:
    return task, tuple(values.shape for values in part.arrays.values())
