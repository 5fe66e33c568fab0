"""Loading an encoder: any transformers encoder without its pooling layer."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import logging

from stilts.errors import UserError


def load_encoder(path: Path, attention: str, dropout: float | None, dtype: torch.dtype) -> PreTrainedModel:
    """The encoder in a folder, weights in `dtype`, in evaluation mode.

    `dropout` replaces the model's own hidden and attention dropout; None keeps them. Weights of other layers in the
    folder (a pooling layer, the masked-token decoder of the published XLM-R) are left out without a word.
    """
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: no encoder here (config.json is missing); give a folder that save_pretrained wrote")
    config = AutoConfig.from_pretrained(path)
    if dropout is not None:
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    takes_pooling = "add_pooling_layer" in inspect.signature(MODEL_MAPPING[type(config)].__init__).parameters
    with quiet_transformers():
        return AutoModel.from_pretrained(
            path,
            config=config,
            attn_implementation=attention,
            dtype=dtype,
            local_files_only=True,
            weights_only=True,  # a pickle is read as tensors alone
            **({"add_pooling_layer": False} if takes_pooling else {}),
        )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No load report and no progress bar: a job's log keeps what concerns the study."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
