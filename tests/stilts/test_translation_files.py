"""Translations as files: read with their lines, found under a data root, prepared beside the English sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stilts.data.examples import Answer, Choice, Example, Pair, Question, Reading
from stilts.data.fetch import fetch_data
from stilts.data.fetched import Fetched
from stilts.data.prepare import prepare
from stilts.data.prepared import Prepared
from stilts.data.translated import format_row, read_translated
from stilts.errors import UserError
from stilts.runs import write_json
from stilts.translation.shards import join_parts
from tests.stilts.originals import NLI_ROWS, line, write_file
from tests.stilts.slices import make_character_tokenizer, places_of

PAIR = {"id": "1", "text": "Es regnet.", "second_text": "Es ist nass.", "label": "entailment"}
CHOICE = {"id": "1", "context": "Sie", "endings": ["rennt.", "fliegt."], "label": 1}
QUESTION = {"id": "1", "question": "Wer?", "context": "Ada kam.", "answers": [{"text": "Ada", "start": 0}]}


def read(tmp_path: Path, task: str, *rows: dict[str, Any] | str) -> Reading:
    text = "".join(row if isinstance(row, str) else line(**row) for row in rows)
    return read_translated(write_file(tmp_path / "train.de.jsonl", text), task)


def test_rows_become_examples(tmp_path: Path) -> None:
    assert read(tmp_path, "mnli", PAIR).examples == [Pair("1", "Es regnet.", "Es ist nass.", "entailment")]
    assert read(tmp_path, "hellaswag", CHOICE).examples == [Choice("1", "Sie", ("rennt.", "fliegt."), 1)]
    assert read(tmp_path, "squad1", QUESTION).examples == [Question("1", "Wer?", "Ada kam.", (Answer("Ada", 0),))]
    assert read(tmp_path, "squad2", {**QUESTION, "answers": []}).examples == [Question("1", "Wer?", "Ada kam.", ())]
    assert read(tmp_path, "mnli").examples == []


TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
QUESTIONS = st.builds(
    lambda before, answer, after: Question("q", before, before + answer + after, (Answer(answer, len(before)),)),
    TEXTS,
    TEXTS.filter(bool),
    TEXTS,
)
PAIRS = st.builds(Pair, st.just("p"), TEXTS, TEXTS, st.sampled_from(["neutral", "entailment"]))
CHOICES = st.builds(Choice, st.just("c"), TEXTS, st.tuples(TEXTS, TEXTS, TEXTS), st.integers(0, 2))


@given(st.data(), st.sampled_from([("mnli", PAIRS), ("csqa", CHOICES), ("squad1", QUESTIONS)]))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: tuple[str, st.SearchStrategy[Example]]
) -> None:
    example = data.draw(kind[1])
    path = tmp_path_factory.mktemp("rows") / "train.de.jsonl"
    write_file(path, format_row(example) + "\n")
    assert read_translated(path, kind[0]).examples == [example]


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("mnli", '{"id": "1",\n', "no JSON"),
        ("mnli", "[]\n", "a JSON list where an object is needed"),
        ("mnli", {"id": "1", "text": "a"}, "no key second_text, label"),
        ("mnli", {**PAIR, "label": "Folge"}, "label 'Folge' is not one of contradiction, entailment, neutral"),
        ("mnli", {**PAIR, "label": 1}, "label 1: a string is needed"),
        ("mnli", {**PAIR, "text": None}, "text None: a string is needed"),
        ("mnli", {**PAIR, "id": ""}, "an empty id"),
        ("mnli", {**PAIR, "id": "0"}, "id '0' stands twice, first at .*train.de.jsonl:1"),
        ("hellaswag", {**CHOICE, "endings": ["a", "b", "c"]}, "3 endings, the first row has 2"),
        ("hellaswag", {**CHOICE, "endings": ["a", 2]}, "a list of two or more strings"),
        ("hellaswag", {**CHOICE, "label": 2}, "label 2 is not one of 0 to 1"),
        ("hellaswag", {**CHOICE, "label": True}, "label True is not one of 0 to 1"),
        ("squad1", {**QUESTION, "answers": []}, "has no answer; only those of squad2 may have none"),
        ("squad1", {**QUESTION, "answers": None}, "answers None: a list is needed"),
        ("squad1", {**QUESTION, "answers": ["Ada"]}, "answer 'Ada': an object with text and start"),
        ("squad1", {**QUESTION, "answers": [{"text": "Ada", "start": 1}]}, "answer 'Ada' at 1, where 'da ' stands"),
        ("squad1", {**QUESTION, "answers": [{"text": "Ada", "start": -8}]}, "answer 'Ada' at -8, where '' stands"),
        ("squad1", {**QUESTION, "answers": [{"text": "Ada", "start": "0"}]}, "start a number"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, task: str, row: dict[str, Any] | str, message: str) -> None:
    goods: dict[str, dict[str, Any]] = {"mnli": PAIR, "hellaswag": CHOICE, "squad1": QUESTION}
    good = goods[task]
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, task, {**good, "id": "0"}, row, "nothing\n")
    assert places_of(caught.value.problems)[0] == "train.de.jsonl:2"
    assert places_of(caught.value.problems)[-1] == "train.de.jsonl:3"


def make_root(folder: Path) -> Path:
    header = "index\tpairID\tsentence1\tsentence2\tgold_label\n"
    write_file(folder / "MNLI" / "train.tsv", header + NLI_ROWS)
    write_file(folder / "MNLI" / "dev_matched.tsv", header + NLI_ROWS)
    return folder


CONFIG = {"kind": "data", "suite": "xtreme", "task": "mnli"}


def test_the_users_own_translations_are_fetched(tmp_path: Path) -> None:
    for language in ("de", "sw"):
        write_file(tmp_path / f"translated/mnli/train.{language}.jsonl", line(**PAIR) + line(**{**PAIR, "id": "2"}))
    manifest = fetch_data({**CONFIG, "part": "translated", "languages": ["de", "sw"]}, tmp_path, tmp_path / "out")
    assert manifest["part"] == "translated"
    assert manifest["counts"] == {f"train.{language}": {"examples": 2, "skipped": 0} for language in ("de", "sw")}
    assert len(Fetched.load(tmp_path / "out").read("train.sw").examples) == 2


def test_missing_translations_come_in_one_error(tmp_path: Path) -> None:
    write_file(tmp_path / "translated/mnli/train.de.jsonl", "")
    with pytest.raises(UserError) as caught:
        fetch_data({**CONFIG, "part": "translated", "languages": ["de", "sw", "zh"]}, tmp_path, tmp_path / "out")
    first, second, third = caught.value.problems
    assert "mnli train.de: nothing in" in first and str(tmp_path / "translated/mnli/train.sw.jsonl") in second
    assert "no file" in third and "translation: {model: ...}" in third
    assert not (tmp_path / "out").exists()


def test_translations_of_labelled_words_are_refused(tmp_path: Path) -> None:
    write_file(tmp_path / "translated/ccg/train.de.jsonl", "{}\n")
    with pytest.raises(UserError, match="ccg: cannot be translated"):
        fetch_data({**CONFIG, "task": "ccg", "part": "translated", "languages": ["de"]}, tmp_path, tmp_path / "out")


class Study:
    """A fetched English set, shards of translations and a tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        fetch_data({**CONFIG, "part": "train"}, make_root(folder / "root"), folder / "english")
        (folder / "model").mkdir()
        make_character_tokenizer(["Es regnet. Es ist nass. It rains . It is cold . wet"]).save(
            str(folder / "model" / "tokenizer.json")
        )

    def add_shard(self, language: str, shard: int, shards: int, rows: list[dict[str, Any]], task: str = "mnli") -> Path:
        out = self.folder / f"{task}-{language}-{shard}of{shards}"
        part = {
            "rows": [json.dumps(row) for row in rows],
            "counts": {},
            "usage": {},
            "seconds": 1.0,
            "dtype": "float32",
        }
        write_json(out / "parts" / "00000.json", part)
        manifest = {"suite": "xtreme", "task": task, "part": "train", "shard": shard, "shards": shards}
        join_parts(out / "parts", 1, out / "data", f"train.{language}", manifest)
        return out / "data"

    def prepare(self, sources: list[Path], languages: list[str]) -> Prepared:
        config = {"suite": "xtreme", "task": "mnli", "part": "train", "max_length": 64, "translated": languages}
        out = self.folder / "prepared"
        prepare(config, [self.folder / "english", *sources], self.folder / "model", out)
        return Prepared.load(out)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def rows(*names: str, label: str = "neutral") -> list[dict[str, Any]]:
    return [{**PAIR, "id": name, "label": label} for name in names]


