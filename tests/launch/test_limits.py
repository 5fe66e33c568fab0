"""What a site lets this user submit, from what Slurm 22.05 really prints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launch.limits import Limits, ask_limits
from launch.slurm import this_user
from tests.launch.fake_slurm import FakeSlurm

CONFIG = ["AccountingStorageEnforce = associations,limits,qos", "MaxArraySize            = 21", "MaxJobCount = 50000"]
NO_LIMIT = "GrpJobs=N(0) GrpJobsAccrue=N(0) GrpSubmitJobs=N({used}) GrpWall=N(0.00)"


def associations(used: int, grp: str = "N", own: str = "", qos: str = "", qos_grp: str = "N") -> list[str]:
    """`scontrol show assoc_mgr flags=qos,assoc`, cut to what matters."""
    uid, user = os.getuid(), this_user()
    lines = ["Current Association Manager state", "", "Association Records", ""]
    for name in ("", f"{user}({uid})"):
        lines += [
            f"ClusterName=stilts Account=lab UserName={name} Partition= Priority=0 ID=1",
            f"    GrpSubmitJobs={grp}({used}) GrpWall=N(0.00)",
            f"    MaxJobs= MaxJobsAccrue= MaxSubmitJobs={own} MaxWallPJ=",
        ]
    lines += ["", "QOS Records", "", "QOS=normal(1)", f"    GrpSubmitJobs={qos_grp}({used}) GrpWall=N(0.00)"]
    lines += ["    Account Limits", "        No Accounts", "    User Limits"]
    if qos:
        lines += [f"      {uid}", f"        MaxJobsPU=N(0) MaxJobsAccruePU=N(0) MaxSubmitJobsPU={qos}({used})"]
    else:
        lines += ["        No Users"]
    return lines


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path)
    monkeypatch.setenv("PATH", str(fake.path))
    return fake


def says(site: FakeSlurm, shown: list[str], user: str = "lab|||normal", qos: str = "normal|") -> None:
    """One scontrol and one sacctmgr that answer two questions each, by their arguments."""
    for name, first, second in (("scontrol", "config", "assoc_mgr"), ("sacctmgr", "assoc", "qos")):
        answers = {"config": CONFIG, "assoc_mgr": shown, "assoc": [user], "qos": [qos]}
        for part in (first, second):
            (site.folder / part).write_text("".join(f"{line}\n" for line in answers[part]))
        site.says(name, do=f'for w in "$@"; do case $w in {first}|{second}) /bin/cat {site.folder}/$w;; esac; done')


def test_a_site_without_limits(site: FakeSlurm) -> None:
    says(site, associations(32))
    assert ask_limits(None, [None], 32) == Limits(21, 50000 - 32, "MaxJobCount 50000")


def test_limits_that_are_not_enforced_are_none(site: FakeSlurm) -> None:
    site.says("scontrol", "AccountingStorageEnforce = none", "MaxArraySize = 1001", "MaxJobCount = 10000")
    assert ask_limits(None, [None], 32) == Limits(1001, 10000 - 32, "MaxJobCount 10000")
    assert "sacctmgr" not in site.called()


@pytest.mark.parametrize(
    ("shown", "user", "qos", "room", "bound"),
    [
        ({"used": 32, "qos": "40"}, "lab|||normal", "normal|40", 8, "MaxSubmitJobsPerUser 40 of QOS normal"),
        ({"used": 0}, "lab|||normal", "normal|40", 40, "MaxSubmitJobsPerUser 40 of QOS normal"),
        ({"used": 5, "own": "7"}, "lab|7||normal", "normal|", 2, "MaxSubmitJobs 7"),
        ({"used": 9, "grp": "10"}, "lab|||normal", "normal|", 1, "GrpSubmitJobs 10 of account lab"),
        ({"used": 9, "qos_grp": "9"}, "lab|||normal", "normal|", 0, "GrpSubmitJobs 9 of QOS normal"),
        ({"used": 50, "qos": "40"}, "lab|||normal", "normal|40", 0, "MaxSubmitJobsPerUser 40 of QOS normal"),
    ],
)
def test_the_narrowest_limit_counts(
    site: FakeSlurm, shown: dict[str, int], user: str, qos: str, room: int, bound: str
) -> None:
    says(site, associations(**shown), user, qos)  # type: ignore[arg-type]
    limits = ask_limits(None, [None], int(shown["used"]))
    assert limits.room == room
    assert bound in limits.bound


def test_only_the_qos_and_the_account_in_question_count(site: FakeSlurm) -> None:
    says(site, associations(5, own="7", qos="6"), "other|7||normal", "normal|6")
    assert ask_limits("elsewhere", ["long"], 5).bound == "MaxJobCount 50000"


def test_where_the_controller_keeps_it_to_itself_every_job_in_the_queue_counts(site: FakeSlurm) -> None:
    says(site, [], qos="normal|40")
    assert ask_limits(None, [None], 30).room == 10


def test_a_site_that_tells_nothing(site: FakeSlurm) -> None:
    for name in ("scontrol", "sacctmgr"):
        site.says(name, code=1, complaint="Access/permission denied")
    assert ask_limits(None, [None], 30) == Limits(1001, None, "")
    site.lacks("scontrol")
    site.lacks("sacctmgr")
    assert ask_limits(None, [None], None) == Limits(1001, None, "")
