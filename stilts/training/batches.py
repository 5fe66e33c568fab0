"""From the examples of one update to the micro-batches of one rank."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
import torch

from stilts.tasks.encoding import IGNORED
from stilts.training.examples import TOKEN_LABEL_FAMILIES, TrainingSet

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Masking:
    """Masked language modelling: `probability` of the ordinary tokens are predicted; of these 80% become `mask_id`,
    10% one of `ordinary` (int64, every id that is no special token), 10% stay (Devlin et al. 2019)."""

    probability: float
    mask_id: int
    ordinary: np.ndarray


@dataclass(frozen=True)
class Update:
    """All sequences of one update as padded arrays, longest example first.

    The update is built whole on every rank, before it is divided: what is masked, and by how many loss terms the
    gradient is divided, then depend neither on the ranks nor on the micro-batch, and cost no communication.
    """

    task: str
    arrays: dict[str, np.ndarray]
    lengths: np.ndarray
    width: int
    terms: int

    @property
    def examples(self) -> int:
        return len(self.lengths) // self.width

    @property
    def real_tokens(self) -> int:
        return int(self.lengths.sum())

    def divide(self, limits: Limits, ranks: int) -> list[list[Piece]]:
        """The pieces of each rank."""
        lengths = self.lengths.reshape(-1, self.width)
        return divide(lengths.sum(axis=1) if limits.packed else lengths.max(axis=1) * self.width, limits, ranks)

    def tokens(self, piece: Piece) -> tuple[int, int]:
        """A piece's tokens: without pads, and with them."""
        lengths = self.lengths[piece.rows(self.width)]
        return int(lengths.sum()), int(lengths.max()) * len(lengths)

    def cut(self, piece: Piece) -> MicroBatch:
        """The sequences of a piece, padded to its own longest."""
        rows = piece.rows(self.width)
        longest = self.lengths[rows].max()
        arrays = {
            name: values[rows, :longest] if values.ndim == 2 else values[piece.first : piece.last]
            for name, values in self.arrays.items()
        }
        return MicroBatch(arrays, piece.weight)


@dataclass(frozen=True)
class Limits:
    """How an update is cut: at most `micro_tokens` tokens go through the model at once, without pads where sequences
    are `packed`. `pass_tokens`: what each pass costs beyond its tokens, counted in tokens; None: so much that there
    are as few passes as can be."""

    micro_tokens: int
    pass_tokens: int | None = None
    packed: bool = False


@dataclass(frozen=True)
class Piece:
    """Examples `first` to `last` (exclusive) of an update. With `weight` 0 it only keeps its rank in step."""

    first: int
    last: int
    weight: float

    def rows(self, width: int) -> slice:
        return slice(self.first * width, self.last * width)


@dataclass(frozen=True)
class MicroBatch:
    """What goes through the model at once, and the factor of its loss."""

    arrays: dict[str, np.ndarray]
    weight: float

    @property
    def tokens(self) -> int:
        """Tokens that go through the model, pads included."""
        return self.arrays["input_ids"].size

    def to(self, device: torch.device) -> Batch:
        return to_tensors(self.arrays, device)


def assemble(
    task: str,
    training_set: TrainingSet,
    examples: np.ndarray,
    pad_id: int,
    masking: Masking | None = None,
    rng: np.random.Generator | None = None,
) -> Update:
    """The update of these examples: `input_ids`, `attention_mask` int64 [rows, longest], `token_type_ids` where the
    set has types, and the family's labels. Masked language modelling needs `masking` and `rng`."""
    examples = examples[np.argsort(-training_set.lengths[examples], kind="stable")]
    rows = training_set.sequences(examples)
    lengths = np.diff(training_set.offsets)[rows]
    arrays, places = pad_rows(training_set.tokens, training_set.types, training_set.offsets[rows], lengths, pad_id)
    if training_set.family == "mlm":
        assert masking is not None and rng is not None
        arrays |= mask_tokens(arrays["input_ids"], masking, rng)
    elif training_set.family in TOKEN_LABEL_FAMILIES:
        real = arrays["attention_mask"] == 1
        arrays["labels"] = np.where(real, training_set.labels["labels"][places], IGNORED).astype(np.int64)
    else:
        chosen = training_set.selected[examples]
        arrays |= {name: values[chosen].astype(np.int64) for name, values in training_set.labels.items()}
    return Update(task, arrays, lengths, training_set.width, _count_terms(training_set.family, arrays, len(examples)))


