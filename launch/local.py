"""The same runs without Slurm: a pool of worker processes over the same DAG and the same run folders."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from launch.campaign import Campaign
from launch.observation.attempts import last_attempt
from launch.plan import Plan
from launch.workers import Server, Worker, start_process
from stilts.runs import read_json

POLL_S = 0.05
STOP_GRACE_S = 10.0
EXIT_AGAIN = 76  # of jobs/run.py: a fresh process goes on with smaller micro-batches
COMPUTE_STAGES = ("translate", "pretrain", "intermediate", "target", "retrieval")


@dataclass
class Pool:
    """Starts each run when its parents are done, as many at once as cores (or GPUs) allow.

    `workers` is the largest number of runs at once. Free cores are shared out evenly, none gets more
    than its resource class asks for (`cpus`), and cores are never promised twice to computing runs: on
    oversubscribed cores a training is many times slower.
    """

    plan: Plan
    campaign: Campaign
    snapshot: Path
    wanted: list[str]
    workers: int
    gpus: list[str] = field(default_factory=list)
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    running: list[Worker] = field(default_factory=list)
    outcome: dict[str, str] = field(default_factory=dict)
    server: Server | None = None
    _wanted: frozenset[str] = frozenset()
    _computing: bool = False

    @property
    def server_log(self) -> Path:
        """What the process says that imports the libraries and starts the trainings."""
        return self.campaign.folder / "server.log"

    def work(self, tick: Callable[[Pool], None]) -> None:
        """Run everything; `tick` is called all the time to show progress. KeyboardInterrupt stops all workers."""
        waiting, self._wanted = list(self.wanted), frozenset(self.wanted)
        try:
            self._computing = any(map(self._computes, waiting))
            if any(map(self._forks, waiting)):
                self._warm()  # it imports while the first runs fetch
            while waiting or self.running:
                waiting = self._skip_hopeless(self._collect() + waiting)
                self._start_ready(waiting)
                tick(self)
                time.sleep(POLL_S)
        finally:
            self.stop()
        tick(self)

    def _collect(self) -> list[str]:
        """Note how workers ended; returns the runs that asked to be started again at once."""
        again = []
        for worker in list(self.running):
            code = worker.poll()
            if code is not None:
                self.running.remove(worker)
                done = self.campaign.run(worker.run_id).read_done()
                if code == EXIT_AGAIN:
                    again.append(worker.run_id)
                else:
                    self.outcome[worker.run_id] = "done" if code == 0 and done else "failed"
        return again

    def _skip_hopeless(self, waiting: list[str]) -> list[str]:
        """Runs whose parent failed in this session are blocked; the rest of the DAG goes on."""
        for run_id in waiting:
            if any(self.outcome.get(need) in ("failed", "blocked") for need in self.plan.runs[run_id].needs):
                self.outcome[run_id] = "blocked"
        return [run_id for run_id in waiting if run_id not in self.outcome]

    def _start_ready(self, waiting: list[str]) -> None:
        ready = [run_id for run_id in waiting if self._ready(run_id)]
        computing = sum(self._computes(run_id) for run_id in ready)
        for run_id in ready:
            if len(self.running) == self.workers:
                return
            if self._forks(run_id) and not self._warm():
                continue
            cores, gpu = 1, None
            if self._computes(run_id):
                # Light stages last seconds and are not counted: a long training must not start on half of the
                # cores because a file is being read beside it.
                free = self.cores - sum(w.cores for w in self.running if self._computes(w.run_id))
                gpu = self._free_gpu()
                if free < 1 or gpu == "":
                    continue
                share = max(1, free // max(1, min(self.workers - len(self.running), computing)))
                cores = min(share, self.plan.resources(run_id).cpus)
                computing -= 1
            waiting.remove(run_id)
            self.running.append(self._start(run_id, cores, gpu))

    def _computes(self, run_id: str) -> bool:
        return self.plan.runs[run_id].stage in COMPUTE_STAGES

    def _forks(self, run_id: str) -> bool:
        """Whether the run's process is a fork of the warm server, which has imported everything.

        Not on GPUs: a fork must not inherit a driver that an import has initialised. Nor what fetches: the server's
        libraries are told that there is no network. Tokenising alone imports too little to be worth a server.
        """
        return self._computing and not self.gpus and self.plan.runs[run_id].stage != "fetch"

    def _warm(self) -> bool:
        """Have a warm server; whether it can answer at once. One that died in the middle of its work gets a successor,
        one that could not even import says so to the run that asks."""
        if self.server is None or (self.server.gone and self.server.ready):
            self.server = Server(self.snapshot, worker_environment(self.cores, None), self.server_log)
        return self.server.ready or self.server.gone

    def _ready(self, run_id: str) -> bool:
        """Every run it needs was done before, or has become so in this session."""
        return all(
            self.outcome.get(need) == "done" or need not in self._wanted for need in self.plan.runs[run_id].needs
        )

    def _free_gpu(self) -> str | None:
        """A GPU that no run has; None where there are none here, "" where all of them are taken."""
        if not self.gpus:
            return None
        taken = {worker.gpu for worker in self.running}
        return next((gpu for gpu in self.gpus if gpu not in taken), "")

    def _start(self, run_id: str, cores: int, gpu: str | None) -> Worker:
        folder = self.campaign.run(run_id).path.resolve()
        attempt = f"local-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
        environment = worker_environment(cores, gpu)
        if not self._forks(run_id):
            return start_process(self.snapshot, folder, attempt, cores, gpu, environment)
        assert self.server is not None, "a run is started when the server is warm"
        worker = self.server.start(folder, attempt, cores, gpu, environment)
        if not self.server.ready:
            self.server = None  # the next run tries another one
        return worker

    def stop(self) -> None:
        """SIGTERM to every worker, SIGKILL after a grace; returns when none is left."""
        for worker in self.running:
            worker.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_GRACE_S
        while any(worker.poll() is None for worker in self.running):
            if time.monotonic() > deadline:
                for worker in self.running:
                    worker.signal(signal.SIGKILL)
            time.sleep(POLL_S)
        self.running.clear()
        if self.server is not None:
            self.server.close()

    def failure(self, run_id: str) -> str:
        """Why a run failed, in a line: the reason of its last attempt, and the path of its log."""
        attempt = last_attempt(self.campaign.run(run_id))
        if attempt is None:
            return f"its process died before it began (log: {self.server_log})"
        reason = (read_json(attempt / "outcome.json") or {}).get("reason") or "its process died"
        return f"{reason.split(chr(10))[0]} (log: {attempt / 'rank0.log'})"


def worker_environment(cores: int, gpu: str | None) -> dict[str, str]:
    """The environment of one worker: its threads, its GPU, and nothing inherited of another job's ranks."""
    dropped = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {
        key: value for key, value in os.environ.items() if key not in dropped and not key.startswith("SLURM_")
    }
    # A thread that waits for another one must not keep a core from the other runs.
    environment.update(OMP_NUM_THREADS=str(cores), OMP_WAIT_POLICY="PASSIVE", PYTHONDONTWRITEBYTECODE="1")
    environment["CUDA_VISIBLE_DEVICES"] = gpu or ""
    if not gpu:
        # Without a GPU nothing is compiled, and importing the compiler costs seconds. Read on import.
        environment["TORCHDYNAMO_DISABLE"] = "1"
    return environment


def find_gpus() -> list[str]:
    """GPUs of this machine that may be used, by index or as CUDA_VISIBLE_DEVICES names them; asked without torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(index) for index, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]


def default_workers(gpus: Iterable[str]) -> int:
    """One worker for each GPU; without GPUs as many as there are cores."""
    return len(list(gpus)) or len(os.sched_getaffinity(0))
