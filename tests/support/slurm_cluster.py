"""A real Slurm for tests: munge, MariaDB, slurmdbd, slurmctld and four slurmd, all in one temporary folder."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.support import hosts_file, slurm_config
from tests.support.leftovers import clear_leftovers, end_job_processes, machine_lock, make_folder
from tests.support.processes import Daemon
from tests.support.slurm_config import NODES, Ports

START_TIMEOUT_S = 30  # of one daemon; all together take 3 s on two idle cores, 8 s on busy ones
GRACE_S = 10  # between SIGTERM and SIGKILL of a daemon that should save its state
USABLE_STATES = {"idle", "mixed", "allocated", "completing", "planned"}


@dataclass
class SlurmCluster:
    """Start with `start()`, end with `stop()` (also done when Python exits). Only for machines that tests may change.

    `env` is what commands need on top of `os.environ`. Partition `main` (default) is preempted, by requeueing, by
    `urgent`. Jobs run as root; nodes n1..n4 have 8 CPUs, 20000 MB and 8 GPUs each, in the accounting only.
    """

    max_array_size: int = 1001
    min_job_age_s: int = 300
    # From the signal a preempted job asked for (--signal) to its SIGTERM; SIGKILL follows 5 s later. With 0 both come
    # at once. The controller looks for ended grace times, as for time limits, every 30 s only.
    grace_time_s: int = 0
    message_timeout_s: int = 30  # how long commands wait for a controller that is not there
    submit_limit: int | None = None  # jobs of one user, pending or running, enforced
    folder: Path = field(init=False)
    env: dict[str, str] = field(default_factory=dict, init=False)
    daemons: dict[str, Daemon] = field(default_factory=dict, init=False, repr=False)
    owner_pid: int = field(default=0, init=False, repr=False)

    # --- life

    def start(self) -> SlurmCluster:
        """Bring everything up until four nodes are idle. Raises RuntimeError with the log of the daemon at fault."""
        assert not self.env, "this cluster was started before"
        with machine_lock():
            clear_leftovers()
            self.folder = make_folder()
            self.owner_pid = os.getpid()
            atexit.register(self.stop)
            try:
                self._configure(free_ports())
                hosts_file.add_names("127.0.0.1", NODES, self.folder.name)
                self._start_daemons()
            except BaseException:
                self._clear()
                raise
        return self

    def stop(self) -> None:
        """End what this object started, and only that; give /etc/hosts back; delete the folder. May be repeated."""
        # A forked child of the test process inherits the exit hook, but not the cluster.
        if self.owner_pid != os.getpid():
            return
        with machine_lock():
            self._clear()

    def _clear(self) -> None:
        self.owner_pid = 0
        atexit.unregister(self.stop)
        # The controller goes first, so that it starts nothing new; nobody will read the state it would save.
        for name in ("slurmctld", *NODES, "slurmdbd", "mariadbd", "munged"):
            if name in self.daemons:
                self.daemons[name].end(grace_s=0)
        end_job_processes(self.folder)
        hosts_file.remove_names(lambda owner: owner == self.folder.name)
        shutil.rmtree(self.folder)

    # --- parts that fail and come back

    def kill_slurmd(self, node: str) -> None:
        """What a power cut does: the node's slurmd and everything that runs there is gone at once.

        The controller takes the node for down and requeues its jobs about 30 s later.
        """
        self.daemons[node].end(grace_s=0)
        end_job_processes(self.folder, node)

    def start_slurmd(self, node: str) -> None:
        """Bring a killed node back; returns when the controller counts on it again."""
        self.daemons[node].start(START_TIMEOUT_S)

    def restart_slurmctld(self) -> None:
        self._restart("slurmctld")

    def restart_slurmdbd(self) -> None:
        self._restart("slurmdbd")

    def _restart(self, name: str) -> None:
        self.daemons[name].end(GRACE_S)
        self.daemons[name].start(START_TIMEOUT_S)

    # --- commands

    def run(self, *args: str, timeout_s: float = 60) -> str:
        """Standard output of a command in this cluster. Raises RuntimeError with what it said if it fails."""
        result = self._attempt(*args, timeout_s=timeout_s)
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(args)}: exit code {result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout

    def squeue(self) -> list[dict[str, str]]:
        """One entry for each job or array element the controller knows as not ended."""
        # The name comes last: it is the one field that may hold the separator.
        text = self.run("squeue", "--noheader", "--array", "--format=%i|%P|%T|%r|%N|%E|%j")
        names = ("job_id", "partition", "state", "reason", "nodes", "dependency", "name")
        return [dict(zip(names, line.split("|", len(names) - 1), strict=True)) for line in text.splitlines()]

    def sacct(self, *job_ids: str) -> list[dict[str, str]]:
        """One entry for each job or array element in the accounting: those asked for, or all since yesterday.

        Slurm leaves jobs that were never eligible (held, or waiting on another, to their end) out of the second.
        """
        which = f"--jobs={','.join(job_ids)}" if job_ids else "--starttime=now-1days"
        columns = "JobID,Partition,State,ExitCode,NodeList,AllocTRES,Comment,JobName"
        text = self.run("sacct", "-X", "--noheader", "--parsable2", f"--format={columns}", which)
        names = ("job_id", "partition", "state", "exit_code", "nodes", "tres", "comment", "name")
        return [dict(zip(names, line.split("|", len(names) - 1), strict=True)) for line in text.splitlines()]

    def wait_empty(self, timeout_s: float) -> None:
        """Return when no job is left in the queue. Raises TimeoutError that names the ones that are."""
        deadline = time.monotonic() + timeout_s
        while left := self.squeue():
            if time.monotonic() > deadline:
                jobs = "\n".join(" ".join(job.values()) for job in left)
                raise TimeoutError(f"{len(left)} jobs in the queue after {timeout_s:.0f} s:\n{jobs}")
            time.sleep(0.2)

    def wait_state(self, job_id: str, state: str, timeout_s: float) -> None:
        """Return when the accounting has the whole entry of `job_id`, in `state`. Raises TimeoutError.

        It follows the controller by up to five seconds. A job that ends within them is first entered without
        partition, under the name "allocation" and, if it is an array element, under another id.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            entries = [job for job in self.sacct(job_id) if job["job_id"] == job_id and job["partition"]]
            found = [job["state"].split()[0] for job in entries]  # "CANCELLED by 0" is CANCELLED
            if state in found:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} is {found or 'not in the accounting'}, not {state}")
            time.sleep(0.2)

    def _attempt(self, *args: str, timeout_s: float = 10) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.env}
        return subprocess.run(args, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)

    def _succeeds(self, *args: str) -> bool:
        try:
            return self._attempt(*args).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    # --- setting up

    def _configure(self, ports: Ports) -> None:
        folder = self.folder
        for name in ("log", "pids", "munge", "state", "spool", *(f"spool/{node}" for node in NODES)):
            (folder / name).mkdir()
        slurm_config.make_gpu_devices(folder / "dev")
        slurm_conf = slurm_config.slurm_conf(
            folder,
            ports,
            max_array_size=self.max_array_size,
            min_job_age_s=self.min_job_age_s,
            grace_time_s=self.grace_time_s,
            message_timeout_s=self.message_timeout_s,
            limits=self.submit_limit is not None,
        )
        (folder / "slurm.conf").write_text(slurm_conf)
        (folder / "gres.conf").write_text(slurm_config.gres_conf(folder))
        # Both daemons refuse to start when others may read these.
        write_secret(folder / "slurmdbd.conf", slurm_config.slurmdbd_conf(folder, ports).encode())
        write_secret(folder / "munge" / "key", os.urandom(128))
        self.env["SLURM_CONF"] = str(folder / "slurm.conf")
        self.daemons = self._describe_daemons(ports)

    def _describe_daemons(self, ports: Ports) -> dict[str, Daemon]:
        folder = self.folder
        munge_socket, database = f"{folder}/munge/socket", f"{folder}/mariadb.socket"
        munged = ["munged", "--foreground", f"--socket={munge_socket}", f"--key-file={folder}/munge/key"]
        munged += [f"--{name}-file={folder}/munge/{name}" for name in ("pid", "seed", "log")]
        described: dict[str, Daemon] = {}

        def describe(name: str, command: list[str], answers: Callable[[], bool], **extra_env: str) -> None:
            env = {"PATH": os.environ["PATH"], **self.env, **extra_env}
            described[name] = Daemon(name, command, answers, folder, env)

        describe("munged", munged, partial(self._succeeds, "munge", f"--socket={munge_socket}", "--no-input"))
        mariadbd = ["mariadbd", *slurm_config.mariadb_options(folder)]
        ping = ("mariadb-admin", "--no-defaults", f"--socket={database}", "ping")
        describe("mariadbd", mariadbd, partial(self._succeeds, *ping))
        # slurmdbd has no option for the place of the database's socket, its client library has this variable.
        describe("slurmdbd", ["slurmdbd", "-D"], partial(listens, ports.slurmdbd), MYSQL_UNIX_PORT=database)
        describe("slurmctld", ["slurmctld", "-D"], partial(self._controller_is_up, ports.slurmctld))
        for port, node in enumerate(NODES, start=ports.slurmd):
            # The name in the environment is how the node's step daemons are found, see leftovers.job_processes.
            usable = partial(self._is_usable, node, port)
            describe(node, ["slurmd", "-D", "-N", node], usable, SLURMD_NODENAME=node)
        return described

    def _start_daemons(self) -> None:
        self.daemons["munged"].start(START_TIMEOUT_S)
        self.run("mariadb-install-db", *slurm_config.mariadb_options(self.folder), "--skip-test-db")
        for name in ("mariadbd", "slurmdbd"):
            self.daemons[name].start(START_TIMEOUT_S)
        self.run("sacctmgr", "-i", "add", "cluster", slurm_config.CLUSTER_NAME)
        if self.submit_limit is not None:
            limit = f"MaxSubmitJobsPerUser={self.submit_limit}"
            self.run("sacctmgr", "-i", "modify", "qos", "normal", "set", limit)
        self.daemons["slurmctld"].start(START_TIMEOUT_S)
        for node in NODES:
            self.daemons[node].launch()
        for node in NODES:
            self.daemons[node].wait(START_TIMEOUT_S)

    def _controller_is_up(self, port: int) -> bool:
        return listens(port) and "is UP" in self._attempt("scontrol", "ping").stdout

    def _is_usable(self, node: str, port: int) -> bool:
        # A star behind the state means: does not respond.
        states = self._attempt("sinfo", "--noheader", "-N", "-n", node, "--format=%T").stdout.split()
        return listens(port) and bool(states) and set(states) <= USABLE_STATES


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def write_secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def free_ports() -> Ports:
    """Ports in a row that nobody listens on, below the range from which the kernel takes ports for connections."""
    for _ in range(100):
        first = random.randrange(20000, 32000)
        if not any(listens(port) for port in range(first, first + Ports.count())):
            return Ports.block(first)
    raise RuntimeError("found no free ports between 20000 and 32000")
