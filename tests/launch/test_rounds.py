"""`grid.py` on a cluster that says little: what fits is submitted, the rest waits, nothing is done twice."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch import rounds, submit
from launch.campaign import Campaign
from launch.cluster import load_cluster
from launch.grid import main
from launch.ledger import Ledger
from launch.observation.observe import observe
from launch.plan import Plan, make_plan
from launch.spec import find_grid, load_grid
from stilts.runs import read_json, write_json
from tests.launch.fake_slurm import QueueSlurm
from tests.launch.small import finish
from tests.support.campaigns import TINY_TOY, merge

AXES = {"intermediate": ["mnli", "squad1"], "target": ["xnli", "udpos"], "seed": [1, 2, 3]}
WANTED = 18  # six encoders with two targets each


class Desk:
    """A login node: one grid file, one cluster file, one root whose data is done."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.slurm = QueueSlurm(folder / "slurm")
        self.cluster: dict[str, Any] = {"name": "desk", "resources": [{"cpus": 1, "mem_gb": 1}]}
        self.root = folder / "runs"
        self.campaign = Campaign(self.root)
        self.write()
        self.finish("fetch", "pretrain", "prepare")

    def write(self, name: str = "desk", **axes: Any) -> None:
        """Replace the grid file."""
        grid = merge(TINY_TOY, {"name": name, "axes": {**AXES, **axes}})
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(grid))

    def finish(self, *stages: str, name: str = "desk") -> None:
        plan = self.plan(name)
        finish(self.campaign, plan, [run.id for run in plan.runs.values() if run.stage in stages])

    def plan(self, name: str = "desk") -> Plan:
        return make_plan(load_grid(self.folder / f"{name}.yaml"), self.profile)

    @property
    def profile(self) -> Any:
        path = self.folder / "cluster.yaml"
        path.write_text(yaml.safe_dump(self.cluster))
        return load_cluster(str(path))

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.campaign.submissions, read_only=True)

    def launch(self, *arguments: str, name: str = "desk", code: int = 0) -> str:
        """What `grid.py` prints."""
        assert self.profile
        words = ["--grid", str(self.folder / f"{name}.yaml"), "--root", str(self.root)]
        got = main([*words, "--cluster", str(self.folder / "cluster.yaml"), *arguments])
        said = self.capsys.readouterr()
        assert got == code, said
        return " ".join((said.out + said.err).split())

    def submitted(self) -> list[str]:
        """Runs with a job in the queue."""
        found = []
        for line in self.slurm.queue():
            submission = self.ledger.find(line.rpartition("#")[2])
            if submission:
                index = int(line.partition("|")[0].partition("_")[2] or 0)
                found.append(submission.runs[index])
        return found

    def reasons(self) -> Mapping[str, str]:
        plan = self.plan()
        return {run: seen.reason for run, seen in observe(plan, self.campaign, self.ledger)[0].items()}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path, capsys)
    monkeypatch.setenv("PATH", str(made.slurm.path))
    monkeypatch.setattr(submit, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(submit, "LOOKS_S", (0.0, 0.01))
    return made


def test_the_second_command_does_nothing(desk: Desk) -> None:
    assert "submitted 18 runs in 3 sbatch calls (code snapshot" in desk.launch()
    assert len(set(desk.submitted())) == len(desk.submitted()) == WANTED
    before = len(desk.slurm.called())
    assert "nothing to submit: of 32 runs 14 done, 18 pending" in desk.launch()
    assert desk.slurm.called()[before:] == ["squeue"]


@pytest.mark.parametrize("limit", [1, 2, 7, 17, 18])
def test_a_limit_that_nobody_tells_is_learnt(desk: Desk, limit: int) -> None:
    desk.slurm.takes(limit)
    told = desk.launch()
    assert len(desk.submitted()) == limit
    assert "stopped early" not in told
    if limit < WANTED:
        assert f"{WANTED - limit} runs stay planned: each waits for a submit slot (AssocMaxSubmitJobLimit)" in told
        waiting = [run for run, reason in desk.reasons().items() if reason.startswith("waits for a submit slot")]
        assert len(waiting) == WANTED - limit and not set(waiting) & set(desk.submitted())
    check_parents(desk)


def test_the_same_command_tops_up(desk: Desk) -> None:
    """Encoders end well and their targets follow; after some rounds everything was submitted exactly once."""
    desk.slurm.takes(5)
    seen: list[str] = []
    for _ in range(8):
        desk.launch()
        new = [run for run in desk.submitted() if run not in seen]
        seen += new
        plan = desk.plan()
        finish(desk.campaign, plan, [run for run in plan.runs if run in set(desk.submitted())])
        desk.slurm.ends(5)
    assert len(seen) == len(set(seen)) == WANTED
    assert "nothing to submit: of 32 runs 32 done" in desk.launch()


def check_parents(desk: Desk) -> None:
    """Whatever is in the queue has its unfinished parents in the queue."""
    runs, queued = desk.plan().runs, set(desk.submitted())
    for run_id in queued:
        for need in runs[run_id].needs:
            assert need in queued or desk.campaign.run(need).read_done()


@pytest.mark.parametrize("array", [1, 2, 5])
def test_an_array_limit_that_nobody_tells_is_learnt(desk: Desk, array: int) -> None:
    desk.slurm.takes(array=array)
    told = desk.launch()
    assert len(desk.submitted()) == WANTED
    assert "more than planned because limits cut them" in told
    assert max(len(submission.runs) for submission in desk.ledger.submissions if submission.job_id) <= array
    check_parents(desk)


def test_a_refusal_for_good_is_an_error(desk: Desk) -> None:
    admits = '[ "$1" = --test-only ] && exit 0'
    desk.slurm.says(
        "sbatch", code=1, do=admits, complaint="sbatch: error: Batch job submission failed: Invalid qos specification"
    )
    assert "sbatch refused 'intermediate'" in desk.launch(code=2)
    assert desk.slurm.called().count("submission.sh") == 1


def test_a_busy_controller_is_tried_again_for_a_while(desk: Desk) -> None:
    words = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    desk.slurm.says("sbatch", code=1, complaint=words)
    assert "stopped early: sbatch refused 'intermediate'" in desk.launch(code=1)
    assert desk.slurm.called().count("submission.sh") == 3
    desk.slurm.takes()
    assert "submitted 18 runs" in desk.launch()


def test_a_launcher_that_was_taken_for_dead_submits_nothing_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds.Turn, "held", property(lambda turn: desk.slurm.queue() == []))
    assert "another launcher has taken this campaign over" in desk.launch(code=2)
    assert len(desk.submitted()) == 6


