"""What Slurm's reasons for a pending job mean, and which of them never pass by themselves."""

from __future__ import annotations

_WAITS = {
    "Priority": "others are before it in the queue",
    "Resources": "waits for free nodes",
    "Dependency": "waits for the runs that it is built on",
    "BeginTime": "was requeued; Slurm starts it in a minute or two",
    "JobArrayTaskLimit": "as many of this array run as array_parallelism allows",
    "QOSMaxJobsPerUserLimit": "as many of your jobs run as the QOS allows",
    "QOSMaxCpuPerUserLimit": "your running jobs have as many CPUs as the QOS allows",
    "QOSMaxGRESPerUser": "your running jobs have as many GPUs as the QOS allows",
    "QOSGrpGRES": "the QOS has given out all its GPUs",
    "AssocGrpGRES": "the account has all the GPUs that it may have",
    "AssocMaxJobsLimit": "as many of the account's jobs run as are allowed",
    "ReqNodeNotAvail": "nodes that it needs are down, drained or reserved",
    "Reservation": "waits for a reservation",
    "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions": "waits for nodes",
}
_STUCK = {
    "JobHeldUser": "held; grid.py release lets it go",
    "JobHeldAdmin": "held by an operator; ask them",
    "DependencyNeverSatisfied": "what it is built on failed; the same grid.py command submits it anew",
    "PartitionTimeLimit": "asks for more time than its partition allows: lower timeout_min or choose another partition",
    "PartitionNodeLimit": "asks for more nodes than its partition has: fewer nodes, or another partition",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition is inactive",
    "QOSMaxWallDurationPerJobLimit": "asks for more time than its QOS allows: lower timeout_min",
    "AssocMaxWallDurationPerJobLimit": "asks for more time than the account allows: lower timeout_min",
    "AssocGrpCPUMinutesLimit": "the account has used up its CPU time",
    "AssocGrpGRESMinutes": "the account has used up its GPU time",
    "BadConstraints": "no node fits its constraint: mend it in the resource rule",
    "AccountNotAllowed": "its account may not use this partition",
    "QOSNotAllowed": "its QOS may not use this partition",
    "InvalidAccount": "Slurm does not know its account",
    "InvalidQOS": "Slurm does not know its QOS",
    "launch_failed_requeued_held": "a node could not start it; tell the operators, then grid.py release",
    "JobLaunchFailure": "a node could not start it",
}


def explain_reason(reason: str) -> tuple[str, bool]:
    """Slurm's reason in plain words (itself where it is none of the known), and whether it needs somebody to act."""
    word = reason.split(" ")[0].strip("()").partition(",")[0]
    if word in _STUCK:
        return _STUCK[word], True
    return _WAITS.get(word) or _WAITS.get(reason.strip("()")) or reason, False
