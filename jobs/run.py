"""What a job executes: `run.py --submission FILE` (Slurm) or `run.py --run FOLDER --attempt ID` (local worker).

The payload is a path. Everything else stands in the run's folder, and this file is part of a snapshot that was
taken at submission, so edits made while a job waits change nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

# The snapshot that this file stands in comes first: before an editable install of the working tree, before
# PYTHONPATH, before the folder that the job was started in.
_here = Path(__file__).resolve().parent
sys.path[:] = [str(_here.parent), *(path for path in sys.path if path != str(_here))]

from jobs.attempt import Attempt, supersede  # noqa: E402
from jobs.breaker import count_failure  # noqa: E402
from jobs.guard import Blocked, already_done, claim, find_earlier, trained_before, verify_needs  # noqa: E402
from jobs.interruption import (  # noqa: E402
    EXIT_AGAIN,
    STOP_FILE,
    Stopped,
    call,
    find_deadline,
    give_back,
    had_its_chance,
    ignore_signals,
    install_handlers,
    is_near,
    measure_progress,
    slurm_job,
    wait_for_outcome,
)
from jobs.libraries import LIBRARIES, import_libraries  # noqa: E402
from jobs.memory import halve_budget  # noqa: E402
from jobs.pack import read_pack  # noqa: E402
from jobs.ranks import Place, count_gpus  # noqa: E402
from jobs.work import Work  # noqa: E402
from stilts.errors import UserError  # noqa: E402
from stilts.failures import kind_of_exception  # noqa: E402
from stilts.runs import Run, RunFolder, done_record, remove_folder, write_json  # noqa: E402
from stilts.training.heartbeat import Heartbeat  # noqa: E402
from stilts.training.stopping import Interrupted, OutOfMemory, StartOver, Stop  # noqa: E402

# Any exit code but 0 keeps Slurm's afterok children from starting.
EXIT_FAILED, EXIT_BLOCKED, EXIT_STOPPED = 1, 75, 143

# How long a rank waits for the first one's word before it ends the job by its own end.
OUTCOME_TIMEOUT_S = 20.0


def main() -> int:
    """Run one attempt of one run and return the exit code."""
    arguments = parse_arguments()
    if arguments.submission and (pack := read_pack(arguments.submission)):
        return pack.run()
    if arguments.parent:
        die_with_parent(arguments.parent)
    path, attempt = find_work(arguments)
    code = execute(path, attempt)
    if code == EXIT_FAILED and arguments.submission:
        count_failure(arguments.submission, path, attempt)
    return code


def execute(path: Path, attempt_id: str) -> int:
    """One attempt at the run in the folder `path`, with this process's output in the attempt's log."""
    folder, place = RunFolder(path.resolve()), Place.from_environment(os.environ)
    attempt = Attempt(folder, attempt_id, place.rank)
    attempt.open_log()
    stop = Stop(folder.path / STOP_FILE)
    before = measure_progress(folder)
    try:
        install_handlers(stop)
        stop.deadline = find_deadline(os.environ)
        return work(folder, attempt, place, stop)
    except Blocked as problem:
        attempt.finish("blocked", str(problem))
        return EXIT_BLOCKED
    except (Interrupted, Stopped) as problem:
        ignore_signals()
        return leave(folder, attempt, stop, problem, moved=measure_progress(folder) != before)
    except OutOfMemory as problem:
        traceback.print_exc()
        ignore_signals()
        return try_smaller(folder, attempt, problem)
    except StartOver as problem:
        ignore_signals()
        if attempt.first or not wait_for_outcome(attempt.outcome, OUTCOME_TIMEOUT_S):
            return begin_again(attempt, str(problem))
        return EXIT_AGAIN
    except Exception as problem:
        traceback.print_exc()
        reason = str(problem) if isinstance(problem, UserError) else f"{type(problem).__name__}: {problem}"
        attempt.finish("failed", reason[:2000], error=type(problem).__name__, kind=kind_of_exception(problem))
        return EXIT_FAILED


def leave(folder: RunFolder, attempt: Attempt, stop: Stop, problem: Interrupted | Stopped, moved: bool) -> int:
    """End an interrupted attempt: back into Slurm's queue where it should go on at once.

    A warning about the time limit in an attempt that got nowhere is a failure: the next one would get no further.
    """
    job, reason = slurm_job(), str(problem)
    # The first rank may wait in a collective for one that was stopped before it: then that one speaks for it.
    if not attempt.first and (wait_for_outcome(attempt.outcome, OUTCOME_TIMEOUT_S) or not job):
        return EXIT_STOPPED
    (folder.path / STOP_FILE).unlink(missing_ok=True)  # it was obeyed: the next attempt is to work
    if not job or not problem.returns:
        attempt.finish("cancelled", f"{reason}; the grid's command goes on from there")
        return EXIT_STOPPED
    if is_near(stop.deadline) and not moved and had_its_chance():
        told = f"{reason}, and the time limit does not suffice for one checkpoint: raise timeout_min"
        attempt.finish("failed", told, kind="timeout")
        return EXIT_FAILED
    refusal = give_back(job)
    attempt.finish("cancelled", f"{reason}; {f'Slurm did not take it back: {refusal}' if refusal else 'requeued'}")
    return EXIT_STOPPED


def try_smaller(folder: RunFolder, attempt: Attempt, problem: OutOfMemory) -> int:
    """Let a fresh process of the same job go on with half the micro-batch: this one's memory cannot be trusted.

    Any rank may run out of memory; the others wait for it in a collective until they are ended with it.
    """
    half = halve_budget(folder, problem.micro_tokens, attempt.id)
    if half is None:
        told = f"{problem}; use a larger GPU, more of them with zero_stage: 3, or a smaller model"
        attempt.finish("failed", told, kind="gpu_oom")
        return EXIT_FAILED
    return begin_again(attempt, f"{problem}; goes on with half as many")


def begin_again(attempt: Attempt, reason: str) -> int:
    """End an attempt that a fresh process is to follow at once: of the same job, or of the local pool."""
    job = slurm_job()
    refusal = give_back(job) if job else None
    attempt.finish("cancelled", f"{reason}; Slurm did not take it back: {refusal}" if refusal else reason)
    return EXIT_AGAIN


def parse_arguments() -> argparse.Namespace:
    """Only what the launcher passes; a submission layer may append arguments of its own, which are ignored."""
    parser = argparse.ArgumentParser(description="Execute one run of a campaign inside a job.")
    parser.add_argument("--submission", type=Path, help="submission.json; the array index chooses the run")
    parser.add_argument("--run", type=Path, help="folder of one run")
    parser.add_argument("--attempt", default="local", help="name of this attempt (with --run)")
    parser.add_argument("--parent", type=int, help="end when this process ends")
    return parser.parse_known_args()[0]


def find_work(arguments: argparse.Namespace) -> tuple[Path, str]:
    """The run's folder and the attempt's name: from the array index under Slurm, else as given."""
    if arguments.submission is None:
        return arguments.run, arguments.attempt
    submission = json.loads(arguments.submission.read_text(encoding="utf-8"))
    # A single job may have been submitted from inside somebody's array: the variable is inherited then.
    index = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")) if len(submission["runs"]) > 1 else 0
    path = arguments.submission.resolve().parents[3] / submission["runs"][index]
    assert path.name == submission["runs"][index], "a run's folder lies directly below the root of its campaign"
    # A requeued job keeps its id: the restart count tells its attempts apart.
    attempt = f"{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_RESTART_COUNT', '0')}"
    if os.environ.get("SLURM_PROCID", "0") == "0":
        _rename_job(f"{path.name}#{submission['tag']}")
    return path, attempt


def work(folder: RunFolder, attempt: Attempt, place: Place, stop: Stop) -> int:
    """Verify that this attempt may begin, and let it."""
    run = Run.from_spec(json.loads(folder.spec.read_text(encoding="utf-8")))
    resources = run.infra.get("resources", {})
    facts = {"ranks": place.size, "slurm_job": slurm_job(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "")}
    attempt.describe({**facts, "gpus": count_gpus(os.environ), "resources": resources})
    needs = verify_needs(run, folder.path.parent)
    turn = claim(attempt) if attempt.first else None
    try:
        if already_done(run, folder, needs):
            attempt.finish("done", "an earlier attempt had finished this run")
            return 0
        return compute(run, folder, attempt, place, stop, needs)
    finally:
        if turn:
            turn.release()


def compute(run: Run, folder: RunFolder, attempt: Attempt, place: Place, stop: Stop, needs: dict[str, str]) -> int:
    """Run the stage and write DONE last."""
    if attempt.first and (folder.done.exists() or not trained_before(run, folder, needs)):
        supersede(folder)
    # On NFS a library that is still open leaves .nfs files behind; that must not fail a finished run.
    with tempfile.TemporaryDirectory(prefix="stilts-", dir=scratch_folder(), ignore_cleanup_errors=True) as caches:
        set_environment(Path(caches), run.stage)
        import_libraries(*LIBRARIES[run.stage])
        from jobs.stages import run_stage

        heartbeat = Heartbeat(folder.path, place.rank, run.infra.get("report_to", ()))
        output, facts = run_stage(Work(run, folder, attempt, place, heartbeat, needs, stop))
    # The work is done. Python gives its signal handlers back before it ends, and a warning would kill it then.
    ignore_signals()
    if attempt.first:
        more = {"attempt": attempt.id, "job": slurm_job(), "data_root": run.infra.get("data_root"), "facts": facts}
        if earlier := [other for other in find_earlier(run, folder, needs) if other != output]:
            more["earlier"] = earlier
        write_json(folder.done, done_record(run, output, needs, **more))
        last = run.stage == "target" or (run.stage == "intermediate" and "pilot" in run.infra)
        if last and not run.infra.get("keep"):
            remove_folder(folder.model)  # nothing builds on it, and its predictions are stored
        remove_folder(folder.checkpoints)
        (folder.path / STOP_FILE).unlink(missing_ok=True)  # it came too late
        attempt.finish("done", "finished")
    return 0


def set_environment(caches: Path, stage: str) -> None:
    """Settings that the heavy libraries read on import; called before any of them is imported."""
    if stage != "fetch":
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    # Builds on a shared home race, and a killed builder leaves a lock behind: each job has its own folder.
    os.environ.update(TORCH_EXTENSIONS_DIR=str(caches / "torch"), TRITON_CACHE_DIR=str(caches / "triton"))
    os.environ.update(TOKENIZERS_PARALLELISM="true" if stage == "prepare" else "false", HF_HUB_DISABLE_TELEMETRY="1")
    if "SLURM_CPUS_PER_TASK" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", os.environ["SLURM_CPUS_PER_TASK"])
    if not os.environ.get("CUDA_VISIBLE_DEVICES") or not Path("/dev/nvidiactl").exists():
        # Without a GPU nothing is compiled, and importing the compiler costs seconds.
        os.environ["TORCHDYNAMO_DISABLE"] = "1"


def scratch_folder() -> str | None:
    """Node-local disk for caches: the cluster's `scratch`, Slurm's own, or the system's default."""
    for name in ("STILTS_SCRATCH", "SLURM_TMPDIR", "TMPDIR"):
        folder = os.path.expandvars(os.environ.get(name, ""))
        if folder and os.path.isdir(folder) and os.access(folder, os.W_OK):
            return folder
    return None


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when the local launcher dies, even by SIGKILL: no orphan keeps computing."""
    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(EXIT_STOPPED)  # it died before the request was in force


def _rename_job(name: str) -> None:
    """An array has one name; a starting element takes its run's, keeping the tag by which it is found."""
    # As `12_3`: the plain id of an array's last element is that of the whole array.
    # A site may forbid it, and only the display suffers.
    call("scontrol", "update", f"JobId={slurm_job()}", f"JobName={name}")


if __name__ == "__main__":
    sys.exit(main())
