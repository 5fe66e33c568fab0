"""Damaged files: every complaint names file and line, several come at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stilts.data.readers import read_set
from stilts.errors import UserError
from tests.stilts.slices import places_of

GLUE = "pairID\tsentence1\tsentence2\tgold_label\n"
WORD = "1\tHaus\t_\tNOUN\t_\t_\t0\t_\t_\t_\n"


def squad(*answers: object, context: str = "ein Haus", **more: object) -> str:
    entry = {"id": "q1", "question": "was?", "answers": list(answers), **more}
    article = {"title": "t", "paragraphs": [{"context": context, "qas": [entry]}]}
    return json.dumps({"version": "1.1", "data": [article]}, indent=1)


def choice(**changes: object) -> str:
    return json.dumps({"ind": 1, "ctx": "c", "endings": ["a", "b"], "label": 0} | changes) + "\n"


# task, file name, content, file:line, what the message says
DAMAGE = [
    ("mnli", "a.tsv", GLUE + "1\tx\ty\tneutral\n2\tx\ty\tyes\n", "a.tsv:3", "label 'yes' is not one of contradiction"),
    ("mnli", "a.tsv", GLUE + "1\tx\tneutral\n", "a.tsv:2", "3 tab-separated columns, 4 are needed: pairID sentence1"),
    ("mnli", "a.tsv", "x\ty\tneutral\textra\n", "a.tsv:1", "4 tab-separated columns, 3 are needed: sentence1"),
    ("mnli", "a.tsv", b"x\ty\tneutral\nx\t\xff\tneutral\n", "a.tsv:2", "not UTF-8 (byte 3 of the line is 0xff)"),
    ("mnli", "a.tsv", "", "", "no example in it"),
    ("mnli", "a.tsv", GLUE, "", "no example in it"),
    ("mnli", "a.jsonl", "{}\n", "a.jsonl:1", "no key sentence1, sentence2, gold_label, pairID"),
    ("xnli", "a.tsv", "x\ty\tneutral\nx\ty\t-\n", "a.tsv:2", "label '-'"),
    ("xnli", "a.tsv", "x\ty\tneutral\n\nx\ty\tneutral\n", "a.tsv:2", "1 tab-separated columns"),
    ("hellaswag", "a.jsonl", choice() + '{"ind": 1,\n', "a.jsonl:2", "no JSON"),
    ("hellaswag", "a.jsonl", choice() + "[1]\n", "a.jsonl:2", "a JSON list where an object is needed"),
    ("hellaswag", "a.jsonl", choice(label=2), "a.jsonl:1", "label 2 is not one of 0 to 1"),
    ("hellaswag", "a.jsonl", choice(label="0"), "a.jsonl:1", "label '0' is not one of 0 to 1"),
    ("hellaswag", "a.jsonl", choice(endings="ab"), "a.jsonl:1", "a list of two or more strings"),
    ("hellaswag", "a.jsonl", choice() + choice(endings=["a", "b", "c"]), "a.jsonl:2", "3 endings, the first row has 2"),
    ("squad1", "a.json", '{"data":\n [}', "a.json:2", "no JSON"),
    ("squad1", "a.json", '{"data": [{"paragraphs": [{}]}]}', "a.json:1", "no SQuAD 1.1 file (KeyError: 'qas')"),
    ("squad1", "a.json", '{"data": []}', "", "no question in it"),
    ("squad1", "a.json", squad({"text": "Haus", "answer_start": 3}), "a.json:11", "'Haus' at 3, where ' Hau' stands"),
    ("squad1", "a.json", squad({"text": "Haus", "answer_start": -4}), "a.json:11", "'Haus' at -4"),
    ("squad1", "a.json", squad(), "a.json:11", "has no answer"),
    ("squad1", "a.json", squad({"text": "Haus"}), "a.json:11", "without 'answer_start'"),
    ("squad1", "a.json", squad({"text": "Haus", "answer_start": "4"}), "a.json:11", "answer_start a number"),
    ("udpos", "a.conllu", WORD + "2\tx\t_\tNOUN\t_\t_\t0\t_\t_\n", "a.conllu:2", "9 tab-separated columns, 10"),
    ("udpos", "a.conllu", WORD + WORD.replace("1", "3"), "a.conllu:2", "'3' where number 2, a range from it"),
    ("udpos", "a.conllu", "#\n" + WORD.replace("NOUN", "N"), "a.conllu:2", "tag 'N' of 'Haus' is not one of ADJ"),
    ("udpos", "a.conllu", WORD.replace("1", "1-2") + WORD, "a.conllu:1", "the range 1-2 ends after the sentence's 1"),
    ("udpos", "a.conllu", WORD.replace("1", "1-1"), "a.conllu:1", "'1-1' where number 1"),
    ("udpos", "a.conllu", "# nothing\n\n", "", "no sentence with words in it"),
    ("udpos", "a.tsv", "Haus\tNOUN\nrot\n", "a.tsv:2", "1 tab-separated columns, 2 are needed: word tag"),
    ("udpos", "a.tsv", "Haus\tNOUN\nrot\tadj\n", "a.tsv:2", "tag 'adj' of 'rot'"),
    ("text", "a.tsv", "en\tx\n", "a.tsv:1", "2 tab-separated columns, 3 are needed"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "name", "content", "place", "message"), DAMAGE)
def test_damage_is_placed(tmp_path: Path, task: str, name: str, content: str | bytes, place: str, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        read_set(task, "dev.en", [path])
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert places_of(caught.value.problems)[0] == place


def test_a_question_may_not_stand_twice(tmp_path: Path) -> None:
    answer = {"text": "Haus", "answer_start": 4}
    record = json.loads(squad(answer))
    record["data"] *= 2
    (tmp_path / "a.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="question 'q1' stands in the file twice"):
        read_set("squad1", "dev.en", [tmp_path / "a.json"])


@pytest.mark.parametrize(
    ("foreign", "english", "place", "message"),
    [
        ("a\nb\n", "x\ny\nz\n", "t.deu:2", "t.deu has 2 and t.eng 3 lines"),
        ("a\nb\n", "x\n", "t.eng:1", "t.deu has 2 and t.eng 1 lines"),
        ("a\n\n", "x\ny\n", "t.deu:2", "an empty line"),
    ],
)
def test_parallel_files_must_fit(tmp_path: Path, foreign: str, english: str, place: str, message: str) -> None:
    paths = [tmp_path / "t.deu", tmp_path / "t.eng"]
    for path, text in zip(paths, (foreign, english), strict=True):
        path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_set("tatoeba", "test.de", paths)
    assert places_of(caught.value.problems) == [place]


def test_all_problems_come_at_once_and_end_somewhere(tmp_path: Path) -> None:
    few, many = tmp_path / "few.tsv", tmp_path / "many.tsv"
    few.write_text("x\ty\tneutral\nx\ty\tno\nx\ty\tneutral\nx\ty\n")
    many.write_text("x\ty\tno\n" * 1000)
    with pytest.raises(UserError) as caught:
        read_set("xnli", "dev.en", [few, many])
    assert places_of(caught.value.problems)[:2] == ["few.tsv:2", "few.tsv:4"]
    assert places_of(caught.value.problems)[2:-1] == [f"many.tsv:{line}" for line in range(1, 11)]
    assert "stopped after 10 problems" in caught.value.problems[-1]
