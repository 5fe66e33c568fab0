"""Scientific settings with their defaults: one list, used by grid files, by identities and by the jobs.

A run's configuration holds only what differs from these defaults, so that a new option at its default value
changes no run's name. Sources: arXiv 2005.13013 v1 appendix A (10 % warm-up); jiant's defaults where the
paper is silent (AdamW, weight decay 0.01 but for bias and LayerNorm, epsilon 1e-8, gradient norm 1.0).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1, strict=True)]
Rate = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
Length = Annotated[int, Field(ge=16, le=8192, strict=True)]


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def changed(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON-able values."""
        return self.model_dump(mode="json", exclude_defaults=True)


class TaskSettings(Settings):
    """What belongs to one training set; None takes the published value from the catalogue."""

    learning_rate: Rate | None = None
    batch_size: Count | None = None
    epochs: Count | None = None
    max_length: Length | None = None


class Sampling(Settings):
    """How tasks are drawn in multitask training, n = min(examples, cap): probability proportional to n
    (arXiv 2005.13013), equal (uniform), proportional to n^(1 / temperature) (jiant, mT5), or to given weights.

    The cap counts for the number of updates under every rule.
    """

    rule: Literal["proportional", "uniform", "temperature", "weights"] = "proportional"
    cap: Count = 131_072  # K = 2^17, arXiv 2005.13013 v1 section 2
    temperature: Positive = 1.0
    weights: dict[str, Positive] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _values_belong_to_the_rule(self) -> Sampling:
        if self.temperature != 1.0 and self.rule != "temperature":
            raise ValueError(f"temperature {self.temperature:g} belongs to rule: temperature, not to {self.rule}")
        if bool(self.weights) != (self.rule == "weights"):
            raise ValueError("rule: weights and weights, one for each task that is mixed, belong together")
        return self


class Selection(Settings):
    """Which weights a training keeps: the best of `points` equally spaced points (the last update is one of them) by
    its score on the first `examples` dev examples; the last where `points` is 0.

    500: arXiv 2005.13013 v1, appendix A. 10 points: the paper gives no number.
    """

    points: Annotated[int, Field(ge=0, strict=True)] = 10
    examples: Count = 500


class TrainingSettings(TaskSettings):
    """A training stage. The keys of `TaskSettings` here hold for every task, those below `tasks` for one.

    `updates` takes the place of epochs: so many in all, of a sequence over all its phases. `replay` is the share of
    updates that a later phase of a sequence gives to the tasks before it. `collapse` says what a training does that
    ends at chance on dev, `restarts` how often it may start over with another seed.
    """

    warmup_ratio: Fraction = 0.1
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    adam_beta2: Rate = 0.999
    adam_eps: Positive = 1e-8
    max_grad_norm: Positive = 1.0
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    attention: Literal["sdpa", "eager"] = "sdpa"
    dropout: Fraction | None = None
    max_examples: Count | None = None
    shuffle_labels: bool = False
    tasks: dict[str, TaskSettings] = Field(default_factory=dict)
    sampling: Sampling = Sampling()
    selection: Selection = Selection()
    updates: Count | None = None
    replay: Share = 0.0
    collapse: Literal["stop", "warn", "off"] = "stop"
    restarts: Annotated[int, Field(ge=0, le=9, strict=True)] = 0
    deepspeed: dict[str, Any] = Field(default_factory=dict)


class PretrainSettings(Settings):
    """`model: scratch`: a small XLM-R made from the campaign's own text (a measured recipe for toy languages)."""

    text: list[str] = Field(default_factory=list)
    seed: Seed = 0
    tokenizer: Literal["words", "unigram"] = "unigram"
    vocabulary: Annotated[int, Field(ge=100, le=250_000, strict=True)] = 8000
    layers: Count = 3
    hidden: Count = 128
    heads: Count = 4
    feed_forward: Count = 256
    positions: Length = 512
    dropout: Fraction = 0.0
    steps: Annotated[int, Field(ge=0, strict=True)] = 0
    batch_size: Count = 32
    learning_rate: Rate = 2e-3
    mask_probability: Rate = 0.25
    warmup_ratio: Fraction = 0.1
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    adam_beta2: Rate = 0.98
    adam_eps: Positive = 1e-8
    max_grad_norm: Positive = 1.0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


class MlmSettings(Settings):
    """Masked language modelling mixed into intermediate training as one more task (arXiv 2005.13013 v1, section 2 and
    appendix A: 2 million sentences in all, languages drawn proportional to size^0.3, batches of 8, half the rate).

    No `languages`: all of the suite's. No `epochs`: as many as the tasks beside it, 1 where there is none.
    """

    languages: list[str] = Field(default_factory=list)
    sentences: Count = 2_000_000
    exponent: Fraction = 0.3
    seed: Seed = 0
    batch_size: Count = 8
    epochs: Count | None = None
    max_length: Length = 256
    mask_probability: Rate = 0.15
    rate_factor: Positive = 0.5


class TranslationSettings(Settings):
    """Intermediate training sets translated into `languages`, by a sequence-to-sequence `model` (a hub name or a path),
    or, without one, read from the data root. `shards` jobs share the work on one task and language."""

    languages: list[str] = Field(default_factory=list)
    model: str | None = None
    shards: Count = 8
    beams: Count = 1
    max_length: Length = 256


class RetrievalSettings(Settings):
    """Sentence retrieval: the layer of the hidden-state tuple (None: 14 of 24, or the same fraction of the depth).

    `sweep` scores every other layer too, from the same forward passes.
    """

    layer: Annotated[int, Field(ge=0, strict=True)] | None = None
    sweep: bool = False
    max_length: Length = 512  # XTREME's retrieval scripts


class ToySettings(Settings):
    """The made-up languages: their seed, and counts per split where they differ from the generator's."""

    seed: Seed = 0
    sizes: dict[str, Count] = Field(default_factory=dict)
