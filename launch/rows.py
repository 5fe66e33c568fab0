"""A row of the study's tables: what an encoder was trained on before the targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from launch.names import training_name
from stilts.results import DEFAULT_MODEL


@dataclass(frozen=True)
class Row:
    """One row. `tasks` are sorted in a mixture and in training order in a sequence."""

    model: str
    mode: str
    tasks: tuple[str, ...]
    variant: str
    mlm: bool = False
    translated: bool = False

    @property
    def model_name(self) -> str:
        """How metric files call the model: the default one by its short name, others as the grid does."""
        return DEFAULT_MODEL if self.model.endswith(f"/{DEFAULT_MODEL}") else self.model

    @property
    def intermediate(self) -> dict[str, Any]:
        """The `intermediate` object of metric files."""
        return {"mode": self.mode, "tasks": list(self.tasks), "mlm": self.mlm, "translated": self.translated}

    @property
    def name(self) -> str:
        """Its part of the names of runs."""
        return training_name(self.mode, self.tasks, self.mlm, self.translated)
