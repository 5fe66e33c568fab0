"""Outputs of a trained model for whole prepared sets, all languages in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from stilts.data.prepared import Prepared, PreparedSet
from stilts.model.encoder import load_encoder
from stilts.model.multitask import INPUTS, Multitask, load_head
from stilts.training.batches import Batch, pad_rows, to_tensors

Outputs = dict[str, np.ndarray]

# Tokens of one forward pass, pads included: enough to fill the processor, few enough for its memory.
MAX_TOKENS = {"cpu": 4_096, "cuda": 32_768}

# Retrieval reads block 14 of XLM-R Large's 24 (XTREME's script: number 13, from 0, of the last 24 hidden states).
RETRIEVAL_DEPTH = 14 / 24

# Families with an output for every token rather than for every sequence.
TOKEN_FAMILIES = ("span", "tagging")


class Classifier(nn.Module):
    """A trained model with the head of one task."""

    def __init__(self, model: Multitask, task: str) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.model.outputs(self.task, batch)


class Embedder(nn.Module):
    """An encoder that gives the mean hidden state of one layer (0: the embeddings) over all real positions.

    Special tokens are included, as in XTREME's script for Tatoeba.
    """

    def __init__(self, encoder: PreTrainedModel, layer: int) -> None:
        super().__init__()
        self.encoder, self.layer = encoder, layer

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`embeddings` [B, H]."""
        inputs = {name: batch[name] for name in INPUTS if name in batch}
        hidden = self.encoder(**inputs, output_hidden_states=True).hidden_states[self.layer]
        real = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        return {"embeddings": (hidden * real).sum(1) / real.sum(1)}


def predict(
    model: Path,
    prepared: Path,
    set_names: Sequence[str],
    training: str | None,
    device: torch.device,
    layer: int | None = None,
) -> dict[str, Outputs]:
    """Outputs for each set, in the set's own order, as the `decode` of its family wants them.

    `training` names the head; None gives retrieval embeddings of `layer` (None: 14/24 of the depth). Arrays: pair
    and choice "logits" float32 [N, labels or choices]; span "start" and "end" float32 [T]; tagging "labels" int32 [T];
    retrieval "embeddings" float32 [2N, H].
    """
    folder = Prepared.load(prepared)
    sets = [folder.open(name) for name in set_names]
    network, pad_id = load_model(model, training, layer)
    return run_model(network.to(device), sets, pad_id, device, MAX_TOKENS[device.type])


def load_model(path: Path, training: str | None, layer: int | None = None) -> tuple[nn.Module, int]:
    """The network for prediction and its padding id. Always fp32: half precision depends on what shares a batch."""
    encoder = load_encoder(path, "sdpa", None, torch.float32)
    if training is not None:
        return Classifier(load_head(path, training, encoder), training).eval(), encoder.config.pad_token_id
    chosen = round(RETRIEVAL_DEPTH * encoder.config.num_hidden_layers) if layer is None else layer
    return Embedder(encoder, chosen).eval(), encoder.config.pad_token_id


@torch.inference_mode()
def run_model(
    network: nn.Module, sets: Sequence[PreparedSet], pad_id: int, device: torch.device, max_tokens: int
) -> dict[str, Outputs]:
    """One pass over the sequences of all sets (of one family), longest first; outputs go back to their places."""
    stack = Stack.of(sets)
    outputs: Outputs = {}
    for rows in cut_batches(stack.lengths, max_tokens):
        arrays, places = pad_rows(stack.tokens, stack.types, stack.offsets[rows], stack.lengths[rows], pad_id)
        if stack.per_token:
            real = arrays["attention_mask"] == 1
            targets = places[real]
        for name, values in network(to_tensors(arrays, device)).items():
            found = values.cpu().numpy()
            if name not in outputs:
                outputs[name] = stack.allocate(found)
            if stack.per_token:
                outputs[name][targets] = found[real]
            else:
                outputs[name][rows] = found
    return {prepared.name: stack.take(index, outputs) for index, prepared in enumerate(sets)}


def cut_batches(lengths: np.ndarray, max_tokens: int) -> Iterator[np.ndarray]:
    """Sequence numbers, longest first, in batches of at most `max_tokens` tokens with their pads (one at least)."""
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        size = max(1, max_tokens // int(lengths[order[first]]))
        yield order[first : first + size]
        first += size


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

    def allocate(self, sample: np.ndarray) -> np.ndarray:
        """Room for an output of which `sample` is one batch."""
        shape = self.tokens.shape if self.per_token else (len(self.lengths), *sample.shape[1:])
        return np.empty(shape, dtype=np.int32 if sample.dtype.kind == "i" else np.float32)

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
