"""A campaign's folder: one launcher at a time, and no run in another one's place."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from launch.campaign import Campaign
from launch.ledger import Ledger
from stilts import turns
from stilts.errors import UserError
from stilts.runs import read_json, write_json
from stilts.turns import SILENCE_S
from tests.launch.fake_slurm import FakeSlurm
from tests.launch.small import plan_of, small
from tests.support.campaigns import ROOT, Study

HOLD = """
import sys, time
sys.path.insert(0, {project!r})
from pathlib import Path
from launch.campaign import Campaign
with Campaign(Path({root!r})).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return Campaign(tmp_path / "runs")


@pytest.fixture
def holder(campaign: Campaign) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the campaign's lock until its input is closed."""
    script = HOLD.format(project=str(ROOT), root=str(campaign.root))
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def lock_files(campaign: Campaign) -> list[str]:
    return sorted(path.name for path in campaign.folder.iterdir())


def test_the_lock_is_gone_afterwards(campaign: Campaign) -> None:
    with campaign.lock():
        assert (read_json(campaign.folder / "launcher.lock") or {})["pid"] == os.getpid()
    with pytest.raises(ZeroDivisionError), campaign.lock():
        raise ZeroDivisionError
    assert lock_files(campaign) == []


def test_a_living_owner_is_named(campaign: Campaign, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(UserError) as refused, campaign.lock():
        pytest.fail("two launchers at once")
    assert f"process {holder.pid} on {socket.gethostname()}" in str(refused.value)
    assert lock_files(campaign) == ["launcher.lock"]
    holder.communicate()
    with campaign.lock():
        pass


def test_a_dead_owner_is_replaced(campaign: Campaign, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert lock_files(campaign) == ["launcher.lock"]
    with campaign.lock():
        assert (read_json(campaign.folder / "launcher.lock") or {})["pid"] == os.getpid()
    assert lock_files(campaign) == []


def test_an_owner_on_another_machine_is_replaced_when_it_has_been_silent(campaign: Campaign) -> None:
    """Whether its process lives cannot be seen from here, only whether its heartbeat goes on."""
    path = campaign.folder / "launcher.lock"
    write_json(path, {"host": "login2", "pid": os.getpid(), "time": 0, "id": "x"})
    now = time.time()
    os.utime(path, (now, now - SILENCE_S + 20))
    with pytest.raises(UserError, match=r"on login2.*takes over 120 s after its last heartbeat"), campaign.lock():
        pytest.fail("two launchers at once")
    os.utime(path, (now, now - SILENCE_S - 20))
    with campaign.lock() as turn:
        assert turn.held
        assert (read_json(path) or {})["host"] == socket.gethostname()
    assert lock_files(campaign) == []


def test_a_launcher_keeps_its_heartbeat(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BEAT_S", 0.02)
    path = campaign.folder / "launcher.lock"
    with campaign.lock():
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_process_number_that_was_given_out_again_is_not_its_owner(campaign: Campaign) -> None:
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "born": 1, "time": 0, "id": "x"}
    write_json(campaign.folder / "launcher.lock", owner)
    with campaign.lock() as turn:
        assert turn.held


def test_a_successor_that_died_before_it_took_over_is_succeeded_too(campaign: Campaign) -> None:
    path = campaign.folder / "launcher.lock"
    dead = {"host": socket.gethostname(), "pid": 2**22 + 1, "time": 0}
    write_json(path, {**dead, "id": "x"})
    write_json(path.with_name("launcher.lock.x.next"), {**dead, "id": "y"})
    with campaign.lock() as turn:
        assert turn.held
    assert lock_files(campaign) == []


def test_a_launcher_that_was_taken_for_dead_knows_it(campaign: Campaign) -> None:
    with campaign.lock() as turn:
        write_json(turn.path, {"host": "login2", "pid": 1, "time": 0, "id": "other"})
        assert not turn.held
    assert turn.path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_lock_that_says_nothing_is_left_to_the_user(campaign: Campaign, text: str) -> None:
    campaign.folder.mkdir(parents=True)
    (campaign.folder / "launcher.lock").write_text(text)
    with pytest.raises(UserError, match="delete this file if it is gone"), campaign.lock():
        pytest.fail("two launchers at once")


def test_a_lock_that_was_taken_over_is_not_removed(campaign: Campaign) -> None:
    path = campaign.folder / "launcher.lock"
    with campaign.lock():
        path.unlink()
        write_json(path, {"host": "login2", "pid": 1, "time": 0, "id": "x"})
    assert path.exists()


def test_of_many_launchers_on_a_dead_lock_one_wins(campaign: Campaign) -> None:
    """Hundreds of times: whoever finds the dead owner last must not take away the lock of the one who came first."""
    dead = {"host": socket.gethostname(), "pid": 2**22 + 1, "time": 0, "id": "x"}
    start, holding, most = threading.Barrier(4), [0], [0]

    def launch() -> None:
        with suppress(UserError):
            start.wait()
            with campaign.lock():
                holding[0] += 1
                most[0] = max(most[0], holding[0])
                time.sleep(0.002)
                holding[0] -= 1

    for _ in range(200):
        write_json(campaign.folder / "launcher.lock", dead)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: launch(), range(4)))
    assert most == [1]
    assert lock_files(campaign) == []


