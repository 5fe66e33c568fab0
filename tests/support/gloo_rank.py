"""One rank of a training in tests: python -m tests.support.gloo_rank RANK SIZE PORT JOBS.

JOBS is a JSON file with a list of {"config", "encoder", "data", "out", "run", "layout"}, done one
after the other in the same process group.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from stilts.training.heartbeat import Heartbeat
from stilts.training.settings import Layout
from stilts.training.train import Sources, train
from stilts.training.world import World, close_distributed, init_distributed


def main(rank: int, size: int, port: int, jobs: Path) -> None:
    """Meet the other ranks on the loopback interface and train."""
    world = World(rank=rank, local_rank=rank, size=size, device=torch.device("cpu"))
    init_distributed(world, torch.distributed.TCPStore("127.0.0.1", port, is_master=False))
    for job in json.loads(jobs.read_text()):
        train(
            job["config"],
            Sources(Path(job["encoder"]), {task: Path(folder) for task, folder in job["data"].items()}),
            Path(job["out"]),
            world,
            Heartbeat(Path(job["run"]), rank),
            Layout(**job["layout"]),
        )
    close_distributed()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
