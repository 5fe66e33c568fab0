"""One, two and four ranks on this machine's CPUs: the same updates, how much faster, how even, and the ZeRO stages.

python tests/bench/ranks.py [--updates N]

Every training is done by processes of its own, one thread each, that meet over gloo. Where ranks outnumber the cores
their time by the clock says nothing about more cores: processor time is told beside it. Memory is the highest of one
rank's, beyond what its imports hold. Tokens: the part of the busiest rank, to be 1 / ranks. The large epsilon keeps
Adam from dividing rounding by rounding, so that weights can be compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from stilts.training.batches import Limits  # noqa: E402
from stilts.training.budget import CPU_TOKENS  # noqa: E402
from stilts.training.loop import Training, optimise  # noqa: E402
from stilts.training.settings import Layout  # noqa: E402
from stilts.training.world import World, close_distributed, init_distributed  # noqa: E402
from tests.bench import goals  # noqa: E402
from tests.bench.measured import Clock, Ticker  # noqa: E402
from tests.bench.synthetic import SMALL, Workload  # noqa: E402
from tests.support.ranks import run_ranks  # noqa: E402

CPU = torch.device("cpu")
# (ranks, ZeRO stage), the one that others are compared with first.
TRAININGS = ((1, 1), (2, 1), (4, 1), (2, 0), (2, 2), (2, 3))


def draw(updates: int) -> Workload:
    """MNLI's pairs as the paper batches them, without dropout."""
    return dataclasses.replace(Workload.draw("mnli", 32, updates, SMALL, "fp32"), dropout=0.0)


def make_training(updates: int, stage: int) -> Training:
    training = draw(updates).training(CPU, Layout(zero_stage=stage))
    return dataclasses.replace(
        training, settings=dataclasses.replace(training.settings, adam_eps=1e-3, learning_rate=1e-2)
    )


def work(rank: int, size: int, port: int, updates: int, stage: int, folder: Path) -> None:
    """One rank: train, and leave what was measured; the first one its weights, too."""
    warnings.filterwarnings("ignore")
    world = World(rank=rank, local_rank=rank, size=size, device=CPU)
    init_distributed(world, torch.distributed.TCPStore("127.0.0.1", port, is_master=False))
    training = make_training(updates, stage)
    world.wait()
    before = peak_mb()
    clock = Clock(CPU, updates)
    weights, _ = optimise(training, world, Ticker(folder / f"rank{rank}", clock))
    counted = updates - clock.warm
    found = {
        "ms": (clock.times[-1] - clock.times[clock.warm - 1]) / counted * 1000,
        "cpu_ms": (clock.cpu_times[-1] - clock.cpu_times[clock.warm - 1]) / counted * 1000,
        "peak_mb": peak_mb() - before,
    }
    (folder / f"rank{rank}.json").write_text(json.dumps(found))
    if world.first:
        save_file(weights, folder / "weights.safetensors")
    world.wait()
    close_distributed()


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def train(size: int, stage: int, updates: int, folder: Path) -> dict[str, Any]:
    """Time and memory of a training, and its weights."""
    for rank in range(size):
        (folder / f"rank{rank}").mkdir(parents=True)
    run_ranks([sys.executable, __file__], size, [str(updates), str(stage), str(folder)])
    ranks = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(size)]
    return {
        "ms": max(rank["ms"] for rank in ranks),
        "cpu_ms": sum(rank["cpu_ms"] for rank in ranks),
        "peak_mb": max(rank["peak_mb"] for rank in ranks),
        "weights": load_file(folder / "weights.safetensors"),
    }


def find_busiest(updates: int, size: int) -> float:
    """The part of all tokens that the busiest rank of each update has."""
    training = make_training(updates, 1)
    busiest = total = 0
    for step in range(updates):
        update = training.update(step)
        pieces = update.divide(Limits(CPU_TOKENS, packed=True), size)
        busiest += max(sum(update.tokens(piece)[0] for piece in mine if piece.weight) for mine in pieces)
        total += update.real_tokens
    return busiest / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=9)
    updates = parser.parse_args().updates
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, one thread a rank; {SMALL}")
    print("ranks  stage  ms/update  CPU ms/update  efficiency (CPU)  tokens of the busiest  peak MB  weights differ")
    began, first = time.monotonic(), None
    efficiency: dict[tuple[int, int], float] = {}
    for size, stage in TRAININGS:
        with tempfile.TemporaryDirectory(prefix="ranks-") as made:
            found = train(size, stage, updates, Path(made))
        first = first or found
        apart = max(float((found["weights"][name] - w).abs().max()) for name, w in first["weights"].items())
        efficiency[size, stage] = first["ms"] / found["ms"] / size
        faster = f"{efficiency[size, stage]:.2f} ({first['cpu_ms'] / found['cpu_ms']:.2f})"
        print(
            f"{size:5}  {stage:5}  {found['ms']:9.0f}  {found['cpu_ms']:13.0f}  {faster:>16}  "
            f"{find_busiest(updates, size):21.3f}  {found['peak_mb']:7.0f}  {apart:14.1e}",
            flush=True,
        )
        if apart > 1e-5:
            raise SystemExit("the updates are not the same")
    for size in (2, 4):
        goals.compare(f"{size} ranks of one thread, efficiency", efficiency[size, 1])
    print(f"in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    if len(sys.argv) == 7:
        rank, size, port, updates, stage = map(int, sys.argv[1:6])
        work(rank, size, port, updates, stage, Path(sys.argv[6]))
    else:
        main()
