"""Programs before the real sbatch, squeue and sacct on PATH that go wrong on order, and a launcher to die in them.

`FaultySlurm(folder).orders("sbatch", 2, "kill-after")` lets the second sbatch from now on kill whoever called it after
the real one has done its work. Reusable: whatever calls Slurm's commands with `path` first on PATH meets the faults.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("sbatch", "squeue", "sacct")
# What a command can do instead of its work, or after it. `late`: its caller dies, and it works a second later.
FAULTS = {
    "kill-before": "kill -9 $PPID; exit 1",
    "kill-after": '"$real" "$@" >/dev/null; kill -9 $PPID; exit 1',
    "late": '(sleep 1; exec "$real" "$@") >/dev/null 2>&1 </dev/null & kill -9 $PPID; exit 1',
    "delay": 'sleep 0.3; exec "$real" "$@"',
    "timeout-before": "exec sleep 60",
    "timeout-after": '"$real" "$@" >/dev/null; exec sleep 60',
    "socket-after": '"$real" "$@" >/dev/null; echo "$name: error: Socket timed out on send/recv operation" >&2; exit 1',
    "truncate": '"$real" "$@" > "$folder/out"; head -c $(( $(wc -c < "$folder/out") / 2 )) "$folder/out"; exit 0',
    "drop-line": '"$real" "$@" | sed "\\$d"; exit 0',
    "double": '"$real" "$@" >/dev/null; exec "$real" "$@"',
    "noise": 'echo "$name: error: slurm_persist_conn_open: temporarily unable, never mind" >&2; exec "$real" "$@"',
    "quota": 'echo "$name: error: AssocMaxSubmitJobLimit" >&2; echo "$name: error: Batch job submission failed: Job '
    'violates accounting/QOS policy (job submit limit, user s size and/or time limits)" >&2; exit 1',
    "busy": 'echo "$name: error: Unable to contact slurm controller (connect failure)" >&2; exit 1',
}
PROGRAM = """#!/bin/sh
name={name} real={real} folder={folder}
[ "$1" = --test-only ] && exec "$real" "$@"
count=$(( $(cat "$folder/{name}.count" 2>/dev/null || echo 0) + 1 ))
echo $count > "$folder/{name}.count"
case "$(cat "$folder/{name}.$count" 2>/dev/null)" in
{cases}
esac
exec "$real" "$@"
"""


class FaultySlurm:
    """A folder of commands that work until they are ordered otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "bin"
        self.path.mkdir(parents=True)
        cases = "\n".join(f"{name}) {action} ;;" for name, action in FAULTS.items())
        for name in COMMANDS:
            real = shutil.which(name)
            assert real is not None, f"{name} is installed"
            program = self.path / name
            program.write_text(PROGRAM.format(name=name, real=real, folder=folder, cases=cases))
            program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.path}:{os.environ['PATH']}"}

    def orders(self, command: str, call: int, fault: str) -> None:
        """Let a command go wrong at its `call`-th call from now on, counted from 1."""
        assert fault in FAULTS
        (self.folder / f"{command}.{self.calls(command) + call}").write_text(fault)

    def calls(self, command: str) -> int:
        """How often a command was called."""
        path = self.folder / f"{command}.count"
        return int(path.read_text()) if path.exists() else 0

    def clear(self) -> None:
        """Forget what was ordered."""
        for command in COMMANDS:
            for path in self.folder.glob(f"{command}.[0-9]*"):
                path.unlink()


class Launchpad:
    """A process that has imported the launcher and forks one for each launch: as quick as the launch itself.

    Its launchers are told to wait a tenth of a second where others wait seconds. `die_at` kills one by SIGKILL before
    its n-th step: every file below the root that it is about to write, link, rename or delete, every folder it is
    about to make, every process it is about to start is one.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.slurm_faults"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def launch(
        self, arguments: list[str], root: Path, die_at: int | None = None, **environment: str
    ) -> tuple[int, int, str]:
        """Exit code (negative: killed by that signal), steps that were counted, and what it printed."""
        order = {"arguments": arguments, "root": str(root), "die_at": die_at, "environment": environment}
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["code"], answer["steps"], answer["printed"]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    """Serve orders from standard input."""
    from launch import sbatch, slurm, submit  # noqa: F401 (imported once, for all forks)

    submit.PAUSES_S = (0.1, 0.1, 0.1)  # type: ignore[assignment]
    submit.LOOKS_S = (0.0, 0.2, 0.4)  # type: ignore[assignment]
    slurm.COMMAND_TIMEOUT_S = 1
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        order = json.loads(line)
        report = Path(order["root"]).with_name("launchpad")
        report.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            _launch(order, report)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        printed, _, steps = report.read_text(errors="replace").rpartition("steps ")
        answer = {"code": status, "steps": int(steps) if printed else 0, "printed": printed or steps}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _launch(order: Mapping[str, Any], report: Path) -> None:
    """One launch, in the child; ends it."""
    from launch.grid import main as launch

    output = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(order["environment"])
    steps = [0]
    _count_steps(order["root"], order["die_at"], steps)
    code = 70
    try:
        code = launch(order["arguments"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        print(f"steps {steps[0]}", flush=True)
        os._exit(code)


def _count_steps(root: str, die_at: int | None, steps: list[int]) -> None:
    changing = ("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.symlink")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            counts = isinstance(path, str) and path.startswith(root) and bool(flags & (os.O_WRONLY | os.O_RDWR))
        elif event in changing:
            counts = any(str(argument).startswith(root) for argument in arguments[:2])
        else:
            counts = event == "subprocess.Popen"
        if counts:
            steps[0] += 1
            if steps[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    main()
