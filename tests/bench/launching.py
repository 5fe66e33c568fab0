"""What planning, submitting and doing nothing take: 10,000 runs; 1,000 on the real Slurm; beside submitit, dora, exca.

python tests/bench/launching.py PACKAGES     (PACKAGES: a folder that dora and exca are installed in)

The commands run as a user runs them, each in a process of its own, the file cache warm. Slurm's commands are stand-ins
that answer at once and count how often they are called, but for the part on the real Slurm, which this machine must
allow (it is left out otherwise).
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from launch.campaign import Campaign  # noqa: E402
from launch.cluster import load_cluster  # noqa: E402
from launch.ledger import Ledger  # noqa: E402
from launch.observation.states import Observation  # noqa: E402
from launch.plan import Plan, make_plan  # noqa: E402
from launch.reconcile import group  # noqa: E402
from launch.spec import load_grid  # noqa: E402
from stilts.runs import ENCODER_STAGES, done_record  # noqa: E402
from tests.bench import goals  # noqa: E402
from tests.launch.fake_slurm import QueueSlurm  # noqa: E402
from tests.launch.small import small  # noqa: E402
from tests.support import system  # noqa: E402
from tests.support.slurm_cluster import SlurmCluster  # noqa: E402
from tests.support.toy_studies import ToyStudy  # noqa: E402

TASKS = ("mnli", "squad1", "squad2", "hellaswag", "ccg", "cosmosqa", "csqa", "qqp", "anli")
REPEATS, SAMPLE = 3, 30
PEERS = {"ours": 1008, "submitit": 1000, "exca": 1000, "dora": 300}  # the last one's time grows with the square

# 1,008 runs: 36 encoders with 27 trainings each, every ninth of which asks for more memory.
THOUSAND: dict[str, Any] = {
    "name": "thousand",
    "axes": {
        "intermediate": ["mnli", "squad1", "hellaswag"],
        "target": ["xnli", "udpos", "xquad"],
        "seed": list(range(12)),
        "target.learning_rate": [round(1e-4 * n, 6) for n in range(1, 10)],
    },
    "resources": [{"match": {"stage": "target", "task": "xquad"}, "mem_gb": 2}],
}


def main() -> None:
    packages = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    machine = platform.processor() or platform.machine()
    print(f"machine: {machine}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory(prefix="stilts-launching-") as name:
        folder = Path(name)
        measure_ten_thousand(folder / "ten")
        measure_real_slurm(folder / "real")
        if packages is not None:
            compare(folder / "peers", packages)


# ---- ten thousand runs


def measure_ten_thousand(folder: Path) -> None:
    """Plan, no-op, status, help."""
    rows = ["none", *TASKS, *(list(pair) for pair in itertools.combinations(TASKS, 2))]
    folder.mkdir()
    grid = folder / "grid.yaml"
    axes = {"intermediate": rows, "target": "all", "seed": list(range(25))}
    grid.write_text(yaml.safe_dump(small(name="ten-thousand", axes=axes)))
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        plan = make_plan(load_grid(grid), load_cluster(None))
        _ = list(plan.runs)
        times.append(time.perf_counter() - started)
    goals.compare(f"read, expand and plan {len(plan.runs):,} runs", min(times), "s", most=1)
    slurm = QueueSlurm(folder / "slurm")
    campaign = Campaign(folder / "runs")
    make_campaign(plan, campaign, slurm)
    environment = {**os.environ, "PATH": f"{slurm.path}:{os.environ['PATH']}"}
    options = ["--grid", str(grid), "--root", str(campaign.root)]
    before = len(slurm.called())
    taken = best([sys.executable, str(ROOT / "launch/grid.py"), *options], environment)
    goals.compare("grid.py again, half of them done, half in the queue", taken, "s", most=2)
    calls = Counter(slurm.called()[before:])
    print(f"  its calls, {REPEATS + 1} times: {dict(calls)}")
    if calls != {"squeue": REPEATS + 1}:
        raise SystemExit("to be one squeue each time and nothing else")
    taken = best([sys.executable, str(ROOT / "launch/status.py"), *options, "--json"], environment)
    goals.compare("status.py --json of them", taken, "s", most=1.5)
    taken = best([sys.executable, str(ROOT / "launch/grid.py"), "--help"], environment)
    goals.compare("grid.py --help", taken, "s", most=0.3)


def best(command: list[str], environment: Mapping[str, str]) -> float:
    """The shortest of some runs of a command, after one that warms up."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        subprocess.run(command, env=dict(environment), stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def make_campaign(plan: Plan, campaign: Campaign, slurm: QueueSlurm) -> None:
    """Run folders: the first half as finished jobs leave them, the second in the queue."""
    runs, outputs = list(plan.runs.values()), {}
    half = len(runs) // 2
    for place, run in enumerate(runs):
        path = campaign.run(run.id).path
        path.mkdir(parents=True)
        (path / "run.json").write_text(json.dumps(run.spec()))
        if place < half:
            outputs[run.id] = f"output of {run.id}"
            needs = {need: outputs[need] for need in run.needs}
            record = done_record(run, outputs[run.id], needs, attempt="1", data_root=run.infra.get("data_root"))
            (path / "DONE").write_text(json.dumps(record))
            if run.id.startswith(ENCODER_STAGES):
                (path / "model").mkdir()
    campaign.write_grid(plan)
    seen = {run.id: Observation("done" if place < half else "planned") for place, run in enumerate(runs)}
    ledger, lines = Ledger(campaign.submissions), []
    for number, array in enumerate(group(plan, [run.id for run in runs[half:]], seen, 1001), 1000):
        submission = ledger.confirm(ledger.intend(array.name(plan), array.runs), str(number))
        lines += [f"{submission.job_of(run_id)}|PENDING|Priority|{submission.name}\n" for run_id in array.runs]
    (slurm.folder / "squeue.out").write_text("".join(lines))