def test_shards_become_one_set_beside_the_english_ones(study: Study) -> None:
    second = study.add_shard("de", 2, 3, rows("c", label="contradiction"))
    first = study.add_shard("de", 1, 3, rows("a", "b"))
    third = study.add_shard("de", 3, 3, [])  # of a small set some shards are empty
    other = study.add_shard("sw", 1, 1, rows("x"))
    prepared = study.prepare([second, other, third, first], ["de", "sw"])
    assert set(prepared.sets) == {"train.en", "dev.en", "train.de", "train.sw"}
    assert prepared.open("train.de").arrays["labels"].tolist() == [2, 2, 0]
    assert prepared.manifest["sets"]["train.de"]["examples"] == 3
    assert len(prepared.open("train.sw")) == 1 and len(prepared.open("train.en")) == 2
    assert not (prepared.folder / "train.de.examples.parquet").exists()


def test_the_users_own_translations_are_prepared(study: Study) -> None:
    for language in ("de", "sw"):
        write_file(study.folder / f"root/translated/mnli/train.{language}.jsonl", line(**PAIR))
    config = {**CONFIG, "part": "translated", "languages": ["de", "sw"]}
    fetch_data(config, study.folder / "root", study.folder / "own")
    prepared = study.prepare([study.folder / "own"], ["de"])
    assert set(prepared.sets) == {"train.en", "dev.en", "train.de"}


