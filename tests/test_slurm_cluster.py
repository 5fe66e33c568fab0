"""The test cluster is a real Slurm: jobs, arrays, dependencies, GPUs, limits, failures; and it leaves nothing over."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hosts_file import HOSTS, MARKER
from tests.support.leftovers import job_processes, machine_lock
from tests.support.processes import PROC, Daemon, ProcessId
from tests.support.slurm_cluster import SlurmCluster

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def cluster(slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """The shared cluster, with job output going to `tmp_path` and no job left behind."""
    monkeypatch.chdir(tmp_path)
    yield slurm
    slurm.run("scancel", "--user=root")
    slurm.wait_empty(30)


@pytest.fixture
def small_cluster(slurm_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """A cluster of the test's own, with tight limits, beside the shared one if that runs."""
    monkeypatch.chdir(tmp_path)
    cluster = SlurmCluster(max_array_size=21, submit_limit=30).start()
    yield cluster
    cluster.stop()


def submit(cluster: SlurmCluster, command: str, *options: str) -> str:
    return cluster.run("sbatch", "--parsable", *options, f"--wrap={command}").strip()


def wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {timeout_s} s"
        time.sleep(0.1)


def hosts_without(owner: str) -> bytes:
    """/etc/hosts, which must not name `owner`, as it is without the lines of other clusters that live right now."""
    lines = HOSTS.read_bytes().split(b"\n")
    assert not owner or not any(owner.encode() in line for line in lines)
    return b"\n".join(line for line in lines if MARKER not in line)


def processes_that_name(folder: str) -> list[str]:
    """Command lines of living processes with `folder` in their command line, environment or working directory."""
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or ProcessId.find(int(entry.name)) is None:
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            traces = command + (entry / "environ").read_bytes() + bytes((entry / "cwd").readlink())
        except OSError:  # it has just ended
            continue
        if folder.encode() in traces:
            found.append(command.replace(b"\0", b" ").decode())
    return found


def test_a_job_completes_and_is_accounted(cluster: SlurmCluster) -> None:
    job = submit(cluster, "hostname", "--comment=kept", "--output=out")
    cluster.wait_empty(30)
    cluster.wait_state(job, "COMPLETED", 15)
    (row,) = cluster.sacct(job)
    assert (row["exit_code"], row["name"], row["comment"]) == ("0:0", "wrap", "kept")
    assert Path("out").read_text().strip() == Path("/proc/sys/kernel/hostname").read_text().strip()


def test_a_child_waits_for_its_array_element_only(cluster: SlurmCluster) -> None:
    work = "sleep $((SLURM_ARRAY_TASK_ID * 4)); echo $SLURM_ARRAY_TASK_ID >> order"
    array = submit(cluster, work, "--array=0-2")
    child = submit(cluster, "echo child >> order", f"--dependency=afterok:{array}_1")
    cluster.wait_empty(60)
    for job in (f"{array}_0", f"{array}_1", f"{array}_2", child):
        cluster.wait_state(job, "COMPLETED", 15)
    assert Path("order").read_text().split() == ["0", "1", "child", "2"]


def test_a_child_of_a_failed_job_leaves_the_queue_if_it_asked_to(cluster: SlurmCluster) -> None:
    parent = submit(cluster, "exit 3", "--hold")
    patient = submit(cluster, "true", f"--dependency=afterok:{parent}")
    dropped = submit(cluster, "true", f"--dependency=afterok:{parent}", "--kill-on-invalid-dep=yes")
    cluster.run("scontrol", "release", parent)
    wait_until(lambda: [job["job_id"] for job in cluster.squeue()] == [patient], 30)
    wait_until(lambda: cluster.squeue()[0]["reason"] == "DependencyNeverSatisfied", 30)
    cluster.wait_state(parent, "FAILED", 15)
    cluster.wait_state(dropped, "CANCELLED", 15)


def test_a_step_runs_on_two_nodes_with_names_that_resolve(cluster: SlurmCluster) -> None:
    said = cluster.run("srun", "--nodes=2", "sh", "-c", "echo $SLURMD_NODENAME $(getent hosts $SLURMD_NODENAME)")
    nodes = [line.split()[:2] for line in said.splitlines()]
    assert sorted(nodes) == [["n1", "127.0.0.1"], ["n2", "127.0.0.1"]]


def test_a_gpu_job_gets_its_devices(cluster: SlurmCluster) -> None:
    submit(cluster, "echo $CUDA_VISIBLE_DEVICES/$SLURM_GPUS_ON_NODE", "--gres=gpu:3", "--output=first")
    submit(cluster, "echo ${CUDA_VISIBLE_DEVICES:-none}", "--output=second")
    cluster.wait_empty(30)
    assert Path("first").read_text().strip() == "0,1,2/3"
    assert Path("second").read_text().strip() == "none"


def test_an_urgent_job_requeues_the_one_it_displaces(cluster: SlurmCluster) -> None:
    everything = ("--nodes=4", "--exclusive")
    job = submit(cluster, "echo start $SLURM_RESTART_COUNT; sleep 300", *everything, "--output=out")
    wait_until(lambda: cluster.squeue()[0]["state"] == "RUNNING", 30)
    urgent = submit(cluster, "true", *everything, "--partition=urgent")
    cluster.wait_state(urgent, "COMPLETED", 60)
    wait_until(lambda: [row["state"] for row in cluster.squeue() if row["job_id"] == job] == ["RUNNING"], 60)
    wait_until(lambda: Path("out").read_text().endswith("start 1\n"), 10)


