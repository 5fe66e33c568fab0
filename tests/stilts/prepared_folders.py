"""Tiny encoders and prepared folders for the tests of the training side, small enough to learn in seconds."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import BertConfig, BertModel

from stilts.data.examples import Answer, Choice, Example, Pair, Question, Sentence, Text, Translation
from stilts.data.prepare import load_tokenizer
from stilts.model.scratch import init_encoder
from stilts.model.tokenizer import build_tokenizer
from stilts.runs import write_json
from stilts.tasks.encoding import EncodeSettings
from stilts.tasks.families import family

WORDS = tuple(f"{first}{second}" for first in "bdgklmnp" for second in "aeiou")
LABELS: dict[str, tuple[str, ...]] = {"pair": ("no", "perhaps", "yes"), "tagging": ("A", "E", "I", "O", "U")}
ENCODERS = ("xlmr", "bert")


def scratch_config(**changes: Any) -> dict[str, Any]:
    """A pre-training configuration of the smallest useful size."""
    config: dict[str, Any] = {
        "text": ["text"],
        "seed": 0,
        "tokenizer": "words",
        "vocabulary": 200,
        "layers": 2,
        "hidden": 32,
        "heads": 2,
        "feed_forward": 64,
        "positions": 66,
        "dropout": 0.0,
        "steps": 0,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "mask_probability": 0.25,
        "warmup_ratio": 0.1,
        "weight_decay": 0.01,
        "adam_beta2": 0.98,
        "max_grad_norm": 1.0,
        "precision": "fp32",
    }
    return config | changes


def training_config(tasks: Mapping[str, Mapping[str, Any]], **changes: Any) -> dict[str, Any]:
    """A training configuration with every key of the contract."""
    config: dict[str, Any] = {
        "seed": 1,
        "learning_rate": 1e-3,
        "warmup_ratio": 0.1,
        "weight_decay": 0.01,
        "adam_beta2": 0.999,
        "adam_eps": 1e-8,
        "max_grad_norm": 1.0,
        "precision": "fp32",
        "attention": "sdpa",
        "dropout": 0.0,
        "max_examples": None,
        "shuffle_labels": False,
        "tasks": {task: {"max_length": 64, **recipe} for task, recipe in tasks.items()},
        "sampling": {"rule": "proportional", "cap": 131072},
        "selection": {"points": 0, "examples": 500},
        "updates": None,
        "replay": 0.0,
        "collapse": "stop",
        "restarts": 0,
        "deepspeed": {},
    }
    return config | changes


def write_encoder(folder: Path, kind: str = "xlmr") -> Path:
    """A random encoder with its tokenizer, of one of the kinds in ENCODERS."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "xlmr":
        build_tokenizer([" ".join(WORDS)], "words", 200, folder)
        init_encoder(scratch_config(), folder)
        return folder
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate([*specials, *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def draw_examples(name: str, count: int, seed: int = 0) -> list[Example]:
    """Examples of a family whose answer can be read off the words."""
    rng = random.Random(f"{name}/{seed}")
    return [_DRAWERS[name](rng, str(number)) for number in range(count)]


def write_prepared(
    folder: Path, name: str, encoder: Path, sets: Mapping[str, Sequence[Example]], max_length: int = 48
) -> Path:
    """A prepared folder of the family `name` with these sets."""
    module, tokenizer = family(name), load_tokenizer(encoder)
    labels = LABELS.get(name, ())
    folder.mkdir(parents=True, exist_ok=True)
    facts, choices = {}, 1
    for set_name, examples in sets.items():
        encoded = module.encode(examples, tokenizer, EncodeSettings(max_length, labels, stride=4))
        save_file(encoded.arrays, folder / f"{set_name}.safetensors")
        if not set_name.startswith("train."):
            pq.write_table(module.tabulate(examples), folder / f"{set_name}.examples.parquet")
        facts[set_name], choices = {"examples": encoded.examples}, encoded.choices
    manifest = {"task": name, "part": "train", "family": name, "labels": list(labels), "max_length": max_length}
    write_json(folder / "manifest.json", manifest | {"choices": choices, "sets": facts, "digest": ""})
    return folder


def _text(rng: random.Random, shortest: int = 2, longest: int = 9) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(shortest, longest)))


def _pair(rng: random.Random, number: str) -> Pair:
    """The label is told by the second text's first word."""
    label = rng.randrange(3)
    return Pair(number, _text(rng), f"{WORDS[label]} {_text(rng)}", LABELS["pair"][label])


def _choice(rng: random.Random, number: str) -> Choice:
    """The right ending begins with the first word of all."""
    label = rng.randrange(3)
    endings = tuple(f"{WORDS[0] if place == label else WORDS[7]} {_text(rng, 1, 6)}" for place in range(3))
    return Choice(number, _text(rng), endings, label)


def _question(rng: random.Random, number: str) -> Question:
    """The answer is the context's only "pu"; long contexts come in several windows."""
    words = [rng.choice(WORDS[:-1]) for _ in range(rng.randint(5, 60))]
    place = rng.randrange(len(words))
    words[place] = WORDS[-1]
    start = len(" ".join(words[:place])) + (place > 0)
    return Question(number, _text(rng), " ".join(words), (Answer(WORDS[-1], start),))


def _sentence(rng: random.Random, number: str) -> Sentence:
    """A word's tag is its vowel."""
    words = tuple(_text(rng, 3, 60).split())
    return Sentence(number, words, tuple(word[1].upper() for word in words))


def _translation(rng: random.Random, number: str) -> Translation:
    """A sentence and itself."""
    text = f"{_text(rng, 4, 9)}"
    return Translation(number, text, text, int(number))


_DRAWERS: dict[str, Callable[[random.Random, str], Example]] = {
    "pair": _pair,
    "choice": _choice,
    "span": _question,
    "tagging": _sentence,
    "retrieval": _translation,
    "mlm": lambda rng, number: Text(_text(rng, 4, 12), _text(rng) if rng.random() < 0.5 else ""),
}
