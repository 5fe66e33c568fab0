"""When tests may change a machine, what they install, and that they put back what they changed."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import hosts_file, system
from tests.support.system import Machine

FREE = Machine(is_root=True, system="debian", has_systemd=False, site_conf=None)


def test_a_container_may_be_changed() -> None:
    assert system.slurm_refusal(FREE) is None
    assert system.slurm_refusal(replace(FREE, system="ubuntu")) is None


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (replace(FREE, is_root=False), "not root"),
        (replace(FREE, system="fedora"), "fedora, not Debian"),
        (replace(FREE, system=""), "unknown system"),
        (replace(FREE, has_systemd=True), "systemd"),
        (replace(FREE, site_conf="/etc/slurm/slurm.conf"), "/etc/slurm/slurm.conf"),
    ],
)
def test_a_refusal_names_its_reason_and_the_command(machine: Machine, reason: str) -> None:
    refusal = system.slurm_refusal(machine)
    assert refusal is not None and reason in refusal
    assert "docker run" in refusal and "pytest -m slurm" in refusal


def test_a_named_slurm_conf_counts_as_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/somewhere/slurm.conf")
    assert system.observe_machine().site_conf == "/somewhere/slurm.conf"


@pytest.mark.parametrize(
    ("refuse", "program", "package"),
    [
        (system.latex_refusal, "pdflatex", "texlive-latex-base"),
        (system.chromium_refusal, "chromium", "chromium"),
    ],
)
def test_programs_need_leave_only_where_they_are_missing(
    refuse: Callable[[Machine], str | None],
    program: str,
    package: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refuse(FREE) is None
    refusal = refuse(replace(FREE, is_root=False))
    assert refusal is not None and "apt-get install" in refusal and package in refusal
    (tmp_path / program).write_text("#!/bin/sh\n")
    (tmp_path / program).chmod(0o755)
    assert refuse(replace(FREE, is_root=False)) is None


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="no dpkg-query: not a Debian system")
def test_missing_packages_are_those_dpkg_does_not_have() -> None:
    assert system.missing_packages("dpkg", "apt") == []
    assert system.missing_packages("dpkg", "stilts-no-such-package") == ["stilts-no-such-package"]
    # Nothing missing, so nothing is run: this works without network and without being root.
    assert system.ensure_packages("dpkg") == []


def test_services_are_held_back_and_the_policy_put_back(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with system.services_held_back(policy):
        assert os.waitstatus_to_exitcode(os.system(str(policy))) == 101
    assert list(tmp_path.iterdir()) == []

    policy.write_text("#!/bin/sh\nexit 0\n")
    policy.chmod(0o700)
    with system.services_held_back(policy):
        assert policy.read_text() == system.POLICY_TEXT
    assert policy.read_text() == "#!/bin/sh\nexit 0\n" and policy.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == [policy]


def test_the_policy_survives_a_killed_run(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("true one")
    system.services_held_back(policy).__enter__()  # and never left
    with system.services_held_back(policy):
        pass
    assert policy.read_text() == "true one"
    policy.unlink()

    system.services_held_back(policy).__enter__()
    with system.services_held_back(policy):
        pass
    assert not policy.exists()


@pytest.mark.parametrize("before", [b"127.0.0.1 localhost\n", b"127.0.0.1 localhost", b"", b"a b\n\n\n", b"\xff\r\n"])
def test_the_hosts_file_is_given_back_byte_for_byte(tmp_path: Path, before: bytes) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_bytes(before)
    hosts_file.add_names("127.0.0.1", ("n1", "n2"), "first", hosts)
    hosts_file.add_names("127.0.0.1", ("n1", "n2"), "second", hosts)
    assert hosts.read_bytes().count(b"127.0.0.1 n1 n2 # stilts-test-cluster ") == 2
    assert hosts_file.remove_names(lambda owner: owner == "first", hosts) == ["first"]
    assert b"second" in hosts.read_bytes()
    assert hosts_file.remove_names(lambda owner: True, hosts) == ["second"]
    assert hosts.read_bytes() == before