def pad_rows(
    tokens: np.ndarray, types: np.ndarray | None, starts: np.ndarray, lengths: np.ndarray, pad_id: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Sequences that start at `starts` in `tokens` as the encoder's inputs, int64 [rows, longest], and the place of
    each position in `tokens` (0 at pads)."""
    grid = np.arange(lengths.max())
    real = grid < lengths[:, None]
    # Pads read the first token and are overwritten: one gather instead of a loop over sequences.
    places = np.where(real, starts[:, None] + grid, 0)
    arrays = {
        "input_ids": np.where(real, tokens[places], pad_id).astype(np.int64),
        "attention_mask": real.astype(np.int64),
    }
    if types is not None:
        arrays["token_type_ids"] = np.where(real, types[places], 0).astype(np.int64)
    return arrays, places


def mask_tokens(input_ids: np.ndarray, masking: Masking, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """`input_ids` with masks and `labels` (-100 where nothing is predicted), both [rows, longest]."""
    chosen = np.isin(input_ids, masking.ordinary) & (rng.random(input_ids.shape) < masking.probability)
    kind = rng.random(input_ids.shape)
    others = rng.choice(masking.ordinary, input_ids.shape)
    masked = np.where(chosen & (kind < 0.8), masking.mask_id, input_ids)
    masked = np.where(chosen & (kind >= 0.8) & (kind < 0.9), others, masked)
    return {"input_ids": masked, "labels": np.where(chosen, input_ids, IGNORED)}


def divide(costs: np.ndarray, limits: Limits, ranks: int) -> list[list[Piece]]:
    """The pieces of each rank, for examples whose `costs` fall: the tokens of each, packed; else those of as many
    sequences of its longest one's length, which is what a padded piece has of each of its examples when that example
    comes first.

    A piece holds at most `micro_tokens` tokens, or as many as the costliest example alone. Every rank gets the same
    number of pieces, because backward passes communicate: where examples do not suffice, a rank repeats the last one
    with weight 0. There are as few pieces as can be, or as many as cost least, where `pass_tokens` says what a pass
    costs beside its tokens. Under the same number of pieces their largest is made as small as can be, and neighbours
    in length go to different ranks at the same time, so that no rank waits for another's longer sequences.
    """
    ends = _choose_ends(_Costs(costs, limits.packed), limits, ranks)
    pieces = [Piece(first, last, 1.0) for first, last in itertools.pairwise([0, *ends])]
    missing = -len(pieces) % ranks
    pieces += [Piece(len(costs) - 1, len(costs), 0.0)] * missing
    return [pieces[rank::ranks] for rank in range(ranks)]


class _Costs:
    """What a piece of neighbouring examples costs: the sum of theirs, packed; else each costs what the first does."""

    def __init__(self, costs: np.ndarray, packed: bool) -> None:
        self.costs = [int(cost) for cost in costs]
        self.most = max(self.costs)
        self.before = [0, *itertools.accumulate(self.costs)] if packed else None

    def of(self, first: int, last: int) -> int:
        """Tokens of a piece."""
        if self.before is not None:
            return self.before[last] - self.before[first]
        return self.costs[first] * (last - first)

    def fill(self, limit: int) -> list[int]:
        """Where each piece ends when every one takes as many examples as fit, one at least."""
        ends, first = [], 0
        while first < len(self.costs):
            if self.before is not None:
                last = bisect_right(self.before, self.before[first] + limit) - 1
            else:
                last = min(len(self.costs), first + limit // self.costs[first])
            first = max(first + 1, last)
            ends.append(first)
        return ends


def _choose_ends(costs: _Costs, limits: Limits, ranks: int) -> list[int]:
    limit = max(limits.micro_tokens, costs.most)
    count = math.ceil(len(costs.fill(limit)) / ranks) * ranks
    chosen = _even(costs, limit, count)
    if limits.pass_tokens is None:
        return chosen
    cheapest = _total(costs, chosen, limits.pass_tokens)
    while count < len(costs.costs) and (count + ranks) * limits.pass_tokens < cheapest:
        count += ranks
        ends = _even(costs, limit, count)
        total = _total(costs, ends, limits.pass_tokens)
        if total < cheapest:
            chosen, cheapest = ends, total
    return chosen


def _even(costs: _Costs, limit: int, count: int) -> list[int]:
    """Ends of at most `count` pieces, the largest of which is as small as can be."""
    low = costs.most
    while low < limit:
        middle = (low + limit) // 2
        if len(costs.fill(middle)) <= count:
            limit = middle
        else:
            low = middle + 1
    return costs.fill(limit)


def _total(costs: _Costs, ends: list[int], pass_tokens: int) -> int:
    return sum(costs.of(first, last) + pass_tokens for first, last in itertools.pairwise([0, *ends]))


def _count_terms(family: str, arrays: dict[str, np.ndarray], examples: int) -> int:
    if family == "mlm" or family in TOKEN_LABEL_FAMILIES:
        return int((arrays["labels"] != IGNORED).sum())
    return examples


def to_tensors(arrays: dict[str, np.ndarray], device: torch.device) -> Batch:
    """The arrays, all of one type, as tensors on the device."""
    if device.type == "cpu":
        return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
    return split_flat(flatten(arrays).to(device, non_blocking=True), arrays)


def flatten(arrays: dict[str, np.ndarray]) -> torch.Tensor:
    """All arrays one after the other in pinned memory, from where one copy takes them to a GPU while it computes."""
    return torch.from_numpy(np.concatenate([values.reshape(-1) for values in arrays.values()])).pin_memory()


def split_flat(flat: torch.Tensor, arrays: dict[str, np.ndarray]) -> Batch:
    """Views of what `flatten` made of the arrays."""
    parts = flat.split([values.size for values in arrays.values()])
    return {name: part.view(arrays[name].shape) for name, part in zip(arrays, parts, strict=True)}
