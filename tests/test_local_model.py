"""Any encoder by path: a BERT (token types, WordPiece, positions from 0) goes the whole way on real slices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stilts.slices import train_unigram
from tests.support.campaigns import Study


@pytest.fixture(scope="module")
def models(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of two layers, its words those of the slices."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("models")
    pieces = {piece.lstrip("▁").lower() for piece in train_unigram(data_root).get_vocab()}
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({char for piece in pieces for char in piece})
    words = sorted(piece for piece in pieces if len(piece) > 1 and not piece.startswith("<"))
    vocabulary = [*specials, *letters, *(f"##{char}" for char in letters), *words]
    path = folder / "tiny-bert"
    path.mkdir()
    (path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab_file=str(path / "vocab.txt")).save_pretrained(path)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=128, **size)).save_pretrained(path)
    return folder


def test_a_bert_goes_the_whole_way(models: Path, data_root: Path) -> None:
    training = {"precision": "fp32", "learning_rate": 1e-3, "epochs": 1, "max_length": 96, "max_examples": 48}
    grid = {
        "name": "by-path",
        "data_root": str(data_root),
        "languages": ["de", "en", "zh"],
        # Relative to where the command is given; the jobs run elsewhere.
        "axes": {"model": "./tiny-bert", "intermediate": ["hellaswag"], "target": "all", "seed": [3]},
        "exclude": [{"target": ["pawsx", "panx", "mlqa", "tydiqa", "bucc2018"]}],
        "intermediate": training,
        "target": training,
        "retrieval": {"max_length": 96},
    }
    study = Study(models, grid, ("--executor", "local"))
    study.launch()
    assert set(study.states().values()) == {"done"}
    scored = {json.loads(path.read_text())["target"] for path in study.root.glob("*/metrics/*.json")}
    assert scored == {"hellaswag", "xnli", "udpos", "xquad", "tatoeba"}
    model = study.root / study.find("intermediate-hellaswag-") / "model"
    assert json.loads((model / "config.json").read_text())["model_type"] == "bert"
