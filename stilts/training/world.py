"""The processes of one training: who this one is, and how they meet.

Environment that a job sets BEFORE Python starts, because the libraries read it on import:
`TORCHDYNAMO_DISABLE=1` on CPU (nothing is compiled here, and tracing DeepSpeed's decorators costs seconds),
`OMP_NUM_THREADS` (as many threads as cores were given to the rank), `HF_HUB_OFFLINE=1`.
"""

from __future__ import annotations

import os
import socket
import warnings
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from types import ModuleType

import torch
import torch.distributed

# Longer than the slowest thing a rank does alone (reading and checking a large model from a shared disk).
TIMEOUT_MIN = 30


@dataclass(frozen=True)
class World:
    """One rank of a training: `rank` of `size`, the `local_rank`-th on its node, on `device`."""

    rank: int
    local_rank: int
    size: int
    device: torch.device

    @classmethod
    def single(cls) -> World:
        """The only process of a training, on the first GPU if there is one."""
        return cls(rank=0, local_rank=0, size=1, device=torch.device("cuda:0" if torch.cuda.is_available() else "cpu"))

    @property
    def first(self) -> bool:
        """Whether this rank writes files."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor on this rank's device over all ranks (a collective)."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def agree(self, request: int) -> int:
        """The largest of all ranks' requests (a collective between CPUs: it does not wait for a GPU)."""
        if self.size == 1:
            return request
        value = torch.tensor(request)
        torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MAX, group=_cpu_group())
        return int(value)

    def count_sharers(self) -> int:
        """How many ranks compute on this rank's GPU, or on this node's CPUs (a collective)."""
        if self.size == 1:
            return 1
        device = str(torch.cuda.get_device_properties(self.device).uuid) if self.device.type == "cuda" else "cpu"
        mine = (socket.gethostname(), device)
        places: list[tuple[str, str]] = [mine] * self.size
        torch.distributed.all_gather_object(places, mine, group=_cpu_group())
        return places.count(mine)

    def wait(self) -> None:
        """Until every rank is here (a collective)."""
        if self.size > 1:
            torch.distributed.barrier()


@lru_cache(maxsize=1)
def _cpu_group() -> torch.distributed.ProcessGroup | None:
    """The group of all ranks' CPUs; None, which is the default one, where that is gloo anyway."""
    if torch.distributed.get_backend() == "gloo":
        return None
    return torch.distributed.new_group(backend="gloo", timeout=timedelta(minutes=TIMEOUT_MIN))


def init_distributed(world: World, store: torch.distributed.TCPStore | None = None) -> None:
    """Make the process group (gloo on CPU, NCCL on CUDA) that DeepSpeed then finds ready.

    `store` is the meeting point of all ranks; the caller chose its address and port, so that nothing inherited
    from a surrounding job can send ranks elsewhere. A world of one needs none: a local one on a free port.
    Called again in a process that has its group, it does nothing.
    """
    if torch.distributed.is_initialized():
        assert torch.distributed.get_world_size() == world.size, "the process group has another size"
        return
    if store is None:
        assert world.size == 1, "several ranks need the store where they meet"
        store = torch.distributed.TCPStore("127.0.0.1", 0, 1, is_master=True)
    _export(world, store)
    cuda = world.device.type == "cuda"
    if cuda:
        torch.cuda.set_device(world.device)
    torch.distributed.init_process_group(
        backend="nccl" if cuda else "gloo",
        store=store,
        rank=world.rank,
        world_size=world.size,
        timeout=timedelta(minutes=TIMEOUT_MIN),
        device_id=world.device if cuda and world.size > 1 else None,
    )


def close_distributed() -> None:
    """Leave the process group; without it NCCL warns at exit and may hang."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def import_deepspeed(world: World) -> ModuleType:
    """The deepspeed module, with its accelerator fixed and its C++ extension switched off."""
    # DeepSpeed picks its accelerator on import; left alone it probes for compilers and prints warnings.
    os.environ["DS_ACCELERATOR"] = world.device.type
    # One per collective and update under stage 3, about functions that DeepSpeed calls.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed.c10d_logger")
    import deepspeed
    import deepspeed.ops

    # On CPU DeepSpeed compiles a shared-memory all-reduce with g++ (24 s, and an error where there is no
    # compiler) unless this table says that the machine cannot. Set as a whole: reading it runs the compiler too.
    deepspeed.ops.__dict__["__compatible_ops__"] = {}
    return deepspeed


def _export(world: World, store: torch.distributed.TCPStore) -> None:
    """The variables without which DeepSpeed looks for MPI."""
    os.environ.update(
        RANK=str(world.rank),
        WORLD_SIZE=str(world.size),
        LOCAL_RANK=str(world.local_rank),
        MASTER_ADDR=store.host,
        MASTER_PORT=str(store.port),
        DS_ACCELERATOR=world.device.type,
    )
