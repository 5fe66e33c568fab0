"""What sbatch's words mean, and that no name or value of a YAML file becomes a line of a job script."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from launch.cluster import Cluster, load_cluster
from launch.names import slug_of
from launch.resources import Resources
from launch.sbatch import Refusal, array_script, read_refusal, submit
from stilts.errors import UserError
from tests.launch.fake_slurm import FakeSlurm
from tests.launch.small import plan_of, problems_of, small

FAILED = "sbatch: error: Batch job submission failed: "
POLICY = f"{FAILED}Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (f"sbatch: error: QOSMaxSubmitJobPerUserLimit {POLICY}", "limit"),
        (f"sbatch: error: AssocMaxSubmitJobLimit {POLICY}", "limit"),
        (f"sbatch: error: AssocGrpSubmitJobsLimit {POLICY}", "limit"),
        (POLICY, "limit"),
        (f"sbatch: error: QOSMaxWallDurationPerJobLimit {POLICY}", "refused"),
        (f"sbatch: error: QOSMaxMemoryPerJob {POLICY}", "refused"),
        (f"{FAILED}Invalid job array specification", "array"),
        (f"{FAILED}Socket timed out on send/recv operation", "uncertain"),
        (f"{FAILED}Zero Bytes were transmitted or received", "uncertain"),
        ("", "uncertain"),
        (f"{FAILED}Unable to contact slurm controller (connect failure)", "busy"),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", "busy"),
        (f"{FAILED}Resource temporarily unavailable", "busy"),
        (f"{FAILED}Invalid partition name specified", "refused"),
        (f"{FAILED}Requested node configuration is not available", "refused"),
        ("sbatch: error: this site wants --account", "refused"),
    ],
)
def test_words_of_sbatch(words: str, kind: str) -> None:
    assert read_refusal(words) == kind


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm")
    fake.says("srun")
    monkeypatch.setenv("PATH", f"{fake.path}:/usr/bin:/bin")
    return fake


@pytest.mark.parametrize("answer", ["77", "77;cluster", "a banner\n77", "77\nthe job was accepted"])
def test_the_id_is_a_whole_line(site: FakeSlurm, tmp_path: Path, answer: str) -> None:
    site.says("sbatch", *answer.split("\n"), complaint="slurm_persist_conn_open: noise")
    assert submit(tmp_path, "#!/bin/sh\n") == "77"


@pytest.mark.parametrize("answer", ["", "Submitted bat", "77"])
def test_half_an_answer_is_uncertain(site: FakeSlurm, tmp_path: Path, answer: str) -> None:
    site.says("sbatch", do=f"printf '{answer}'")
    with pytest.raises(Refusal) as refused:
        submit(tmp_path, "#!/bin/sh\n")
    assert refused.value.kind == "uncertain"


# ---- injection

NASTY = [
    "a'b",
    'a"b',
    "$(touch OWNED)",
    "`touch OWNED`",
    "a; touch OWNED",
    "a\ntouch OWNED",
    "a\n#SBATCH --qos=root",
    "a\r#SBATCH --qos=root",
    "--wrap=touch OWNED",
    "$HOME && touch OWNED",
]


def cluster_of(folder: Path, **values: Any) -> Cluster:
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump({"name": "nasty", **values}))
    return load_cluster(str(path))


def script_of(cluster: Cluster, folder: Path, resources: Resources | None = None, name: str = "run") -> str:
    return array_script(folder, f"{name}#tag", 2, "afterok:1", resources or Resources(), cluster, folder / "snap shot")


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize("key", ["partition", "account", "qos", "sbatch", "srun", "scratch"])
def test_values_of_a_cluster_file_stay_values(site: FakeSlurm, tmp_path: Path, key: str, nasty: str) -> None:
    value: Any = {"sbatch": {"mail-user": nasty}, "srun": [nasty]}.get(key, nasty)
    breaks = "\n" in nasty or "\r" in nasty
    if breaks or (key == "scratch" and any(part in nasty for part in ('"', "`", "$("))):
        with pytest.raises(UserError, match=rf"cluster.yaml:\d: .*{key}"):
            cluster_of(tmp_path, **{key: value})
    else:
        check_script(script_of(cluster_of(tmp_path, **{key: value}), tmp_path), tmp_path, nasty)


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize("key", ["partition", "qos", "constraint"])
def test_resources_of_a_grid_stay_values(site: FakeSlurm, tmp_path: Path, key: str, nasty: str) -> None:
    grid = small(resources=[{key: nasty}])
    if problems := problems_of(yaml.safe_dump(grid)):
        assert "\n" in nasty or "\r" in nasty
        assert key in problems[0]
        return
    plan = plan_of(grid)
    resources = plan.resources(next(iter(plan.runs)))
    check_script(script_of(Cluster(name="plain"), tmp_path, resources), tmp_path, nasty)


def check_script(script: str, folder: Path, nasty: str) -> None:
    """Its directives are the plain script's, each value is one word, and running it runs nothing of the value."""
    plain = script_of(Cluster(name="plain"), folder)
    known = {line.split("=")[0] for line in plain.splitlines() if line.startswith("#SBATCH")}
    optional = {f"#SBATCH --{name}" for name in ("partition", "account", "qos", "constraint", "mail-user")}
    directives = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert {line.split("=")[0] for line in directives} <= known | optional
    for line in directives:
        assert len(shlex.split(line, comments=False)) == 2, line
    path = folder / "script.sh"
    path.write_text(script)
    subprocess.run(["/bin/bash", str(path)], cwd=folder, capture_output=True, timeout=30, check=False)
    assert not (folder / "OWNED").exists()


@given(st.text(max_size=60))
def test_parts_of_names_are_plain(text: str) -> None:
    """Whatever a model or a task is called: one path component that no shell reads twice."""
    slug = slug_of(text)
    assert slug and slug == shlex.quote(slug) and "/" not in slug and not slug.startswith((".", "-"))


@pytest.mark.parametrize("nasty", [*NASTY, "../../outside", "/etc/passwd", "..", "a/../../b"])
def test_run_folders_stay_below_the_root(tmp_path: Path, nasty: str) -> None:
    plan = plan_of(small(axes={"model": nasty, "intermediate": ["none", "mnli"], "target": ["xnli", "tatoeba"]}))
    for run_id in plan.runs:
        assert (tmp_path / run_id).resolve().parent == tmp_path.resolve()
        assert run_id == shlex.quote(run_id)
        check_script(script_of(Cluster(name="plain"), tmp_path, name=run_id), tmp_path, nasty)


@pytest.mark.parametrize("nasty", [*NASTY, "../outside", ".hidden", ""])
def test_a_grid_is_called_plainly(nasty: str) -> None:
    assert any("name" in problem for problem in problems_of(yaml.safe_dump({**small(), "name": nasty})))
