"""Somebody who breaks a cluster at random while a campaign runs on it, and keeps a record of it."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.slurm_cluster import GRACE_S, START_TIMEOUT_S
from tests.support.slurm_config import NODES
from tests.support.toy_studies import ToyStudy

MOST_DOWN = 2  # nodes at a time: something must go on
# A controller notices a killed node after 20 s: some come back before that, some after it.
DOWN_S = (2.0, 35.0)
AWAY_S = 20.0  # longer than squeue waits for a controller, where messages may take 10 s


@dataclass
class Launch:
    """The command of a user during the chaos."""

    process: subprocess.Popen[str]
    output: Path
    controller_away: bool

    @property
    def told(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")


@dataclass
class Tormentor:
    """`torment` for some seconds, then `relent`. The same seed makes the same choices, of jobs that time has changed.

    `record` is what was done and when; it is printed too, so that a failed test shows it. `counts` counts the acts
    that hit something.
    """

    study: ToyStudy
    seed: int
    record: list[str] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slurm = self.study.slurm
        self.random = random.Random(self.seed)
        self.started = time.monotonic()
        self.down: dict[str, float] = {}  # node: when it comes back
        self.acts: dict[Callable[[], object], int] = {
            self.kill_node: 4,
            self.restart_controller: 2,
            self.restart_accounting: 2,
            self.displace: 3,
            self.requeue: 4,
            self.cancel: 3,
            self.launch: 4,
        }

    def torment(self, seconds: float) -> None:
        """Act at random. Once on the way the controller stays away until a user has noticed."""
        self.started = time.monotonic()
        self.note(f"chaos of {seconds:.0f} s with seed {self.seed}")
        leaves_at = self.started + seconds * self.random.uniform(0.2, 0.6)
        while time.monotonic() < self.started + seconds:
            self.revive(time.monotonic())
            if time.monotonic() > leaves_at:
                self.leave_without_controller()
                leaves_at = float("inf")
            act = self._next_act()
            try:
                act()
            except (RuntimeError, subprocess.TimeoutExpired) as problem:
                self.note(f"an act failed: {' '.join(str(problem).split())[:200]}")
            time.sleep(self.random.uniform(0.5, 3.0))

    def relent(self) -> None:
        """Bring everything back, and wait for the last command."""
        self.revive(float("inf"))
        for node in NODES:
            try:
                self.slurm.daemons[node].wait(START_TIMEOUT_S)
            except RuntimeError:  # drained, because something on it could not be ended in time
                self.slurm.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
                self.slurm.daemons[node].wait(START_TIMEOUT_S)
        for launch in self.launches:
            launch.process.wait(timeout=300)
        self.note("everything is back")

    def register(self) -> None:
        """Let all nodes tell the controller what runs on them.

        Slurm (seen with 22.05) believes in a job whose node came back while the controller was away until the node
        registers again, which it does not do soon by itself; meanwhile the job is shown as running.
        """
        self.slurm.run("scontrol", "reconfigure")

    def note(self, text: str) -> None:
        line = f"{time.monotonic() - self.started:6.1f} s  {text}"
        self.record.append(line)
        print(line, flush=True)

    # --- acts

    def kill_node(self) -> None:
        up = [node for node in NODES if node not in self.down]
        if len(self.down) < MOST_DOWN:
            node, seconds = self.random.choice(up), self.random.uniform(*DOWN_S)
            self.slurm.kill_slurmd(node)
            self.down[node] = time.monotonic() + seconds
            self._did("kill_node", f"{node} for {seconds:.0f} s")

    def revive(self, now: float) -> None:
        """Start the daemons of nodes whose time has come, without waiting for them."""
        for node in [node for node, due in self.down.items() if due <= now]:
            del self.down[node]
            self.slurm.daemons[node].launch()
            self.note(f"{node} is started")

    def restart_controller(self) -> None:
        self._restart("slurmctld", self.random.uniform(0.0, 4.0))

    def restart_accounting(self) -> None:
        self._restart("slurmdbd", self.random.uniform(0.0, 8.0))

    def displace(self) -> None:
        """Take a node for an urgent job that ends at once."""
        node = self.random.choice([node for node in NODES if node not in self.down])
        options = ("--partition=urgent", f"--nodelist={node}", "--exclusive", "--time=1", "--output=/dev/null")
        self.slurm.run("sbatch", "--parsable", *options, "--wrap=true")
        self._did("displace", node)

    def requeue(self) -> None:
        if job := self._choose("RUNNING"):
            self.slurm.run("scontrol", "requeue", job)
            self._did("requeue", job)

    def cancel(self) -> None:
        if job := self._choose("RUNNING", "PENDING"):
            self.slurm.run("scancel", job)
            self._did("cancel", job)

    def launch(self, controller_away: bool = False) -> Launch | None:
        """The same command once more, unless the last one is still at work."""
        if self.launches and self.launches[-1].process.poll() is None:
            return None
        output = self.study.folder / f"launch-{len(self.launches) + 1}.txt"
        options = ("--grid", str(self.study.path), "--root", str(self.study.root), *self.study.options)
        with output.open("w") as file:
            process = subprocess.Popen(
                self.study.command("launch/grid.py", *options),
                cwd=self.study.folder,
                env={**os.environ, **self.study.environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                text=True,
            )
        self.launches.append(Launch(process, output, controller_away))
        self._did("launch", output.name)
        return self.launches[-1]

    def leave_without_controller(self) -> None:
        """Take the controller away and let a user run the command meanwhile."""
        if self.launches:
            self.launches[-1].process.wait(timeout=300)
        self.slurm.daemons["slurmctld"].end(GRACE_S)
        launch = self.launch(controller_away=True)
        assert launch is not None
        deadline = time.monotonic() + AWAY_S
        while launch.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        self.slurm.daemons["slurmctld"].start(START_TIMEOUT_S)
        self._did("restart_controller", f"away while {launch.output.name}")

    def _next_act(self) -> Callable[[], object]:
        """Each kind once, until it has hit something; then by weight."""
        due = [act for act in self.acts if act.__name__ not in self.counts] or list(self.acts)
        (act,) = self.random.choices(due, [self.acts[act] for act in due])
        return act

    def _restart(self, name: str, seconds: float) -> None:
        self.slurm.daemons[name].end(GRACE_S)
        time.sleep(seconds)
        self.slurm.daemons[name].start(START_TIMEOUT_S)
        self._did("restart_controller" if name == "slurmctld" else "restart_accounting", f"away for {seconds:.0f} s")

    def _choose(self, *states: str) -> str | None:
        jobs = [job["job_id"] for job in self.slurm.squeue() if "#" in job["name"] and job["state"] in states]
        return self.random.choice(jobs) if jobs else None

    def _did(self, act: str, what: str) -> None:
        self.counts[act] = self.counts.get(act, 0) + 1
        self.note(f"{act} {what}")
