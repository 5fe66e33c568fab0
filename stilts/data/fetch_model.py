"""The fetch stage for a pretrained encoder or a translation model: safetensors weights, configuration and tokenizer in
one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from stilts.data.commits import hold_commit
from stilts.data.folders import new_folder
from stilts.data.pickles import PICKLES, convert_pickles, has_pickles
from stilts.errors import UserError

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
# What is copied, all of it from the top of the repository or folder; other formats of the weights are left behind.
PATTERNS = (
    "config.json",
    "model.safetensors",
    "model-*.safetensors",
    WEIGHTS_INDEX,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    *(VOCABULARIES := ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")),
)
TRANSLATOR = "translator"
# Besides for a translation model: where its search starts.
SEARCH = "generation_config.json"


def fetch_model(config: Mapping[str, Any], out: Path, commits: Path) -> dict[str, Any]:
    """Copy `config["model"]`, a local folder or a name on the Hugging Face hub, to `out`.

    `commits` is the folder that holds the campaign to one commit of each repository.

    Afterwards `from_pretrained(out)` loads, and `out/tokenizer.json` exists unless `config["role"]` is "translator":
    M2M100 has no such file. Returns facts: commit (None for a local folder), model type, number of parameters, size of
    the vocabulary.
    Raises UserError with what to do; then `out` is as it was before. An encoder's weights as pickles are refused, for
    loading one runs whatever code it holds; those of a translation model, of which NLLB-200's main branch has no other
    form, are read by torch's loader that knows tensors alone, and written as safetensors.
    """
    model, revision = config["model"], config.get("revision", "main")
    translates = config.get("role") == TRANSLATOR
    local = Path(model).expanduser()
    if local.is_dir():
        source, commit = local, None
    elif model.startswith((".", "/", "~")):
        raise UserError(f"model {model}: no such folder; give a folder with config.json, or a name on the hub")
    else:
        source = _download(model, revision, commits, translates)
        commit = source.name  # the hub's cache names a snapshot after its commit
    pickled = translates and not _has_weights(source) and has_pickles(source)
    _check_source(source, model, pickled)
    with new_folder(out) as folder:
        patterns = (*PATTERNS, SEARCH) if translates else PATTERNS
        for path in sorted({path for pattern in patterns for path in source.glob(pattern)}):
            shutil.copyfile(path, folder / path.name)
        if pickled:
            convert_pickles(source, folder, model)
        facts = _check_translator(folder, model) if translates else _check_copy(folder, model)
    return {"model": model, "revision": revision, "commit": commit, **facts}


def _download(model: str, revision: str, commits: Path, translates: bool) -> Path:
    """The snapshot's folder in the hub's cache, at the commit that the campaign holds."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionResolutionError

    def resolve() -> str:
        return str(HfApi().resolve_revision(model, repo_type="model", revision=revision).resolved)

    try:
        commit = hold_commit(commits, model, revision, resolve, kind="model")
        source = Path(snapshot_download(model, revision=commit, allow_patterns=[*PATTERNS, *[SEARCH] * translates]))
        if translates and not _has_weights(source):
            snapshot_download(model, revision=commit, allow_patterns=list(PICKLES))
        return source
    except (HfHubHTTPError, HFValidationError, RevisionResolutionError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"model {model} (revision {revision}): cannot be fetched from the hub: {reason}; check the name and the "
            "network of this machine, or download the model elsewhere and give its folder as `model`"
        ) from None


def _has_weights(source: Path) -> bool:
    return (source / WEIGHTS).is_file() or (source / WEIGHTS_INDEX).is_file()


def _check_source(source: Path, model: str, pickled: bool) -> None:
    problems = []
    if not (source / "config.json").is_file():
        problems.append(f"model {model}: no config.json in {source}; give the folder of a transformers model")
    if not _has_weights(source) and not pickled:
        others = sorted(path.name for path in source.glob("*") if path.suffix in (".bin", ".pt", ".h5", ".msgpack"))
        found = f"only {', '.join(others)}" if others else "no weights"
        problems.append(
            f"model {model}: {found} in {source}, safetensors are needed; where you trust the file, convert it once: "
            f'python -c \'from transformers import AutoModel; AutoModel.from_pretrained("{model}")'
            ".save_pretrained(\"FOLDER\")', copy the tokenizer's files beside it and give FOLDER as `model`"
        )
    if problems:
        raise UserError(problems)


def _check_copy(folder: Path, model: str) -> dict[str, Any]:
    """Open configuration, weights and tokenizer; write tokenizer.json where the model brings an older form of it."""
    from transformers import AutoTokenizer

    settings = _read_settings(folder, model)
    parameters = sum(_count_parameters(path, model) for path in _list_weights(folder, model))
    if not (folder / "tokenizer.json").is_file():
        # Without this check transformers 5 would make a tokenizer that knows its special tokens alone.
        if not any((folder / name).is_file() for name in VOCABULARIES):
            raise UserError(f"model {model}: neither tokenizer.json nor {', '.join(VOCABULARIES)}; add its tokenizer")
        try:
            AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
        except Exception as error:  # whatever a converter of another format raises, the remedy is the same
            raise UserError(f"model {model}: no tokenizer.json, and none can be made: {_first_line(error)}") from None
    try:
        vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    except Exception as error:  # the tokenizers library raises bare Exception
        raise UserError(f"model {model}: tokenizer.json cannot be read: {_first_line(error)}") from None
    if vocabulary > settings.vocab_size:
        raise UserError(
            f"model {model}: its tokenizer has {vocabulary} tokens, its embeddings {settings.vocab_size}; they do not "
            "belong together"
        )
    return {"model_type": settings.model_type, "parameters": parameters, "vocabulary": vocabulary}


def _check_translator(folder: Path, model: str) -> dict[str, Any]:
    """Open configuration, weights and tokenizer of a translation model, which must know English."""
    from stilts.translation.codes import SOURCE, find_codes, load_tokenizer

    settings = _read_settings(folder, model)
    if not settings.is_encoder_decoder:
        raise UserError(
            f"model {model}: no sequence-to-sequence model ({settings.model_type}); give NLLB-200 or M2M100"
        )
    parameters = sum(_count_parameters(path, model) for path in _list_weights(folder, model))
    tokenizer = load_tokenizer(folder)
    find_codes(tokenizer, folder, (SOURCE,))
    return {"model_type": settings.model_type, "parameters": parameters, "vocabulary": len(tokenizer)}


def _read_settings(folder: Path, model: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"model {model}: config.json cannot be used: {str(error).splitlines()[0]}") from None


def _list_weights(folder: Path, model: str) -> list[Path]:
    if not (folder / WEIGHTS_INDEX).is_file():
        return [folder / WEIGHTS]
    names = sorted(set(json.loads((folder / WEIGHTS_INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise UserError(f"model {model}: {', '.join(missing)} missing, named in {WEIGHTS_INDEX}; fetch the model again")
    return [folder / name for name in names]


def _count_parameters(path: Path, model: str) -> int:
    """Numbers in a safetensors file, whose size must fit its header (a broken download does not)."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 (no iteration there)
    except SafetensorError as error:
        raise UserError(f"model {model}: {path.name} is damaged ({error}); fetch the model again") from None
    total = 0
    for shape in shapes:
        size = 1
        for length in shape:
            size *= length
        total += size
    return total


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
