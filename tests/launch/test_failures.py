"""Why a run failed, from whatever tells it, and what its next job gets: bounded, recorded, the same each time."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from launch.cluster import load_cluster
from launch.explain import REMEDIES
from launch.failures.answer import answer
from launch.failures.evidence import KIND_OF_STATE
from launch.failures.history import Entry, read_history
from launch.failures.policies import DEFAULTS, FailurePolicies, Policy
from launch.failures.recovery import avoid_nodes
from launch.resources import Resources
from launch.slurm import ENDED
from stilts.errors import UserError
from stilts.failures import KINDS, kind_of_exception, kind_of_text, signature_of
from tests.launch.site import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    found = Site(tmp_path)
    monkeypatch.setenv("PATH", str(found.slurm.path))
    return found


# ---- the kind

SAID = {
    "gpu_oom": [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB",
        "RuntimeError: CUDA error: out of memory",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "the GPU's memory does not hold micro-batches of 256 tokens",
    ],
    "host_oom": [
        "slurmstepd: error: Detected 1 oom_kill event in StepId=12.0. Some of the step tasks have been OOM Killed.",
        "RuntimeError: DataLoader worker (pid 77) is killed by signal: Killed.",
        "OSError: [Errno 12] Cannot allocate memory",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
    ],
    "nccl": [
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:2021, unhandled system error",
        "[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)",
        "RuntimeError: [../gloo/transport/tcp/pair.cc:525] Connection closed by peer [10.0.0.2]:17334",
    ],
    "node_failure": [
        "slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-11-26T10:00:00 DUE TO NODE FAILURE ***",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "OSError: [Errno 116] Stale file handle: '/data/x'",
    ],
    "disk_full": ["OSError: [Errno 28] No space left on device: '/x'", "OSError: [Errno 122] Disk quota exceeded"],
    "timeout": ["slurmstepd: error: *** STEP 12.0 ON n1 CANCELLED AT 2026-11-26T10:00:00 DUE TO TIME LIMIT ***"],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in SAID.items() for text in texts])
def test_words_of_a_log_tell_the_kind(kind: str, text: str) -> None:
    assert kind_of_text(f"step 1 loss 2.0\n{text}\nTraceback\n") == kind


@pytest.mark.parametrize("text", ["", "loss 3.1", "ValueError: no column 'label'", "allocated 3 GB of memory"])
def test_other_words_tell_none(text: str) -> None:
    assert kind_of_text(text) is None


def test_an_exception_tells_its_kind_through_whatever_wraps_it() -> None:
    def wrap(inner: BaseException) -> BaseException:
        try:
            try:
                raise inner
            except BaseException as error:
                raise RuntimeError("it did not work") from error
        except RuntimeError as error:
            return error

    for number in (errno.ENOSPC, errno.EDQUOT):
        assert kind_of_exception(OSError(number, "full")) == kind_of_exception(wrap(OSError(number, ""))) == "disk_full"
    assert kind_of_exception(wrap(MemoryError())) == "host_oom"
    assert kind_of_exception(wrap(type("DistBackendError", (RuntimeError,), {})("x"))) == "nccl"
    assert kind_of_exception(type("OutOfMemoryError", (RuntimeError,), {})("x")) == "gpu_oom"
    assert kind_of_exception(UserError("line 3 has two columns")) == "data"
    assert kind_of_exception(KeyError("x")) == kind_of_exception(OSError(errno.ENOENT, "gone")) == "code"
    endless = ValueError("one")
    endless.__cause__ = wrap(endless)
    assert kind_of_exception(endless) == "code"


def test_every_kind_has_a_policy_and_a_remedy() -> None:
    assert KINDS.keys() == DEFAULTS.keys() == REMEDIES.keys()
    assert set(KIND_OF_STATE) < set(ENDED)
    assert set(KIND_OF_STATE.values()) < set(KINDS)


@pytest.mark.parametrize("state", KIND_OF_STATE)
def test_slurms_word_settles_the_kind(site: Site, state: str) -> None:
    """Host OOM does not arise without cgroups: what sacct prints is all that there is of it here."""
    run_id = site.encoders[0]
    tag = site.submit(run_id).tag
    site.fail(run_id, "RuntimeError: killed", job="12")
    site.account(f"12|{state}|0:125|{run_id}#{tag}")
    failure = site.look().recovery.failures[run_id]
    assert (failure.kind, failure.job, failure.node) == (KIND_OF_STATE[state], "12", "n1")
    assert state in failure.evidence


def test_a_failed_job_is_judged_by_its_own_word_then_by_its_logs_then_by_its_exit_code(site: Site) -> None:
    first, second, third, fourth, fifth = site.encoders[:5]
    submission = site.submit(*site.encoders[:5])
    codes = ("1:0", "1:0", "0:9", "137:0", "1:0")
    site.account(*(f"12_{i}|FAILED|{code}|x#{submission.tag}" for i, code in enumerate(codes)))
    site.fail(first, "ValueError: boom", "12_0", kind="data")
    log = site.attempt(second, "12_1") / "rank0.log"
    log.write_text("step 1\nRuntimeError: NCCL communicator was aborted: error\n")
    site.attempt(third, "12_2")
    words = site.campaign.submissions / submission.tag / "12_4_0_log.err"
    words.write_text("slurmstepd: error: *** STEP 12_4 ON n1 CANCELLED AT x DUE TO TIME LIMIT ***\n")
    found = site.look().recovery.failures
    assert [found[run].kind for run in (first, second, third, fourth, fifth)] == [
        "data",
        "nccl",
        "host_oom",
        "host_oom",
        "timeout",
    ]
    assert "rank0.log: RuntimeError: NCCL" in found[second].evidence
    assert "exit code 0:9" in found[third].evidence


def test_without_accounting_only_the_runs_own_words_count(site: Site) -> None:
    first, second = site.encoders[:2]
    site.submit(first, second)
    site.slurm.says("sacct", code=1, complaint="Slurm accounting storage is disabled")
    (site.attempt(first) / "rank0.log").write_text("RuntimeError: CUDA out of memory\n")
    scene = site.look()
    assert scene.recovery.failures[first].kind == "gpu_oom"
    assert scene.recovery.failures[second].kind == "unknown"
    assert any("accounting storage is disabled" in note for note in scene.notes)


def test_an_older_attempts_outcome_is_not_the_last_jobs(site: Site) -> None:
    run_id = site.encoders[0]
    site.fail(run_id, "old", job="11", kind="data", name="11.0")
    tag = site.submit(run_id).tag
    site.account(f"12|NODE_FAIL|0:0|x#{tag}")
    failure = site.look().recovery.failures[run_id]
    assert (failure.kind, failure.attempt) == ("node_failure", None)


# ---- the signature


def test_failures_of_one_cause_have_one_signature() -> None:
    one = "RuntimeError: shape 3x4 in /a/b.py at 0x7f01 of target-xnli-mnli-s1-3f9a2c1d\nmore"
    other = "RuntimeError: shape 17x5 in /c/d/e.py at 0x1 of target-squad-none-s2-00000000"
    assert signature_of(one) == signature_of(other) == "RuntimeError: shape NxN in PATH at HEX of RUN"
    assert signature_of("KeyError: 'a'") != signature_of("KeyError: 'b'")


@given(st.text())
def test_a_signature_is_short_printable_and_its_own(text: str) -> None:
    found = signature_of(text)
    assert len(found) <= 160 and found.isprintable() and signature_of(found) == found


# ---- the answer


def entry(kind: str, when: float = 1.0, node: str | None = None) -> Entry:
    return Entry(f"{kind}/{when}", kind, "s", "r", node, when)


def test_memory_and_time_grow_up_to_their_caps() -> None:
    policies = FailurePolicies(host_oom={"factor": 1.5, "cap": 30, "attempts": 9})
    base, seen = Resources(mem_gb=16, timeout_min=60), []
    for count in range(1, 5):
        decided = answer([entry("host_oom", n) for n in range(1, count + 1)], base, policies)
        seen.append((decided.resources.mem_gb, decided.stop is None))
    assert seen == [(24, True), (30, True), (30, False), (30, False)]
    decided = answer([entry("host_oom", 1), entry("timeout", 2)], base, policies)
    assert (decided.resources.mem_gb, decided.resources.timeout_min) == (24, 90)
    assert decided.text == "timeout, 1 of at most 4: timeout_min 60 -> 90 min"


@given(
    st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=12),
    st.floats(1.01, 10),
    st.integers(1, 200),
    st.integers(1, 5),
    st.floats(0, 15),
)
def test_answers_are_bounded(kinds: list[str], factor: float, cap: int, attempts: int, pardoned: float) -> None:
    more: dict[str, Any] = {"factor": factor, "cap": cap, "attempts": attempts}
    policies = FailurePolicies(
        host_oom={"action": "more_memory", **more}, timeout={"action": "more_time", **more}, data={"action": "stop"}
    )
    base = Resources(mem_gb=10, timeout_min=20)
    entries = [entry(kind, float(number)) for number, kind in enumerate(kinds, start=1)]
    decided = answer(entries, base, policies, pardoned)
    assert 10 <= decided.resources.mem_gb <= max(10, cap)
    assert 20 <= decided.resources.timeout_min <= max(20, cap)
    counted = [kind for number, kind in enumerate(kinds, start=1) if number > pardoned]
    if len(kinds) <= pardoned:
        assert decided.stop is None
    elif counted.count(kinds[-1]) >= policies.of(kinds[-1]).attempts or kinds[-1] == "data":
        assert decided.stop is not None
    assert decided == answer(entries, base, policies, pardoned)


def test_a_pardon_forgets_the_count_but_not_the_memory() -> None:
    policies, base = FailurePolicies(), Resources(mem_gb=16)
    entries = [entry("host_oom", float(n)) for n in range(1, 5)]
    assert answer(entries, base, policies).stop is not None
    pardoned = answer(entries, base, policies, pardoned=4.0)
    assert pardoned.stop is None
    assert pardoned.resources.mem_gb == 64


def test_nodes_are_avoided_for_some_days() -> None:
    day = 86400.0
    entries = [entry("node_failure", day, "n1"), entry("nccl", 5 * day, "n2"), entry("node_failure", 5.1 * day, "n3")]
    assert answer(entries, Resources(), FailurePolicies()).nodes == ("n3", "n2")


# ---- what a cluster may say


def test_a_policy_keeps_the_defaults_of_what_it_does_not_name() -> None:
    found = FailurePolicies(host_oom={"attempts": 7}, code={"action": "stop"}, circuit_breaker=0)
    assert found.host_oom == Policy(action="more_memory", attempts=7, factor=1.5)
    assert found.code == Policy(action="stop")
    assert found.nccl == FailurePolicies().nccl


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ({"host_oom": {"action": "pray"}}, "pray"),
        ({"gremlins": {"action": "stop"}}, "gremlins"),
        ({"timeout": {"factor": 1}}, "greater than 1"),
        ({"timeout": {"attempts": 0}}, "greater than or equal to 1"),
        ({"timeout": "stop"}, "timeout"),
        ({"circuit_breaker": -1}, "circuit_breaker"),
        ([], "FailurePolicies"),
    ],
)
def test_a_wrong_policy_is_refused(failures: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=r"(?s).*" + told):
        FailurePolicies.model_validate(failures)


def test_a_wrong_policy_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nfailures:\n  host_oom: {action: more_memory, cap: 512}\n  timeout: {actoin: stop}\n")
    with pytest.raises(UserError) as caught:
        load_cluster(str(path))
    assert "mine.yaml:4" in str(caught.value) and "actoin" in str(caught.value)


# ---- recorded, and fed into the next submission


def test_a_failure_is_recorded_once_and_changes_the_next_job(site: Site) -> None:
    run_id = site.encoders[0]
    tag = site.submit(run_id).tag
    site.account(f"12|OUT_OF_MEMORY|0:125|{run_id}#{tag}")
    given_gb = site.plan.resources(run_id).mem_gb
    for _ in range(3):
        scene = site.look(write=True)
    assert scene.plan.resources(run_id).mem_gb == given_gb * 3 // 2
    assert run_id in scene.wanted
    record = json.loads((site.campaign.run(run_id).path / "failures.json").read_text())
    (told,) = record["failures"]
    assert told["kind"] == "host_oom"
    assert told["answer"] == f"host_oom, 1 of at most 4: mem_gb {given_gb} -> {given_gb * 3 // 2} GB"
    assert "OUT_OF_MEMORY" in told["evidence"]


def test_whoever_only_looks_writes_nothing(site: Site) -> None:
    run_id = site.encoders[0]
    tag = site.submit(run_id).tag
    site.account(f"12|OUT_OF_MEMORY|0:125|{run_id}#{tag}")
    assert site.look().plan.resources(run_id).mem_gb > site.plan.resources(run_id).mem_gb
    assert not (site.campaign.run(run_id).path / "failures.json").exists()


def test_a_run_that_fails_again_and_again_is_left_alone_with_what_is_built_on_it(site: Site) -> None:
    run_id = site.encoders[0]
    for count in (1, 2):
        submission = site.submit(run_id, job=str(count))
        site.fail(run_id, "ValueError: boom", job=str(count), name=f"{count}.0", age_s=50 - count)
        site.account(f"{count}|FAILED|1:0|x#{submission.tag}")
        scene = site.look(write=True)
        assert (run_id in scene.wanted) == (count == 1)
    assert [told.kind for told in read_history(site.campaign, run_id)] == ["code", "code"]
    assert scene.recovery.withheld[run_id] == ("code: failed 2 times so, of at most 2; grid.py retry submits it again")
    assert scene.recovery.withheld[site.child(run_id)] == f"waits for {run_id}, which is left alone"
    assert set(scene.wanted) == {r for r in scene.plan.runs if r not in (*site.data, run_id, site.child(run_id))}


def test_a_record_that_is_damaged_is_taken_for_what_it_still_says(site: Site) -> None:
    run_id = site.encoders[0]
    path = site.campaign.run(run_id).path / "failures.json"
    path.parent.mkdir(parents=True)
    whole = {"key": "1/", "kind": "code", "signature": "s", "reason": "r", "answer": "", "node": None, "time": 1.0}
    damaged = [{**whole, "kind": "gremlins"}, {**whole, "time": "now"}, {**whole, "node": 3}, {}, 7, None]
    lists: tuple[Any, ...] = (damaged, "x", None, {})
    for found in lists:
        path.write_text(json.dumps({"failures": found}))
        assert read_history(site.campaign, run_id) == []
    path.write_text(json.dumps({"failures": [*damaged, whole]}))
    assert len(read_history(site.campaign, run_id)) == 1
    path.write_text('{"failures": [')
    assert read_history(site.campaign, run_id) == []


def test_runs_that_lost_their_nodes_are_kept_off_the_same_few(site: Site) -> None:
    submission = site.submit(*site.encoders)
    for index, (run_id, node) in enumerate(zip(site.encoders, ("n1", "n1", "n1", "n2", "n2", "n3"), strict=True)):
        site.attempt(run_id, f"12_{index}", node=node)
    site.account(*(f"12_{index}|NODE_FAIL|0:0|x#{submission.tag}" for index in range(6)))
    scene = site.look()
    scene.recovery.withheld.clear()
    (told,) = avoid_nodes(scene.plan, scene.recovery)
    assert told == "6 runs that lost their node are kept off n1, n2"  # 8 nodes: a quarter of them at most
    assert {scene.plan.resources(run_id).exclude for run_id in site.encoders} == {"n1,n2"}
    assert scene.plan.resources(site.child(site.encoders[0])).exclude is None
    site.slurm.says("sinfo", "n1", "n2", "n3")
    assert "too few" in avoid_nodes(scene.plan, site.look().recovery)[0]
    site.slurm.says("sinfo", code=1, complaint="no")
    assert avoid_nodes(scene.plan, site.look().recovery) == [
        "sinfo failed: no: no node is excluded after node failures"
    ]


# ---- the circuit breaker


def fail_alike(site: Site, count: int, kind: str = "code") -> str:
    """Of an array of all encoders so many have failed with one error, the others are pending; returns its tag."""
    submission = site.submit(*site.encoders)
    for index, run_id in enumerate(site.encoders[:count]):
        site.fail(run_id, f"ValueError: boom at 0x{index:x} in {run_id}", f"12_{index}", kind=kind)
    site.account(*(f"12_{index}|FAILED|1:0|x#{submission.tag}" for index in range(count)))
    site.queue(*(f"12_{index}|PENDING|Resources|x#{submission.tag}" for index in range(count, len(site.encoders))))
    return submission.tag


def test_the_same_error_in_an_array_holds_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, circuit_breaker=3)
    monkeypatch.setenv("PATH", str(site.slurm.path))
    tag = fail_alike(site, 2)
    assert (site.look().recovery.hold, site.look().recovery.notes) == ([], [])
    site.campaign.submissions.joinpath(tag).rename(tmp_path / "gone")
    fail_alike(site, 3)
    scene = site.look(write=True)
    assert scene.recovery.hold == site.encoders[3:]
    assert [run for run in site.encoders if run in scene.recovery.withheld] == site.encoders[:3]
    (note,) = scene.recovery.notes
    assert note.startswith("circuit breaker: 3 runs of job 12 failed with 'ValueError: boom at HEX in RUN'; the 3 that")


def test_different_errors_and_single_jobs_hold_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, circuit_breaker=3)
    monkeypatch.setenv("PATH", str(site.slurm.path))
    submission = site.submit(*site.encoders)
    for index, (run_id, name) in enumerate(zip(site.encoders, "abcdef", strict=True)):
        site.fail(run_id, f"KeyError: '{name}'", f"12_{index}")
    site.account(*(f"12_{index}|FAILED|1:0|x#{submission.tag}" for index in range(6)))
    assert site.look().recovery.hold == []
    site.account(*(f"12_{index}|NODE_FAIL|1:0|x#{submission.tag}" for index in range(6)))
    assert site.look().recovery.hold == [], "a lost rack is not a mistake of the runs"
    off = Site(tmp_path / "off", circuit_breaker=0)
    monkeypatch.setenv("PATH", str(off.slurm.path))
    fail_alike(off, 5)
    assert off.look().recovery.hold == []
