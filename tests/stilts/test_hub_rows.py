"""Rows of the hub that are not as they should be, and what the hub's loaders did to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stilts.data.examples import Answer, Line, Pair, Question, Sentence
from stilts.data.hub_rows import has_labels, read_rows_of_hub
from stilts.errors import UserError
from tests.support.hub_repositories import SCHEMAS, to_parquet

PAIR = {"premise": " A man. ", "hypothesis": "He is.", "label": 1}
QUESTION = {"id": "finnish-1", "context": "Helsinki on iso.", "question": " Mikä? "}
WORDS = {"tokens": ["Ein", "Haus"], "pos_tags": [5, 7]}


def write(tmp_path: Path, schema: str, *rows: dict[str, Any], name: str = "dev.fi") -> Path:
    path = tmp_path / f"{name}.parquet"
    path.write_bytes(to_parquet(list(rows), SCHEMAS[schema]))
    return path


def question(texts: list[str], starts: list[int], **changes: Any) -> dict[str, Any]:
    return {**QUESTION, "answers": {"text": texts, "answer_start": starts}, **changes}


def complain(task: str, set_name: str, path: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_rows_of_hub(task, set_name, path)
    return [problem.replace(f"{path}:", "") for problem in caught.value.problems]


def test_classes_go_by_name_not_by_number(tmp_path: Path) -> None:
    path = write(tmp_path, "facebook/xnli", PAIR)
    assert read_rows_of_hub("xnli", "dev.fi", path).examples == [Pair("0", "A man.", "He is.", "neutral")]
    table = pq.read_table(path)
    turned = (table.schema.metadata[b"huggingface"]).replace(b'"entailment", "neutral"', b'"neutral", "entailment"')
    pq.write_table(table.replace_schema_metadata({b"huggingface": turned}), path)
    assert read_rows_of_hub("xnli", "dev.fi", path).examples == [Pair("0", "A man.", "He is.", "entailment")]
    pq.write_table(table.replace_schema_metadata({b"huggingface": turned.replace(b"neutral", b"maybe")}), path)
    assert complain("xnli", "dev.fi", path) == [
        " label has the classes maybe; legal are contradiction, entailment, neutral"
    ]
    pq.write_table(table.replace_schema_metadata({}), path)
    (problem,) = complain("xnli", "dev.fi", path)
    assert problem.startswith("row 1: label 1 is not one of contradiction") and "names no classes" in problem


def test_every_bad_row_is_named(tmp_path: Path) -> None:
    rows = [PAIR, {**PAIR, "label": -1}, {**PAIR, "premise": None}]
    assert complain("xnli", "dev.fi", write(tmp_path, "facebook/xnli", *rows)) == [
        "row 2: label -1 in a set with labels; legal are contradiction, entailment, neutral",
        "row 3: premise None: a string is needed",
    ]
    path = write(tmp_path, "facebook/xnli", *[{**PAIR, "premise": None}] * 30)
    assert len(complain("xnli", "dev.fi", path)) == 11


def test_hidden_labels_make_a_set_without_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "facebook/xnli", {**PAIR, "label": -1}, {**PAIR, "label": -1})
    assert not has_labels("xnli", path)
    assert [example.label for example in read_rows_of_hub("xnli", "test.fi", path).examples] == [None, None]  # type: ignore[union-attr]
    path = write(tmp_path, "google/xquad", question([], []), question([], [], id="finnish-2"))
    assert not has_labels("xquad", path)
    assert [example.answers for example in read_rows_of_hub("xquad", "test.fi", path).examples] == [(), ()]  # type: ignore[union-attr]
    path = write(tmp_path, "google/xtreme udpos", {**WORDS, "pos_tags": [-1, -1]})
    assert not has_labels("udpos", path)
    assert read_rows_of_hub("udpos", "test.fi", path).examples == [Sentence("0", ("Ein", "Haus"), ())]


def test_no_answer_is_a_label_in_squad2_alone(tmp_path: Path) -> None:
    path = write(tmp_path, "rajpurkar/", question(["iso"], [12]), question([], [], id="finnish-2"))
    assert has_labels("squad2", path)
    examples = read_rows_of_hub("squad2", "dev.en", path).examples
    assert [example.answers for example in examples] == [(Answer("iso", 12),), ()]  # type: ignore[union-attr]
    assert complain("squad1", "dev.en", path) == ["row 2: question 'finnish-2' has no answer; one at least is needed"]


def test_offsets_beyond_their_answers_by_a_cut_of_the_context(tmp_path: Path) -> None:
    path = write(tmp_path, "rajpurkar/", question(["on", "iso"], [12, 15]))
    expected = Question("finnish-1", "Mikä?", "Helsinki on iso.", (Answer("on", 9), Answer("iso", 12)))
    assert read_rows_of_hub("tydiqa", "test.fi", path).examples == [expected]
    # SQuAD's contexts are not cut, and two answers are never beyond by two different numbers.
    assert complain("squad1", "dev.en", path) == ["row 1: answers ['on', 'iso'] at [12, 15], where ['is', '.'] stand"]
    path = write(tmp_path, "rajpurkar/", question(["on", "iso"], [12, 16]))
    assert complain("tydiqa", "test.fi", path) == ["row 1: answers ['on', 'iso'] at [12, 16], where ['is', ''] stand"]


def test_one_shift_for_all_questions_of_a_context(tmp_path: Path) -> None:
    """The context lost two blanks; by chance the first answer stands at its old offset too."""
    rows = [
        {**question(["1"], [4], id="finnish-1"), "context": "x 1 1 y"},
        {**question(["y"], [8], id="finnish-2"), "context": "x 1 1 y"},
        {**question(["b"], [2], id="finnish-3"), "context": "a b"},
        {**question(["a"], [1], id="finnish-4"), "context": "a b"},
    ]
    path = write(tmp_path, "rajpurkar/", *rows)
    found = [example.answers for example in read_rows_of_hub("tydiqa", "test.fi", path).examples]  # type: ignore[union-attr]
    # Of the last context no number fits both questions: each row is looked at for itself.
    assert found == [(Answer("1", 2),), (Answer("y", 6),), (Answer("b", 2),), (Answer("a", 0),)]


def test_pairs_of_pawsx_without_a_label(tmp_path: Path) -> None:
    """Left out of the training set, refused where the score would be one of other pairs."""
    row = {"id": 1, "sentence1": "a", "sentence2": "b", "label": 1}
    path = write(tmp_path, "google-research-datasets/paws-x", row, {**row, "id": 2, "label": -1})
    reading = read_rows_of_hub("pawsx", "train.en", path)
    assert (len(reading.examples), reading.skipped) == (1, 1)
    for name in ("dev.en", "test.de"):
        assert complain("pawsx", name, path) == ["row 2: label -1 in a set with labels; legal are 0, 1"]


def test_ids_may_repeat_where_they_may_in_the_original_files(tmp_path: Path) -> None:
    cosmos = {"id": "x", "context": "c", "question": "q", **{f"answer{i}": "a" for i in range(4)}, "label": 0}
    path = write(tmp_path, "allenai/cosmos_qa", cosmos, {**cosmos, "answer3": "b"})
    assert [row.id for row in read_rows_of_hub("cosmosqa", "train.en", path).examples] == ["x", "x-2"]  # type: ignore[union-attr]
    assert complain("cosmosqa", "dev.en", path) == ["row 2: id 'x' stands twice, first in row 1"]
    path = write(tmp_path, "allenai/cosmos_qa", cosmos, cosmos)
    assert complain("cosmosqa", "train.en", path) == ["row 2: id 'x' stands twice, first in row 1, with the same texts"]


def test_an_id_twice(tmp_path: Path) -> None:
    path = write(tmp_path, "google/xquad", question(["iso"], [12]), question(["iso"], [12]))
    assert complain("xquad", "test.fi", path) == ["row 2: id 'finnish-1' stands twice, first in row 1"]


def test_words_and_tags(tmp_path: Path) -> None:
    path = write(tmp_path, "google/xtreme udpos", {**WORDS, "tokens": ["zwei\u200c mal", "1 000"]})
    assert read_rows_of_hub("udpos", "dev.de", path).examples == [Sentence("0", ("zweimal", "1000"), ("DET", "NOUN"))]
    path = write(tmp_path, "google/xtreme udpos", WORDS, {**WORDS, "pos_tags": [5]}, {**WORDS, "tokens": []})
    assert complain("udpos", "dev.de", path) == [
        "row 2: 2 tokens and the tags [5]: as many are needed",
        "row 3: tokens []: a list of strings is needed",
    ]


def test_a_gold_pair_of_bucc_twice_and_one_without_a_sentence(tmp_path: Path) -> None:
    def row(foreign: str, english: str, text: str = "text") -> dict[str, str]:
        return {"source_sentence": text, "target_sentence": "text", "source_lang": foreign, "target_lang": english}

    path = write(tmp_path, "google/xtreme bucc18", row("de-1", "en-1"), row("de-1", "en-2"), row("de-2", "en-2", " "))
    reading = read_rows_of_hub("bucc2018", "dev.de", path)
    assert reading.skipped == 1
    assert reading.examples == [
        Line("de-1", "text", False, ("en-1", "en-2")),
        Line("en-1", "text", True),
        Line("en-2", "text", True),
    ]


def test_choices(tmp_path: Path) -> None:
    row = {"id": "x", "question": "Where?", "choices": {"label": list("ABCDE"), "text": list("vwxyz")}, "answerKey": ""}
    path = write(tmp_path, "tau/commonsense_qa", row)
    assert complain("csqa", "dev.en", path) == ["row 1: answerKey '' is not one of A B C D E"]
    cosmos = {"id": "x", "context": "c", "question": "q", **{f"answer{i}": "a" for i in range(4)}, "label": -1}
    path = write(tmp_path, "allenai/cosmos_qa", cosmos)
    assert complain("cosmosqa", "dev.en", path) == ["row 1: label -1 is not one of 0 to 3"]


def test_another_schema_and_no_parquet(tmp_path: Path) -> None:
    path = write(tmp_path, "nyu-mll/glue qqp", {"question1": "a", "question2": "b", "label": 0, "idx": 0})
    assert complain("xnli", "dev.en", path) == [
        f" no column {name}; there are question1, question2, label, idx" for name in ("premise", "hypothesis")
    ]
    path.write_bytes(b"nothing")
    assert "no Parquet file" in complain("xnli", "dev.en", path)[0]
    pq.write_table(pa.table({"premise": [], "hypothesis": [], "label": []}), path)
    assert complain("xnli", "dev.en", path) == [
        f"{path}: no example in it; fetch the set again".replace(f"{path}:", "")
    ]