def test_a_second_launcher_is_refused_by_the_command_line(tmp_path: Path) -> None:
    study = Study(tmp_path, small(suite="toy", axes={"model": "scratch"}), options=("--executor", "local"))
    campaign = Campaign(study.root)
    with campaign.lock():
        result = study.launch(check=False)
        assert (result.returncode, result.stdout) == (2, "")
        assert f"process {os.getpid()} on" in result.stderr
        assert study.launch("--dry-run").returncode == 0
    assert lock_files(campaign) == []
    assert [path.name for path in study.root.iterdir()] == ["campaign"]


@pytest.mark.parametrize("root", ["grid.yaml", "grid.yaml/below", "/proc/nothing/here"])
def test_a_root_that_cannot_be_made_is_refused(tmp_path: Path, root: str) -> None:
    study = Study(tmp_path, small(suite="toy", axes={"model": "scratch"}))
    command = study.command("launch/grid.py", "--grid", str(study.path), "--root", root, "--executor", "local")
    result = study.run(command, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: --root: ")
    assert result.stderr.count("\n") == 1


def test_without_slurm_nothing_is_written(tmp_path: Path) -> None:
    """A campaign begun by mistake with --executor slurm must not look submitted to --executor local."""
    fake = FakeSlurm(tmp_path / "slurm")
    study = Study(tmp_path, small(), environment={"PATH": str(fake.path)})
    result = study.launch(check=False)
    assert result.returncode == 2
    assert "there is no sbatch" in result.stderr
    assert not study.root.exists()


# ---- specifications

PLAN = plan_of(small())


def test_a_specification_is_written_once(campaign: Campaign) -> None:
    campaign.write_specs(PLAN, list(PLAN.runs))
    paths = [campaign.run(run_id).spec for run_id in PLAN.runs]
    before = [path.stat().st_mtime_ns for path in paths]
    campaign.write_specs(PLAN, list(PLAN.runs))
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert json.loads(paths[0].read_text()) == PLAN.runs[next(iter(PLAN.runs))].spec()


def test_another_digest_under_the_same_name_is_refused(campaign: Campaign) -> None:
    run_id = next(run_id for run_id in PLAN.runs if run_id.startswith("target-"))
    spec = PLAN.runs[run_id].spec()
    other = {**spec, "digest": "f" * 64}
    write_json(campaign.run(run_id).spec, other)
    with pytest.raises(UserError, match=r"another run has this name \(digest f{16}, wanted "):
        campaign.write_specs(PLAN, [run_id])
    assert read_json(campaign.run(run_id).spec) == other


def test_where_and_how_it_runs_may_change_and_damage_is_mended(campaign: Campaign) -> None:
    run_id = next(iter(PLAN.runs))
    campaign.write_specs(PLAN, [run_id])
    changed = plan_of(small(resources=[{"cpus": 7}]))
    campaign.write_specs(changed, [run_id])
    assert (read_json(campaign.run(run_id).spec) or {})["infra"]["resources"]["cpus"] == 7
    campaign.run(run_id).spec.write_text('{"schema": "stil')
    campaign.write_specs(PLAN, [run_id])
    assert read_json(campaign.run(run_id).spec) == PLAN.runs[run_id].spec()


def test_the_resolved_grid_is_kept_with_what_its_tables_should_hold(campaign: Campaign) -> None:
    grid = small(
        axes={"intermediate": ["none", "mnli"], "target": ["xnli", "tatoeba"], "seed": [1, 2]}, languages=["en", "de"]
    )
    plan = plan_of(grid)
    campaign.write_grid(plan)
    kept = json.loads((campaign.folder / "grid.json").read_text())
    assert kept == json.loads((campaign.folder / "grids" / "small.json").read_text())
    assert kept["grid"]["axes"]["seed"] == [1, 2]
    expected = kept["expected"]
    assert expected["seeds"] == [1, 2]
    assert expected["targets"] == {"xnli": {"dev": ["de", "en"], "test": ["de", "en"]}, "tatoeba": {"test": ["de"]}}
    assert [(row["mode"], row["tasks"]) for row in expected["rows"]] == [("none", []), ("single", ["mnli"])]
    assert {run for row in expected["rows"] for runs in row["runs"].values() for run in runs.values()} <= set(plan.runs)


# ---- the ledger


def test_the_ledger_remembers_in_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    first = ledger.confirm(ledger.intend("a", ["x", "y"]), "5")
    second = ledger.confirm(ledger.intend("b", ["y"]), "6")
    intent = ledger.intend("c", ["z"])
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "submission.json").write_text('{"tag": ')
    again = Ledger(tmp_path)
    assert again.submissions == [first, second, intent]
    assert again.of("y") == ledger.of("y") == [first, second]
    assert (first.job_of("y"), second.job_of("y"), again.of("z")[0].job_of("z")) == ("5_1", "6", None)
    assert again.of("nobody") == []
    assert first.name == f"a#{first.tag}"
    assert len({submission.tag for submission in again.submissions}) == 3
