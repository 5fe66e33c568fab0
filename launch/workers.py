"""Processes of the local pool: forks of the warm server, and plain ones for what may not be forked."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NO_PROCESS = -1  # stands for a process id where the server died before it could give one


@dataclass
class Worker:
    """One run in its own process and process group. `poll` gives its exit code, None while it runs."""

    run_id: str
    cores: int
    gpu: str | None
    started: float

    def poll(self) -> int | None:
        """Exit code; negative after a signal; None while the process runs."""
        raise AssertionError("a worker is a process or a fork")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started."""
        raise AssertionError("a worker is a process or a fork")


@dataclass
class Process(Worker):
    """A worker that this launcher started itself."""

    process: subprocess.Popen[bytes]

    def poll(self) -> int | None:
        return self.process.poll()

    def signal(self, number: signal.Signals) -> None:
        _signal_group(self.process.pid, number)


@dataclass
class Fork(Worker):
    """A worker that the warm server forked."""

    server: Server
    pid: int

    def poll(self) -> int | None:
        return self.server.code_of(self.pid)

    def signal(self, number: signal.Signals) -> None:
        if self.poll() is None and self.pid != NO_PROCESS:
            _signal_group(self.pid, number)


def start_process(
    snapshot: Path, folder: Path, attempt: str, cores: int, gpu: str | None, environment: Mapping[str, str]
) -> Worker:
    """Start `jobs/run.py` of the snapshot on one run."""
    command = [sys.executable, "-u", str(snapshot / "jobs" / "run.py"), "--run", str(folder), "--attempt", attempt]
    process = subprocess.Popen(
        [*command, "--parent", str(os.getpid())],
        cwd=snapshot,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # the terminal's Ctrl-C reaches the launcher alone, which stops them in order
    )
    return Process(folder.name, cores, gpu, time.time(), process)


@dataclass
class Server:
    """The warm server (`jobs/warm.py`) and what it has said so far."""

    snapshot: Path
    environment: Mapping[str, str]
    log: Path
    ready: bool = False  # it has imported; until then nobody needs to wait for it
    codes: dict[int, int] = field(default_factory=dict)
    _started: queue.Queue[int] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", str(self.snapshot / "jobs" / "warm.py"), str(os.getpid())],
                cwd=self.snapshot,
                env={
                    **self.environment,
                    "TORCHDYNAMO_DISABLE": "1" if not self.environment["CUDA_VISIBLE_DEVICES"] else "",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def gone(self) -> bool:
        """Whether the server has ended (its runs die with it)."""
        return self.process.poll() is not None

    def start(self, folder: Path, attempt: str, cores: int, gpu: str | None, environment: Mapping[str, str]) -> Worker:
        """Fork a process for one run; where the server has died, a worker that has died with it."""
        order: dict[str, Any] = {"run": str(folder), "attempt": attempt, "environment": dict(environment)}
        assert self.process.stdin is not None, "the server was started with a pipe"
        with suppress(BrokenPipeError):
            self.process.stdin.write((json.dumps(order) + "\n").encode())
            self.process.stdin.flush()
        pid = self._started.get()
        if pid == NO_PROCESS:
            self._started.put(NO_PROCESS)  # the next one to ask must not wait either
        return Fork(folder.name, cores, gpu, time.time(), self, pid)

    def code_of(self, pid: int) -> int | None:
        """Exit code of a fork; those of a dead server died with it."""
        if pid in self.codes:
            return self.codes[pid]
        return -signal.SIGKILL if self.gone else None

    def close(self) -> None:
        """End the server, which has no runs any more (it may still be importing)."""
        assert self.process.stdin is not None, "the server was started with a pipe"
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _listen(self) -> None:
        assert self.process.stdout is not None, "the server was started with a pipe"
        for line in self.process.stdout:
            try:
                said = json.loads(line)
            except json.JSONDecodeError:
                continue  # a library printed something while it was imported
            if not isinstance(said, dict):
                continue
            if "ready" in said:
                self.ready = True
            elif "code" in said:
                self.codes[said["pid"]] = said["code"]
            else:
                self._started.put(said["pid"])
        self._started.put(NO_PROCESS)  # nobody may wait for ever on a server that died


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # it ended by itself
