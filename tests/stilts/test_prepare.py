"""Prepared folders: the contract's arrays and tables, identity, failures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from stilts.data.fetch import fetch_data
from stilts.data.prepare import load_tokenizer, prepare
from stilts.data.prepared import Prepared
from stilts.errors import UserError
from stilts.runs import file_digest
from stilts.tasks.catalogue import UPOS
from tests.stilts.slices import make_bert_tokenizer, prepare_slices

TOKEN_ARRAYS = {"span": {"char_starts", "char_ends"}, "tagging": {"labels", "word"}}
SEQUENCE_ARRAYS = {"span": {"example", "starts", "ends"}, "tagging": {"example"}}
COLUMNS = {
    "pair": ["id", "label"],
    "choice": ["id", "label"],
    "span": ["id", "question", "context", "answers"],
    "tagging": ["id", "words", "tags"],
    "retrieval": ["id", "gold"],
}


@pytest.mark.parametrize(
    ("task", "part", "family"),
    [
        ("mnli", "train", "pair"),
        ("hellaswag", "train", "choice"),
        ("squad", "train", "span"),
        ("udpos", "scored", "tagging"),
        ("tatoeba", "scored", "retrieval"),
    ],
)
def test_arrays_and_tables_are_those_of_the_contract(
    data_root: Path, unigram: Path, tmp_path: Path, task: str, part: str, family: str
) -> None:
    folder = prepare_slices(data_root, unigram, tmp_path, task, part, max_length=96)
    assert folder.manifest["family"] == family
    for name, facts in folder.manifest["sets"].items():
        opened = folder.open(name)
        path = folder.folder / f"{name}.safetensors"
        sequences, tokens = len(opened.lengths), len(opened.tokens)
        sizes = {"examples": len(opened), "sequences": sequences, "tokens": tokens}
        assert facts == {**sizes, "labelled": True, "sha256": file_digest(path)}
        assert (opened.tokens.dtype, opened.offsets.dtype, opened.types) == (np.int32, np.int64, None)
        assert opened.lengths.dtype == np.int32 and opened.lengths.sum() == tokens and opened.lengths.max() <= 96
        for array in TOKEN_ARRAYS.get(family, ()):
            assert (opened.arrays[array].shape, opened.arrays[array].dtype) == ((tokens,), np.int32)
        for array in SEQUENCE_ARRAYS.get(family, ()):
            assert (opened.arrays[array].shape, opened.arrays[array].dtype) == ((sequences,), np.int32)
        if family in ("pair", "choice", "retrieval"):
            assert (opened.arrays["labels"].shape, opened.arrays["labels"].dtype) == ((len(opened),), np.int64)
            width = {"pair": 1, "choice": 4, "retrieval": 2}[family]
            assert sequences == width * len(opened)
        assert all(opened.sequence(index)[0] == 0 and opened.sequence(index)[-1] == 2 for index in range(sequences))
        if name.startswith("train."):
            assert not (folder.folder / f"{name}.examples.parquet").exists()
        else:
            assert folder.examples(name).column_names == COLUMNS[family]
            assert len(folder.examples(name)) == len(opened)


def test_labels_follow_the_catalogue(data_root: Path, unigram: Path, tmp_path: Path) -> None:
    folder = prepare_slices(data_root, unigram, tmp_path, "udpos", "train", max_length=64)
    opened = folder.open("dev.en")
    assert opened.label_names == UPOS and opened.language == "en" and folder.manifest["labels"] == list(UPOS)
    labels = opened.arrays["labels"]
    expected = [UPOS.index(tag) for tags in folder.examples("dev.en")["tags"].to_pylist() for tag in tags]
    assert labels[labels >= 0].tolist() == expected
    assert set(labels[labels < 0]) == {-100}
    assert ((labels >= 0) == (opened.arrays["word"] >= 0)).all()


def test_choices_share_their_context(data_root: Path, unigram: Path, tmp_path: Path) -> None:
    folder = prepare_slices(data_root, unigram, tmp_path, "hellaswag", "train", max_length=256)
    opened = folder.open("dev.en")
    assert folder.manifest["choices"] == opened.choices == 4
    middle = [int(np.flatnonzero(opened.sequence(index) == 2)[0]) for index in range(4)]
    assert len(set(middle)) == 1
    assert len({tuple(opened.sequence(index)[: middle[0]]) for index in range(4)}) == 1
    assert len({tuple(opened.sequence(index)) for index in range(4)}) == 4


@pytest.mark.parametrize(("task", "part"), [("mnli", "train"), ("squad1", "train")])
def test_token_types_are_kept_where_the_tokenizer_has_them(
    data_root: Path, tmp_path: Path, task: str, part: str
) -> None:
    tokenizer = make_bert_tokenizer(["the", "of", "in", "a"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    opened = prepare_slices(data_root, tmp_path, tmp_path, task, part, max_length=64).open("dev.en")
    assert opened.types is not None and opened.types.dtype == np.uint8
    for index in range(0, len(opened.lengths), 17):
        ids = opened.sequence(index)
        types = opened.types[opened.offsets[index] : opened.offsets[index + 1]]
        first = int(np.flatnonzero(ids == 3)[0])
        assert types.tolist() == [0] * (first + 1) + [1] * (len(ids) - first - 1)


def test_preparing_twice_gives_the_same_bytes(data_root: Path, unigram: Path, tmp_path: Path) -> None:
    folders = [
        prepare_slices(data_root, unigram, tmp_path / name, "xnli", "scored", max_length=64) for name in ("a", "b")
    ]
    assert folders[0].manifest == folders[1].manifest
    longer = prepare_slices(data_root, unigram, tmp_path / "c", "xnli", "scored", max_length=128)
    assert longer.manifest["digest"] != folders[0].manifest["digest"]


def test_stored_padding_and_truncation_are_ignored(unigram: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(unigram / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode("ein " * 50).ids == load_tokenizer(unigram).encode("ein " * 50).ids


class Beats:
    """A heartbeat that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def beat(self, phase: str, step: int, total: int, **facts: Any) -> None:
        self.seen.append((phase, step, total))


