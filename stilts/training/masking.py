"""Which tokens masked language modelling may hide, from the tokenizer's own list."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stilts.data.prepare import load_tokenizer
from stilts.errors import UserError
from stilts.training.batches import Masking

MASKS = ("<mask>", "[MASK]")


def build_masking(folder: Path, probability: float) -> Masking:
    """Masking with the tokenizer in `folder`; special tokens are neither masked nor used as replacement."""
    tokenizer = load_tokenizer(folder)
    masks = [number for text in MASKS if (number := tokenizer.token_to_id(text)) is not None]
    if not masks:
        raise UserError(f"{folder}: the tokenizer has no mask token ({' or '.join(MASKS)}); it cannot train on text")
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    ordinary = np.setdiff1d(np.arange(tokenizer.get_vocab_size()), sorted(special))
    return Masking(probability, masks[0], ordinary)
