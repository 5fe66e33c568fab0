"""The local pool for real, through the command line: whatever kills it, the same command goes on from there.

Most tests start from a copy of the folder of one finished study.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from stilts.runs import RunFolder, read_json
from tests.launch.conftest import LOCAL, ONE_THREAD, TOTAL, make
from tests.support.campaigns import Study, cone, merge
from tests.support.processes import PROC, ProcessId


@pytest.fixture
def copied(finished: Study, tmp_path: Path) -> Study:
    """A finished study in a folder of its own: a campaign can be moved."""
    shutil.copytree(finished.folder, tmp_path / "moved")
    return make(tmp_path / "moved")


def done_files(study: Study) -> dict[str, int]:
    """Run id to the moment at which its DONE was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in study.root.glob("*/DONE")}


def files(study: Study) -> dict[str, int]:
    """Every file of the campaign and when it was written."""
    return {str(p.relative_to(study.root)): p.stat().st_mtime_ns for p in study.root.rglob("*") if p.is_file()}


def attempts(study: Study, run_id: str) -> list[Path]:
    return sorted((study.root / run_id / "attempts").glob("*"))


def processes_of(study: Study) -> list[ProcessId]:
    """Living processes that work on this campaign: started on it, in a folder of it, or writing a file of it."""
    root, found = str(study.root), []
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            links = [os.readlink(entry / "cwd"), *(os.readlink(link) for link in (entry / "fd").iterdir())]
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue  # it has just ended
        process = ProcessId.find(int(entry.name))
        if process and (any(link.startswith(root) for link in links) or root.encode() in told):
            found.append(process)
    return found


def assert_nobody_left(study: Study) -> None:
    """No process of the campaign outlives its launcher by more than the moment that dying takes."""
    deadline = time.monotonic() + 5
    while (left := processes_of(study)) and time.monotonic() < deadline:
        time.sleep(0.05)
    told = {process.pid: (PROC / str(process.pid) / "cmdline").read_bytes() for process in left}
    assert not told, f"orphans: {told}"


def assert_whole(study: Study) -> None:
    """Every run is done once, of the right configuration, on what its parents hold now, with its metrics."""
    plan = study.plan()
    assert {run["state"] for run in plan["runs"]} == {"done"}
    assert len(done_files(study)) == len(plan["runs"]) == TOTAL
    for run in plan["runs"]:
        folder = RunFolder(study.root / run["id"])
        done, spec = folder.read_done(), read_json(folder.spec)
        assert done is not None
        assert spec is not None
        assert done["digest"] == spec["digest"]
        outputs = {parent: (read_json(study.root / parent / "DONE") or {})["output"] for parent in run["parents"]}
        assert done["needs"] == outputs
        outcomes = [(read_json(path / "outcome.json") or {}).get("state") for path in attempts(study, run["id"])]
        assert outcomes.count("done") <= 1
        assert (folder.attempts / done["attempt"]).is_dir()
        # Nothing finished is computed again; scores of an attempt that was killed before its DONE may lie there.
        assert not list(folder.path.glob("**/DONE.superseded"))


def metric_files(study: Study) -> set[str]:
    return {str(path.relative_to(study.root)) for path in study.root.glob("*/metrics/*.json")}


# ---- to the end, and again


def test_it_finishes_with_one_done_for_each_run(finished: Study) -> None:
    assert_whole(finished)
    assert all(len(attempts(finished, run_id)) == 1 for run_id in done_files(finished))
    assert_nobody_left(finished)
    assert not (finished.root / "campaign" / "launcher.lock").exists()
    languages = {path.rsplit(".", 2)[1] for path in metric_files(finished)}
    assert languages == {"en", "qaa", "qab", "qac"}


def test_the_same_command_says_why_there_is_nothing_to_do_and_starts_nothing(finished: Study) -> None:
    before = files(finished)
    result = finished.launch()
    assert result.stdout.strip() == f"nothing to submit: of {TOTAL} runs {TOTAL} done"
    assert files(finished) == before


