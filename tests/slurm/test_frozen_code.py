"""Code is frozen at submission: edits made while jobs wait change nothing, and no editable install wins."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.slurm.conftest import MakeStudy
from tests.support.campaigns import ROOT, TINY_TOY, merge
from tests.support.slurm_cluster import SlurmCluster


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout of the working tree, with a module that git does not know."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in ("aggregate", "jobs", "launch", "stilts", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", "-C", str(copy), *command], check=True)
    (copy / "jobs" / "untracked.py").write_text("WORD = 'kept'\n")
    stages = copy / "jobs" / "stages.py"
    stages.write_text(stages.read_text() + "\nfrom jobs.untracked import WORD\nprint('untracked module', WORD)\n")
    return copy


def test_jobs_run_the_code_of_their_submission(checkout: Path, make_study: MakeStudy, slurm: SlurmCluster) -> None:
    grid = merge(TINY_TOY, {"name": "frozen", "axes": {"intermediate": ["none"], "target": ["tatoeba"]}})
    # An editable install of this very checkout is what a user has; it must not win over the snapshot.
    study = make_study(grid, code=checkout)
    hold = checkout / "launch" / "clusters" / "test.yaml"
    hold.write_text(hold.read_text() + "sbatch: {hold: true}\n")
    study.launch()
    jobs = {run["slurm_job"] for run in study.status().values()}
    assert all(jobs)

    for module in ("stages", "run", "attempt"):
        (checkout / "jobs" / f"{module}.py").write_text("def broken(:\n")
    (checkout / "stilts" / "__init__.py").write_text("def broken(:\n")
    (checkout / "jobs" / "untracked.py").unlink()
    for job in sorted({str(job).split("_")[0] for job in jobs}):
        slurm.run("scontrol", "release", job)
    slurm.wait_empty(timeout_s=300)

    done = sorted(path.parent.name for path in study.root.glob("*/DONE"))
    assert len(done) == len(jobs) == 5
    for run_id in done:
        log = study.logs(run_id)
        assert f"code {study.root}/campaign/code/" in log
        assert "/stilts/__init__.py" in log
        assert "untracked module kept" in log
