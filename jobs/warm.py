"""Imports paid once: a process that has imported the heavy libraries and forks one process for each run.

Importing torch, transformers and deepspeed takes about 5 s, as long as a small run. The local pool starts one such
server and sends it a JSON line for each run; the answer lines are `{"pid": ...}` when a run has started and
`{"pid": ..., "code": ...}` when it has ended. The server itself never computes: no thread pool and no device
exists in it that a fork could break (pyarrow, which starts a thread on import, is left to the runs).
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

_here = Path(__file__).resolve().parent
sys.path[:] = [str(_here.parent), *(path for path in sys.path if path != str(_here))]

from jobs.run import die_with_parent, execute  # noqa: E402


def main() -> int:
    """Import, then serve until the launcher closes its end or dies."""
    die_with_parent(int(sys.argv[1]))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ[name] = "1"
    import_libraries()
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


def import_libraries() -> None:
    """What a training imports, and nothing that starts a thread."""
    import deepspeed  # noqa: F401
    import safetensors.torch  # noqa: F401
    import tokenizers  # noqa: F401
    import torch
    import transformers.modeling_utils
    import transformers.models.xlm_roberta.modeling_xlm_roberta  # noqa: F401

    assert not torch.cuda.is_initialized(), "a CUDA context does not survive a fork"
    assert threading.active_count() == 1, "only a single-threaded process may fork"


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
