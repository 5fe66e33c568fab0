"""Several trainings at once on one GPU: real processes of our loop, started together, of which more and more run.

python3 tests/bench/colocated.py WORKER FOLDER tiny|large is one of them; `run_together` is what starts them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

START_LIMIT_S, PHASE_S, WARM_UPDATES, UPDATES, BATCH = 100, 5.0, 60, 4_000, 32


def run_together(counts: tuple[int, ...], folder: Path, tiny: bool) -> dict[str, Any]:
    """Real tokens per second of so many runs at once, all together."""
    gate = folder / "colocated"
    gate.mkdir(exist_ok=True)
    for old in gate.iterdir():
        old.unlink()
    size = "tiny" if tiny else "large"
    workers = []
    for number in range(max(counts)):
        log = open(gate / f"log-{number}", "w", encoding="utf-8")  # noqa: SIM115 - the process keeps it
        command = [sys.executable, __file__, str(number), str(gate), size]
        workers.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
    try:
        _wait_for([gate / f"ready-{number}" for number in range(max(counts))], START_LIMIT_S, workers)
        found: dict[str, Any] = {}
        for phase, count in enumerate(counts):
            begin = time.time() + 0.5
            _write(gate / f"phase-{phase}", {"runs": count, "begin": begin, "end": begin + (1 if tiny else PHASE_S)})
            results = [gate / f"result-{phase}-{number}" for number in range(count)]
            _wait_for(results, 60, workers)
            rates = [json.loads(path.read_text())["tokens_per_s"] for path in results]
            found[str(count)] = {"tokens_per_s": sum(rates), "of_each": rates}
        return found
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _wait_for(paths: list[Path], limit_s: float, workers: list[subprocess.Popen[bytes]]) -> None:
    last = time.time() + limit_s
    while not all(path.exists() for path in paths):
        dead = [number for number, worker in enumerate(workers) if worker.poll() is not None]
        if dead or time.time() > last:
            missing = [path.name for path in paths if not path.exists()]
            raise RuntimeError(f"missing after {limit_s} s: {missing}; ended: {dead}; {_tail(paths[0].parent)}")
        time.sleep(0.05)


def _tail(gate: Path) -> str:
    return " ".join(path.read_text()[-600:] for path in sorted(gate.glob("log-*"))[:2])


def _write(path: Path, value: dict[str, Any]) -> None:
    hidden = path.with_name("." + path.name)
    hidden.write_text(json.dumps(value))
    hidden.rename(path)


def work(number: int, gate: Path, tiny: bool) -> None:
    """Train, and stand still whenever it is not this process's turn."""
    import tempfile

    import torch

    from stilts.training.heartbeat import Heartbeat
    from stilts.training.loop import optimise
    from stilts.training.settings import Layout
    from stilts.training.world import World, init_distributed
    from tests.bench.gpu import TINY
    from tests.bench.synthetic import LARGE, Workload

    torch.set_num_threads(2)
    load = Workload.draw("mnli", BATCH, UPDATES, TINY if tiny else LARGE, "bf16")

    class Turnstile(Heartbeat):
        done, phase, since = 0, -1, (0.0, 0)
        end = 0.0

        def beat(self, phase: str, step: int, total: int, **facts: Any) -> None:
            self.done = step
            if step < (3 if tiny else WARM_UPDATES):
                return
            if self.phase < 0:
                _write(gate / f"ready-{number}", {})
            elif time.time() < self.end:
                return
            else:
                began, before = self.since
                tokens = load.tokens(before, step)
                rate = tokens / (time.time() - began)
                _write(gate / f"result-{self.phase}-{number}", {"tokens_per_s": rate, "updates": step - before})
            self._await_turn()

        def _await_turn(self) -> None:
            while True:
                self.phase += 1
                path = gate / f"phase-{self.phase}"
                while not path.exists():
                    time.sleep(0.01)
                turn = json.loads(path.read_text())
                if number < turn["runs"]:
                    break
            time.sleep(max(0.0, turn["begin"] - time.time()))
            self.since, self.end = (time.time(), self.done), turn["end"]

    world = World.single()
    init_distributed(world)
    with tempfile.TemporaryDirectory() as folder:
        optimise(load.training(world.device, Layout()), world, Turnstile(Path(folder)))


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "tiny")
