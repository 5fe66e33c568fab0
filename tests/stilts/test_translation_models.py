"""Fetching translation models: M2M100's and NLLB-200's files, weights as pickles, the hub."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stilts.data.fetch import fetch_model
from stilts.errors import UserError
from stilts.translation.translator import Translator
from tests.stilts.slices import SPECIAL, make_character_tokenizer
from tests.support.hub_server import HubServer, use_hub
from tests.support.tiny_seq2seq import TEXT, build_m2m100, build_nllb

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch = pytest.importorskip("torch")


def fetch(model: Path | str, out: Path, **config: Any) -> dict[str, Any]:
    config = {"kind": "model", "model": str(model), "revision": "main", "role": "translator", **config}
    return fetch_model(config, out, out.parent / "commits")


def translate(model: Path) -> list[str]:
    found = Translator(model, "sw", torch.device("cpu"), max_length=24).translate(TEXT)
    return [translation.text for translation in found]


def pickle_weights(model: Path) -> None:
    """The weights as older models bring them."""
    from transformers import AutoModelForSeq2SeqLM

    state = AutoModelForSeq2SeqLM.from_pretrained(model).state_dict()
    torch.save(state, model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()


@pytest.fixture
def nllb(tmp_path: Path) -> Path:
    return build_nllb(tmp_path / "nllb")


def test_a_copy_of_nllb_translates_like_the_original(nllb: Path, tmp_path: Path) -> None:
    facts = fetch(nllb, tmp_path / "model")
    assert facts["model_type"] == "m2m_100" and facts["parameters"] > 1000 and facts["vocabulary"] > 200
    assert {"tokenizer.json", "generation_config.json"} <= {path.name for path in (tmp_path / "model").iterdir()}
    assert translate(tmp_path / "model") == translate(nllb)


def test_a_copy_of_m2m100_translates_like_the_original(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    model = build_m2m100(tmp_path / "m2m100")
    fetch(model, tmp_path / "model")
    assert {"vocab.json", "sentencepiece.bpe.model"} <= {path.name for path in (tmp_path / "model").iterdir()}
    assert translate(tmp_path / "model") == translate(model)


def test_pickled_weights_become_safetensors(nllb: Path, tmp_path: Path) -> None:
    before = translate(nllb)
    pickle_weights(nllb)
    facts = fetch(nllb, tmp_path / "model")
    assert facts["parameters"] > 1000
    assert not list((tmp_path / "model").glob("*.bin"))
    assert translate(tmp_path / "model") == before


def test_code_in_a_pickle_is_not_run(nllb: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "trap"),)

    (nllb / "model.safetensors").unlink()
    torch.save({"model.shared.weight": Trap()}, nllb / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be read as tensors alone"):
        fetch(nllb, tmp_path / "model")
    (nllb / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match="cannot be read as tensors alone"):
        fetch(nllb, tmp_path / "model")
    assert not (tmp_path / "trap").exists() and not (tmp_path / "model").exists()


def test_what_is_no_translation_model_is_refused(nllb: Path, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    encoder = tmp_path / "xlmr"
    tokenizer = make_character_tokenizer(["ein Haus"])
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    XLMRobertaModel(XLMRobertaConfig(vocab_size=tokenizer.get_vocab_size(), **size)).save_pretrained(encoder)
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(encoder)
    with pytest.raises(UserError, match=r"no sequence-to-sequence model .xlm-roberta."):
        fetch(encoder, tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(encoder / name, nllb / name)
    with pytest.raises(UserError, match="neither NLLB's eng_Latn nor M2M100's __en__"):
        fetch(nllb, tmp_path / "model")


@pytest.fixture
def hub() -> Iterator[HubServer]:
    server = HubServer()
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("pickled", [False, True])
def test_a_model_of_the_hub(nllb: Path, hub: HubServer, tmp_path: Path, pickled: bool) -> None:
    before = translate(nllb)
    pickles = b""
    if pickled:
        pickle_weights(nllb)
    else:
        pickles = b"not wanted where there are safetensors"
    files = {path.name: path.read_bytes() for path in nllb.iterdir()}
    commit = hub.push("me/nllb-tiny", {"pytorch_model.bin": pickles, **files}, kind="model")
    with use_hub(hub, tmp_path / "cache"):
        facts = fetch("me/nllb-tiny", tmp_path / "model")
    assert facts["commit"] == commit
    assert translate(tmp_path / "model") == before
    assert any("pytorch_model.bin" in path for path in hub.requests) == pickled
