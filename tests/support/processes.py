"""Processes of a test cluster: who they are, daemons that are started and awaited, and ending exactly those."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    start_ticks: int

    @classmethod
    def find(cls, pid: int) -> ProcessId | None:
        """The living process with this pid; None when there is none or only its unreaped remains."""
        try:
            stat = (PROC / str(pid) / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The second field is the command in brackets and may itself hold blanks and brackets.
        state, *rest = stat.rpartition(")")[2].split()
        return None if state in "ZX" else cls(pid, int(rest[18]))

    @classmethod
    def parse(cls, text: str) -> ProcessId:
        pid, _, start_ticks = text.strip().partition("-")
        return cls(int(pid), int(start_ticks))

    def __str__(self) -> str:
        return f"{self.pid}-{self.start_ticks}"

    def alive(self) -> bool:
        return ProcessId.find(self.pid) == self

    def send(self, signum: int) -> None:
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signum)


def own_process() -> ProcessId:
    found = ProcessId.find(os.getpid())
    assert found is not None
    return found


def end_processes(processes: Iterable[ProcessId], grace_s: float) -> None:
    """SIGTERM, at most `grace_s` seconds of patience, then SIGKILL. With `grace_s` 0: SIGKILL at once."""
    left = list(processes)
    if grace_s > 0:
        for process in left:
            process.send(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while left and time.monotonic() < deadline:
            left = [process for process in left if process.alive()]
            time.sleep(0.02)
    for process in left:
        process.send(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(process.alive() for process in left) and time.monotonic() < deadline:
        time.sleep(0.02)


def environment_of(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty when it is gone or may not be read."""
    try:
        raw = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0") if b"=" in entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def processes_where(wanted: Callable[[dict[str, str]], bool]) -> list[ProcessId]:
    """Living processes whose environment satisfies `wanted`."""
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    found = (ProcessId.find(pid) for pid in pids if wanted(environment_of(pid)))
    return [process for process in found if process is not None]


@dataclass
class Daemon:
    """One daemon kept in the foreground as our child, with a log and a pid file in the cluster's folder."""

    name: str
    command: list[str]
    answers: Callable[[], bool]
    folder: Path
    env: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.folder / "log" / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return self.folder / "pids" / self.name

    def launch(self) -> None:
        """Start without waiting; the pid file is there when this returns."""
        assert self.process is None, f"{self.name} is running"
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C at the terminal must reach pytest only, which then stops us in order.
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(self.env),
                cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        identity = ProcessId.find(self.process.pid)
        if identity is not None:
            self.pid_file.write_text(str(identity))

    def wait(self, timeout_s: float) -> None:
        """Return when the daemon answers. Raises RuntimeError with the end of its log when it dies or stays mute."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with exit code {self.process.returncode}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not answer within {timeout_s:.0f} s\n{self.log_tail()}")
            time.sleep(0.05)

    def start(self, timeout_s: float) -> None:
        self.launch()
        self.wait(timeout_s)

    def end(self, grace_s: float) -> None:
        """End this daemon if it runs (see `end_processes`) and collect its exit status."""
        if self.process is None:
            return
        identity = ProcessId.find(self.process.pid)
        if self.process.poll() is None and identity is not None:
            end_processes([identity], grace_s)
        self.process.wait()
        self.process = None
        self.pid_file.unlink(missing_ok=True)

    def log_tail(self, lines: int = 25) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        tail = text.splitlines()[-lines:]
        return "\n".join([f"--- last lines of {self.log.name}:", " ".join(self.command), *tail])
