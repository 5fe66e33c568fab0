"""Carry out what was decided: intents on disk, dependency strings from job ids, one sbatch call for each array."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from launch import slurm
from launch.campaign import Campaign
from launch.ledger import Ledger, Submission
from launch.plan import Plan
from launch.reconcile import Actions, Array
from stilts.errors import UserError


@dataclass
class Report:
    """What a submission did: the submissions made, and why it stopped early if it did."""

    submitted: list[Submission] = field(default_factory=list)
    problem: str | None = None


def submit_arrays(
    plan: Plan,
    campaign: Campaign,
    ledger: Ledger,
    actions: Actions,
    snapshot: Path,
    tell: Callable[[Submission, Array], None],
) -> Report:
    """Cancel the doomed, then submit the arrays, parents first.

    Stops cleanly at the first refusal: what was submitted stays, the rest stays planned, and the same command
    goes on from there. Raises UserError where the first call already fails (nothing was submitted).
    """
    report = Report()
    try:
        slurm.cancel(actions.cancel)
    except slurm.SlurmUnavailable as error:
        raise UserError(f"{error}; nothing was submitted, run the same command again") from None
    campaign.write_specs(plan, actions.runs)
    for array in actions.arrays:
        dependency = dependency_string(array, ledger)
        submission = ledger.intend(array.name(plan), array.runs)
        folder = ledger.folder / submission.tag
        try:
            job_id = slurm.submit(
                folder, submission.name, len(array.runs), dependency, array.resources, plan.cluster, snapshot
            )
        except (UserError, slurm.SlurmUnavailable) as error:
            if not report.submitted:
                raise UserError(str(error)) from None
            report.problem = str(error)
            return report
        report.submitted.append(ledger.confirm(submission, job_id))
        tell(submission, array)
    return report


def dependency_string(array: Array, ledger: Ledger) -> str | None:
    """sbatch's --dependency for an array; None where it waits for nothing.

    `afterok` names single elements, so that a failure stays with its own children. Finished parents are not in
    the array's lists: Slurm refuses a dependency on a job that it has already forgotten.
    """
    parts: list[str] = []
    if array.same_index:
        parts.append(f"aftercorr:{_base_id(array.same_index, ledger)}")
    if array.after_ok:
        parts.append(f"afterok:{_element(array.after_ok, ledger)}")
    if array.after_any:
        parts.append("afterany:" + ":".join(_whole_or_elements(array.after_any, ledger)))
    return ",".join(parts) or None


def _element(run_id: str, ledger: Ledger) -> str:
    job = ledger.of(run_id)[-1].job_of(run_id)
    assert job is not None, f"{run_id} is live or was just submitted, so its job id is known"
    return job


def _base_id(run_ids: Iterable[str], ledger: Ledger) -> str:
    ids = {ledger.of(run_id)[-1].job_id for run_id in run_ids}
    assert len(ids) == 1 and None not in ids, "corresponding arrays have one parent array"
    return str(ids.pop())


def _whole_or_elements(run_ids: Iterable[str], ledger: Ledger) -> list[str]:
    """One id for a submission of which every run is meant, else its elements: short strings stay readable."""
    wanted: dict[str, set[str]] = {}
    for run_id in run_ids:
        wanted.setdefault(ledger.of(run_id)[-1].tag, set()).add(run_id)
    names: list[str] = []
    for runs in wanted.values():
        submission = ledger.of(next(iter(runs)))[-1]
        if runs == set(submission.runs):
            names.append(str(submission.job_id))
        else:
            names.extend(_element(run_id, ledger) for run_id in submission.runs if run_id in runs)
    return names
