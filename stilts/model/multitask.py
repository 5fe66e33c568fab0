"""One encoder under the heads of all tasks of a training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from stilts.errors import UserError
from stilts.model.heads import Head, build_head
from stilts.training.batches import Batch

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PACKED_INPUTS = ("input_ids", "position_ids", "token_type_ids")
HEADS_FILE = "heads.safetensors"


@dataclass(frozen=True)
class HeadSpec:
    """What must be known to build a head anew: its family, and its number of classes where that has a meaning."""

    family: str
    labels: int


class Multitask(nn.Module):
    """`forward(task, batch)` gives that task's loss; the other heads run along with gradient zero."""

    def __init__(self, encoder: PreTrainedModel, specs: Mapping[str, HeadSpec]) -> None:
        super().__init__()
        self.encoder = encoder
        self.specs = dict(specs)
        self.heads = nn.ModuleDict(
            {task: build_head(spec.family, encoder.config, spec.labels) for task, spec in specs.items()}
        )

    def head(self, task: str) -> Head:
        head = self.heads[task]
        assert isinstance(head, Head)
        return head

    def initialise_heads(self, seed: int) -> None:
        """Fresh heads. A task's head is the same whichever other tasks take part."""
        for task in self.specs:
            self.head(task).initialise(seed, "head", task)

    def encode(self, batch: Batch) -> Tensor:
        """Last hidden states [B, T, H]; of packed sequences [1, T, H]."""
        if "bounds" in batch:
            row = {name: batch[name].long().unsqueeze(0) for name in PACKED_INPUTS if name in batch}
            bounds = {"cu_seq_lens_q": batch["bounds"], "max_length_q": len(batch["window"])}
            return self.encoder(**row, **bounds).last_hidden_state
        return self.encoder(**{name: batch[name] for name in INPUTS if name in batch}).last_hidden_state

    def forward(self, task: str, batch: Batch) -> tuple[Tensor, Tensor]:
        """(sum of the losses, number of loss terms) of a batch of `task`."""
        hidden = self.encode(batch)
        shared = self._shared()
        total = hidden.new_zeros((), dtype=torch.float32)
        terms = torch.zeros((), dtype=torch.int64, device=hidden.device)
        # A parameter that takes no part has no gradient, which is not the same as gradient zero: torch's AdamW then
        # skips it (ZeRO stage 0) while the flat buffers of stages 1 and 2 decay its moments and weights, and stage 3
        # waits for its hook. With a zero from every head all stages compute the same. The heads always run in the same
        # order, which is what stage 3 prefetches by.
        for name in self.specs:
            if name == task:
                loss, terms = self.head(name).loss(hidden, batch | shared)
                total = total + loss
            else:
                total = total + self._idle(name, hidden, shared)
        return total, terms

    def outputs(self, task: str, batch: Batch) -> dict[str, Tensor]:
        """The head's prediction for a batch."""
        return self.head(task).outputs(self.encode(batch), batch | self._shared())

    def _idle(self, task: str, hidden: Tensor, shared: Batch) -> Tensor:
        """A zero whose gradient reaches each of the head's parameters as zeros.

        It goes through the head's layers, on one position of zeros, because under ZeRO stage 3 a parameter exists
        only while its own layer runs.
        """
        position = torch.zeros_like(hidden[:1, :1])
        # The encoder's own gradient comes from the loss; a second, dense one of the embeddings would be wasted.
        detached = {name: value.detach() for name, value in shared.items()}
        return 0.0 * self.head(task)(position, detached).sum()

    def _shared(self) -> Batch:
        """The input embeddings for heads that decode with them."""
        if any(spec.family == "mlm" for spec in self.specs.values()):
            return {"embeddings": self.encoder.get_input_embeddings().weight}
        return {}


def head_metadata(specs: Mapping[str, HeadSpec]) -> dict[str, str]:
    """What a heads file says about itself, in safetensors' form."""
    return {"heads": json.dumps({task: asdict(spec) for task, spec in specs.items()})}


def load_head(folder: Path, task: str, encoder: PreTrainedModel) -> Multitask:
    """`encoder` with the trained head of `task` from `folder`/heads.safetensors, in the encoder's precision."""
    path = folder / HEADS_FILE
    if not path.is_file():
        raise UserError(f"{folder}: {HEADS_FILE} is missing; this model was not trained on {task}")
    with safe_open(path, framework="pt") as file:
        specs = {name: HeadSpec(**spec) for name, spec in json.loads(file.metadata()["heads"]).items()}
    if task not in specs:
        raise UserError(f"{path}: no head for {task}; there are: {', '.join(sorted(specs))}")
    prefix = f"{task}."
    weights = {name.removeprefix(prefix): values for name, values in load_file(path).items() if name.startswith(prefix)}
    model = Multitask(encoder, {task: specs[task]})
    model.head(task).load_state_dict(weights)
    return model.to(encoder.dtype)