def test_the_heart_beats_and_facts_are_summed(data_root: Path, unigram: Path, tmp_path: Path) -> None:
    config = {"kind": "data", "suite": "xtreme", "task": "mnli", "part": "train", "max_length": 64}
    fetch_data(config, data_root, tmp_path / "fetched")
    beats = Beats()
    facts = prepare(config, tmp_path / "fetched", unigram, tmp_path / "data", beats)
    assert beats.seen == [("prepare", 0, 2), ("prepare", 1, 2)]
    sets = Prepared.load(tmp_path / "data").manifest["sets"].values()
    totals = {key: sum(entry[key] for entry in sets) for key in ("examples", "sequences", "tokens")}
    assert facts == totals | {"tokenizer": file_digest(unigram / "tokenizer.json")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "mnli"}, "holds task 'squad1', 'mnli' is to be prepared"),
        ({"part": "scored"}, "holds part 'train', 'scored' is to be prepared"),
        ({"max_length": 64, "stride": 60}, "raise max_length, or take a stride below"),
        ({"max_length": 4, "stride": 0}, "raise max_length"),
    ],
)
def test_a_failure_leaves_nothing(
    data_root: Path, unigram: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = {"suite": "xtreme", "task": "squad1", "part": "train", "max_length": 96, "stride": 32}
    fetch_data(config, data_root, tmp_path / "fetched")
    with pytest.raises(UserError, match=message):
        prepare(config | changes, tmp_path / "fetched", unigram, tmp_path / "run/data")
    assert not (tmp_path / "run").exists() or list((tmp_path / "run").iterdir()) == []


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer.json: no such file"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer.json: cannot be read"):
        load_tokenizer(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"sets": {}}))
    with pytest.raises(UserError, match="no prepared data in it"):
        Prepared.load(tmp_path)


def test_preparing_imports_nothing_heavy() -> None:
    code = (
        "import sys, stilts.data.fetch, stilts.data.prepare, stilts.data.texts, stilts.tasks.families\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'deepspeed', 'pandas'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