@pytest.mark.parametrize("name", ["50%", "a\nb", "a\\j"])
def test_a_root_that_sbatch_would_misread_is_refused(desk: Desk, name: str) -> None:
    desk.root = desk.folder / name
    assert "error: --root: " in desk.launch(code=2)
    assert not desk.root.exists()


@pytest.mark.parametrize("name", ["two words", "it's", "$(touch OWNED)", 'say "x"', "#SBATCH --hold", "a;b&c"])
def test_a_root_with_any_other_name_serves(desk: Desk, name: str) -> None:
    (desk.root).rename(desk.folder / name)
    desk.root = desk.folder / name
    desk.campaign = Campaign(desk.root)
    assert "submitted 18 runs in 3 sbatch calls" in desk.launch()
    for submission in desk.ledger.submissions:
        script = (desk.campaign.submissions / submission.tag / "submission.sh").read_text()
        (output,) = [line for line in script.splitlines() if line.startswith("#SBATCH --output=")]
        assert shlex.split(output, comments=False)[1].startswith(f"--output={desk.root}/")
        assert sum(line.startswith("#SBATCH") for line in script.splitlines()) == script.count("\n#SBATCH")


# ---- selections


def test_ancestors_of_selected_runs_come_along_and_are_told(desk: Desk) -> None:
    told = desk.launch("--select", "target=udpos", "seed=2")
    assert "2 unfinished runs come along, because selected ones are built on them" in told
    assert sorted(run.split("-")[0] for run in desk.submitted()) == ["intermediate"] * 2 + ["target"] * 2
    assert all("-s2-" in run for run in desk.submitted())
    assert "submitted 14 runs" in desk.launch()


def test_a_number_of_runs(desk: Desk) -> None:
    desk.launch("--limit", "1", "--select", "stage=target")
    assert [run.split("-")[0] for run in desk.submitted()] == ["intermediate", "target"]
    desk.launch("--limit", "3")
    assert len(desk.submitted()) == 5


def test_a_slip_in_a_selection_asks_nobody(desk: Desk) -> None:
    assert "unknown value 'xnly' of target" in desk.launch("--select", "target=xnly", code=2)
    assert desk.slurm.called() == []
    assert not desk.campaign.folder.exists()


def test_a_dry_run_counts_what_is_selected(desk: Desk) -> None:
    told = desk.launch("--dry-run", "--select", "target=udpos", "seed=2")
    assert "would submit 4 runs (2 of them because the selected ones are built on them) in 2 sbatch calls" in told


# ---- what left the grid


def test_runs_that_left_are_told_and_cancelled_on_request(desk: Desk) -> None:
    desk.launch()
    desk.write(seed=[1, 2])
    told = desk.launch()
    assert "6 runs left the grid since the last time" in told
    assert "6 runs that no grid of this root names any more are queued or running" in told
    assert len(desk.submitted()) == WANTED
    assert "6 runs that no grid" in desk.launch(), "for as long as they are there"
    assert "cancelled 6 runs that left the grid" in desk.launch("--prune")
    assert len(desk.submitted()) == 12 and not any("-s3-" in run for run in desk.submitted())
    assert "no grid of this root" not in desk.launch()


