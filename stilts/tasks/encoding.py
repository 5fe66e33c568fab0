"""From texts to the arrays of a prepared set: what all task families share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from stilts.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

# Label of a token that no loss and no score counts.
IGNORED = -100
_BATCH = 1024
# Rows of outputs that are checked at once: their temporary copy stays small beside millions of sentences.
_CHECKED_ROWS = 65536


@dataclass(frozen=True)
class EncodeSettings:
    """`max_length` in tokens with specials; `stride`: context tokens that two windows share (span family)."""

    max_length: int
    labels: tuple[str, ...] = ()
    stride: int = 0


@dataclass(frozen=True)
class Encoded:
    """Arrays of a set as they are stored; `examples` N, `choices` sequences an example (choice family, else 1)."""

    arrays: dict[str, np.ndarray]
    examples: int
    choices: int = 1


class Frame:
    """The special tokens that a tokenizer puts around one text or a pair, so that windows can be cut by hand.

    Learned from the tokenizer's own post-processor: `<s> a </s></s> b </s>` (XLM-R), `[CLS] a [SEP] b [SEP]` (BERT).
    """

    def __init__(self, tokenizer: Tokenizer, pair: bool) -> None:
        sample = tokenizer.encode("a", "b") if pair else tokenizer.encode("a")
        places = sample.sequence_ids
        starts = [places.index(part) for part in range(1 + pair)]
        ends = [len(places) - places[::-1].index(part) for part in range(1 + pair)]
        cuts = [0, *(cut for both in zip(starts, ends, strict=True) for cut in both), len(places)]
        self._pieces = [sample.ids[start:end] for start, end in pairwise(cuts)]
        self._types = [sample.type_ids[start:end] for start, end in pairwise(cuts)]
        self.specials = sum(len(piece) for piece in self._pieces[::2])

    def join(self, *texts: Sequence[int]) -> tuple[list[int], list[int]]:
        """Token ids and types of the texts' ids (one or two, as the frame) with the specials."""
        ids, types = list(self._pieces[0]), list(self._types[0])
        for number, text in enumerate(texts):
            ids += [*text, *self._pieces[2 * number + 2]]
            types += [*[self._types[2 * number + 1][0]] * len(text), *self._types[2 * number + 2]]
        return ids, types

    def start(self, *before: Sequence[int]) -> int:
        """Position of the first token of the text that follows the texts `before`."""
        return sum(len(piece) for piece in self._pieces[: 2 * len(before) + 1 : 2]) + sum(map(len, before))


class Packer:
    """Sequences of token ids, one after the other."""

    def __init__(self) -> None:
        self._ids: list[np.ndarray] = []
        self._types: list[np.ndarray] = []

    def add(self, ids: Sequence[int], types: Sequence[int]) -> None:
        self._ids.append(np.asarray(ids, dtype=np.int32))
        self._types.append(np.asarray(types, dtype=np.uint8))

    def pack(self) -> dict[str, np.ndarray]:
        """`tokens` int32 [T], `offsets` int64 [S + 1], `types` uint8 [T] where any is not zero."""
        types = concatenate(self._types, np.uint8)
        offsets = np.zeros(len(self._ids) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in self._ids], out=offsets[1:])
        arrays = {"tokens": concatenate(self._ids, np.int32), "offsets": offsets}
        return arrays | ({"types": types} if types.any() else {})


def concatenate(parts: Sequence[Any], dtype: Any) -> np.ndarray:
    """The parts in a row; an empty array where there is none."""
    return np.concatenate([np.asarray(part, dtype=dtype) for part in parts]) if parts else np.zeros(0, dtype=dtype)


def encode_texts(
    inputs: Iterable[str | tuple[str, str]], tokenizer: Tokenizer, settings: EncodeSettings
) -> dict[str, np.ndarray]:
    """Whole texts or pairs with the tokenizer's own template, the longest text cut first."""
    packer = Packer()
    tokenizer.enable_truncation(settings.max_length, strategy="longest_first")
    try:
        for batch in _take_batches(inputs):
            for encoding in tokenizer.encode_batch(batch):
                packer.add(encoding.ids, encoding.type_ids)
    finally:
        tokenizer.no_truncation()
    return packer.pack()


def encode_plain(texts: Sequence[Any], tokenizer: Tokenizer, pretokenized: bool = False) -> Iterator[Encoding]:
    """Whole texts, or lists of words, without specials and uncut."""
    for batch in _take_batches(texts):
        yield from tokenizer.encode_batch(batch, is_pretokenized=pretokenized, add_special_tokens=False)


def _take_batches(inputs: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(inputs)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def find_unknown(tokenizer: Tokenizer) -> int:
    """Id of the token for what the vocabulary lacks."""
    for token in ("<unk>", "[UNK]"):
        if (number := tokenizer.token_to_id(token)) is not None:
            return number
    raise UserError("tokenizer: neither <unk> nor [UNK] is in its vocabulary; tagging needs one of them")


def check_finite(name: str, values: np.ndarray, rows: int) -> np.ndarray:
    """The model's outputs, unless some are not numbers: a diverged model has no score.

    Raises UserError for infinite values and NaN, ValueError where the number of rows is not `rows`.
    """
    if len(values) != rows:
        raise ValueError(f"{name}: {len(values)} rows of outputs for {rows} in the set")
    parts = (values[start : start + _CHECKED_ROWS] for start in range(0, len(values), _CHECKED_ROWS))
    if bad := sum(int(np.count_nonzero(~np.isfinite(part))) for part in parts):
        raise UserError(f"{name}: {bad} of {values.size} outputs are not finite: the model has diverged")
    return values