def test_a_moved_campaign_is_still_done(copied: Study) -> None:
    assert "nothing to submit" in copied.launch().stdout
    assert_whole(copied)


def test_with_a_folder_gone_its_cone_is_computed_one_run_at_a_time(copied: Study) -> None:
    encoder = copied.find("intermediate-mnli")
    expected = cone(copied.plan(), encoder)
    assert len(expected) == 3
    before = done_files(copied)
    shutil.rmtree(copied.root / encoder)
    result = copied.launch("--workers", "1")
    assert f"3 of {TOTAL} runs to do, 1 at once" in result.stdout
    after = done_files(copied)
    assert {run_id for run_id in after if after[run_id] != before[run_id]} <= expected
    spans = sorted(span(path) for run_id in expected for path in attempts(copied, run_id)[-1:])
    assert len(spans) == 3
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))
    plan = copied.plan()
    assert {run["state"] for run in plan["runs"]} == {"done"}


def span(attempt: Path) -> tuple[float, float]:
    """When an attempt began and ended, seconds of the epoch."""
    begun, ended = read_json(attempt / "attempt.json"), read_json(attempt / "outcome.json")
    assert begun is not None
    assert ended is not None
    return begun["started"], ended["ended"]


# ---- interrupted


def count(study: Study) -> int:
    return len(done_files(study))


def phase(study: Study, prefix: str) -> str:
    """What the only run with this prefix said last."""
    found = list(study.root.glob(f"{prefix}*/progress.json"))
    return str((read_json(found[0]) or {}).get("phase", "")) if found else ""


def between_training_and_scoring(study: Study) -> bool:
    return any(study.root.glob("target-xnli-mnli-*/TRAINED"))


# In the order in which they come; each interrupts the launch that continued after the one before it.
MOMENTS: dict[str, Callable[[Study], bool]] = {
    "the 1st DONE": lambda study: count(study) >= 1,
    "the 4th DONE": lambda study: count(study) >= 4,
    "the 8th DONE": lambda study: count(study) >= 8,
    "the intermediate training": lambda study: phase(study, "intermediate-mnli") != "",
    "the last training done and not yet scored": between_training_and_scoring,
}


