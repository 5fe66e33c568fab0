"""What the next job of a run gets after its failures: more memory, more time, other nodes, or nothing any more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from launch.failures.history import Entry
from launch.failures.policies import FailurePolicies, Policy
from launch.resources import Resources

_FIELDS = {"more_memory": ("mem_gb", "GB"), "more_time": ("timeout_min", "min")}
_CAP_FACTOR = 4  # of what the resource rules give, where a policy names no cap
_EXCLUDED_FOR_S = 3 * 86400.0  # a node is mended some day


@dataclass(frozen=True)
class Answer:
    """`resources` for the next job; `stop` is why there should be none; `text` is what the record says;
    `nodes` are those to keep away from, the newest first."""

    resources: Resources
    text: str
    stop: str | None = None
    nodes: tuple[str, ...] = ()


def answer(entries: Sequence[Entry], base: Resources, policies: FailurePolicies, pardoned: float = 0.0) -> Answer:
    """The answer to a run's failures, oldest first, from what its resource class is now.

    It is worked out anew from the record each time, so that a changed policy or resource rule counts at once.
    Failures up to the time `pardoned` are not counted, but the memory and time that they have brought stay.
    """
    assert entries, "a run that has failed has an entry"
    resources, text = base, ""
    for entry in entries:
        before, policy = resources, policies.of(entry.kind)
        resources, text = _apply(policy, base, before)
    last, policy = entries[-1], policies.of(entries[-1].kind)
    count = sum(entry.kind == last.kind and entry.time > pardoned for entry in entries)
    text = f"{last.kind}, {count} of at most {policy.attempts}: {text}"
    stop = _why_stop(last, policy, count, text, changed=resources != before) if last.time > pardoned else None
    excluding = [e for e in reversed(entries) if policies.of(e.kind).action == "exclude_node" and e.node]
    nodes = dict.fromkeys(str(entry.node) for entry in excluding if entry.time > last.time - _EXCLUDED_FOR_S)
    return Answer(resources, stop or text, stop, tuple(nodes))


def _apply(policy: Policy, base: Resources, before: Resources) -> tuple[Resources, str]:
    if policy.action not in _FIELDS:
        return before, {"exclude_node": "again, on another node", "retry": "again", "stop": ""}[policy.action]
    field, unit = _FIELDS[policy.action]
    old, cap = getattr(before, field), policy.cap or _CAP_FACTOR * getattr(base, field)
    new = max(old, min(math.ceil(old * policy.factor), cap))
    return before.model_copy(update={field: new}), f"{field} {old} -> {new} {unit}"


def _why_stop(last: Entry, policy: Policy, count: int, text: str, changed: bool) -> str | None:
    """Why a run is left alone after its last failure; None where it is tried again."""
    if policy.action == "stop":
        return f"{last.kind}: the policy is to stop"
    if count >= policy.attempts:
        return f"{last.kind}: failed {count} times so, of at most {policy.attempts}"
    if policy.action in _FIELDS and not changed:
        return f"{last.kind}: {_FIELDS[policy.action][0]} is at its cap ({text.rpartition(': ')[2]})"
    return None
