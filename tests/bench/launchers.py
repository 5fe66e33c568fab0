"""submitit, dora and exca on the scheduler that PATH names: the time to expand, submit and submit again (a no-op).

python tests/bench/launchers.py NAME RUNS FOLDER [PACKAGES]     prints one JSON object

Each is used as its own documentation shows it, with a task that does nothing, and one array for all runs; `singles` is
one submission for each run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TARGETS = ("xnli", "udpos", "xquad", "tatoeba")


def work(target: str, seed: int) -> float:
    """What a run would do."""
    return float(seed)


def expand(runs: int) -> list[dict[str, Any]]:
    """So many combinations."""
    return [{"target": TARGETS[n % len(TARGETS)], "seed": n // len(TARGETS)} for n in range(runs)]


@contextmanager
def clock(times: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    times[name] = time.perf_counter() - started


def run_submitit(runs: int, folder: Path, times: dict[str, float]) -> None:
    """It has no grid and remembers nothing: a second time is asking the jobs, built anew, for their states."""
    import submitit

    with clock(times, "expand"):
        points = expand(runs)
    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(time=5, array_parallelism=256)
    with clock(times, "submit"):
        jobs = executor.map_array(work, [p["target"] for p in points], [p["seed"] for p in points])
    names = [job.job_id for job in jobs]
    with clock(times, "again"):
        states = [submitit.SlurmJob(folder=folder, job_id=name).state for name in names]
    assert len(states) == runs


def run_singles(runs: int, folder: Path, times: dict[str, float]) -> None:
    import submitit

    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(time=5, additional_parameters={"hold": True})
    with clock(times, "submit"):
        for point in expand(runs):
            executor.submit(work, **point)


def run_exca(runs: int, folder: Path, times: dict[str, float]) -> None:
    sys.modules["bench_exca_task"] = module = type(sys)("bench_exca_task")
    source = (
        "import exca, pydantic\n"
        "class Task(pydantic.BaseModel):\n"
        "    target: str\n"
        "    seed: int\n"
        "    infra: exca.TaskInfra = exca.TaskInfra(version='1')\n"
        "    @infra.apply\n"
        "    def process(self) -> float:\n"
        "        return float(self.seed)\n"
    )
    exec(source, module.__dict__)
    task = module.__dict__["Task"]
    infra = {"folder": folder, "cluster": "slurm"}

    def submit(points: list[dict[str, Any]]) -> None:
        first = task(**points[0], infra=infra)
        with first.infra.job_array(allow_empty=True) as array:
            array.extend(task(**point, infra=infra) for point in points)

    with clock(times, "expand"):
        points = expand(runs)
    with clock(times, "submit"):
        submit(points)
    with clock(times, "again"):
        submit(points)


def run_dora(runs: int, folder: Path, times: dict[str, float]) -> None:
    package = folder / "bench_dora"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "train.py").write_text(
        "import argparse\n"
        "from dora import argparse_main\n"
        "parser = argparse.ArgumentParser('train')\n"
        "parser.add_argument('--target', default='none')\n"
        "parser.add_argument('--seed', type=int, default=0)\n"
        f"@argparse_main(parser=parser, dir={str(folder / 'outputs')!r})\n"
        "def main():\n"
        "    return 0\n"
    )
    sys.path.insert(0, str(folder))
    os.environ.update(DORA_PACKAGE="bench_dora")
    explore, grid = importlib.import_module("dora.explore"), importlib.import_module("dora.grid")
    main = importlib.import_module("bench_dora.train").main

    def explorer(launcher: Any) -> None:
        points = expand(runs)
        with launcher.job_array():
            for point in points:
                launcher(**point)

    arguments = grid.RunGridArgs(monitor=False, silent=True)
    with clock(times, "expand"):
        expand(runs)
    for name in ("submit", "again"):
        with clock(times, name):
            grid.run_grid(main, explore.Explorer(explorer), "bench", args=arguments)


LAUNCHERS: dict[str, Callable[[int, Path, dict[str, float]], None]] = {
    "submitit": run_submitit,
    "singles": run_singles,
    "exca": run_exca,
    "dora": run_dora,
}


def main() -> None:
    """Measure one of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=LAUNCHERS)
    parser.add_argument("runs", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("packages", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.packages:
        sys.path.append(str(arguments.packages))
    times: dict[str, float] = {}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    saved = os.dup(1)
    os.dup2(2, 1)  # they print
    LAUNCHERS[arguments.name](arguments.runs, arguments.folder, times)
    os.write(saved, (json.dumps(times) + "\n").encode())


if __name__ == "__main__":
    main()
