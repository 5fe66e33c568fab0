"""Weights that a repository has as pickles alone, to safetensors, without running what a pickle may hold."""

from __future__ import annotations

from pathlib import Path

from stilts.errors import UserError

PICKLES = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")


def has_pickles(folder: Path) -> bool:
    """Whether the folder has weights in torch's own format, in one file or several."""
    return any((folder / name).is_file() for name in (PICKLES[0], PICKLES[2]))


def convert_pickles(source: Path, out: Path, model: str) -> None:
    """Write the sequence-to-sequence model of `source` to `out` as safetensors and configuration.

    Torch reads the file with its weights-only loader, which builds tensors and plain containers and nothing else.
    Raises UserError where the file holds more, is damaged or does not fit its configuration.
    """
    from transformers import AutoModelForSeq2SeqLM

    from stilts.model.encoder import quiet_transformers

    try:
        with quiet_transformers():
            loaded = AutoModelForSeq2SeqLM.from_pretrained(
                source, local_files_only=True, use_safetensors=False, weights_only=True, dtype="auto"
            )
    except Exception as error:  # unpickling raises whatever a damaged file leads it to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"model {model}: its weights ({PICKLES[0]}) cannot be read as tensors alone: {reason}; give a revision or "
            "a folder with safetensors"
        ) from None
    with quiet_transformers():
        loaded.save_pretrained(out)
