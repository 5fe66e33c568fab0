"""Starting the ranks of a training on this machine's CPU, as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}


def train_on_ranks(jobs: Sequence[Mapping[str, Any]], size: int, folder: Path, timeout_s: float = 240) -> None:
    """Run the trainings one after the other on `size` gloo ranks; AssertionError with the output if a rank fails."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"jobs-{size}.json"
    path.write_text(json.dumps([dict(job) for job in jobs], default=str))
    run_ranks([sys.executable, "-m", "tests.support.gloo_rank"], size, [str(path)], timeout_s)


def run_ranks(command: Sequence[str], size: int, arguments: Sequence[str], timeout_s: float = 240) -> None:
    """Run `command` RANK SIZE PORT `arguments` for every rank; AssertionError with the output if one fails."""
    # The store lives here, so that the port is the kernel's and no rank has to be first.
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(size), str(store.port), *arguments],
            cwd=ROOT,
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        outputs = [rank.communicate(timeout=timeout_s)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    failed = [output for rank, output in zip(ranks, outputs, strict=True) if rank.returncode]
    assert not failed, "\n".join(failed)
