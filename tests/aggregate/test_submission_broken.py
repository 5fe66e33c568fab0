"""Submissions that cannot be scored: each is one clear error with file and line, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.aggregate.submission_tree import score, squad, write_labels, write_predictions


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A complete and perfect submission and its labels."""
    return write_predictions(tmp_path / "predictions"), write_labels(tmp_path / "labels")


Break = Callable[[Path, Path], object]
BROKEN: dict[str, tuple[Break, str]] = {
    "too few labels": (
        lambda p, _: (p / "xnli/test-de.tsv").write_text("entailment\nneutral\n"),
        "xnli/test-de.tsv:2: the last line, but ",
    ),
    "too many numbers": (
        lambda p, _: (p / "tatoeba/test-de.tsv").write_text("2\n0\n1\n1\n"),
        "tatoeba/test-de.tsv:4: the last line, but ",
    ),
    "a tag too few": (
        lambda p, _: (p / "udpos/test-de.tsv").write_text("DET\n\nVERB\n"),
        "udpos/test-de.tsv:2: a blank line, but ",
    ),
    "a sentence too few": (
        lambda p, _: (p / "panx/test-de.tsv").write_text("B-PER\nI-PER\n"),
        "panx/test-de.tsv:3: the end of the file, but ",
    ),
    "sentences joined": (
        lambda p, _: (p / "panx/test-de.tsv").write_text("B-PER\nI-PER\nO\n"),
        "panx/test-de.tsv:3: the tag O, but ",
    ),
    "unknown label": (
        lambda p, _: (p / "xnli/test-de.tsv").write_text("entailment\ncontradictory\nneutral\n"),
        "xnli/test-de.tsv:2: 'contradictory' is no label of xnli; use one of contradiction entailment neutral",
    ),
    "unknown label among the labels": (
        lambda _, g: (g / "pawsx/test-de.tsv").write_text("0\n1\n2\n"),
        "labels/pawsx/test-de.tsv:3: '2' is no label of pawsx; use one of 0 1",
    ),
    "IOB2 tags for UD": (
        lambda p, _: (p / "udpos/test-de.tsv").write_text("B-DET\nNOUN\n\nVERB\n"),
        "udpos/test-de.tsv:1: 'B-DET' is no label of udpos",
    ),
    "words beside the tags": (
        lambda p, _: (p / "panx/test-de.tsv").write_text("Ann\tB-PER\nLee\tI-PER\n\nis\tO\n"),
        r"panx/test-de.tsv:1: 'Ann\tB-PER' is no label of panx",
    ),
    "a blank line among labels": (
        lambda p, _: (p / "xnli/test-de.tsv").write_text("entailment\n\nneutral\n"),
        "xnli/test-de.tsv:2: a blank line; use one of",
    ),
    "a sentence for its number": (
        lambda p, _: (p / "tatoeba/test-de.tsv").write_text("2\nHallo\n1\n"),
        "tatoeba/test-de.tsv:2: 'Hallo' is no line number",
    ),
    "a negative number": (
        lambda p, _: (p / "tatoeba/test-de.tsv").write_text("2\n-1\n1\n"),
        "tatoeba/test-de.tsv:2: '-1' is no line number",
    ),
    "printed numpy rows": (
        lambda p, _: (p / "tatoeba/test-de.tsv").write_text("[2]\n[ 0]\n[1]\n"),
        "tatoeba/test-de.tsv:2: '[ 0]' is a printed numpy row, as XTREME's own script writes it; write 0 alone",
    ),
    "no label at all": (
        lambda p, _: (p / "xnli/test-de.tsv").write_text(""),
        "xnli/test-de.tsv: empty; predictions are needed",
    ),
    "no tag at all": (
        lambda p, _: (p / "panx/test-de.tsv").write_text("\n\n"),
        "panx/test-de.tsv: empty; predictions are needed",
    ),
    "JSON nested deep": (
        lambda p, _: (p / "xquad/test-de.json").write_text("[" * 100_000),
        "xquad/test-de.json: lists or objects nested too deep",
    ),
    "a huge number in the JSON": (
        lambda p, _: (p / "xquad/test-de.json").write_text('{"q1": ' + "9" * 5000 + "}"),
        "xquad/test-de.json: a number with too many digits",
    ),
    "one id": (
        lambda p, _: (p / "bucc2018/test-de.tsv").write_text("f-1\ten-7\nf-2 en-9\n"),
        "bucc2018/test-de.tsv:2: 1 tab-separated columns, 2 are needed: foreign-id TAB English-id",
    ),
    "truncated JSON": (
        lambda p, _: (p / "xquad/test-de.json").write_text('{"q1": "Rome",\n "q2": '),
        "xquad/test-de.json:2: no JSON",
    ),
    "an id twice": (
        lambda p, _: (p / "mlqa/test-de.json").write_text('{"q1": "Rome", "q1": "Ostia"}'),
        "mlqa/test-de.json: the key 'q1' stands there twice",
    ),
    "answers in a list": (
        lambda p, _: (p / "tydiqa/test-fi.json").write_text('["Rome", "in 1920"]'),
        "tydiqa/test-fi.json: a JSON list where an object is needed",
    ),
    "an answer that is no text": (
        lambda p, _: (p / "tydiqa/test-fi.json").write_text('{"q1": ["Rome"]}'),
        "tydiqa/test-fi.json: the answer to 'q1' is a list",
    ),
    "labels that are predictions": (
        lambda _, g: (g / "xquad/test-de.json").write_text('{"q1": "Rome"}'),
        "labels/xquad/test-de.json: not SQuAD's JSON (no key 'data')",
    ),
    "blanked labels": (
        lambda _, g: (g / "xquad/test-de.json").write_text(squad({"q1": [], "q2": [""]})),
        "labels/xquad/test-de.json: question 'q2' has no answer; labels that were blanked cannot be scored",
    ),
    "a question twice": (
        lambda _, g: (g / "xquad/test-de.json").write_text(double_question()),
        "labels/xquad/test-de.json: question 'q1' stands there twice",
    ),
    "no question": (
        lambda _, g: (g / "xquad/test-de.json").write_text(squad({})),
        "labels/xquad/test-de.json: no question in it",
    ),
    "empty labels": (
        lambda _, g: (g / "bucc2018/test-de.tsv").write_text(""),
        "labels/bucc2018/test-de.tsv: empty; labels are needed",
    ),
    "not UTF-8": (
        lambda p, _: (p / "xnli/test-de.tsv").write_bytes(b"entailment\nneutr\xe4l\nneutral\n"),
        "xnli/test-de.tsv:2: not UTF-8 (byte 6 of the line is 0xe4)",
    ),
    "JSON that is not UTF-8": (
        lambda p, _: (p / "xquad/test-de.json").write_bytes(b'{"q1": "M\xfcnchen"}'),
        "xquad/test-de.json: not UTF-8 (byte 10)",
    ),
    "a folder for a file": (
        lambda p, _: put_folder(p / "xnli/test-de.tsv"),
        "xnli/test-de.tsv: cannot be read: Is a directory",
    ),
    "a folder for a JSON file": (
        lambda p, _: put_folder(p / "xquad/test-de.json"),
        "xquad/test-de.json: cannot be read: Is a directory",
    ),
    "a file for a task's folder": (
        lambda p, _: ((p / "pawsx").rename(p.parent / "elsewhere"), (p / "pawsx").write_text("0\n")),
        "pawsx: a file; a folder with test-LANGUAGE.tsv files is needed",
    ),
}


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def double_question() -> str:
    document = json.loads(squad({"q1": ["Rome"]}))
    questions = document["data"][0]["paragraphs"][0]["qas"]
    questions.append(questions[0])
    return json.dumps(document)


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_input_is_one_clear_error(
    kind: str, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = BROKEN[kind]
    damage(*pair)
    code, scores = score(pair)
    assert code == 2 and scores == {}
    error = capsys.readouterr().err
    assert message in error
    assert all(line.startswith("error: ") for line in error.splitlines())
    assert "Traceback" not in error


def test_a_byte_order_mark_is_no_text(pair: tuple[Path, Path]) -> None:
    whole = score(pair)
    for folder in pair:
        for name in ("xquad/test-de.json", "xnli/test-de.tsv"):
            path = folder / name
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert score(pair) == whole and whole[0] == 0


def test_the_problems_of_all_files_are_told_at_once(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("too few labels", "truncated JSON", "a file for a task's folder"):
        BROKEN[kind][0](*pair)
    (pair[1] / "panx" / "test-yo.tsv").write_text("X\nY\n")
    assert score(pair)[0] == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert [line for line in lines if "panx/test-yo.tsv:2: 'Y' is no label of panx" in line]
