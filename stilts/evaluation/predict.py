"""Outputs of a trained model for whole prepared sets, all languages in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from stilts.data.prepared import Prepared, PreparedSet
from stilts.errors import UserError
from stilts.evaluation.stack import Outputs, Stack
from stilts.model.encoder import load_encoder
from stilts.model.multitask import INPUTS, Multitask, load_head
from stilts.training.batches import Batch, pad_rows, to_tensors

# Tokens of one forward pass, pads included: enough to fill the processor; on a CPU few enough for its caches, as four
# times as many took up to half as long again (tests/bench/RESULTS.md).
MAX_TOKENS = {"cpu": 1_024, "cuda": 32_768}

# Retrieval reads block 14 of XLM-R Large's 24 (XTREME's script: number 13, from 0, of the last 24 hidden states).
RETRIEVAL_DEPTH = 14 / 24


class Classifier(nn.Module):
    """A trained model with the head of one task."""

    def __init__(self, model: Multitask, task: str) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.model.outputs(self.task, batch)


class Embedder(nn.Module):
    """An encoder that gives mean hidden states over all real positions, of several layers (0: the embeddings).

    Special tokens are included, as in XTREME's script for Tatoeba.
    """

    def __init__(self, encoder: PreTrainedModel, layers: Sequence[int]) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, tuple(layers)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`embeddings` [B, L, H], the layers in the order asked for."""
        inputs = {name: batch[name] for name in INPUTS if name in batch}
        states = self.encoder(**inputs, output_hidden_states=True).hidden_states
        real = batch["attention_mask"].unsqueeze(-1).to(states[0].dtype)
        means = [(states[layer] * real).sum(1) / real.sum(1) for layer in self.layers]
        return {"embeddings": torch.stack(means, dim=1)}


@torch.inference_mode()
def predict(
    model: Path,
    prepared: Path,
    set_names: Sequence[str],
    training: str | None,
    device: torch.device,
    layers: Sequence[int] | None = None,
) -> dict[str, Outputs]:
    """Outputs for each set, in the set's own order, as the `decode` of its family wants them.

    `training` names the head; None gives embeddings of `layers` (None: of 14/24 of the depth), all from one forward
    pass. Arrays: pair and choice "logits" float32 [N, labels or choices]; span "start" and "end" float32 [T]; tagging
    "labels" int32 [T]; retrieval and mining "embeddings" float32 [S, L, H], of which `decode` takes one layer [:, l].
    Embeddings lie in a temporary file of 4 S L H bytes, S the sequences of all these sets.
    """
    folder = Prepared.load(prepared)
    sets = [folder.open(name) for name in set_names]
    network, pad_id = load_model(model, training, layers)
    return run_model(network.to(device), sets, pad_id, device, MAX_TOKENS[device.type])


def load_model(path: Path, training: str | None, layers: Sequence[int] | None = None) -> tuple[nn.Module, int]:
    """The network for prediction and its padding id. Always fp32: half precision depends on what shares a batch.

    Raises UserError for a layer that the encoder does not have.
    """
    encoder = load_encoder(path, "sdpa", None, torch.float32)
    if training is not None:
        return Classifier(load_head(path, training, encoder), training).eval(), encoder.config.pad_token_id
    depth = encoder.config.num_hidden_layers
    chosen = [default_layer(depth)] if layers is None else layers
    if wrong := [layer for layer in chosen if not 0 <= layer <= depth]:
        raise UserError(f"{path}: no layer {', '.join(map(str, wrong))}; it has 0 (the embeddings) to {depth}")
    return Embedder(encoder, chosen).eval(), encoder.config.pad_token_id


def count_layers(path: Path) -> int:
    """Depth of the encoder in a folder: its hidden states are numbered 0 to this."""
    return int(AutoConfig.from_pretrained(path, local_files_only=True).num_hidden_layers)


def default_layer(depth: int) -> int:
    """The layer that retrieval reads of an encoder of this depth."""
    return round(RETRIEVAL_DEPTH * depth)


@torch.no_grad()  # inference_mode is for those who load a model to score it: what ZeRO gathers must serve a training
def run_model(
    network: nn.Module,
    sets: Sequence[PreparedSet],
    pad_id: int,
    device: torch.device,
    max_tokens: int,
    scratch: Path | None = None,
) -> dict[str, Outputs]:
    """One pass over the sequences of all sets (of one family), longest first; outputs go back to their places.

    `scratch` is the folder of the file that holds embeddings, 4 S L H bytes while they are in use (None: the
    machine's folder of temporary files).
    """
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
                outputs[name] = stack.allocate(found, scratch)
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
