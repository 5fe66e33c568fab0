"""The sequences of several prepared sets in a row, and the room for what a model says of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stilts.data.prepared import PreparedSet

Outputs = dict[str, np.ndarray]

# Families with an output for every token rather than for every sequence.
TOKEN_FAMILIES = ("span", "tagging")


@dataclass(frozen=True)
class Stack:
    """The sequences of several sets, one set after the other. `sequence_ends` and `token_ends` are their borders."""

    family: str
    choices: int
    tokens: np.ndarray
    types: np.ndarray | None
    offsets: np.ndarray
    lengths: np.ndarray
    sequence_ends: np.ndarray
    token_ends: np.ndarray

    @classmethod
    def of(cls, sets: Sequence[PreparedSet]) -> Stack:
        assert len({prepared.family for prepared in sets}) == 1, "sets of several families in one pass"
        lengths = np.concatenate([prepared.lengths for prepared in sets]).astype(np.int64)
        return cls(
            family=sets[0].family,
            choices=sets[0].choices,
            tokens=np.concatenate([prepared.tokens for prepared in sets]),
            types=_join_types(sets),
            offsets=np.concatenate([[0], np.cumsum(lengths)[:-1]]),
            lengths=lengths,
            sequence_ends=np.cumsum([0, *(len(prepared.lengths) for prepared in sets)]),
            token_ends=np.cumsum([0, *(len(prepared.tokens) for prepared in sets)]),
        )

    @property
    def per_token(self) -> bool:
        return self.family in TOKEN_FAMILIES

    def allocate(self, sample: np.ndarray, scratch: Path | None = None) -> np.ndarray:
        """Room for an output of which `sample` is one batch.

        Embeddings [S, L, H] of a corpus in 25 layers are larger than memory: they lie in a file of 4 S L H bytes, one
        layer after the other, which has no name and goes when the array does.
        """
        shape = self.tokens.shape if self.per_token else (len(self.lengths), *sample.shape[1:])
        if len(shape) < 3:
            return np.empty(shape, dtype=np.int32 if sample.dtype.kind == "i" else np.float32)
        with tempfile.TemporaryFile(dir=scratch) as file:
            # The room is taken now: a disk that fills up later would end the process without a word.
            os.posix_fallocate(file.fileno(), 0, 4 * int(np.prod(shape)))
            layers = np.memmap(file, dtype=np.float32, shape=(shape[1], shape[0], shape[2]))
        return layers.transpose(1, 0, 2)

    def take(self, index: int, outputs: Mapping[str, np.ndarray]) -> Outputs:
        """The part of one set; scores of a choice set as one row per example."""
        ends = self.token_ends if self.per_token else self.sequence_ends
        mine = {name: values[ends[index] : ends[index + 1]] for name, values in outputs.items()}
        if self.family == "choice":
            return {"logits": mine["scores"].reshape(-1, self.choices)}
        return mine


def _join_types(sets: Sequence[PreparedSet]) -> np.ndarray | None:
    if all(prepared.types is None for prepared in sets):
        return None
    zeros = [np.zeros_like(prepared.tokens, dtype=np.uint8) for prepared in sets]
    return np.concatenate([zero if s.types is None else s.types for s, zero in zip(sets, zeros, strict=True)])
