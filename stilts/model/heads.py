"""Thin heads on an encoder's last hidden states, one class per task family.

Each gives `loss(hidden, batch) -> (sum of the losses, number of loss terms)`, both of this batch alone, and
`outputs(hidden, batch)` for prediction. `hidden` is [B, T, H]; for losses it may be [1, T, H], sequences packed into
one row (see `stilts.training.packing`). Soft-maxes are taken in fp32 whatever the encoder's precision. The stock heads
of transformers would return means, which cannot be added over micro-batches of different size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig

from stilts.tasks.encoding import IGNORED
from stilts.training.batches import Batch
from stilts.training.randomness import torch_generator

# Standard deviation of the weights of a new head (that of BERT and XLM-R).
INITIAL_STD = 0.02


class Head(nn.Module, ABC):
    """A family's layers."""

    @abstractmethod
    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Logits in fp32."""

    @abstractmethod
    def loss(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sum of the losses of this batch, and the number of its loss terms."""

    @abstractmethod
    def outputs(self, hidden: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What prediction needs, by name."""

    def initialise(self, *purpose: int | str) -> None:
        """Fresh weights: normal(0, 0.02), biases 0, LayerNorm 1 and 0; a function of `purpose` alone."""
        generator = torch_generator(*purpose)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                with torch.no_grad():
                    module.weight.normal_(0.0, INITIAL_STD, generator=generator)
                if module.bias is not None:
                    module.bias.data.zero_()


class FirstToken(nn.Module):
    """Dense, tanh, dropout, linear on the first token of every sequence: [B, T, H] -> [B, labels]."""

    def __init__(self, config: PretrainedConfig, labels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.output = nn.Linear(config.hidden_size, labels)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        first = hidden[0].index_select(0, batch["firsts"]) if "firsts" in batch else hidden[:, 0]
        return self.output(self.dropout(torch.tanh(self.dense(self.dropout(first))))).float()


class PairHead(Head):
    """Classes of a sentence pair. batch: `labels` [B]."""

    def __init__(self, config: PretrainedConfig, labels: int) -> None:
        super().__init__()
        self.classifier = FirstToken(config, labels)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.classifier(hidden, batch)

    def loss(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        return _cross_entropy(self(hidden, batch), batch["labels"])

    def outputs(self, hidden: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"logits": self(hidden, batch)}


class ChoiceHead(Head):
    """One score per sequence; the C sequences of an example stand side by side. batch: `labels` [B / C]."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.classifier = FirstToken(config, 1)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.classifier(hidden, batch).squeeze(-1)

    def loss(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        labels = batch["labels"]
        return _cross_entropy(self(hidden, batch).view(len(labels), -1), labels)

    def outputs(self, hidden: Tensor, batch: Batch) -> dict[str, Tensor]:
        """`scores` [B], one a sequence, so that prediction may order sequences by length alone."""
        return {"scores": self(hidden, batch)}


class SpanHead(Head):
    """Start and end of an answer, each a soft-max over the window. batch: `starts`, `ends` [B], `attention_mask`."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.output = nn.Linear(config.hidden_size, 2)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.output(hidden).float()

    def loss(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """One term per window: the mean of the start's and the end's cross-entropy (Devlin et al. 2019)."""
        logits = self(hidden, batch)
        logits, pads = _spread(logits, batch) if "firsts" in batch else (logits, batch["attention_mask"].eq(0))
        # A pad must take no probability: the loss would otherwise depend on how long its neighbours are.
        logits = logits.masked_fill(pads.unsqueeze(-1), torch.finfo(torch.float32).min)
        starts, terms = _cross_entropy(logits[..., 0], batch["starts"])
        ends, _ = _cross_entropy(logits[..., 1], batch["ends"])
        return (starts + ends) / 2, terms

    def outputs(self, hidden: Tensor, batch: Batch) -> dict[str, Tensor]:
        logits = self(hidden, batch)
        return {"start": logits[..., 0], "end": logits[..., 1]}


class TaggingHead(Head):
    """A class per token. batch: `labels` [B, T], -100 but on the first sub-word of a word."""

    def __init__(self, config: PretrainedConfig, labels: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.output = nn.Linear(config.hidden_size, labels)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.output(self.dropout(hidden)).float()

    def loss(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        hidden, labels = _labelled(hidden, batch)
        return _cross_entropy(self(hidden, batch), labels)

    def outputs(self, hidden: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"labels": self(hidden, batch).argmax(-1)}


class MaskedTokenHead(Head):
    """Dense, GELU, LayerNorm, then the input embeddings as decoder, with a bias.

    batch: `labels` [B, T], `embeddings` [vocabulary, H]. The embeddings come with the batch: a reference kept here
    would put them a second time into the parameters.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return functional.linear(self.norm(functional.gelu(self.dense(hidden))), batch["embeddings"], self.bias).float()

    def loss(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits are computed at the masked positions only: the vocabulary is most of the work."""
        hidden, labels = _labelled(hidden, batch)
        chosen = labels != IGNORED
        if "places" not in batch:
            hidden, labels = hidden[chosen], labels[chosen]
        return _cross_entropy(self(hidden, batch), labels)

    def outputs(self, hidden: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"logits": self(hidden, batch)}


def build_head(family: str, config: PretrainedConfig, labels: int) -> Head:
    """An uninitialised head; `labels` classes for the pair and tagging families, without meaning for the others."""
    match family:
        case "pair":
            return PairHead(config, labels)
        case "choice":
            return ChoiceHead(config)
        case "span":
            return SpanHead(config)
        case "tagging":
            return TaggingHead(config, labels)
        case "mlm":
            return MaskedTokenHead(config)
    raise AssertionError(f"no head for the family {family!r}")


def _labelled(hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Hidden states [P, H] and labels [P]: of all positions, or of the places that packed sequences come with."""
    if "places" in batch:
        return hidden[0].index_select(0, batch["places"]), batch["labels"]
    return hidden.flatten(0, 1), batch["labels"].flatten()


def _spread(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Packed logits [1, T, 2], sequence by sequence: [B, longest, 2], and where there is nothing [B, longest]."""
    firsts, window = batch["firsts"], batch["window"]
    places = (firsts[:, None] + window).clamp(max=logits.shape[1] - 1)
    sizes = batch["bounds"].diff()[: len(firsts)]
    return logits[0].index_select(0, places.flatten()).view(*places.shape, -1), window >= sizes[:, None]


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    losses = functional.cross_entropy(logits, labels.long(), ignore_index=IGNORED, reduction="sum")
    return losses, (labels != IGNORED).sum()
