"""Base models from a local folder: tiny random XLM-R and BERT, whole and damaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from stilts.data.fetch import fetch_model
from stilts.data.prepare import load_tokenizer
from stilts.errors import UserError
from tests.stilts.slices import SPECIAL, make_bert_tokenizer, make_character_tokenizer

os.environ.setdefault("OMP_NUM_THREADS", "1")
SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def xlmr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    folder = tmp_path_factory.mktemp("xlmr")
    tokenizer = make_character_tokenizer(["ein Haus"])
    config = XLMRobertaConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=34, **SIZE)
    XLMRobertaModel(config).save_pretrained(folder)
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With vocab.txt in place of tokenizer.json, as old models come."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    vocabulary = make_bert_tokenizer(["ein", "haus", "##lein"]).get_vocab()
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, **SIZE)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n")
    return folder


@pytest.fixture
def damaged(xlmr: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(xlmr, tmp_path / "damaged"))


def fetch(model: Path, out: Path) -> dict[str, object]:
    return fetch_model({"kind": "model", "model": str(model), "revision": "main"}, out, out.parent / "commits")


def test_xlmr_loads_from_the_copy(xlmr: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    (xlmr / "pytorch_model.bin").write_bytes(b"left behind")
    facts = fetch(xlmr, tmp_path / "model")
    model, tokenizer = (kind.from_pretrained(tmp_path / "model") for kind in (AutoModel, AutoTokenizer))
    assert facts == {
        "model": str(xlmr),
        "revision": "main",
        "commit": None,
        "model_type": "xlm-roberta",
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "vocabulary": len(tokenizer),
    }
    ids = load_tokenizer(tmp_path / "model").encode("ein", "Haus").ids
    assert ids == tokenizer("ein", "Haus")["input_ids"]
    assert not (tmp_path / "model/pytorch_model.bin").exists()


def test_a_tokenizer_json_is_made_from_a_word_list(bert: Path, tmp_path: Path) -> None:
    facts = fetch(bert, tmp_path / "model")
    encoding = load_tokenizer(tmp_path / "model").encode("Ein", "Hauslein")
    assert facts["model_type"] == "bert"
    assert encoding.tokens == ["[CLS]", "ein", "[SEP]", "haus", "##lein", "[SEP]"]
    assert encoding.type_ids == [0, 0, 0, 1, 1, 1]


def test_sharded_weights_are_copied(damaged: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(damaged)
    (damaged / "model.safetensors").unlink()
    model.save_pretrained(damaged, max_shard_size="4KB")
    assert len(list(damaged.glob("model-*.safetensors"))) > 1
    facts = fetch(damaged, tmp_path / "model")
    assert facts["parameters"] == sum(weight.numel() for weight in model.parameters())
    AutoModel.from_pretrained(tmp_path / "model")
    next(damaged.glob("model-00002*")).unlink()
    with pytest.raises(UserError, match=r"model-00002.* missing"):
        fetch(damaged, tmp_path / "other")


def refuse(model: Path, out: Path, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fetch(model, out)
    assert not out.exists()
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]


def test_pickled_weights_are_refused_with_the_remedy(damaged: Path, tmp_path: Path) -> None:
    (damaged / "model.safetensors").rename(damaged / "pytorch_model.bin")
    refuse(damaged, tmp_path / "model", "only pytorch_model.bin.*safetensors are needed.*save_pretrained")


def test_broken_weights_are_refused(damaged: Path, tmp_path: Path) -> None:
    with open(damaged / "model.safetensors", "r+b") as file:
        file.truncate(1000)
    refuse(damaged, tmp_path / "model", "model.safetensors is damaged")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{}", "config.json cannot be used"),
        ("config.json", None, "no config.json in"),
        ("tokenizer.json", "{}", "tokenizer.json cannot be read"),
    ],
)
def test_other_damage_is_refused(damaged: Path, tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is None:
        (damaged / name).unlink()
    else:
        (damaged / name).write_text(text)
    refuse(damaged, tmp_path / "model", message)


def test_a_model_without_any_tokenizer_is_refused(bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "bert"))
    (folder / "vocab.txt").unlink()
    refuse(folder, tmp_path / "model", "neither tokenizer.json nor vocab.txt")


def test_a_tokenizer_of_another_model_is_refused(damaged: Path, tmp_path: Path) -> None:
    make_character_tokenizer(["ein ganz anderes Alphabet"]).save(str(damaged / "tokenizer.json"))
    refuse(damaged, tmp_path / "model", r"tokenizer has \d+ tokens, its embeddings \d+; they do not belong together")


def test_a_path_that_is_none_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere", tmp_path / "model", "no such folder")


def test_an_unreachable_hub_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"nobody/no-such-model .revision main.: cannot be fetched from the hub"):
        fetch_model(
            {"kind": "model", "model": "nobody/no-such-model", "revision": "main"},
            tmp_path / "model",
            tmp_path / "commits",
        )
    assert not (tmp_path / "model").exists()
