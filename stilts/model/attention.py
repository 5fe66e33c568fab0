"""Attention over sequences that stand one after the other in one row, with nothing between them.

Registered with transformers under the name `packed`. Positions of such a row must be given to the encoder, too: they
begin anew with each sequence, in XLM-R and RoBERTa at `pad_token_id` + 1.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PretrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

PACKED = "packed"

# The kernel takes head sizes of multiples of 8 up to 256, and needs an Ampere or a later GPU.
_HEAD_MULTIPLE, _LARGEST_HEAD, _CAPABILITY = 8, 256, (8, 0)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int = 0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of [B, heads, T, D], gives ([B, T, heads, D], None).

    With `cu_seq_lens_q` (int32 [S + 1], rising from 0 to T) B is 1 and the row holds S sequences, of at most
    `max_length_q` tokens each, that do not see each other. Without it this is torch's own attention with a mask.
    """
    if cu_seq_lens_q is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    # Not states[0], whose gradient is a copy of it amid zeros.
    query, key, value = (states.squeeze(0).transpose(0, 1) for states in (query, key, value))
    if query.is_cuda:
        output = _attend_flash(query, key, value, cu_seq_lens_q, max_length_q, dropout, scaling)
    else:
        output = _attend_alike(query, key, value, cu_seq_lens_q, dropout, scaling)
    return output.unsqueeze(0), None


def _attend_flash(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, dropout: float, scaling: float | None
) -> Tensor:
    """Flash attention 2 as it stands in torch, [T, heads, D]. `torch.nn.attention.varlen` calls the same kernel but
    has no dropout, which belongs to the published recipe."""
    output, *_ = torch.ops.aten._flash_attention_forward(
        query, key, value, bounds, bounds, longest, longest, dropout, False, False, scale=scaling
    )
    return output


def _attend_alike(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, dropout: float, scaling: float | None
) -> Tensor:
    """The same on a CPU: neighbours of one length at once, the others one by one.

    Pads among neighbours of almost one length would save calls, but their mask and the copies cost more (measured).
    """
    lengths = [length for length in bounds.diff().tolist() if length]
    groups = [(length, len(list(alike))) for length, alike in itertools.groupby(lengths)]
    parts = [states.split([length * count for length, count in groups]) for states in (query, key, value)]
    outputs = []
    for (length, count), *states in zip(groups, *parts, strict=True):
        q, k, v = (each.unflatten(0, (count, length)).transpose(1, 2) for each in states)
        output = functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)


def find_first_position(config: PretrainedConfig) -> int | None:
    """The position of a sequence's first token; None for kinds of encoders that are not known to give what they give
    with pads when sequences are packed (the tests compare those that are)."""
    if config.model_type in ("xlm-roberta", "roberta"):
        return int(config.pad_token_id) + 1
    return 0 if config.model_type == "bert" else None


def can_pack(config: PretrainedConfig, precision: str, device: torch.device) -> bool:
    """Whether packed sequences give what padded ones give, dropout included, with this encoder in this precision on
    this device."""
    if config._attn_implementation != "sdpa" or find_first_position(config) is None:
        return False
    head = config.hidden_size // config.num_attention_heads
    return device.type == "cpu" or (
        torch.cuda.get_device_capability(device) >= _CAPABILITY
        and precision != "fp32"
        and head % _HEAD_MULTIPLE == 0
        and head <= _LARGEST_HEAD
    )


def _make_mask(*args: Any, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor | None:
    """A mask for padded batches alone. transformers would make one of all positions by all positions of a row while a
    CUDA graph is recorded, by steps that a graph cannot hold."""
    return None if attention_mask is None else sdpa_mask(*args, attention_mask=attention_mask, **kwargs)


AttentionInterface.register(PACKED, attend)
AttentionMaskInterface.register(PACKED, _make_mask)
