"""Folders of test clusters: how one is named, and how the remains of a killed test run are cleared away.

A folder is `<temporary folder>/stilts-slurm-<pid>-<start ticks>-<random>`: its name tells whose it is from its
first moment, so that a second test session never clears a living cluster, nor one that is just starting.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import hosts_file
from tests.support.processes import ProcessId, end_processes, own_process, processes_where

PREFIX = "stilts-slurm-"


@contextmanager
def machine_lock() -> Iterator[None]:
    """Held while ports are chosen and taken and while /etc/hosts changes: test sessions do these in turn."""
    with (Path(tempfile.gettempdir()) / "stilts-slurm.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{own_process()}-"))
    # munged insists that everybody can reach its socket; what is secret inside has a mode of its own.
    folder.chmod(0o711)
    return folder


def is_abandoned(folder_name: str) -> bool:
    """Whether the process that made this folder has ended."""
    if not folder_name.startswith(PREFIX):
        return False
    pid_and_start = folder_name.removeprefix(PREFIX).rpartition("-")[0]
    try:
        return not ProcessId.parse(pid_and_start).alive()
    except ValueError:
        return False


def clear_leftovers() -> list[str]:
    """End the processes, take out the host names and delete the folders of ended owners; returns folder names."""
    hosts_file.remove_names(is_abandoned)
    folders = [path for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*-*") if is_abandoned(path.name)]
    for folder in folders:
        recorded = [ProcessId.parse(pid_file.read_text()) for pid_file in (folder / "pids").glob("*")]
        end_processes(recorded, grace_s=0)
        end_job_processes(folder)
        shutil.rmtree(folder)
    return [folder.name for folder in folders]


def job_processes(folder: Path, node: str | None = None) -> list[ProcessId]:
    """Step daemons and job processes of the cluster in `folder` (of one node): what slurmd leaves when it is killed."""
    slurm_conf = str(folder / "slurm.conf")

    def is_ours(env: dict[str, str]) -> bool:
        # Commands that a test typed have SLURM_CONF too, but no SLURMD_NODENAME: those are not ours to end.
        # Slurm gives a node name to tasks; slurmd got it from us, and its step daemons from slurmd.
        found = env.get("SLURMD_NODENAME")
        return env.get("SLURM_CONF") == slurm_conf and found is not None and node in (None, found)

    return processes_where(is_ours)


def end_job_processes(folder: Path, node: str | None = None) -> None:
    # Again until none is found: one may have started another between the look and the signal.
    while found := job_processes(folder, node):
        end_processes(found, grace_s=0)
