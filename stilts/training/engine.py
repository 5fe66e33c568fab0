"""The DeepSpeed engine: ZeRO stages 0 to 3 with torch's own AdamW."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from stilts.errors import UserError
from stilts.model.multitask import Multitask
from stilts.training.settings import Layout, Settings
from stilts.training.world import World, import_deepspeed

ADAM_BETA1 = 0.9
ZERO_STAGES = (0, 1, 2, 3)

# DeepSpeed's default of 5e8 reserves 1 to 2 GB a buffer, whatever the model's size; 100 MB fill a network as well.
BUCKET_ELEMENTS = 50_000_000


def build_engine(model: Multitask, settings: Settings, layout: Layout, world: World) -> Any:
    """A DeepSpeed engine around `model` (fp32 weights, moved to the device); every rank calls it.

    Gradient accumulation stays with the caller: see `Updater`.
    """
    _check(settings, layout, world)
    deepspeed = import_deepspeed(world)
    model.to(world.device)
    if layout.activation_checkpointing:
        # The variant with hooks: the other one needs inputs with gradients, which token ids are not.
        model.encoder.gradient_checkpointing_enable({"use_reentrant": False})
    half = settings.precision != "fp32"
    masters = {name: p.detach().to("cpu", copy=True) for name, p in model.named_parameters()} if half else {}
    # DeepSpeed prints memory reports that no log level stops.
    with contextlib.redirect_stdout(io.StringIO()):
        engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=build_optimizer(model, settings),
            config=deepspeed_config(settings, layout),
            dist_init_required=False,
        )
    for name, parameter in engine.module.named_parameters() if half else ():
        _restore_master(parameter, masters[name].to(world.device), world)
    if sums_apart(engine):
        _shorten_step(engine.optimizer)
    elif layout.zero_stage == 0:
        _shorten_plain_step(engine, settings, world)
    return engine


def sums_apart(engine: Any) -> bool:
    """Whether gradients are added up in flat fp32 buffers beside half-precision weights: bf16 at stage 1."""
    return hasattr(engine.optimizer, "fp32_groups_gradients_flat")


def _shorten_step(optimizer: Any) -> None:
    """Take norms of whole flat buffers, and clear them once.

    DeepSpeed 0.19 starts four kernels for each of some 390 parameters to find the norm and to clip, and writes zeros
    over all gradients twice. What a parameter's gradient does not fill is 0.
    """
    flat = optimizer.fp32_groups_gradients_flat
    optimizer.get_grads_for_norm = lambda for_clipping=False: flat if for_clipping else (flat, {})
    optimizer.zero_grad = lambda set_to_none=True: optimizer.clear_lp_grads(set_to_none)


def _shorten_plain_step(engine: Any, settings: Settings, world: World) -> None:
    """At stage 0: the norm of all gradients at once, cleared without names, and exchanged with other ranks alone.

    DeepSpeed 0.19 takes the norm one parameter after the other, walks through all modules to clear the gradients, and
    has one rank, too, copy them into a buffer and back around an all-reduce.
    """
    parameters = [parameter for parameter in engine.module.parameters() if parameter.requires_grad]

    def fill_gaps(*_: Any, **__: Any) -> None:
        for parameter in parameters:
            if parameter.grad is None:  # as before an all-reduce: the optimizer is to decay it
                parameter.grad = torch.zeros_like(parameter)

    engine.clip_fp32_gradients = lambda: nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
    engine.zero_grad = engine.optimizer.zero_grad
    if world.size == 1:
        engine.buffered_allreduce_fallback = fill_gaps


def _check(settings: Settings, layout: Layout, world: World) -> None:
    problems = []
    if layout.zero_stage not in ZERO_STAGES:
        problems.append(f"zero_stage: {layout.zero_stage} is unknown; use one of {', '.join(map(str, ZERO_STAGES))}")
    if layout.zero_stage == 0 and settings.precision != "fp32":
        problems.append(
            f"zero_stage: 0 with precision: {settings.precision} would add up gradients in half precision; "
            "use zero_stage: 1, which keeps them in fp32"
        )
    if settings.precision == "fp16" and world.device.type == "cpu":
        problems.append("precision: fp16 needs a GPU; use fp32 or bf16 on CPU")
    if problems:
        raise UserError(problems)


def build_optimizer(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW, without weight decay on biases and LayerNorm weights (all that has one dimension)."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # torch's fused kernel rather than DeepSpeed's FusedAdam: as fast or faster, and nothing to compile.
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(ADAM_BETA1, settings.adam_beta2),
        eps=settings.adam_eps,
        fused=True,
    )


def deepspeed_config(settings: Settings, layout: Layout) -> dict[str, Any]:
    """DeepSpeed's JSON. Batch sizes are placeholders: the engine sees one micro-batch after the other."""
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": settings.max_grad_norm,
        "zero_optimization": {
            "stage": layout.zero_stage,
            "reduce_bucket_size": BUCKET_ELEMENTS,
            "allgather_bucket_size": BUCKET_ELEMENTS,
        },
        # Under bf16 DeepSpeed would otherwise add up gradients in bf16.
        "data_types": {"grad_accum_dtype": "fp32"},
        # Ours is not in DeepSpeed's list of tested optimizers under every stage; the tests compare all of them.
        "zero_allow_untested_optimizer": True,
        # Its clock waits for the GPU before each forward pass and after each step.
        "timers": {"throughput": {"enabled": False}},
        "steps_per_print": None,
        "wall_clock_breakdown": False,
    }
    if settings.precision == "bf16":
        config["bf16"] = {"enabled": True}
    elif settings.precision == "fp16":
        config["fp16"] = {"enabled": True, "initial_scale_power": 16}
    return _lay_over(_lay_over(config, settings.deepspeed), layout.deepspeed)


