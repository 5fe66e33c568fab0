"""Writing a trained encoder and its heads so that the next stage, or anybody, can load them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from stilts.data.folders import new_folder
from stilts.model.multitask import HEADS_FILE, HeadSpec, head_metadata
from stilts.runs import write_json

WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "vocab.txt",
)


def save_model(
    weights: Mapping[str, torch.Tensor], specs: Mapping[str, HeadSpec], source: Path, architecture: str, out: Path
) -> None:
    """Write the folder `out`: encoder as safetensors in fp32, configuration and tokenizer of `source`, heads.

    `weights` are named as in `Multitask`. Raises FloatingPointError where a weight is not finite.
    """
    broken = [name for name, values in weights.items() if not torch.isfinite(values).all()]
    if broken:
        raise FloatingPointError(f"{out}: not saved, weights are not finite: {', '.join(broken[:5])}")
    with new_folder(out) as folder:
        write_tensors(folder / WEIGHTS_FILE, _part(weights, "encoder."), {"format": "pt"})
        write_tensors(folder / HEADS_FILE, _part(weights, "heads."), head_metadata(specs))
        write_json(folder / "config.json", _encoder_config(source, architecture))
        copy_tokenizer(source, folder)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """A safetensors file with the permissions that this process gives to any file."""
    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, path, metadata=metadata)
    # The library leaves it readable for its owner alone, which shuts out a group that shares a campaign.
    path.chmod(mode)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer's files, whatever kind it is."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _part(weights: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): values for name, values in weights.items() if name.startswith(prefix)}


def _encoder_config(source: Path, architecture: str) -> dict[str, Any]:
    """The source's configuration rather than the one in memory: this training's dropout is not the model's own."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    return config | {"architectures": [architecture], "dtype": "float32"}
