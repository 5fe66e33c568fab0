"""The masked-token head that a pretrained encoder comes with: from a checkpoint of transformers or from our own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stilts.errors import UserError
from stilts.model.heads import MaskedTokenHead
from stilts.model.multitask import HEADS_FILE
from stilts.runs import read_json

_SAFETENSORS = "model.safetensors"
_PICKLE = "pytorch_model.bin"

# What transformers calls each of the head's weights; of several names the first that is there. Old BERT checkpoints
# have gamma and beta.
_ROBERTA = {
    "dense.weight": ("lm_head.dense.weight",),
    "dense.bias": ("lm_head.dense.bias",),
    "norm.weight": ("lm_head.layer_norm.weight",),
    "norm.bias": ("lm_head.layer_norm.bias",),
    "bias": ("lm_head.bias", "lm_head.decoder.bias"),
}
_TRANSFORM = "cls.predictions.transform"
_BERT = {
    "dense.weight": (f"{_TRANSFORM}.dense.weight",),
    "dense.bias": (f"{_TRANSFORM}.dense.bias",),
    "norm.weight": (f"{_TRANSFORM}.LayerNorm.weight", f"{_TRANSFORM}.LayerNorm.gamma"),
    "norm.bias": (f"{_TRANSFORM}.LayerNorm.bias", f"{_TRANSFORM}.LayerNorm.beta"),
    "bias": ("cls.predictions.bias", "cls.predictions.decoder.bias"),
}


def load_lm_head(folder: Path, head: MaskedTokenHead) -> None:
    """Fill `head` with the trained weights in the model folder `folder`.

    They are those of an earlier training of ours on text, where the folder has one (`heads.safetensors`), else those
    that the pretrained model was published with (`lm_head.*` of XLM-R and RoBERTa, `cls.predictions.*` of BERT;
    safetensors or, read as tensors alone, `pytorch_model.bin`, whole or in shards). The decoder is not among them: it
    is the encoder's input embeddings.

    Raises UserError: no such weights, some of them missing or of another shape, files damaged, a decoder that the model
    does not share with its embeddings.
    """
    weights = _read_trained(folder) or _read_pretrained(folder)
    expected = head.state_dict()
    if problems := [
        f"{folder}: {name} of its masked-token head has the shape {list(values.shape)}, "
        f"{list(expected[name].shape)} is needed; head and encoder do not belong together"
        for name, values in weights.items()
        if values.shape != expected[name].shape
    ]:
        raise UserError(problems)
    head.load_state_dict(weights)


def _read_trained(folder: Path) -> dict[str, Tensor]:
    """The head of a training of ours with family mlm; empty where there is none."""
    path = folder / HEADS_FILE
    if not path.is_file():
        return {}
    with _open(path) as file:
        specs = json.loads(file.metadata()["heads"])
        # A training has one task of this family: mlm, or, of an encoder from scratch, text.
        task = next((task for task, spec in sorted(specs.items()) if spec["family"] == "mlm"), None)
        if task is None:
            return {}
        return {name: file.get_tensor(f"{task}.{name}") for name in _ROBERTA}


def _read_pretrained(folder: Path) -> dict[str, Tensor]:
    places = _list_tensors(folder)
    table = next((table for table in (_ROBERTA, _BERT) if table["dense.weight"][0] in places), None)
    if table is None:
        raise UserError(
            f"{folder}: no masked-token head in it: neither lm_head.* (XLM-R, RoBERTa) nor cls.predictions.* (BERT), "
            "nor one of an earlier training on text; give a model that was saved with it (its ...ForMaskedLM form), or "
            "train without mlm"
        )
    config = read_json(folder / "config.json") or {}
    if not config.get("tie_word_embeddings", True):
        raise UserError(f"{folder}: its masked-token head has a decoder of its own (tie_word_embeddings is false)")
    chosen = {name: next((one for one in names if one in places), None) for name, names in table.items()}
    if missing := [table[name][0] for name, found in chosen.items() if found is None]:
        raise UserError(f"{folder}: of its masked-token head there is no {', '.join(missing)}; fetch the model again")
    return dict(_read_tensors(folder, {name: found for name, found in chosen.items() if found}, places))


def _list_tensors(folder: Path) -> dict[str, Path]:
    """File of each tensor by name. UserError where the folder has no weights."""
    for name in (_SAFETENSORS, _PICKLE):
        index = read_json(folder / f"{name}.index.json")
        if index is not None and not (folder / name).is_file():
            return {tensor: folder / str(file) for tensor, file in index["weight_map"].items()}
        if (path := folder / name).is_file():
            if name == _PICKLE:
                return dict.fromkeys(_load_pickle(path), path)
            with _open(path) as file:
                return dict.fromkeys(file.keys(), path)
    raise UserError(f"{folder}: no weights in it ({_SAFETENSORS} or {_PICKLE}, whole or with an index)")


def _read_tensors(folder: Path, names: Mapping[str, str], places: Mapping[str, Path]) -> Iterator[tuple[str, Tensor]]:
    """(key, tensor in fp32) of each of `names`, each file opened once."""
    for path in dict.fromkeys(places[name] for name in names.values()):
        mine = {key: name for key, name in names.items() if places[name] == path}
        if not path.is_file():
            raise UserError(f"{folder}: {path.name} is missing, which its index names; fetch the model again")
        if path.suffix == ".bin":
            tensors = _load_pickle(path)
            yield from ((key, tensors[name].float()) for key, name in mine.items())
            continue
        with _open(path) as file:
            yield from ((key, file.get_tensor(name).float()) for key, name in mine.items())


def _load_pickle(path: Path) -> dict[str, Tensor]:
    """Tensors alone: a pickle that holds anything else is refused before it can run."""
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as tensors alone ({reason}); fetch the model again") from None
    return dict(tensors)


def _open(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise UserError(f"{path}: damaged ({error}); fetch the model again") from None
