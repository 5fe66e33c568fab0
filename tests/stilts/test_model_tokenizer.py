"""Tokenizers of encoders from scratch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from stilts.errors import UserError
from stilts.model.scratch import init_encoder
from stilts.model.tokenizer import KINDS, build_tokenizer
from tests.stilts.prepared_folders import WORDS, scratch_config

TEXTS = [" ".join(WORDS[i : i + 7]) + " ?" for i in range(30)] + ["Ein gröẞeres ﬁnd 12 ."]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    build_tokenizer(TEXTS, request.param, 300, tmp_path)
    return tmp_path


def test_special_tokens_have_the_numbers_of_xlmr(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [tokenizer.token_to_id(token) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    assert ids == [0, 1, 2, 3]
    assert tokenizer.token_to_id("<mask>") == tokenizer.get_vocab_size() - 1


def test_pair_template(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    first, second = (tokenizer.encode(text, add_special_tokens=False).tokens for text in TEXTS[:2])
    pair = tokenizer.encode(TEXTS[0], TEXTS[1])
    assert pair.tokens == ["<s>", *first, "</s>", "</s>", *second, "</s>"]
    assert set(pair.type_ids) == {0}


@pytest.mark.parametrize("with_model", [False, True])
def test_auto_tokenizer_agrees(folder: Path, with_model: bool) -> None:
    """Beside an XLM-R configuration too: transformers would like to build XLM-R's own pipeline there."""
    if with_model:
        init_encoder(scratch_config(), folder)
    auto, plain = AutoTokenizer.from_pretrained(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in (*TEXTS[:3], "unseen wörds  and\tblanks", "a <mask> here", "ﬁ", ""):
        assert auto(text)["input_ids"] == plain.encode(text).ids
    assert auto(TEXTS[0], TEXTS[1])["input_ids"] == plain.encode(TEXTS[0], TEXTS[1]).ids
    assert (auto.pad_token_id, auto.mask_token_id, len(auto)) == (1, plain.get_vocab_size() - 1, plain.get_vocab_size())


@given(st.lists(st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_each_word_is_one_piece(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    folder = tmp_path_factory.mktemp("words")
    build_tokenizer([" ".join(words)], "words", 10_000, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    normal = tokenizer.normalizer.normalize_str(" ".join(words)).split()
    assert tokenizer.encode(" ".join(words), add_special_tokens=False).tokens == ["▁" + word for word in normal]


def test_unseen_words_fall_into_characters(tmp_path: Path) -> None:
    build_tokenizer(TEXTS, "words", 300, tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("dnm", add_special_tokens=False).tokens == ["▁", "d", "n", "m"]


def test_other_processes_build_the_same(tmp_path: Path) -> None:
    """Another process has another hash seed; texts in another order are the same texts."""
    code = (
        "import json, sys; from pathlib import Path; from stilts.model.tokenizer import build_tokenizer\n"
        "texts, out = json.loads(sys.argv[1]), Path(sys.argv[2])\n"
        "for kind, size in (('words', 300), ('unigram', 60)): build_tokenizer(texts, kind, size, out / kind)"
    )
    command = [sys.executable, "-c", code, json.dumps(TEXTS), str(tmp_path / "there")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    for kind, size in (("words", 300), ("unigram", 60)):
        build_tokenizer(TEXTS[::-1], kind, size, tmp_path / "here" / kind)
        here, there = ((tmp_path / place / kind / "tokenizer.json").read_bytes() for place in ("here", "there"))
        assert here == there


def test_too_small_a_vocabulary_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocabulary: 20 is too small .* needs \d+ pieces"):
        build_tokenizer(TEXTS, "words", 20, tmp_path)


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="known: words, unigram"):
        build_tokenizer(TEXTS, "bpe", 300, tmp_path)