def _lay_over(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with `changes` in it, at every depth (the planner has refused what would change our own keys)."""
    merged = dict(config)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _lay_over(merged[key], value) if both else value
    return merged


class Updater:
    """Gradient accumulation with an exact denominator.

    The gradient of an update is (sum of the gradients of all its loss terms, over all micro-batches and ranks) /
    (number of its loss terms): a mean of means over unequal micro-batches would be another objective. DeepSpeed
    averages gradients over the ranks, so each micro-batch's sum of losses is multiplied by ranks / terms.
    """

    def __init__(self, engine: Any, world: World) -> None:
        self.engine = engine
        self.world = world

    def backward(self, loss_sum: torch.Tensor, terms: int, last: bool) -> None:
        """Add the gradient of one micro-batch; `last` marks the final one of the update."""
        # Stage 0 and 1 communicate at the boundary only, so it has to be known before the backward pass.
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss_sum * self.factor(terms))

    def factor(self, terms: int) -> float:
        """What a sum of losses is multiplied by before its gradient is taken."""
        return self.world.size / max(terms, 1)

    def step(self, learning_rate: float) -> None:
        """Clip by the global norm, once, and move the weights."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self.engine.step()


def full_weights(engine: Any) -> dict[str, torch.Tensor]:
    """All weights by name, whole, in fp32, on the CPU; the masters where the model runs in half precision.

    A collective. Ranks other than the first get an empty dictionary.
    """
    from deepspeed.utils import safe_get_full_fp32_param

    weights = {}
    first = torch.distributed.get_rank() == 0
    for name, parameter in engine.module.named_parameters():
        # Stage 0 shards nothing and the parameter itself is the master.
        value = parameter if engine.zero_optimization_stage() == 0 else safe_get_full_fp32_param(parameter)
        if first:
            weights[name] = value.detach().to("cpu", torch.float32, copy=True).contiguous()
    return weights


def _restore_master(parameter: nn.Parameter, exact: torch.Tensor, world: World) -> None:
    """Put the exact fp32 weights back into the optimizer.

    DeepSpeed casts the model first and copies its masters from the result, so that every stage of a chain would begin
    by rounding away what the stage before had learnt below half precision.
    """
    from deepspeed import utils

    if hasattr(parameter, "ds_id"):
        # Stage 3 cuts into equal parts, padded at the end; DeepSpeed's own setter fails where there is padding.
        size = utils.safe_get_local_fp32_param(parameter).numel()
        padded = functional.pad(exact.flatten(), (0, size * world.size - exact.numel()))
        utils.safe_set_local_fp32_param(parameter, padded[world.rank * size :][:size])
    else:
        utils.safe_set_full_fp32_param(parameter, exact)