class Launch:
    """A launcher of the local pool as a process of its own."""

    def __init__(self, study: Study) -> None:
        self.study = study
        options = ("--grid", str(study.path), "--root", str(study.root), *study.options)
        self.process = subprocess.Popen(
            study.command("launch/grid.py", *options),
            cwd=study.folder,
            env={**os.environ, **study.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, moment: Callable[[Study], bool], timeout_s: float = 240) -> None:
        """Return when this launcher is at work and `moment` is on disk."""
        deadline = time.monotonic() + timeout_s
        while not (self._at_work() and moment(self.study)):
            if self.process.poll() is not None:
                pytest.fail(f"ended before the moment came\n{''.join(self.process.communicate())}")
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.01)

    def _at_work(self) -> bool:
        lock = read_json(self.study.root / "campaign" / "launcher.lock") or {}
        return lock.get("pid") == self.process.pid and any(self.study.root.glob("*/attempts"))

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; exit code and what was printed."""
        self.process.send_signal(number)
        out, error = self.process.communicate(timeout=60)
        return self.process.returncode, out + error


NUMBERS = (signal.SIGINT, signal.SIGKILL)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[signal.Signals, Future[Study]]]:
    """The study by the signal that interrupted it. Both at once: a launch is for the most part one import."""
    with ThreadPoolExecutor(len(NUMBERS)) as pool:
        studies = {number: make(tmp_path_factory.mktemp("interrupted")) for number in NUMBERS}
        yield {number: pool.submit(interrupt, study, number) for number, study in studies.items()}


def interrupt(study: Study, number: signal.Signals) -> Study:
    """Interrupt it at all moments and let it go on each time; no finished run may be touched."""
    kept: dict[str, int] = {}
    for name, moment in MOMENTS.items():
        launch = Launch(study)
        launch.wait_for(moment)
        code, output = launch.end(number)
        assert code == (130 if number == signal.SIGINT else -signal.SIGKILL), (name, output)
        assert number == signal.SIGKILL or "the same command continues" in output
        assert "Traceback" not in output
        assert_nobody_left(study)
        found = done_files(study)
        assert kept.items() <= found.items(), f"{name}: a finished run was touched"
        assert len(found) < TOTAL, f"{name} came too late"
        kept = found
    study.launch()
    assert_whole(study)
    assert kept.items() <= done_files(study).items()
    assert_nobody_left(study)
    return study


@pytest.mark.parametrize("number", NUMBERS)
def test_interrupted_at_five_moments_it_loses_nothing(
    number: signal.Signals, interrupted: dict[signal.Signals, Future[Study]], finished: Study
) -> None:
    assert metric_files(interrupted[number].result()) == metric_files(finished)


@pytest.mark.parametrize("number", NUMBERS)
def test_what_a_long_training_looks_like_while_it_runs_and_after(number: signal.Signals, copied: Study) -> None:
    study = make(copied.folder, intermediate={"epochs": 20_000})
    launch = Launch(study)
    encoder = study.find("intermediate-mnli")
    launch.wait_for(lambda study: (study.root / encoder / "losses.jsonl").exists())
    assert study.status()[encoder]["state"] == "running"
    second = study.launch(check=False)
    assert second.returncode == 2
    assert f"process {launch.process.pid} on" in second.stderr
    code, _ = launch.end(number)
    assert code == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert_nobody_left(study)
    found = study.status()
    assert found[encoder]["state"] == "cancelled"
    told = "stopped by SIGTERM" if number == signal.SIGINT else "its local process ended without an outcome"
    assert told in found[encoder]["reason"]
    blocked = {run["state"] for run in found.values() if run["reason"] == f"waits for {encoder} (cancelled)"}
    assert blocked == {"blocked"}
    assert study.plan()["submits"] == [run_id for run_id, run in found.items() if run["state"] != "done"]
    assert len(study.plan()["submits"]) == 3


def test_a_worker_that_is_killed_fails_alone(copied: Study) -> None:
    """As the kernel does when memory runs out: its children are blocked, the launcher goes on and says so."""
    study = make(copied.folder, intermediate={"epochs": 20_000})
    retrieval = study.find("retrieval-tatoeba-none")
    shutil.rmtree(study.root / retrieval)
    launch = Launch(study)
    encoder = study.find("intermediate-mnli")
    launch.wait_for(lambda study: (study.root / encoder / "losses.jsonl").exists())
    (attempt,) = attempts(study, encoder)
    os.kill((read_json(attempt / "attempt.json") or {})["pid"], signal.SIGKILL)
    out, error = launch.process.communicate(timeout=120)
    assert launch.process.returncode == 1
    assert "Traceback" not in error
    assert "its process died" in out
    states = study.states()
    assert states[encoder] == "cancelled"
    assert [states[run_id] for run_id in states if "-mnli-s1" in run_id and run_id != encoder] == ["blocked", "blocked"]
    assert states[retrieval] == "done"


def test_a_server_that_is_killed_takes_its_run_along_and_has_a_successor(copied: Study) -> None:
    """What the kernel may choose when memory runs out: the next run is a fork of a new server."""
    axes = {"intermediate": ["none", "mnli", "squad1"]}
    grid = merge(copied.grid, {"axes": axes, "intermediate": {"epochs": 20_000}})
    study = Study(copied.folder, grid, (*LOCAL, "--workers", "1"), ONE_THREAD)
    launch = Launch(study)
    first, second = (study.find(f"intermediate-{task}-s1") for task in ("mnli", "squad1"))
    launch.wait_for(lambda study: any((study.root / name / "losses.jsonl").exists() for name in (first, second)))
    if (study.root / second / "losses.jsonl").exists():
        first, second = second, first
    (attempt,) = attempts(study, first)
    run = (read_json(attempt / "attempt.json") or {})["pid"]
    server = int((PROC / str(run) / "stat").read_text().rsplit(")", 1)[1].split()[1])
    assert server != launch.process.pid
    os.kill(server, signal.SIGKILL)
    launch.wait_for(lambda study: (study.root / second / "losses.jsonl").exists())
    assert ProcessId.find(run) is None
    code, output = launch.end(signal.SIGINT)
    assert code == 130 and "Traceback" not in output
    found = study.status()
    assert "ended without an outcome" in found[first]["reason"] and "SIGTERM" in found[second]["reason"]
    assert_nobody_left(study)


# ---- failing


def test_a_failing_run_blocks_its_children_and_nothing_else(copied: Study) -> None:
    """Prepared data that was damaged after its DONE was written."""
    encoder, retrieval = copied.find("intermediate-mnli"), copied.find("retrieval-tatoeba-none")
    prepared = copied.root / copied.find("prepare-mnli-train") / "data"
    for path in prepared.glob("train*"):
        path.write_bytes(b"damaged" * 10)
    children = cone(copied.plan(), encoder) - {encoder}
    for run_id in (encoder, retrieval, *children):
        shutil.rmtree(copied.root / run_id)
    result = copied.launch(check=False)
    assert result.returncode == 1
    found = copied.status()
    assert found[encoder]["state"] == "failed"
    reason = found[encoder]["reason"]
    assert f"failed  {encoder}: {reason.splitlines()[0]}"[:100] in result.stdout
    assert {run["id"] for run in found.values() if run["state"] == "blocked"} == children
    assert all(found[run_id]["reason"] == f"waits for {encoder} (failed)" for run_id in children)
    assert found[retrieval]["state"] == "done"
    assert sum(run["state"] == "done" for run in found.values()) == TOTAL - 3
    assert_nobody_left(copied)


def test_files_that_are_not_there_are_named_before_anything_starts(tmp_path: Path) -> None:
    grid = {
        "name": "nofiles",
        "data_root": "nowhere",
        "axes": {"model": "scratch", "intermediate": "mnli", "target": "xnli", "seed": 1},
        "pretrain": {"text": ["mnli"]},
    }
    study = Study(tmp_path, grid, LOCAL, ONE_THREAD)
    result = study.launch(check=False)
    assert result.returncode == 2
    assert str(tmp_path / "nowhere") in result.stderr
    assert "nothing was started" in result.stderr
    assert set(study.states().values()) == {"planned"}
    assert not list(study.root.glob("*/attempts"))


def test_without_the_heavy_libraries_it_says_so_and_ends(copied: Study, tmp_path: Path) -> None:
    """The base install has no torch: the server that imports it dies, and with it whatever is sent to it."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise ImportError('no torch here')\n")
    (broken / "deepspeed.py").write_text("raise ImportError('no deepspeed here')\n")
    for prefix in ("retrieval-tatoeba-none", "target-xnli-none", "intermediate-mnli"):
        shutil.rmtree(copied.root / copied.find(prefix))
    study = Study(copied.folder, copied.grid, LOCAL, {**ONE_THREAD, "PYTHONPATH": str(broken)})
    result = study.launch(check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    log = study.root / "campaign" / "server.log"
    assert f"its process died before it began (log: {log})" in result.stdout
    assert "here" in log.read_text()
    assert_nobody_left(study)


# ---- what the command line refuses


@pytest.mark.parametrize("workers", ["0", "-1", "two", "1.5", ""])
def test_a_wrong_number_of_workers_is_refused(tmp_path: Path, workers: str) -> None:
    result = make(tmp_path).launch("--workers", workers, check=False)
    assert result.returncode == 2
    assert "is not a whole number from 1 up" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["grid.yaml"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    study = make(tmp_path)
    shown = study.launch("--dry-run").stdout
    assert "intermediate-mnli 1 planned" in shown
    plan = json.loads(study.launch("--dry-run", "--json").stdout)
    assert {run["state"] for run in plan["runs"]} == {"planned"}
    assert len(plan["runs"]) == len(plan["submits"]) == TOTAL
    assert [path.name for path in tmp_path.iterdir()] == ["grid.yaml"]
