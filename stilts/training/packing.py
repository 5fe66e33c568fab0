"""From padded sequences to one row of tokens without pads between them; on a GPU in few different sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stilts.tasks.encoding import IGNORED
from stilts.training.batches import MicroBatch
from stilts.training.examples import TrainingSet

# Rows are filled up to a multiple of this and of a sixteenth of the power of two below their size: kernels compute
# tiles of 128 rows anyway, and few sizes mean few CUDA graphs.
ROUND_TOKENS = 128
ROUND_PLACES = 128


@dataclass(frozen=True)
class Form:
    """What all rows of one task have in common: room for `sequences` sequences of `longest` tokens, `width` to an
    example."""

    sequences: int
    longest: int
    width: int


@dataclass(frozen=True)
class Packing:
    """How the micro-batches of each task become rows. `first_position` is that of a sequence's first token.

    `rounded`: in few sizes, as a GPU wants them, with pads after the last sequence; else there is no pad at all.
    """

    pad_id: int
    first_position: int
    forms: Mapping[str, Form]
    rounded: bool = True

    @classmethod
    def of(
        cls,
        pad_id: int,
        first_position: int,
        sets: Mapping[str, TrainingSet],
        batch_sizes: Mapping[str, int],
        rounded: bool = True,
    ) -> Packing:
        """The packing of a training: an update's examples may all come at once."""
        forms = {
            task: Form(batch_sizes[task] * one.width, int(one.lengths.max()), one.width) for task, one in sets.items()
        }
        return cls(pad_id, first_position, forms, rounded)

    def size(self, tokens: int) -> int:
        """The size of the row that so many tokens come in."""
        return round_tokens(tokens) if self.rounded else tokens

    def pack(self, task: str, part: MicroBatch) -> MicroBatch:
        """The same sequences as one row, every array int32:

        `input_ids`, `position_ids`, where given `token_type_ids` [T]; `bounds` [S + 1] where sequences begin and end;
        `firsts` [R] where each sequence of an example begins; `window` [longest], the numbers from 0 on. Labels of
        examples come with as many that are ignored as the form has room for; labels of tokens [P] only where there is
        one, with their `places` [P]. The row's rest is pads, in sequences of their own.
        """
        arrays = part.arrays
        real = arrays["attention_mask"] == 1
        lengths = real.sum(axis=1)
        form, total = self._form(task, lengths), self.size(int(lengths.sum()))
        bounds = _find_bounds(lengths, total, form) if self.rounded else np.concatenate([[0], np.cumsum(lengths)])
        packed = {
            "input_ids": _fill(arrays["input_ids"][real], total, self.pad_id),
            "position_ids": np.arange(total) - np.repeat(bounds[:-1], np.diff(bounds)) + self.first_position,
            "bounds": bounds,
            "firsts": np.minimum(bounds[: form.sequences], total - 1),
            "window": np.arange(form.longest),
        }
        for name, values in arrays.items():
            if name == "token_type_ids":
                packed[name] = _fill(values[real], total, 0)
            elif name == "labels" and values.ndim == 2:
                labels = values[real]
                places = np.flatnonzero(labels != IGNORED)
                room = -(-max(len(places), 1) // ROUND_PLACES) * ROUND_PLACES if self.rounded else len(places)
                packed |= {"labels": _fill(labels[places], room, IGNORED), "places": _fill(places, room, 0)}
            elif name not in ("input_ids", "attention_mask"):
                packed[name] = _fill(values, form.sequences // form.width, IGNORED)
        return MicroBatch({name: values.astype(np.int32) for name, values in packed.items()}, part.weight)

    def _form(self, task: str, lengths: np.ndarray) -> Form:
        form = self.forms[task]
        return form if self.rounded else Form(len(lengths), int(lengths.max()), form.width)


def round_tokens(tokens: int) -> int:
    """The size of a rounded row for so many tokens."""
    step = max(ROUND_TOKENS, 2 ** (tokens.bit_length() - 1) // 16)
    return -(-tokens // step) * step


def _find_bounds(lengths: np.ndarray, total: int, form: Form) -> np.ndarray:
    """Where sequences begin and end: real ones, empty ones up to the form's number, and the pads of the rest, which
    must be sequences of the form's length at most as well, or the kernel leaves them uncomputed."""
    ends = np.cumsum(lengths)
    spare = np.full(form.sequences - len(lengths), ends[-1])
    most = max(ROUND_TOKENS, total // 16)
    pads = np.minimum(ends[-1] + form.longest * np.arange(1, -(-most // form.longest) + 1), total)
    return np.concatenate([[0], ends, spare, pads])


def _fill(values: np.ndarray, size: int, rest: int) -> np.ndarray:
    return np.concatenate([values, np.full(size - len(values), rest, dtype=values.dtype)])
