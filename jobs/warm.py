"""Imports paid once: a process that has imported the heavy libraries and forks one process for each run.

Importing torch, transformers and deepspeed takes about 5 s, as long as a small run. The local pool starts one such
server, which says `{"ready": ...}` when it has imported. It is sent a JSON line for each run; the answer lines are
`{"pid": ...}` when a run has started and `{"pid": ..., "code": ...}` when it has ended. The server itself never
computes: no thread and no device exists in it that a fork could break.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

_here = Path(__file__).resolve().parent
sys.path[:] = [str(_here.parent), *(path for path in sys.path if path != str(_here))]

from jobs.libraries import LIBRARIES, import_libraries  # noqa: E402
from jobs.run import die_with_parent, execute  # noqa: E402


def main() -> int:
    """Import, then serve until the launcher closes its end or dies."""
    die_with_parent(int(sys.argv[1]))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ[name] = "1"
    warm_up()
    say(ready=os.getpid())
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, _nothing)
    # The launcher's signals are for it to pass on: the server ends when its input is closed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    buffer = b""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if wake in readable:
            os.read(wake, 4096)
            reap()
        if 0 in readable:
            chunk = os.read(0, 65536)
            if not chunk:
                return 0
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                say(pid=start(json.loads(line)))


def warm_up() -> None:
    """What the runs import, and nothing that starts a thread or a device."""
    # Read on import: the allocator of pyarrow and the matrix products of numpy and scipy start threads else, and
    # DeepSpeed looks for devices.
    os.environ.update(JE_ARROW_MALLOC_CONF="background_thread:false", OPENBLAS_NUM_THREADS="1", DS_ACCELERATOR="cpu")
    # pyarrow imports pandas as soon as it makes an array, and its `dataset` to read a file.
    also = ("jobs.stages", "deepspeed", "pandas", "pyarrow.dataset")
    import_libraries(*also, *(name for names in LIBRARIES.values() for name in names))
    import torch
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("xlm-roberta")  # compiles a thousand regular expressions, once in a process
    assert not torch.cuda.is_initialized(), "a CUDA context does not survive a fork"
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"only a single-threaded process may fork; this one has {len(threads)} threads"


def start(order: dict[str, Any]) -> int:
    """Fork the process of one run; returns its pid here, never returns there."""
    server = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        leave_server()
        os.environ.update(order["environment"])
        die_with_parent(server)
        import torch

        # OMP_NUM_THREADS was read when the library was loaded, in the server.
        torch.set_num_threads(int(order["environment"]["OMP_NUM_THREADS"]))
        code = execute(Path(order["run"]), order["attempt"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def leave_server() -> None:
    """A run reads no orders, and what it prints before it has its log goes to the server's, not to the launcher."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.closerange(3, 64)  # the pipe that wakes the server, and the null device


def reap() -> None:
    """Report every run that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        say(pid=pid, code=os.waitstatus_to_exitcode(status))


def say(**facts: int) -> None:
    """One line to the launcher."""
    os.write(1, (json.dumps(facts) + "\n").encode())


def _nothing(number: int, frame: FrameType | None) -> None:
    """SIGCHLD only has to wake `select`; the default action would not."""


if __name__ == "__main__":
    sys.exit(main())
