"""What interrupts a job, and how it comes back: signals, the time limit, requeueing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import FrameType

from stilts.runs import RunFolder
from stilts.training.stopping import Stop

STOP_FILE = "stop"
EXIT_AGAIN = 76  # a fresh process is to follow at once
_COMMAND_TIMEOUT_S = 30
# A warning that comes so close to the end of a job is about its time limit; an earlier one is a preemption. Slurm
# may be a minute early with it.
_EARLY_S = 90.0
_DEFAULT_DELAY_S = 120.0


class Stopped(BaseException):
    """A signal asked this process to end outside of a training's updates; not an Exception, so that no library
    swallows it. `returns`: it should be started again at once."""

    def __init__(self, reason: str, returns: bool) -> None:
        super().__init__(reason)
        self.returns = returns


def install_handlers(stop: Stop) -> None:
    """SIGTERM and SIGINT end this process in good order, SIGUSR2 (Slurm's warning) also brings it back."""

    def handle(number: int, frame: FrameType | None) -> None:
        reason, returns = f"stopped by {signal.Signals(number).name}", number == signal.SIGUSR2
        if not stop.watched:
            ignore_signals()  # one is enough, and another must not disturb how this one is told
            raise Stopped(reason, returns)
        stop.ask(reason, returns)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, handle)


def obey(stop: Stop) -> None:
    """Raise Stopped where somebody has asked for it while a training did its last update: nobody else will."""
    if stop.asked:
        raise Stopped(*stop.asked)


def ignore_signals() -> None:
    """From here on this process only says how it ended."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def find_deadline(environment: Mapping[str, str]) -> float | None:
    """When the time limit of this job ends, in seconds of the epoch; None outside of Slurm or where it does not say.

    Slurm tells it in the environment from 23.02 on; before that one `squeue` is asked, at the start of the job.
    """
    if "SLURM_JOB_END_TIME" in environment:
        return float(environment["SLURM_JOB_END_TIME"])
    job = environment.get("SLURM_JOB_ID")
    if job is None or environment.get("SLURM_PROCID", "0") != "0":
        return None
    answer, _ = call("squeue", "--noheader", f"--jobs={job}", "--format=%e")
    try:
        return datetime.fromisoformat(answer.strip().splitlines()[0]).timestamp()
    except (ValueError, IndexError):
        return None


def is_near(deadline: float | None) -> bool:
    """Whether a time limit is so near that a warning is about it."""
    delay_s = float(os.environ.get("STILTS_SIGNAL_DELAY_S", _DEFAULT_DELAY_S))
    return deadline is not None and time.time() > deadline - delay_s - _EARLY_S


def requeue(job: str) -> str | None:
    """Give this job (as 12 or 12_3) back to the queue; returns why Slurm refused, None where it did not."""
    return call("scontrol", "requeue", job)[1]


def give_back(job: str) -> str | None:
    """`requeue` for a run, which in a pack is left to the pack: its other runs are still at work."""
    return None if is_packed() else requeue(job)


def is_packed() -> bool:
    """Whether this process is a member of a pack."""
    return "STILTS_PACK" in os.environ


def had_its_chance() -> bool:
    """False for a member of a pack that was started when part of the job's time was over: that it got nowhere says
    nothing about the time limit."""
    return os.environ.get("STILTS_PACK") != "later"


def measure_progress(folder: RunFolder) -> list[object]:
    """What an attempt can move forward: an attempt that ends where it began must not be repeated for ever."""
    checkpoints = sorted(path.parent.name for path in folder.checkpoints.glob("step-*/COMPLETE"))
    written = [sum(1 for _ in folder.path.glob(pattern)) for pattern in ("metrics/*.json", "parts/*/*.json")]
    return [checkpoints[-1:], folder.trained.exists(), *written]


def call(*command: str) -> tuple[str, str | None]:
    """What one of Slurm's commands prints, and why it failed, None where it did not."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    if result.returncode:
        return "", result.stderr.strip() or f"exit code {result.returncode}"
    return result.stdout, None


def wait_for_outcome(path: Path, timeout_s: float) -> bool:
    """Whether the first rank says within `timeout_s` how the attempt ended: a rank that ends takes all with it."""
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
        os.listdir(path.parent)  # makes NFS look again
    return True


def slurm_job() -> str | None:
    """This job as squeue shows it: `123_4` for an array element, `123` for a single job."""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array else os.environ.get("SLURM_JOB_ID")