def test_what_another_grid_of_the_root_needs_is_left_alone(desk: Desk) -> None:
    """The other one names one target of the third seed: that run and its encoder stay."""
    desk.launch()
    desk.write("other", intermediate=["mnli"], target=["xnli"], seed=[3])
    assert "nothing to submit" in desk.launch(name="other")
    desk.write(seed=[1, 2])
    assert "cancelled 4 runs that left the grid" in desk.launch("--prune")
    third = sorted(run.split("-")[0] for run in desk.submitted() if "-s3-" in run)
    assert third == ["intermediate", "target"]


def test_a_grid_of_an_older_version_is_asked_to_say_what_it_needs(desk: Desk) -> None:
    desk.launch()
    write_json(desk.campaign.folder / "grids" / "older.json", {"grid": {}, "expected": {}})
    desk.write(seed=[1, 2])
    assert "6 runs in the queue are not of this grid; another grid of this root does not say" in desk.launch("--prune")
    assert len(desk.submitted()) == WANTED


def test_a_squeue_that_leaves_somebody_out_is_asked_again(desk: Desk) -> None:
    """Nothing is said of it but its absence; the second answer has it."""
    desk.launch()
    everything = desk.slurm.folder / "everything"
    everything.write_text((desk.slurm.folder / "squeue.out").read_text())
    calls = desk.slurm.folder / "asked"
    desk.slurm.says(
        "squeue",
        do=f'if [ -e {calls} ]; then /bin/cat {everything}; else : > {calls}; /bin/sed "$ d" {everything}; fi',
    )
    told = desk.launch()
    assert "left target-" in told and "out at first (left the queue without an outcome" in told
    assert desk.slurm.called().count("submission.sh") == 3


def test_new_runs_of_an_edited_grid_are_added(desk: Desk) -> None:
    desk.launch()
    desk.write(seed=[1, 2, 3, 4])
    assert "submitted 6 runs" in desk.launch()
    assert len(set(desk.submitted())) == len(desk.submitted()) == 24


# ---- GPUs


def test_arrays_share_the_gpus_of_the_campaign(desk: Desk) -> None:
    desk.cluster |= {"max_gpus": 7, "resources": [{"cpus": 1, "mem_gb": 1, "gpus": 2}]}
    desk.launch()
    assert len(desk.submitted()) == WANTED
    allowed = {s.name.partition("#")[0]: [] for s in desk.ledger.submissions}  # type: ignore[var-annotated]
    for submission in desk.ledger.submissions:
        script = (desk.campaign.submissions / submission.tag / "submission.sh").read_text()
        (throttle,) = re.findall(r"--array=0-\d+%(\d+)", script)
        assert int(throttle) == submission.throttle
        allowed[submission.name.partition("#")[0]].append(int(throttle))
    assert allowed == {"intermediate": [1], "target": [1, 1]}
    desk.finish("intermediate")
    desk.slurm.ends(6)
    assert "2 at once from now on (max_gpus)" in desk.launch()
    assert [call for call in desk.slurm.calls() if "ArrayTaskThrottle" in call] == [
        "scontrol update JobId=102 ArrayTaskThrottle=2"
    ]
    before = desk.slurm.called().count("scontrol")
    desk.launch()
    assert desk.slurm.called().count("scontrol") == before, "the second time nothing"


def test_what_finds_no_gpu_waits_with_its_children(desk: Desk) -> None:
    desk.cluster |= {"max_gpus": 2, "resources": [{"cpus": 1, "mem_gb": 1, "gpus": 2}]}
    told = desk.launch()
    assert "12 runs stay planned: each waits for GPUs (max_gpus: 2)" in told
    assert {run.split("-")[0] for run in desk.submitted()} == {"intermediate"}
    assert "waits for GPUs (max_gpus: 2)" in desk.reasons().values()


def test_with_a_cap_nothing_is_submitted_blindly(desk: Desk) -> None:
    desk.cluster |= {"max_gpus": 2, "resources": [{"cpus": 1, "mem_gb": 1, "gpus": 2}]}
    desk.launch()
    desk.slurm.says("squeue", code=1, complaint="slurm_load_jobs error: Unable to contact slurm controller")
    assert "how many GPUs are in use cannot be told" in desk.launch(code=1)
    assert desk.slurm.called().count("submission.sh") == 1


# ---- going on by itself


