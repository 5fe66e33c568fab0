"""Training sets of random tokens with the lengths of real ones, and encoders of random weights: nothing is fetched.

Lengths are drawn from log-normal distributions of words, fitted to 288 pairs of MNLI's and 975 questions of SQuAD
1.1's training sets, times 1.3 sub-words a word, plus special tokens, cut to the recipe's maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

from stilts.model.multitask import HeadSpec, Multitask
from stilts.training.examples import TrainingSet
from stilts.training.loop import Training
from stilts.training.mixing import Mixture, Share
from stilts.training.settings import Layout, Settings

SUBWORDS, SPECIALS, LABELS, FIRST_WORD = 1.3, 4, 3, 20
PAD_ID = 1


@dataclass(frozen=True)
class Mix:
    """A distribution of lengths: mean and deviation of the logarithm of words, most sub-words, family of the head."""

    family: str
    mean: float
    deviation: float
    longest: int


MIXES = {"mnli": Mix("pair", 3.259, 0.559, 128), "squad": Mix("span", 4.874, 0.37, 384)}

# XLM-R Large; and one for which two cores need about as long as a GPU for the large one's.
LARGE = {"vocab_size": 250_002, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
SMALL = {"vocab_size": 20_000, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}


def draw_lengths(mix: Mix, count: int, seed: int) -> np.ndarray:
    """int64 [count]: sub-words of each sequence."""
    words = np.exp(np.random.default_rng(seed).normal(mix.mean, mix.deviation, count))
    return np.clip((words * SUBWORDS + SPECIALS).astype(np.int64), 8, mix.longest)


def make_set(family: str, lengths: np.ndarray, vocabulary: int, seed: int) -> TrainingSet:
    """Sequences of these lengths, which something can be learnt from: the second token tells a pair's label, a span's
    first token is a certain word."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = rng.integers(FIRST_WORD, vocabulary, offsets[-1]).astype(np.int32)
    tokens[offsets[:-1]], tokens[offsets[1:] - 1] = 0, 2
    if family == "pair":
        labels = {"labels": rng.integers(0, LABELS, len(lengths))}
        tokens[offsets[:-1] + 1] = 5 + labels["labels"]
    else:
        starts = rng.integers(1, lengths - 3)
        labels = {"starts": starts, "ends": starts + 2}
        tokens[offsets[:-1] + starts] = 5
    return TrainingSet(family, tokens, offsets, None, labels, 1, np.arange(len(lengths)))


def make_config(geometry: dict[str, int], dropout: float) -> XLMRobertaConfig:
    """XLM-R of a geometry, in the published proportions."""
    return XLMRobertaConfig(
        **geometry,
        intermediate_size=4 * geometry["hidden_size"],
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )


def make_model(geometry: dict[str, int], family: str, dropout: float, device: torch.device) -> Multitask:
    """Random weights, the same ones each time on the same device."""
    torch.manual_seed(0)
    config = make_config(geometry, dropout)
    config._attn_implementation = "sdpa"
    with device:
        encoder = XLMRobertaModel(config, add_pooling_layer=False)
    model = Multitask(encoder, {"task": HeadSpec(family, LABELS)})
    model.initialise_heads(1)
    return model


@dataclass(frozen=True)
class Workload:
    """What is trained in a row of the table: examples in order, effective batch, updates."""

    geometry: dict[str, int]
    training_set: TrainingSet
    batch_size: int
    updates: int
    precision: str
    dropout: float = 0.1
    learning_rate: float = 2e-5

    @classmethod
    def draw(cls, mix: str, batch_size: int, updates: int, geometry: dict[str, int], precision: str) -> Workload:
        """Mixed lengths."""
        kind = MIXES[mix]
        lengths = draw_lengths(kind, batch_size * updates, seed=1)
        return cls(geometry, make_set(kind.family, lengths, geometry["vocab_size"], 2), batch_size, updates, precision)

    def level(self) -> Workload:
        """The same number of sequences and (but for rounding) of tokens, all sequences of one length: no pads."""
        count = len(self.training_set)
        lengths = np.full(count, round(int(self.training_set.offsets[-1]) / count))
        same = make_set(self.training_set.family, lengths, self.geometry["vocab_size"], 2)
        return Workload(self.geometry, same, self.batch_size, self.updates, self.precision, self.dropout)

    def batch(self, update: int) -> np.ndarray:
        """Examples of an update."""
        return np.arange(update * self.batch_size, (update + 1) * self.batch_size)

    def tokens(self, first: int, last: int) -> int:
        """Real tokens of the updates from `first` to before `last`."""
        offsets = self.training_set.offsets
        return int(offsets[last * self.batch_size] - offsets[first * self.batch_size])

    def training(self, device: torch.device, layout: Layout) -> Training:
        """Our training of it."""
        settings = Settings(seed=1, learning_rate=self.learning_rate, precision=self.precision)
        model = make_model(self.geometry, self.training_set.family, self.dropout, device)
        plan = _InOrder([Share("task", len(self.training_set), self.batch_size, 1)], 1, 1)
        return Training(model, plan, {"task": self.training_set}, settings, layout, PAD_ID)


class _InOrder(Mixture):
    """Examples as they stand, so that every path sees the same batches."""

    def batch(self, update: int) -> tuple[str, np.ndarray]:
        size = self.shares[0].batch_size
        return "task", np.arange(update * size, (update + 1) * size)
