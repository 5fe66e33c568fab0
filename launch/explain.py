"""One run explained: what it is built on, its state with the evidence, what its failures say, what happens next."""

from __future__ import annotations

import time
from collections.abc import Iterator

from launch.failures.evidence import Failure
from launch.logs import find_logs, printable, tail
from launch.observation.attempts import last_attempt
from launch.observation.states import LIVE
from launch.scene import Scene
from stilts.failures import KINDS
from stilts.runs import read_json

# What a person can do about each kind, besides what the policy does.
REMEDIES = {
    "host_oom": "more mem_gb in a resource rule; fewer data workers or a smaller max_length need less",
    "gpu_oom": "a smaller micro_tokens, activation_checkpointing: true, zero_stage: 3 on more GPUs, or a larger GPU",
    "timeout": "more timeout_min in a resource rule; a training goes on from its last checkpoint in any case",
    "node_failure": "nothing: another node will do; tell the operators if it is always the same one",
    "nccl": "another node; NCCL_DEBUG=INFO in the cluster's setup says more; check the network interface it takes",
    "disk_full": "make room (grid.py --gc removes weights that nothing needs), then retry",
    "data": "mend what the message names, then retry",
    "code": "mend the code, then retry: it is submitted with the code as it is then",
    "unknown": "look at the logs below and at the node's; where accounting is off, only the run's own words are known",
}
_LOG_LINES = 15


def explain(scene: Scene, run_id: str) -> str:
    """Lineage, state, evidence and prospect of a run, as plain text."""
    lines = [run_id, f"  {scene.plan.runs[run_id].stage}, in {scene.campaign.run(run_id).path}", "", "built on"]
    lines += [f"  {line}" for line in _lineage(scene, run_id)] or ["  nothing"]
    seen = scene.observations[run_id]
    lines += ["", f"state: {seen.state}" + (f" ({seen.reason})" if seen.reason else "")]
    lines += [f"  {line}" for line in _evidence(scene, run_id)]
    lines += [f"  {line}" for line in _failures(scene, run_id)]
    resources = scene.plan.resources(run_id).model_dump(exclude_defaults=True)
    lines += ["", "its next job asks for " + ", ".join(f"{key} {value}" for key, value in resources.items())]
    lines += [f"the same grid.py command now: {prospect(scene, run_id)}"]
    return "\n".join(printable(line) for line in lines)


def prospect(scene: Scene, run_id: str) -> str:
    """Why the run would or would not be submitted now."""
    seen, withheld = scene.observations[run_id], scene.recovery.withheld
    if seen.state == "done":
        return "keeps it, it is done"
    if seen.state in LIVE:
        return f"leaves it alone, it is {seen.state}" + (f" as job {seen.job}" if seen.job else "")
    if run_id in withheld:
        return f"does not submit it: {withheld[run_id]}"
    if not scene.queue.known and scene.ledger.of(run_id):
        return "does not submit it: the queue cannot be asked, and it may be there"
    waits = [need for need in scene.plan.runs[run_id].needs if scene.observations[need].state != "done"]
    behind = f", behind {len(waits)} runs that it needs (for example {waits[0]})" if waits else ", all it needs is done"
    again = " again" if scene.ledger.of(run_id) or seen.state in ("failed", "cancelled", "stale") else ""
    return f"submits it{again}{behind}"


def explain_failure(scene: Scene, run_id: str) -> str:
    """Kind, evidence, signature, policy, remedy and the end of the log of a failed run, as plain text."""
    failure, seen = scene.recovery.failures.get(run_id), scene.observations[run_id]
    if failure is None:
        told = f"{run_id} has not failed: it is {seen.state}" + (f" ({seen.reason})" if seen.reason else "")
        past = [f"  {line}" for line in _failures(scene, run_id)]
        return "\n".join(printable(line) for line in [told, *past])
    lines = [run_id, *(f"  {line}" for line in _describe(failure)), *(f"  {line}" for line in _failures(scene, run_id))]
    lines += [f"  next     {prospect(scene, run_id)}", f"  remedy   {REMEDIES[failure.kind]}"]
    for log in find_logs(scene.campaign, scene.ledger, run_id)[:2]:
        lines += ["", f"{log}:", *(f"  {line}" for line in tail(log, _LOG_LINES).splitlines())]
    return "\n".join(printable(line) for line in lines)