# ---- a thousand on the real Slurm


def measure_real_slurm(folder: Path) -> None:
    """One command for 1,008 runs against one submission each through submitit; every job is held."""
    if refusal := system.slurm_refusal():
        print(f"the real Slurm: left out ({refusal})")
        return
    system.ensure_packages(*system.SLURM_PACKAGES)
    cluster = SlurmCluster().start()
    try:
        study = ToyStudy(
            folder / "study", THOUSAND, cluster, sbatch={"hold": True}, resources=[{"cpus": 1, "mem_gb": 1}]
        )
        stated = study.plan()
        started = time.perf_counter()
        told = study.launch().stdout
        ours = time.perf_counter() - started
        queued = len(cluster.squeue())
        calls = len(study.ledger.submissions)
        print(next(line for line in told.splitlines() if " runs in " in line))
        singles = run_peer("singles", SAMPLE, folder / "singles", None, {**os.environ, **cluster.env})["submit"]
    finally:
        cluster.stop()
    runs, each = len(stated["submits"]), singles / SAMPLE
    print(
        f"real Slurm: {runs:,} runs submitted in {ours:.2f} s, {calls} sbatch calls ({stated['sbatch_calls']} stated)"
    )
    print(
        f"  submitit, one submission a run: {each:.3f} s each ({SAMPLE} timed), so {each * runs:.0f} s for all of them"
    )
    if queued != runs:
        raise SystemExit(f"{queued} jobs are in the queue instead of {runs}")
    goals.compare(f"{runs:,} runs to the real Slurm: calls", calls, "sbatch", most=stated["sbatch_calls"])
    goals.compare(f"{runs:,} runs to the real Slurm: time of submitit, one by one / ours", each * runs / ours, least=50)


# ---- beside others


def compare(folder: Path, packages: Path) -> None:
    """Four launchers on the same stand-in of a scheduler that answers at once."""
    print("on a scheduler that answers at once (seconds; calls of sbatch, and of sacct or squeue):")
    print(f"  {'':<10}{'runs':>8}{'expand':>8}{'submit':>8}{'sbatch':>8}{'again':>8}{'asked':>8}")
    for name, runs in PEERS.items():
        slurm = QueueSlurm(folder / f"slurm-{name}")
        environment = {**os.environ, "PATH": f"{slurm.path}:{os.environ['PATH']}"}
        measure = run_ours if name == "ours" else run_peer
        times = measure(name, runs, folder / name, packages, environment)
        calls = Counter("sbatch" if call.endswith(".sh") else call for call in slurm.called())
        asked = calls["sacct"] + calls["squeue"]
        figures = f"{times['expand']:8.3f}{times['submit']:8.3f}{calls['sbatch']:8d}{times['again']:8.3f}{asked:8d}"
        print(f"  {name:<10}{runs:8,}{figures}", flush=True)


def run_peer(
    name: str, runs: int, folder: Path, packages: Path | None, environment: Mapping[str, str]
) -> dict[str, float]:
    """The times of another launcher, in a process of its own that has imported it before the clock starts."""
    command = [sys.executable, str(ROOT / "tests/bench/launchers.py"), name, str(runs), str(folder)]
    command += [str(packages)] if packages else []
    output = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


def run_ours(
    name: str, runs: int, folder: Path, packages: Path | None, environment: Mapping[str, str]
) -> dict[str, float]:
    """The main door's times, start of Python and all imports included, on 1,008 runs whose data is there."""
    cluster = SlurmCluster()  # not started: only the environment of its commands is used
    cluster.env = dict(environment)
    study = ToyStudy(folder, THOUSAND, cluster)
    started = time.perf_counter()
    make_plan(load_grid(study.path), load_cluster(None))
    times = {"expand": time.perf_counter() - started}
    for step in ("submit", "again"):
        started = time.perf_counter()
        study.launch()
        times[step] = time.perf_counter() - started
    return times


if __name__ == "__main__":
    main()
