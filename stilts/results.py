"""What a metric file is: one score of one run on one (target, language, split). Light: shared by all rooms.

Jobs write metric files through `write_metric_file`; the aggregator reads any tree of them, whoever wrote them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, from_json

from stilts.errors import UserError
from stilts.runs import write_json

SCHEMA: Literal["stilts.metrics/1"] = "stilts.metrics/1"
SCHEMA_FAMILY = "stilts.metrics/"
DEFAULT_MODEL = "xlm-roberta-large"
MODES = ("none", "single", "multitask", "sequential")
PERCENT_METRICS = ("accuracy", "f1", "exact_match")

Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, order=True)
class RowKey:
    """Identity of a table row: (model, intermediate, variant), the intermediate part in its canonical form."""

    model: str = DEFAULT_MODEL
    variant: str = ""
    mode: str = "none"
    tasks: tuple[str, ...] = ()
    mlm: bool = False
    translated: bool = False

    def __post_init__(self) -> None:
        # Rows are looked up once for every metric file, and the same few rows each time.
        parts = (self.model, self.variant, self.mode, self.tasks, self.mlm, self.translated)
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined]

    @property
    def is_baseline(self) -> bool:
        return self.mode == "none" and not self.mlm and not self.translated

    @property
    def baseline(self) -> RowKey:
        """The row that this one is compared with: same model, same variant, no intermediate training."""
        return replace(self, mode="none", tasks=(), mlm=False, translated=False)


class Intermediate(BaseModel):
    """Intermediate training of a row. Construction brings it into its canonical form.

    A multitask mixture is a set, so its tasks are sorted; a sequence keeps its training order; a mixture or a
    sequence of one task IS single.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    mode: Literal["none", "single", "multitask", "sequential"]
    tasks: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    mlm: bool = False
    translated: bool = False

    @model_validator(mode="after")
    def canonicalise(self) -> Intermediate:
        if self.mode == "none" and self.tasks:
            raise ValueError(f"mode none has no tasks, given {list(self.tasks)}")
        if self.mode != "none" and not self.tasks:
            raise ValueError(f"mode {self.mode} needs tasks, given none")
        if self.mode == "single" and len(self.tasks) != 1:
            raise ValueError(f"mode single has one task, given {list(self.tasks)}")
        if self.mode == "multitask":
            if len(set(self.tasks)) < len(self.tasks):
                raise ValueError(f"mode multitask is a set, given a task twice: {list(self.tasks)}")
            self.tasks = tuple(sorted(self.tasks))
        if len(self.tasks) == 1:
            self.mode = "single"
        return self


class MetricFile(BaseModel):
    """One metric file. `metrics` are in percent; `seed` is null where a run has none (pretrained retrieval).

    Top-level keys that are not listed here are refused: a misspelt `variant` would land in another row.
    """

    model_config = ConfigDict(strict=True, extra="forbid", populate_by_name=True)

    schema_: Literal["stilts.metrics/1"] = Field(default=SCHEMA, alias="schema")
    run: Name
    model: Name = DEFAULT_MODEL
    variant: str = ""
    suite: Literal["xtreme", "toy"] = "xtreme"
    stage: Literal["target", "intermediate"] = "target"
    intermediate: Intermediate
    target: Name
    language: Name
    split: Literal["dev", "test"]
    seed: int | None
    layer: int | None = None
    draw: int | None = None
    metrics: Annotated[dict[str, float], Field(min_length=1)]
    examples: Annotated[int, Field(ge=1)] | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)

    @field_validator("metrics")
    @classmethod
    def check_numbers(cls, metrics: dict[str, float]) -> dict[str, float]:
        problems = [
            f"{name} is {value}, not a finite number" for name, value in metrics.items() if not math.isfinite(value)
        ]
        problems += [
            f"{name} is {metrics[name]:g}, outside 0 to 100 percent"
            for name in PERCENT_METRICS
            if name in metrics and math.isfinite(metrics[name]) and not 0 <= metrics[name] <= 100
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return metrics


def row_key(metric: MetricFile) -> RowKey:
    """The table row that this metric file belongs to."""
    intermediate = metric.intermediate
    return RowKey(
        model=metric.model,
        variant=metric.variant,
        mode=intermediate.mode,
        tasks=intermediate.tasks,
        mlm=intermediate.mlm,
        translated=intermediate.translated,
    )


def parse_metric_file(content: bytes) -> MetricFile | None:
    """The metric file in `content`; None where it is some other JSON (no schema of the family stilts.metrics/).

    Raises ValueError with every reason in one line: not JSON, unknown schema version, wrong or missing keys.
    """
    try:
        document = from_json(content, allow_inf_nan=True)
    except ValueError as error:
        raise ValueError(f"unreadable JSON: {error}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str) or not schema.startswith(SCHEMA_FAMILY):
        return None
    if schema != SCHEMA:
        raise ValueError(f"unknown schema version {schema!r}; this version reads {SCHEMA}")
    try:
        return MetricFile.model_validate(document)
    except ValidationError as error:
        raise ValueError("; ".join(describe_error(detail) for detail in error.errors(include_url=False))) from None


def describe_error(detail: ErrorDetails) -> str:
    """One problem of a pydantic model as `where: what is wrong (given ...)`."""
    where = ".".join(str(part) for part in detail["loc"]) or "document"
    if detail["type"] == "missing":
        return f"{where}: missing"
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    if detail["type"] == "value_error":
        return f"{where}: {detail['msg'].removeprefix('Value error, ')}"
    given = repr(detail["input"])
    return f"{where}: {detail['msg']} (given {given if len(given) <= 60 else given[:57] + '...'})"


def read_metric_file(path: Path) -> MetricFile:
    """Read one metric file. Raises UserError where it cannot be read or is none."""
    try:
        metric = parse_metric_file(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None
    if metric is None:
        raise UserError(f"{path}: not a metric file; its `schema` must be {SCHEMA}")
    return metric


def write_metric_file(path: Path, metric: MetricFile) -> None:
    """Write one metric file, whole or not at all."""
    write_json(path, metric.model_dump(by_alias=True))
