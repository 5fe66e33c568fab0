"""What a DeepSpeed engine must remember to go on: this rank's part of the fp32 weights and of Adam's moments.

Read from and written into the engine's own flat buffers, so that a resumed training continues to the last bit.
DeepSpeed's `save_checkpoint` would do, but writes pickles.
"""

from __future__ import annotations

from typing import Any

import torch

# Numbers of a loss scaler (fp16) that change while it works.
_SCALER_KEYS = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")


def read_state(engine: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(this rank's tensors as copies on the CPU, JSON-able facts that all ranks share)."""
    tensors: dict[str, torch.Tensor] = {}
    for number, master in enumerate(_masters(engine)):
        tensors[f"{number}.weight"] = _copy(master)
        for name, value in engine.basic_optimizer.state[master].items():
            tensors[f"{number}.{name}"] = _copy(torch.as_tensor(value))
    scaler = getattr(engine.optimizer, "loss_scaler", None)
    return tensors, {key: getattr(scaler, key) for key in _SCALER_KEYS if hasattr(scaler, key)}


def find_misfit(engine: Any, tensors: dict[str, torch.Tensor]) -> str | None:
    """Why a state cannot be put into an engine: tensors that are missing, left over or of another size."""
    masters = _masters(engine)
    wrong = {int(name.partition(".")[0]) for name in tensors} ^ set(range(len(masters)))
    for number, master in enumerate(masters):
        saved = tensors.get(f"{number}.weight")
        if saved is None or saved.numel() != master.numel():
            wrong.add(number)
    return f"its tensors do not fit this model (groups {', '.join(map(str, sorted(wrong)))})" if wrong else None


def restore_state(engine: Any, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Put a state that fits into a fresh engine of the same model, layout and world (a collective)."""
    masters = _masters(engine)
    for number, master in enumerate(masters):
        mine = {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{number}.")}
        master.data.copy_(mine.pop("weight").view_as(master))
        # DeepSpeed links each parameter to its moments at the first step: until then they may be new tensors.
        engine.basic_optimizer.state[master] = {name: value.to(master.device).clone() for name, value in mine.items()}
    for key, value in facts.items():
        setattr(engine.optimizer.loss_scaler, key, value)
    _refresh_weights(engine)


def count_bytes(engine: Any) -> int:
    """Size of this rank's part: weights and two moments in fp32."""
    return sum(12 * master.numel() for master in _masters(engine))


def count_missing_bytes(engine: Any) -> int:
    """Size of the moments of this rank that the first update will add: under stage 0 there are none before it."""
    state = engine.basic_optimizer.state
    return sum(8 * master.numel() for master in _masters(engine) if not state.get(master))


def _masters(engine: Any) -> list[torch.Tensor]:
    """The fp32 tensors that this rank's optimizer moves: whole at stage 0, this rank's flat parts else."""
    optimizer = engine.optimizer
    for name in ("single_partition_of_fp32_groups", "fp32_partitioned_groups_flat", "fp32_groups_flat_partition"):
        if hasattr(optimizer, name):  # stages 1 and 2; stage 3; bf16 at stage 1 under some settings
            return list(getattr(optimizer, name))
    return [parameter for group in engine.basic_optimizer.param_groups for parameter in group["params"]]


def _refresh_weights(engine: Any) -> None:
    """Let the model's own weights follow the fp32 ones."""
    optimizer = engine.optimizer
    if hasattr(optimizer, "update_lp_params"):
        optimizer.update_lp_params()
    elif hasattr(optimizer, "fp32_partitioned_groups_flat"):
        for number in range(len(optimizer.fp32_partitioned_groups_flat)):
            optimizer._reassign_or_swap_out_partitioned_parameters(number)
        if kept := optimizer.persistent_parameters:
            # Small parameters stay whole on every rank: cut them anew and gather what was restored.
            kept[0].partition(kept)
            kept[0].all_gather(kept)


def _copy(values: torch.Tensor) -> torch.Tensor:
    return values.detach().to("cpu", copy=True).contiguous()