def _describe(failure: Failure) -> Iterator[str]:
    yield f"failed   {failure.kind}: {KINDS[failure.kind]}"
    yield f"said     {failure.reason.splitlines()[0] if failure.reason else 'nothing'}"
    yield f"told by  {failure.evidence}"
    yield f"alike    {failure.signature}"
    where = [f"job {failure.job}" if failure.job else "", f"node {failure.node}" if failure.node else ""]
    yield f"where    {', '.join(part for part in where if part) or 'not known'}"


def _failures(scene: Scene, run_id: str) -> Iterator[str]:
    """The run's record of failures; `answer` is what was decided when each was seen."""
    for entry in scene.recovery.entries.get(run_id, []):
        where = f" on {entry.node}" if entry.node else ""
        yield f"failure  {_clock(entry.time)}{where}: {entry.kind}{f' -> {entry.answer}' if entry.answer else ''}"


def _lineage(scene: Scene, run_id: str) -> list[str]:
    """The needs of a run, each below what is built on it, once."""
    lines: list[str] = []
    drawn: set[str] = set()

    def draw(name: str, depth: int) -> None:
        for need in scene.plan.runs[name].needs:
            seen = scene.observations[need]
            again = need in drawn and bool(scene.plan.runs[need].needs)
            lines.append(f"{'  ' * depth}{need}  {seen.state}{' (see above)' if again else ''}")
            if need not in drawn:
                drawn.add(need)
                draw(need, depth + 1)

    draw(run_id, 0)
    return lines


def _evidence(scene: Scene, run_id: str) -> Iterator[str]:
    """What the state was judged by, in the order in which it counts."""
    folder, submissions = scene.campaign.run(run_id), scene.ledger.of(run_id)
    done = folder.read_done()
    yield f"DONE: {'by attempt ' + str(done.get('attempt', '?')) if done else 'none'}"
    if submissions:
        last = submissions[-1]
        job = last.job_of(run_id) or "no job id: its launcher died around sbatch"
        yield f"submitted {len(submissions)} times, last {_clock(last.time)} as {job} ({last.name})"
        yield f"squeue: {_queued(scene, run_id) if scene.queue.known else 'could not be asked'}"
        ended = [job for job in scene.queue.ended.values() if _is(job.id, job.index, last.job_of(run_id))]
        if ended:
            yield f"sacct: {ended[0].reason or ended[0].state}, exit code {ended[0].exit_code}"
        elif not scene.queue.accounted:
            yield "sacct: not available"
    else:
        yield "never submitted to Slurm"
    attempt = last_attempt(folder)
    if attempt is None:
        yield "no attempt has begun"
        return
    begun, outcome = read_json(attempt / "attempt.json") or {}, read_json(attempt / "outcome.json") or {}
    told = f"{outcome.get('state')}: {outcome.get('reason')}" if outcome else "no outcome"
    where = begun.get("node", begun.get("host", "?"))
    yield f"last attempt {attempt.name} on {where}, begun {_clock(begun.get('started'))}: {told.splitlines()[0]}"


def _queued(scene: Scene, run_id: str) -> str:
    seen = scene.observations[run_id]
    if seen.state in LIVE or seen.doomed:
        return f"{seen.job} {seen.state}" + (f", {seen.reason}" if seen.reason else "")
    return "not there"


def _is(job: str, index: int | None, name: str | None) -> bool:
    return name == (job if index is None else f"{job}_{index}")


def _clock(seconds: object) -> str:
    known = isinstance(seconds, int | float)
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(float(seconds))) if known else "?"  # type: ignore[arg-type]
