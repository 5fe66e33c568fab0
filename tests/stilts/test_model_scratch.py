"""Encoders from scratch: random, and after masked language modelling."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from stilts.errors import UserError
from stilts.model.scratch import pretrain
from stilts.training.heartbeat import Heartbeat
from stilts.training.save import WEIGHTS_FILE
from stilts.training.world import World
from tests.stilts.prepared_folders import WORDS, scratch_config

CPU = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))


def draw_texts(count: int) -> list[tuple[str, str]]:
    """Runs of neighbours in the word list: a masked word is told by those beside it."""
    rng = random.Random(0)
    texts = []
    for _ in range(count):
        first, length = rng.randrange(len(WORDS)), rng.randint(4, 12)
        text = " ".join(WORDS[(first + step) % len(WORDS)] for step in range(length))
        texts.append((text, text if rng.random() < 0.3 else ""))
    return texts


def run(folder: Path, **changes: Any) -> dict[str, Any]:
    return pretrain(scratch_config(**changes), draw_texts(200), folder / "model", CPU, Heartbeat(folder))


def test_no_steps_give_seeded_random_weights(tmp_path: Path) -> None:
    weights = []
    for seed, name in ((0, "a"), (0, "b"), (1, "c")):
        torch.rand(3)
        facts = run(tmp_path / name, seed=seed)
        weights.append(load_file(tmp_path / name / "model" / WEIGHTS_FILE)["embeddings.word_embeddings.weight"])
    assert facts == {"updates": 0}
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert float(weights[0].std()) == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("kind", ["words", "unigram"])
def test_masked_language_modelling_learns(kind: str, tmp_path: Path) -> None:
    facts = run(tmp_path, steps=150, tokenizer=kind, learning_rate=5e-3)
    assert facts["updates"] == 150
    assert facts["losses"]["last"] < 0.85 * facts["losses"]["first"]
    assert facts["pad_share"] < 0.2
    model = AutoModel.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert model.config.vocab_size == len(tokenizer)
    with torch.inference_mode():
        assert torch.isfinite(model(**tokenizer("ba be", return_tensors="pt")).last_hidden_state).all()


def test_long_texts_are_cut_to_the_positions(tmp_path: Path) -> None:
    facts = run(tmp_path, steps=2, positions=10)
    assert facts["tokens"] <= 2 * 16 * 8


def test_too_few_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fewer than one batch"):
        run(tmp_path, steps=2, batch_size=201)