def test_english_sets_are_the_same_with_translations_and_without(study: Study) -> None:
    alone = study.prepare([], []).manifest["sets"]
    beside = study.prepare([study.add_shard("de", 1, 1, rows("a"))], ["de"]).manifest["sets"]
    assert alone == {name: beside[name] for name in alone}


def test_what_does_not_fit_is_refused_all_at_once(study: Study) -> None:
    incomplete = study.add_shard("de", 2, 3, rows("a"))
    foreign = study.add_shard("sw", 1, 1, [CHOICE], task="hellaswag")
    with pytest.raises(UserError) as caught:
        study.prepare([incomplete, foreign], ["de", "sw", "zh"])
    assert [problem.split(": ", 1)[1] for problem in caught.value.problems] == [
        "holds task 'hellaswag', 'mnli' is to be prepared",
        "shards 2 of 3 are there; each is needed once",
        "no folder holds it; run its translation again",
    ]
    with pytest.raises(UserError, match=r"no example of train.de is left"):
        study.prepare([study.add_shard("de", 1, 1, [])], ["de"])


def test_changed_translations_are_refused(study: Study) -> None:
    shards = [study.add_shard("de", number, 2, rows(f"n{number}")) for number in (1, 2)]
    for shard in shards:
        write_file(shard / "train.de.jsonl", line(**PAIR))
    with pytest.raises(UserError) as caught:
        study.prepare(shards, ["de"])
    assert len(caught.value.problems) == 2 and all("has changed" in problem for problem in caught.value.problems)
    assert not (study.folder / "prepared").exists()