def test_a_killed_node_takes_its_job_down_and_comes_back(cluster: SlurmCluster) -> None:
    submit(cluster, "touch started; sleep 300", "--nodelist=n3")
    elsewhere = submit(cluster, "sleep 5", "--nodelist=n4")
    wait_until(lambda: Path("started").exists(), 30)
    assert len(job_processes(cluster.folder, "n3")) >= 3  # slurmd, its step daemon, the batch script
    cluster.kill_slurmd("n3")
    assert job_processes(cluster.folder, "n3") == []
    cluster.start_slurmd("n3")
    again = submit(cluster, "true", "--nodelist=n3")
    cluster.wait_state(again, "COMPLETED", 30)
    cluster.wait_state(elsewhere, "COMPLETED", 30)


def test_jobs_and_accounts_outlive_restarted_daemons(cluster: SlurmCluster) -> None:
    held = submit(cluster, "true", "--hold")
    cluster.restart_slurmctld()
    cluster.restart_slurmdbd()
    assert [job["job_id"] for job in cluster.squeue()] == [held]
    cluster.run("scontrol", "release", held)
    cluster.wait_state(held, "COMPLETED", 60)


def test_limits_are_real(small_cluster: SlurmCluster) -> None:
    with pytest.raises(RuntimeError, match="Invalid job array specification"):
        submit(small_cluster, "true", "--hold", "--array=0-21")
    submit(small_cluster, "true", "--hold", "--array=0-20")
    with pytest.raises(RuntimeError, match="QOSMaxSubmitJobPerUserLimit"):
        submit(small_cluster, "true", "--hold", "--array=0-9")
    submit(small_cluster, "true", "--hold", "--array=0-8")


def test_stop_leaves_nothing_behind(slurm_machine: None, tmp_path: Path) -> None:
    hosts = hosts_without("")
    cluster = SlurmCluster().start()
    # A job that ignores SIGTERM and a command of ours that merely talks to the cluster.
    started = tmp_path / "started"
    submit(cluster, f"trap '' TERM; touch {started}; sleep 300 & wait; sleep 300", "--output=/dev/null")
    wait_until(started.exists, 30)
    bystander = subprocess.Popen(["sleep", "300"], env=cluster.env)
    try:
        name = cluster.folder.name
        assert name.encode() in HOSTS.read_bytes()
        assert len(processes_that_name(name)) >= 10
        cluster.stop()
        cluster.stop()
        assert hosts_without(name) == hosts
        assert not cluster.folder.exists()
        assert processes_that_name(name) == ["sleep 300 "]
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


SCRIPT = """
import sys, time
from tests.support.slurm_cluster import SlurmCluster
cluster = SlurmCluster().start()
started = cluster.folder / "started"
cluster.run("sbatch", "--output=/dev/null", f"--wrap=touch {started}; sleep 300")
while not started.exists():
    time.sleep(0.1)
print(cluster.folder, flush=True)
"""


def test_an_exception_stops_the_cluster(slurm_machine: None) -> None:
    hosts = hosts_without("")
    command = [sys.executable, "-c", SCRIPT + "raise ValueError('test died')"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    folder = Path(ended.stdout.strip())
    assert "test died" in ended.stderr and folder.name
    assert not folder.exists()
    assert processes_that_name(folder.name) == []
    assert hosts_without(folder.name) == hosts


def test_the_next_start_clears_what_a_killed_run_left(slurm_machine: None) -> None:
    hosts = hosts_without("")
    killed = subprocess.Popen(
        [sys.executable, "-c", SCRIPT + "sys.stdin.read()"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert killed.stdout is not None
    folder = Path(killed.stdout.readline().decode().strip())
    with machine_lock():  # else another test session may clear it away before we looked
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert folder.exists()
        assert folder.name.encode() in HOSTS.read_bytes()
        assert len(processes_that_name(folder.name)) >= 10
    cluster = SlurmCluster().start()
    try:
        assert not folder.exists()
        assert processes_that_name(folder.name) == []
        assert hosts_without(folder.name) == hosts
    finally:
        cluster.stop()
    assert hosts_without(cluster.folder.name) == hosts


def test_a_daemon_that_does_not_come_up_shows_its_log(tmp_path: Path) -> None:
    for name in ("log", "pids"):
        (tmp_path / name).mkdir()
    dying = Daemon("dying", ["sh", "-c", "echo no key >&2; exit 3"], lambda: False, tmp_path, {"PATH": "/bin"})
    with pytest.raises(RuntimeError, match=r"(?s)dying ended with exit code 3.*no key"):
        dying.start(30)
    mute = Daemon("mute", ["sh", "-c", "echo still thinking; sleep 300"], lambda: False, tmp_path, {"PATH": "/bin"})
    with pytest.raises(RuntimeError, match=r"(?s)mute did not answer within 1 s.*still thinking"):
        mute.start(1)
    mute.end(grace_s=5)
    assert list((tmp_path / "pids").glob("mute")) == []
