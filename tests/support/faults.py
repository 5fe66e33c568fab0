"""A process that forks the ranks of attempts at runs and strikes one of them at a chosen moment.

`python -m tests.support.faults` reads orders, JSON lines {"run", "attempt", "ranks", "fault"}, and answers each with
{"codes": [exit code of each rank]}. The libraries are imported once. A rank that dies takes the others with it, as
srun's --kill-on-bad-exit does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MOMENTS = ("first", "backward", "between", "dev", "write")
SIGNALS = ("USR2", "TERM", "KILL")
_GRACE_S = 5.0


@dataclass(frozen=True)
class Fault:
    """`signal` to `rank` at its `count`-th time at a moment: in the first update's backward pass, in a later one's,
    between two updates, while dev is scored, inside the writing of a checkpoint's file. MEMORY is no signal but a GPU
    that has none left."""

    signal: str
    moment: str
    count: int
    rank: int = 0


class Striker:
    """Client of the process; one for many attempts."""

    def __init__(self) -> None:
        environment = {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1", "GLOO_SOCKET_IFNAME": "lo"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.faults"],
            cwd=ROOT,
            env={**os.environ, **environment, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def attempt(self, run: Path, name: str, ranks: int = 1, fault: Fault | None = None) -> list[int]:
        """Exit code of each rank (negative: killed by that signal)."""
        order = {"run": str(run), "attempt": name, "ranks": ranks, "fault": asdict(fault) if fault else None}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        codes: list[int] = json.loads(self.process.stdout.readline())["codes"]
        return codes

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def main() -> None:
    from jobs.warm import warm_up

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print while they are imported
    warm_up()
    for line in sys.stdin:
        order = json.loads(line)
        pids = [_fork(order, rank) for rank in range(order["ranks"])]
        print(json.dumps({"codes": _wait(pids)}), file=answers, flush=True)


def _fork(order: dict[str, Any], rank: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if order["ranks"] > 1:
            os.environ.update(SLURM_STEP_NUM_TASKS=str(order["ranks"]), SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank))
        if order["fault"] and order["fault"]["rank"] == rank:
            _arm(Fault(**order["fault"]))
        from jobs.run import execute

        code = execute(Path(order["run"]), order["attempt"])
    finally:
        os._exit(code)


def _wait(pids: list[int]) -> list[int]:
    codes: dict[int, int] = {}
    end = None
    while len(codes) < len(pids):
        for pid in set(pids) - codes.keys():
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[pid] = os.waitstatus_to_exitcode(status)
                if codes[pid] and end is None:
                    end = time.monotonic() + (0.0 if codes[pid] < 0 else _GRACE_S)
        if end is not None and time.monotonic() > end:
            for pid in set(pids) - codes.keys():
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return [codes[pid] for pid in pids]


def _arm(fault: Fault) -> None:
    """Wrap the function whose `count`-th call is the moment."""
    import torch

    from stilts.training import checkpoints
    from stilts.training.engine import Updater
    from stilts.training.selection import DevSet
    from stilts.training.stopping import Stop

    calls = 0

    def strike(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == fault.count:
                if fault.moment == "write":
                    Path(arguments[0]).write_bytes(b"\x10" + 99 * b"\0")
                if fault.signal == "MEMORY":
                    raise torch.OutOfMemoryError("made up by a test")
                os.kill(os.getpid(), signal.Signals[f"SIG{fault.signal}"])
            return original(*arguments, **named)

        return wrapped

    match fault.moment:
        case "first" | "backward":
            Updater.backward = strike(Updater.backward)  # type: ignore[method-assign]
        case "between":
            Stop.look = strike(Stop.look)  # type: ignore[method-assign]
        case "dev":
            DevSet.score = strike(DevSet.score)  # type: ignore[method-assign]
        case "write":
            checkpoints.write_tensors = strike(checkpoints.write_tensors)


if __name__ == "__main__":
    main()
