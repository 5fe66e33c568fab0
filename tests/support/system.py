"""May tests change this machine (install packages, start daemons, edit /etc/hosts)? And installing what they need."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SLURM_PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurmdbd", "munge", "mariadb-server")
LATEX_PACKAGES = ("texlive-latex-base", "texlive-latex-recommended")
CHROMIUM_PACKAGES = ("chromium",)
SYSTEMS = ("debian", "ubuntu")
SITE_CONF = Path("/etc/slurm/slurm.conf")
POLICY = Path("/usr/sbin/policy-rc.d")
# Debian's invoke-rc.d asks this program before it starts a service; exit code 101 means "forbidden".
POLICY_TEXT = "#!/bin/sh\n# Put here by the tests of stilts while they install packages.\nexit 101\n"

IN_A_CONTAINER = (
    'in a container they run: docker run --rm -it -v "$PWD":/repo -w /repo python:3.11-bookworm, '
    "install the project there, then python -m pytest -m "
)


class InstallError(RuntimeError):
    """apt-get could not install what the tests need; the message holds its last words."""


@dataclass(frozen=True)
class Machine:
    """What decides whether tests may change a machine."""

    is_root: bool
    system: str  # ID of /etc/os-release, empty when unknown
    has_systemd: bool  # running, not just installed
    site_conf: str | None  # the configuration of a Slurm that belongs to somebody


def observe_machine() -> Machine:
    try:
        system = platform.freedesktop_os_release()["ID"]
    except OSError:
        system = ""
    site_conf = os.environ.get("SLURM_CONF") or (str(SITE_CONF) if SITE_CONF.exists() else None)
    return Machine(os.geteuid() == 0, system, Path("/run/systemd/system").exists(), site_conf)


def change_refusal(machine: Machine) -> str | None:
    """Why tests must leave this machine as it is; None when they may change it."""
    if machine.system not in SYSTEMS:
        return f"this is {machine.system or 'an unknown system'}, not Debian or Ubuntu"
    if not machine.is_root:
        return "not root"
    if machine.has_systemd:
        return "systemd runs here, so this is somebody's machine and tests do not change it"
    return None


def slurm_refusal(machine: Machine | None = None) -> str | None:
    """Why real-Slurm tests cannot run on this machine, and the command that would run them; None when they can."""
    machine = machine or observe_machine()
    reason = change_refusal(machine)
    if reason is None and machine.site_conf is not None:
        reason = f"there is a Slurm of this site ({machine.site_conf})"
    return None if reason is None else f"real-Slurm tests: {reason}; {IN_A_CONTAINER}slurm"


def latex_refusal(machine: Machine | None = None) -> str | None:
    """Why LaTeX tests cannot run on this machine, and the command that would enable them; None when they can."""
    return program_refusal("LaTeX tests", "pdflatex", LATEX_PACKAGES, machine)


def chromium_refusal(machine: Machine | None = None) -> str | None:
    """Why tests of pages cannot run on this machine, and the command that would enable them; None when they can."""
    return program_refusal("tests in a browser", "chromium", CHROMIUM_PACKAGES, machine)


def program_refusal(tests: str, program: str, packages: tuple[str, ...], machine: Machine | None) -> str | None:
    """Why tests have neither this program nor leave to install it."""
    if shutil.which(program):
        return None
    reason = change_refusal(machine or observe_machine())
    command = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    return None if reason is None else f"{tests}: no {program}, and {reason}; enable them with: {command}"


def missing_packages(*names: str) -> list[str]:
    """Those of `names` that dpkg does not count as installed."""
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *names]
    # An unknown name makes the exit code 1, the known ones are printed all the same.
    listed = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return [name for name in names if f"{name} installed" not in listed]


def ensure_packages(*names: str) -> list[str]:
    """Install the missing ones of `names` without starting any service; returns what was installed.

    Raises InstallError with the end of apt-get's output when it fails (no network, unknown package).
    """
    missing = missing_packages(*names)
    if missing:
        with services_held_back():
            run_apt("update")
            run_apt("install", "-y", "--no-install-recommends", *missing)
    return missing


def run_apt(*args: str) -> None:
    command = ["apt-get", *args]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise InstallError(f"{' '.join(command)} failed with exit code {result.returncode}:\n{tail}")


@contextmanager
def services_held_back(policy: Path = POLICY) -> Iterator[None]:
    """While this lasts, installing a package starts none of its services; then `policy` is as it was before."""
    saved = policy.with_name(policy.name + ".before-stilts-tests")
    # If a run was killed here, `policy` is still ours and what was there before is the saved one.
    if policy.exists() and policy.read_text() != POLICY_TEXT:
        os.replace(policy, saved)
    policy.write_text(POLICY_TEXT)
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
        if saved.exists():
            os.replace(saved, policy)
