"""Helpers of the tests of the data side: tokenizers, fetched and prepared slices, a model's perfect outputs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from stilts.data.examples import Pair, Question, Sentence
from stilts.data.fetch import fetch_data
from stilts.data.files import find_files
from stilts.data.prepare import prepare
from stilts.data.prepared import Prepared, PreparedSet
from stilts.data.readers import read_set
from tests.stilts.originals import snli, write_file

LANGUAGES = {
    "xnli": ["ar", "de", "en", "hi", "sw", "th", "zh"],
    "xquad": ["ar", "de", "en", "hi", "tr", "zh"],
    "udpos": ["ar", "de", "en", "fi", "hi", "ja", "ko", "tr", "yo", "zh"],
    "tatoeba": ["ar", "de", "hi", "th", "zh"],
    "pawsx": ["de", "en", "ko", "zh"],
    "panx": ["ar", "de", "en", "hi", "ja", "sw", "yo", "zh"],
    "mlqa": ["ar", "de", "en", "zh"],
    "tydiqa": ["en", "fi", "ko", "sw", "te"],
    "bucc2018": ["zh"],
}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def train_unigram(root: Path) -> Tokenizer:
    """A Unigram with 3,000 pieces in the manner of XLM-R's, trained on some text of all slices."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(
        vocab_size=3000, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False, n_sub_iterations=1
    )
    tokenizer.train_from_iterator(_draw_text(root), trainer)
    return _frame(tokenizer)


def make_character_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Every character of the texts that is no white space is a token."""
    characters = sorted({character for text in texts for character in text if not character.isspace()})
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("."), "isolated")]
    )
    return _frame(tokenizer)


def make_bert_tokenizer(words: Iterable[str]) -> Tokenizer:
    """Whole words with BERT's template and token types."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(words))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def _frame(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _draw_text(root: Path) -> list[str]:
    texts = []
    for task in ("xnli", "xquad", "udpos"):
        for name, paths in find_files(task, "scored", LANGUAGES[task], root).sets.items():
            for example in read_set(task, name, paths).examples[:60]:
                match example:
                    case Pair():
                        texts += [example.text, example.second_text]
                    case Question():
                        texts.append(example.context)
                    case Sentence():
                        texts.append(" ".join(example.words))
    return list(dict.fromkeys(texts))


def complete_anli(root: Path, folder: Path) -> Path:
    """A data root in `folder` with the slices of ANLI and MNLI and a made-up SNLI, which the slices lack."""
    for name in ("anli", "mnli"):
        (folder / name).symlink_to(root / name)
    for split in ("train", "dev"):
        rows = "".join(snli(f"{number}.jpg#0r1n") for number in range(20))
        write_file(folder / f"snli_1.0/snli_1.0_{split}.jsonl", rows)
    return folder


def prepare_slices(root: Path, tokenizer: Path, out: Path, task: str, part: str, max_length: int) -> Prepared:
    """Fetch and prepare a task of the slices, in the languages they have."""
    config: dict[str, Any] = {"kind": "data", "suite": "xtreme", "task": task, "part": part}
    if part == "scored":
        config["languages"] = LANGUAGES[task]
    fetch_data(config, root, out / "fetched")
    prepare({**config, "max_length": max_length, "stride": max_length // 3}, out / "fetched", tokenizer, out / "data")
    return Prepared.load(out / "data")


def answer_perfectly(prepared: PreparedSet) -> dict[str, np.ndarray]:
    """The outputs of a model that gives the prepared labels the highest score."""
    labels = prepared.arrays.get("labels")
    match prepared.family:
        case "pair" | "choice":
            width = prepared.choices if prepared.family == "choice" else len(prepared.label_names)
            return {"logits": np.eye(width, dtype=np.float32)[labels]}
        case "tagging":
            assert labels is not None
            return {"labels": np.where(labels < 0, 0, labels).astype(np.int32)}
        case "retrieval":
            assert labels is not None
            embeddings = np.random.default_rng(0).normal(size=(2 * len(prepared), 32)).astype(np.float32)
            embeddings[: len(prepared)] = embeddings[len(prepared) :][labels]
            return {"embeddings": embeddings}
        case _:
            return {name: _mark(prepared, f"{name}s") for name in ("start", "end")}


def _mark(prepared: PreparedSet, name: str) -> np.ndarray:
    logits = np.zeros(len(prepared.tokens), dtype=np.float32)
    places = prepared.arrays[name]
    held = prepared.arrays["starts"] > 0
    logits[prepared.offsets[:-1][held] + places[held]] = 10
    return logits


def places_of(problems: list[str]) -> list[str]:
    """`name:line` at the head of each problem."""
    return [match.group(1) if (match := re.match(r"\S*?([^/\s]+:\d+): ", text)) else "" for text in problems]