def test_the_campaigns_own_job_gets_a_slot_of_its_own(desk: Desk) -> None:
    desk.cluster |= {"continue": "slurm", "continue_min": 2.0}
    desk.slurm.takes(5)
    told = desk.launch()
    own = [line for line in desk.slurm.queue() if "desk-continues#" in line]
    assert len(own) == 1 and len(desk.submitted()) == 4
    assert "14 runs stay planned" in told
    assert "job 101 goes on with them, in 2 minutes at the earliest" in told, told[-400:]
    script = (desk.campaign.folder / "continue" / "submission.sh").read_text()
    assert "#SBATCH --begin=now+120\n" in script and "--continued" in script and "srun" not in script
    desk.launch()
    assert [line for line in desk.slurm.queue() if "desk-continues#" in line] == own, "there is one already"


def test_where_everything_fits_nobody_has_to_go_on(desk: Desk) -> None:
    desk.cluster |= {"continue": "slurm"}
    desk.slurm.says("scontrol", "MaxArraySize = 1001", "MaxJobCount = 1000")
    desk.launch()
    assert not any("continues#" in line for line in desk.slurm.queue())


def test_it_ends_after_two_rounds_that_brought_nothing(desk: Desk) -> None:
    """Somebody else's jobs fill the queue: nothing is submitted, nothing ends."""
    desk.cluster |= {"continue": "slurm"}
    desk.slurm.takes(1)
    desk.launch()
    state = desk.campaign.folder / "continue" / "continue.json"
    tags = []
    for _ in range(3):
        record = read_json(state) or {}
        tags.append(record["tag"])
        desk.slurm.says("squeue")  # the job of the chain has begun: this is it
        desk.launch("--continued", record["tag"])
    assert len(set(tags)) == 2, "the second of its rounds without progress made no next one"
    assert (read_json(state) or {})["stalled"] < 2


def test_a_number_of_runs_is_not_exceeded_by_going_on(desk: Desk) -> None:
    desk.cluster |= {"continue": "slurm"}
    desk.slurm.takes(3)
    desk.launch("--limit", "5")
    assert not any("continues#" in line for line in desk.slurm.queue())


def test_a_job_whose_place_was_taken_does_nothing(desk: Desk) -> None:
    desk.cluster |= {"continue": "slurm"}
    desk.slurm.takes(5)
    desk.launch()
    before = desk.slurm.called()
    assert "another job continues this campaign" in desk.launch("--continued", "0ld0ld00")
    assert desk.slurm.called() == before


def test_a_round_that_nobody_asked_for_repeats_no_failure(desk: Desk) -> None:
    desk.cluster |= {"continue": "slurm"}
    desk.slurm.takes(3)
    desk.launch()
    desk.slurm.takes()
    for run_id in desk.submitted():
        write_json(desk.campaign.run(run_id).attempts / "1" / "attempt.json", {"started": 9e9, "slurm_job": None})
        outcome = {"state": "failed", "reason": "a bug"}
        write_json(desk.campaign.run(run_id).attempts / "1" / "outcome.json", outcome)
    failed = set(desk.submitted())
    desk.slurm.says("squeue")
    tag = (read_json(desk.campaign.folder / "continue" / "continue.json") or {})["tag"]
    desk.launch("--continued", tag)
    again = set(desk.submitted())
    children = {run for run, seen in desk.plan().runs.items() if failed & set(seen.needs)}
    assert again and not again & (failed | children)
    desk.slurm.says("squeue")
    desk.launch()
    assert failed <= set(desk.submitted()), "by hand they are tried again"


@pytest.mark.parametrize("name", ["full_matrix.yaml", "quickstart.yaml"])
def test_what_is_kept_for_it_is_the_same_study(name: str, tmp_path: Path) -> None:
    plan = make_plan(load_grid(find_grid(name)), load_cluster("gpu-example"))
    for part, model in (("grid", plan.grid), ("cluster", plan.cluster)):
        told = model.model_dump(mode="json", exclude_unset=True, by_alias=True)
        (tmp_path / f"{part}.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
    again = make_plan(load_grid(tmp_path / "grid.yaml"), load_cluster(str(tmp_path / "cluster.yaml")))
    assert {run_id: run.spec() for run_id, run in again.runs.items()} == {
        run_id: run.spec() for run_id, run in plan.runs.items()
    }


# ---- staying


def test_watch_submits_the_rest_and_ends_with_the_campaign(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.slurm.takes(7)
    naps: list[float] = []
    nap = time.sleep

    def sleep(seconds: float) -> None:
        if seconds < 1:
            return nap(seconds)  # the standard library's own
        naps.append(seconds)
        plan, queued = desk.plan(), set(desk.submitted())
        finish(desk.campaign, plan, [run for run in plan.runs if run in queued])
        return desk.slurm.ends(len(queued))

    monkeypatch.setattr(rounds.time, "sleep", sleep)
    desk.launch("--watch", "90")
    assert naps == [90.0] * len(naps) and len(naps) == 3
    assert "32 done" in desk.launch()
