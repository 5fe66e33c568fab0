"""How far the planner is off about runs of classes that it has not seen, on trainings that really run here.

python tests/bench/planner.py [ROOT]         about five minutes on two cores; ROOT keeps the runs, to be judged again

Every intermediate and target task of the real slices ($STILTS_DATA, or shared/data beside the checkout) is trained and
scored by the jobs' own code in three classes of length, batch size and ranks, one thread a rank, each run a fork of a
process that has imported the libraries. Then each class is predicted by the code of `grid.py --dry-run`, from runs of
tasks with other data alone, and compared with the seconds from the start of its attempt to its end; and once more from
a few classes at random.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from launch.campaign import Campaign  # noqa: E402
from launch.cluster import Cluster  # noqa: E402
from launch.cost import recount  # noqa: E402
from launch.estimates import Estimate, History, Key  # noqa: E402
from launch.fit import Fit, Sample  # noqa: E402
from launch.history import Speed, read_history, recipe_of  # noqa: E402
from launch.plan import Plan  # noqa: E402
from launch.prepared import PreparedSets  # noqa: E402
from launch.resources import ResourceRule  # noqa: E402
from stilts.runs import read_json  # noqa: E402
from stilts.tasks.catalogue import INTERMEDIATES, TRAININGS, task_family  # noqa: E402
from tests.bench import goals  # noqa: E402
from tests.launch.small import plan_of  # noqa: E402
from tests.support.campaigns import Study  # noqa: E402
from tests.support.slices_root import LANGUAGES, build_root  # noqa: E402

STAGES = ("intermediate", "target")
# Epochs over 160 examples: so that a run takes some seconds whatever its examples are.
EPOCHS = {"pair": 3, "tagging": 3, "span": 2, "choice": 1}
# The most text to be scored is in these; English alone will do.
SCORED = {**{target: languages[:2] for target, languages in LANGUAGES.items()}, "xquad": ["en"], "mlqa": ["en"]}


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
            "languages": SCORED,
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

    @property
    def key(self) -> tuple[str, tuple[Any, ...]]:
        """What its speed is found by."""
        run = self.plan.runs[self.run_id]
        return run.stage, recipe_of(run.config)


def prepare(study: Study, setting: Setting, data: Path) -> None:
    """Fetch, tokenise, and make the random encoder, by the launcher."""
    study.write(setting.grid(data))
    study.launch("--select", "stage=prepare")


def list_cases(data: Path) -> list[Case]:
    plans = {setting: setting.plan(data) for setting in SETTINGS}
    return [
        Case(s, plan, run_id) for s, plan in plans.items() for run_id, run in plan.runs.items() if run.stage in STAGES
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
        took = f"{time.monotonic() - began:.1f} s, load {os.getloadavg()[0]:.1f}"
        print(f"{number + 1:3}/{len(cases)} {case.run_id}: {took}", flush=True)


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


class OneRate(History):
    """The planner without its fit: the median rate of the others."""

    def _fit(self, key: Key, sample: Callable[[Speed], Sample | None]) -> Fit | None:
        return None


@dataclass(frozen=True)
class Verdict:
    """A case as the planner estimates it from the runs of all other tasks, with and without its fit, in seconds."""

    case: Case
    estimate: Estimate
    one_rate: Estimate
    seen_s: float

    @property
    def error(self) -> float:
        """Of the predicted seconds, as a share of those that it took."""
        return self.estimate.hours.expected * 3600 / self.seen_s - 1

    @property
    def held(self) -> bool:
        return self.estimate.hours.low <= self.seen_s / 3600 <= self.estimate.hours.high

    def spell(self) -> str:
        s, hours = self.case.setting, self.estimate.hours.times(3600)
        told = f"{self.case.task:10} {s.max_length:6} {s.batch_size:5} {s.ranks:5} "
        told += f"{self.estimate.source} to {self.estimate.runs}".ljust(14)
        return f"{told} {hours.low:6.1f} {hours.expected:6.1f} {hours.high:6.1f} {self.seen_s:6.1f} {self.error:+6.0%}"


class Court:
    """Judges cases by the records of their runs."""

    def __init__(self, cases: Iterable[Case], root: Path) -> None:
        self.cases, self.root, self.known = list(cases), root, PreparedSets([root])
        trained = [speed for speed in read_history([root], self.known) if speed.stage in STAGES]
        self.speeds = {(speed.stage, speed.recipe): speed for speed in trained}

    def leave_out(self) -> list[Verdict]:
        """Every case from the runs of all tasks that are trained on other data."""
        every = self.speeds.values()
        return [
            self.judge(case, [s for s in every if _data_of(*s.tasks) != _data_of(case.task)]) for case in self.cases
        ]

    def start_with(self, count: int, draws: int = 20) -> list[Verdict]:
        """The other cases from so many at random, several times."""
        rng, verdicts = random.Random(count), list[Verdict]()
        for _ in range(draws):
            chosen = rng.sample(sorted(self.speeds), count)
            speeds = [self.speeds[key] for key in chosen]
            verdicts += [self.judge(case, speeds) for case in self.cases if case.key not in chosen]
        return verdicts

    def judge(self, case: Case, speeds: list[Speed]) -> Verdict:
        plan, run = case.plan, case.plan.runs[case.run_id]
        tokens = recount(run, plan.tokens[run.id], self.known)
        resources, stated = plan.resources(run.id), plan.cluster.tokens_per_second
        fitted, one_rate = (kind(speeds).estimate(run, tokens, resources, stated) for kind in (History, OneRate))
        return Verdict(case, fitted, one_rate, seconds_of(self.root / run.id))


def _data_of(task: str) -> str:
    """Two targets are trained on the data of intermediate tasks."""
    return {"squad": "squad1", "xnli": "mnli"}.get(task, task)


def show(court: Court) -> None:
    left_out = court.leave_out()
    print("task       length batch ranks fitted            low  about   high   seen  error")
    for verdict in left_out:
        print(verdict.spell())
    show_medians("all", left_out)
    error = median(abs(verdict.error) for verdict in left_out)
    goals.compare(f"planner, median error of {len(left_out)} classes held out", 100 * error, "%", most=20)
    for setting in SETTINGS:
        show_medians(setting.name, [verdict for verdict in left_out if verdict.case.setting is setting])
    for count in (4, 8, 16):
        show_medians(f"from {count} classes at random", court.start_with(count))


def show_medians(name: str, verdicts: list[Verdict]) -> None:
    held = sum(verdict.held for verdict in verdicts) / len(verdicts)
    error = median(abs(verdict.error) for verdict in verdicts)
    rough = median(abs(verdict.one_rate.hours.expected * 3600 / verdict.seen_s - 1) for verdict in verdicts)
    print(
        f"{name}: {len(verdicts)} predictions, median absolute error {error:.1%}, with one rate "
        f"for all {rough:.1%}; {held:.0%} between low and high"
    )


def main() -> None:
    data = Path(os.environ.get("STILTS_DATA") or ROOT.parent / "shared" / "data")
    if not data.is_dir():
        raise SystemExit(f"no data slices in {data}; name their folder in STILTS_DATA")
    with tempfile.TemporaryDirectory(prefix="planner-") as made:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(made)
        study = Study(folder, {}, ("--executor", "local"), {"OMP_NUM_THREADS": "1"})
        if not (folder / "data").is_dir():
            (folder / "data").mkdir()
            build_root(data.resolve(), folder / "data")
        cases = list_cases(folder / "data")
        left = [case for case in cases if not (study.root / case.run_id / "DONE").exists()]
        if left:
            for setting in SETTINGS:
                prepare(study, setting, folder / "data")
            run_all(left, study.root)
        show(Court(cases, study.root))


if __name__ == "__main__":
    main()
