"""Training on this machine's CPU: our loop against its pad-free ceiling and against the Trainer of transformers.

python tests/bench/training.py [--updates N]

Each ratio is told twice: by the clock, and by processor time, which other programs on the machine disturb less. The
ceiling is the same model and loop on as many sequences and tokens in an update, all of one length. Real tokens are
counted, not pads, after the first third of the updates. Dropout is off, so that losses can be compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import sys
import time
import warnings
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # as jobs do on a CPU
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # or threads that wait would count as work
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from stilts.model.attention import PACKED  # noqa: E402
from stilts.training.batches import Piece  # noqa: E402
from stilts.training.budget import CPU_TOKENS  # noqa: E402
from stilts.training.engine import Updater, build_engine  # noqa: E402
from stilts.training.passes import Passes, open_passes  # noqa: E402
from stilts.training.settings import Layout  # noqa: E402
from stilts.training.world import World, close_distributed  # noqa: E402
from tests.bench import goals  # noqa: E402
from tests.bench.measured import Row, run_ours, run_trainer  # noqa: E402
from tests.bench.synthetic import SMALL, Workload  # noqa: E402

CPU = torch.device("cpu")
# Mix, effective batch, updates beside those asked for: MNLI's pairs as the paper batches them, and SQuAD's windows.
WORKS = {"pairs, batch 32": ("mnli", 32, 1.5), "QA windows, batch 16": ("squad", 16, 1.0)}


def draw(updates: int) -> dict[str, Workload]:
    """Workloads by name."""
    works = {}
    for name, (mix, batch, times) in WORKS.items():
        work = Workload.draw(mix, batch, round(updates * times), SMALL, "fp32")
        works[name] = dataclasses.replace(work, dropout=0.0)
    return works


def measure(works: dict[str, Workload]) -> dict[str, dict[str, Row]]:
    """Rows by workload; the Trainer's first, because our loop leaves a process group that it would take part in."""
    found: dict[str, dict[str, Row]] = {name: {} for name in works}
    for name, work in works.items():
        for strategy in ("sequential", "group_by_length"):
            _tell(found, name, f"Trainer, {strategy}", run_trainer(strategy, work, CPU, strategy))
    for name, work in works.items():
        _tell(found, name, "ours", run_ours("ours", work, CPU, Layout()))
    return found


def compare_with_ceiling(work: Workload) -> tuple[float, float]:
    """Our updates against those of the ceiling, by turns on one model so that neither has the quieter machine: ratio of
    seconds, and of processor time. The ceiling takes an update in one pass, without packing or a mask."""
    world = World(rank=0, local_rank=0, size=1, device=CPU)
    trainings = [each.training(CPU, Layout()) for each in (work, work.level())]
    ours = trainings[0]
    engine = build_engine(ours.model, ours.settings, ours.layout, world)
    engine.train()
    updater = Updater(engine, world)
    kinds = (open_passes(ours, engine, updater, world), Passes(engine, updater, world, None, None))
    spent = np.zeros((2, 2))
    for step, which in itertools.product(range(work.updates), range(2)):
        passes = kinds[which]
        ours.model.encoder.set_attn_implementation(PACKED if passes.packed else "sdpa")
        before = np.array([time.perf_counter(), time.process_time()])
        update = trainings[which].update(step)
        pieces = update.divide(passes.limits(CPU_TOKENS), 1)[0] if which == 0 else [Piece(0, work.batch_size, 1.0)]
        for index, piece in enumerate(pieces):
            passes.run(update, piece, last=index == len(pieces) - 1)
        updater.step(work.learning_rate)
        if step:
            spent[which] += np.array([time.perf_counter(), time.process_time()]) - before
    wall, cpu = spent[1] / spent[0]
    return float(wall), float(cpu)


def _tell(found: dict[str, dict[str, Row]], work: str, name: str, row: Row) -> None:
    found[work][name] = row
    rates = f"{row.tokens_per_s:8,.0f} real tokens/s {row.tokens_per_cpu_s:8,.0f} /CPU s"
    print(f"{work}: {name:26} {rates} {row.pad_share:6.1%} pads", flush=True)


def _by_cpu(one: Row, other: Row) -> str:
    return f"{one.tokens_per_cpu_s / other.tokens_per_cpu_s:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=6)
    warnings.filterwarnings("ignore")
    works = draw(parser.parse_args().updates)
    found = measure(works)
    print(f"\ntorch {torch.__version__}, {torch.get_num_threads()} threads; {SMALL}")
    for work, rows in found.items():
        ours, stock = rows["ours"], rows["Trainer, sequential"]
        grouped = rows["Trainer, group_by_length"]
        difference = max(abs(a - b) for a, b in zip(ours.losses, stock.losses, strict=True))
        pairs = work.startswith("pairs")
        wall, cpu = compare_with_ceiling(works[work])
        by_cpu = f"ceiling {cpu:.2f}, Trainer {_by_cpu(ours, stock)}, that groups {_by_cpu(ours, grouped)}"
        print(f"{work}, ratios by processor time: {by_cpu}")
        goals.compare(f"{work}: ours / pad-free ceiling", wall, least=0.75 if pairs else 0.9)
        goals.compare(
            f"{work}: ours / Trainer", ours.tokens_per_s / stock.tokens_per_s, least=1.6 if pairs else -np.inf
        )
        goals.compare(f"{work}: ours / Trainer that groups by length", ours.tokens_per_s / grouped.tokens_per_s)
        goals.compare(f"{work}: largest difference of a loss from the Trainer's", difference, most=1e-5)
    close_distributed()


if __name__ == "__main__":
    main()
