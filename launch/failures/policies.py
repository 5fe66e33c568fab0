"""What a site wants done about each kind of failure: `failures` in a cluster's file, with defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stilts.failures import KINDS
from stilts.settings import Count, Settings

Action = Literal["more_memory", "more_time", "exclude_node", "retry", "stop"]
HELPING = ("more_memory", "more_time", "exclude_node")  # actions with which the next job may do better


class Policy(Settings):
    """`action` after a failure of one kind, while a run has had fewer than `attempts` of them; then it is left alone.

    more_memory and more_time multiply `mem_gb` or `timeout_min` by `factor`, up to `cap` (GB or minutes; None: four
    times what the resource rules give). exclude_node keeps the run's next job off the node; retry changes nothing.
    """

    action: Action
    attempts: Count = 2
    factor: Annotated[float, Field(gt=1, le=10, allow_inf_nan=False)] = 2.0
    cap: Count | None = None


DEFAULTS: dict[str, dict[str, Any]] = {
    "host_oom": {"action": "more_memory", "attempts": 4, "factor": 1.5},
    # The job itself halves its micro-batches first; what is left may have been another program on the same GPU.
    "gpu_oom": {"action": "retry"},
    "timeout": {"action": "more_time", "attempts": 4, "factor": 1.5},
    "node_failure": {"action": "exclude_node", "attempts": 5},
    "nccl": {"action": "exclude_node", "attempts": 3},
    "disk_full": {"action": "retry"},
    "data": {"action": "retry"},
    "code": {"action": "retry"},
    "unknown": {"action": "retry", "attempts": 3},
}
assert DEFAULTS.keys() == KINDS.keys()


def _default(kind: str) -> Any:
    return Field(default_factory=lambda: Policy(**DEFAULTS[kind]))


class FailurePolicies(Settings):
    """One policy a kind, and after how many equal errors in an array the rest of it is held (0: never)."""

    host_oom: Policy = _default("host_oom")
    gpu_oom: Policy = _default("gpu_oom")
    timeout: Policy = _default("timeout")
    node_failure: Policy = _default("node_failure")
    nccl: Policy = _default("nccl")
    disk_full: Policy = _default("disk_full")
    data: Policy = _default("data")
    code: Policy = _default("code")
    unknown: Policy = _default("unknown")
    circuit_breaker: Annotated[int, Field(ge=0, strict=True)] = 5

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """A policy that names some of its keys has the kind's defaults for the others, unless it changes the action."""
        if not isinstance(given, Mapping):
            return given
        filled = dict(given)
        for kind, policy in given.items():
            if kind in DEFAULTS and isinstance(policy, Mapping):
                default = DEFAULTS[kind]
                same = policy.get("action", default["action"]) == default["action"]
                filled[kind] = {**default, **policy} if same else policy
        return filled

    def of(self, kind: str) -> Policy:
        """The policy of a kind."""
        policy: Policy = getattr(self, kind)
        return policy
