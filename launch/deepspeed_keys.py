"""The raw `deepspeed:` block of a grid: which of its keys change results, which do not, and which are ours to set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# Keys that a setting or resource of ours stands for, with its name.
OWNED = {
    "train_batch_size": "batch_size",
    "train_micro_batch_size_per_gpu": "micro_tokens of the resource class",
    "gradient_accumulation_steps": "batch_size and micro_tokens, from which it follows",
    "gradient_clipping": "max_grad_norm",
    "optimizer": "learning_rate, weight_decay, adam_beta2 and adam_eps (torch's AdamW)",
    "scheduler": "warmup_ratio (linear warm-up and decay)",
    "fp16": "precision: fp16",
    "bf16": "precision: bf16",
    "data_types": "precision (gradients are always added up in fp32)",
    "zero_allow_untested_optimizer": "nothing: it is always on",
    "activation_checkpointing": "activation_checkpointing of the resource class",
}
OWNED_OF_ZERO = {"stage": "zero_stage of the resource class"}

# How and where a training runs, not what comes out: kept out of the run's name.
INFRASTRUCTURE = frozenset(
    "comms_logger wall_clock_breakdown steps_per_print dump_state flops_profiler memory_breakdown".split()
)
INFRASTRUCTURE_OF_ZERO = frozenset(
    "overlap_comm contiguous_gradients reduce_bucket_size allgather_bucket_size allgather_partitions reduce_scatter "
    "round_robin_gradients sub_group_size".split()
)
ZERO = "zero_optimization"


def deepspeed_problems(block: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """(place inside the block, why it cannot stand there) of every key that we own."""
    for key in block:
        if key in OWNED:
            yield (key,), f"deepspeed key '{key}' is set by this project; use {OWNED[key]}"
    zero = block.get(ZERO, {})
    if not isinstance(zero, Mapping):
        yield (ZERO,), f"deepspeed key '{ZERO}' is {zero!r}; it holds a mapping of keys to values"
        return
    for key in zero:
        if key in OWNED_OF_ZERO:
            yield (ZERO, key), f"deepspeed key '{ZERO}.{key}' is set by this project; use {OWNED_OF_ZERO[key]}"


def split_deepspeed(block: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What belongs to the run's identity, and what does not; neither holds an empty `zero_optimization`."""
    science = {key: value for key, value in block.items() if key not in INFRASTRUCTURE and key != ZERO}
    infrastructure = {key: value for key, value in block.items() if key in INFRASTRUCTURE}
    zero = block.get(ZERO, {})
    for part, chosen in ((science, False), (infrastructure, True)):
        keys = {key: value for key, value in zero.items() if _is_infrastructure_of_zero(key) is chosen}
        if keys:
            part[ZERO] = keys
    return science, infrastructure


def _is_infrastructure_of_zero(key: str) -> bool:
    return key in INFRASTRUCTURE_OF_ZERO or key.startswith("stage3_")
