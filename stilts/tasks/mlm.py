"""Plain text for masked language modelling: nothing to decode, nothing to score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stilts.data.examples import Text
from stilts.tasks.encoding import Encoded, EncodeSettings, encode_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def encode(examples: Sequence[Text], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """One sequence an example, a pair where there is a second text."""
    inputs = ((text.text, text.second_text) if text.second_text else text.text for text in examples)
    return Encoded(encode_texts(inputs, tokenizer, settings), len(examples))
