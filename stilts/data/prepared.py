"""Prepared folders: tokenised sets as safetensors, what scoring needs as Parquet, a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stilts.errors import UserError
from stilts.runs import read_json


@dataclass(frozen=True)
class PreparedSet:
    """One set in memory. `arrays` has what the family adds to `tokens`, `offsets` and `types` (None: all zero).

    The length is the number of examples; span and tagging have more sequences than that, choice `choices` times as
    many, retrieval twice as many.
    """

    name: str
    family: str
    tokens: np.ndarray
    offsets: np.ndarray
    types: np.ndarray | None
    arrays: dict[str, np.ndarray]
    choices: int
    label_names: tuple[str, ...]
    examples: int

    def __len__(self) -> int:
        return self.examples

    @property
    def language(self) -> str:
        return self.name.partition(".")[2]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each sequence, int32 [S]."""
        return np.diff(self.offsets).astype(np.int32)

    def sequence(self, index: int) -> np.ndarray:
        """Token ids of one sequence, specials included."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True)
class Prepared:
    """A folder written by `prepare`."""

    folder: Path
    manifest: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Prepared:
        """Raises UserError where the folder has no manifest."""
        manifest = read_json(folder / "manifest.json")
        if manifest is None or "family" not in manifest:
            raise UserError(f"{folder}: no prepared data in it (manifest.json is missing); run its prepare again")
        return cls(folder, manifest)

    @property
    def sets(self) -> tuple[str, ...]:
        return tuple(self.manifest["sets"])

    def open(self, name: str) -> PreparedSet:
        """Read one set; KeyError for a name that is not in `sets`."""
        from safetensors.numpy import load_file  # not needed by those who only score stored predictions

        facts = self.manifest["sets"][name]
        arrays = load_file(self.folder / f"{name}.safetensors")
        tokens, offsets, types = arrays.pop("tokens"), arrays.pop("offsets"), arrays.pop("types", None)
        names, choices = tuple(self.manifest["labels"]), self.manifest["choices"]
        family = self.manifest["family"]
        return PreparedSet(name, family, tokens, offsets, types, arrays, choices, names, facts["examples"])

    def examples(self, name: str) -> pa.Table:
        """What scoring needs of a set, one row an example; there is none for training sets."""
        return pq.read_table(self.folder / f"{name}.examples.parquet")
