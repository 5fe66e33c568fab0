"""How far the planner is off about runs of classes that it has not seen, on trainings that really run here.

python tests/bench/planner.py [ROOT]         about five minutes on two cores; ROOT keeps the runs, to be judged again

Every intermediate and target task of the real slices ($STILTS_DATA, or shared/data beside the checkout) is trained and
scored by the jobs' own code in three classes of length, batch size and ranks, one thread a rank, each run a fork of a
process that has imported the libraries. Then each class is predicted as `grid.py --dry-run` does it, from a history
without any run of its task, and compared with the seconds from the start of its attempt to its end.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from launch.campaign import Campaign  # noqa: E402
from launch.cluster import Cluster  # noqa: E402
from launch.estimates import Estimate, History, recount  # noqa: E402
from launch.history import read_history  # noqa: E402
from launch.plan import Plan  # noqa: E402
from launch.prepared import PreparedSets  # noqa: E402
from launch.resources import ResourceRule  # noqa: E402
from stilts.runs import read_json  # noqa: E402
from stilts.tasks.catalogue import INTERMEDIATES, TRAININGS, task_family  # noqa: E402
from tests.launch.small import plan_of  # noqa: E402
from tests.support.campaigns import Study  # noqa: E402
from tests.support.slices_root import LANGUAGES, build_root  # noqa: E402

LIGHT = ("fetch", "pretrain", "prepare")
# Epochs over 160 examples: so that a run takes some seconds whatever its examples are.
EPOCHS = {"pair": 6, "tagging": 6, "span": 3, "choice": 2}


@dataclass(frozen=True)
class Setting:
    """How a class is trained."""

    name: str
    max_length: int
    batch_size: int
    ranks: int

    def plan(self, data: Path) -> Plan:
        """Every task alone, and every target on the encoder that nothing has trained."""
        return plan_of(self.grid(data), Cluster(name="here", resources=[ResourceRule(ranks=self.ranks, cpus=1)]))

    def grid(self, data: Path) -> dict[str, Any]:
        shared = {"precision": "fp32", "learning_rate": 1e-3, "max_examples": 160, "collapse": "off"}
        shared |= {"max_length": self.max_length, "batch_size": self.batch_size}
        shared |= {"selection": {"points": 2, "examples": 20}}
        tasks = {name: {"epochs": EPOCHS[task_family(name)]} for name in (*INTERMEDIATES, *TRAININGS)}
        return {
            "name": f"planner-{self.name}",
            "suite": "xtreme",
            "data_root": str(data),
            "languages": {target: found[:2] for target, found in LANGUAGES.items()},
            "axes": {"model": "scratch", "intermediate": "none", "target": "all", "seed": [1]},
            "include": [{"intermediate": "each", "target": "tatoeba"}],
            "pretrain": {"text": ["mnli", "squad1", "xnli", "xquad", "udpos"], "vocabulary": 6000},
            "intermediate": {**shared, "tasks": {name: tasks[name] for name in INTERMEDIATES}},
            "target": {**shared, "tasks": {name: tasks[name] for name in TRAININGS}},
        }


SETTINGS = (Setting("short", 64, 16, 1), Setting("long", 128, 8, 1), Setting("ranks", 96, 32, 2))


@dataclass(frozen=True)
class Case:
    """A class that was run: its plan and its run there."""

    setting: Setting
    plan: Plan
    run_id: str

    @property
    def task(self) -> str:
        (task,) = self.plan.runs[self.run_id].config["tasks"]
        return str(task)


def prepare(study: Study, setting: Setting, data: Path) -> None:
    """Fetch, tokenise, and make the random encoder, by the launcher."""
    study.write(setting.grid(data))
    study.launch("--select", "stage=prepare")


def list_cases(data: Path) -> list[Case]:
    plans = {setting: setting.plan(data) for setting in SETTINGS}
    stages = ("intermediate", "target")
    return [
        Case(s, plan, run_id) for s, plan in plans.items() for run_id, run in plan.runs.items() if run.stage in stages
    ]


def run_all(cases: Iterable[Case], root: Path) -> None:
    """One after the other in an order that has nothing to do with their classes."""
    from jobs.warm import warm_up

    os.environ.update(TORCHDYNAMO_DISABLE="1", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")
    warm_up()
    cases = list(cases)
    random.Random(0).shuffle(cases)
    for number, case in enumerate(cases):
        Campaign(root).write_specs(case.plan, [case.run_id])
        began = time.monotonic()
        ranks = [_fork(root / case.run_id, rank, case.setting.ranks) for rank in range(case.setting.ranks)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in ranks]
        if any(codes):
            log = next((root / case.run_id / "attempts").glob("*/rank0.log"))
            raise SystemExit(f"{case.run_id} failed: {log.read_text()[-4000:]}")
        print(f"{number + 1:3}/{len(cases)} {case.run_id}: {time.monotonic() - began:.1f} s", flush=True)


def _fork(folder: Path, rank: int, size: int) -> int:
    """A process for one rank, as the local pool's warm server starts one; its pid."""
    from jobs.warm import start

    place = {"SLURM_STEP_NUM_TASKS": size, "SLURM_PROCID": rank, "SLURM_LOCALID": rank} if size > 1 else {}
    environment = {"OMP_NUM_THREADS": "1", **{name: str(value) for name, value in place.items()}}
    return start({"run": str(folder), "attempt": "measured", "environment": environment})


def seconds_of(folder: Path) -> float:
    attempt = folder / "attempts" / "measured"
    begun, ended = read_json(attempt / "attempt.json") or {}, read_json(attempt / "outcome.json") or {}
    return float(ended["ended"] - begun["started"])


def judge(cases: Iterable[Case], root: Path) -> Iterator[tuple[Case, Estimate, float]]:
    """Each case as the planner estimates it without any run of its task, with the seconds that it took."""
    known = PreparedSets([root])
    speeds = read_history([root], known)
    for case in cases:
        run, plan = case.plan.runs[case.run_id], case.plan
        others = History(speed for speed in speeds if case.task not in speed.tasks)
        tokens = recount(run, plan.tokens[run.id], known)
        found = others.estimate(run, tokens, plan.resources(run.id), plan.cluster.tokens_per_second)
        yield case, found, seconds_of(root / case.run_id)


def main() -> None:
    data = Path(os.environ.get("STILTS_DATA", ROOT / "shared" / "data"))
    if not data.is_dir():
        raise SystemExit(f"no data slices in {data}; name their folder in STILTS_DATA")
    with tempfile.TemporaryDirectory(prefix="planner-") as made:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(made)
        study = Study(folder, {}, ("--executor", "local"), {"OMP_NUM_THREADS": "1"})
        if not (folder / "data").is_dir():
            (folder / "data").mkdir()
            build_root(data.resolve(), folder / "data")
            for setting in SETTINGS:
                prepare(study, setting, folder / "data")
        cases = list_cases(folder / "data")
        left = [case for case in cases if not (study.root / case.run_id / "DONE").exists()]
        if left:
            run_all(left, study.root)
        for case, predicted, seen in judge(cases, study.root):
            print(case.task, predicted, seen)


if __name__ == "__main__":
    main()
