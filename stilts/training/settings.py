"""The part of a training's configuration that the loop needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Optimisation, as in the configuration; defaults are those of Phang et al. 2020 and of jiant.

    `mask_probability` belongs to masked language modelling alone (0.15: Devlin et al. 2019). `deepspeed` is laid over
    our own DeepSpeed configuration.
    """

    seed: int
    learning_rate: float
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    adam_beta2: float = 0.999
    adam_eps: float = 1e-8
    max_grad_norm: float = 1.0
    precision: str = "fp32"
    mask_probability: float = 0.15
    deepspeed: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Settings:
        """The settings in a training's or pre-training's configuration."""
        return cls(**{name: config[name] for name in cls.__dataclass_fields__ if name in config})


@dataclass(frozen=True)
class Layout:
    """How a training is laid out on the machine; changes its speed and, but for rounding and dropout, not its result.

    `micro_tokens`: tokens, pads included, that go through the model at once on each rank; None: found out before the
    first update. `packed`: whether sequences stand in one row without pads; None: where the device can
    (`stilts.model.attention`). `cuda_graphs`: where one process trains packed in bf16 at stage 1; the same result to
    the bit. `deepspeed`: what a grid's raw block says about infrastructure.
    """

    micro_tokens: int | None = None
    zero_stage: int = 1
    activation_checkpointing: bool = False
    packed: bool | None = None
    cuda_graphs: bool = True
    deepspeed: Mapping[str, Any] = field(default_factory=dict)


LAYOUT = Layout()
