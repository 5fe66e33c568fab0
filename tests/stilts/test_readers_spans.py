"""Questions in their original formats; TyDiQA trains on English alone, whatever the files hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stilts.data.examples import Question
from stilts.data.readers import read_set
from stilts.errors import UserError
from tests.stilts.originals import HOUSE, SQUAD2, question, squad, write_file

EN = "It was in the house of Ada."
OFFICIAL = "tydiqa-goldp-v1.1-train.json"


def articles(*contexts: str, ids: str = "{}") -> str:
    """A file with one question on each context; the ids are numbers from 0, as XTREME cuts them."""
    data = [{"paragraphs": [{"context": text, "qas": [
        {"id": ids.format(number), "question": "?", "answers": [{"text": text[:2], "answer_start": 0}]}]}]}
        for number, text in enumerate(contexts)]  # fmt: skip
    return json.dumps({"version": "1.1", "data": data}, ensure_ascii=False, indent=0)


def names(task: str, name: str, path: Path, labelled: bool = True) -> list[str]:
    return [row.id for row in read_set(task, name, [path], labelled).examples if isinstance(row, Question)]


@pytest.mark.parametrize(
    ("task", "path", "count"),
    [
        ("squad2", "squad_v2.0/dev-v2.0.json", 208),
        ("squad2", "squad_v2.0/train-v2.0.json", 753),
        ("squad2", "squad_v2.0/train-v2.0-mixed.json", 517),
        ("mlqa", "mlqa/MLQA_V1/dev/dev-context-ar-question-ar.json", 120),
        ("mlqa", "mlqa/MLQA_V1/test/test-context-zh-question-zh.json", 83),
    ],
)
def test_counts_of_the_slices(data_root: Path, task: str, path: str, count: int) -> None:
    rows = read_set(task, "dev.xx", [data_root / path]).examples
    assert len(rows) == count
    impossible = [row for row in rows if isinstance(row, Question) and not row.answers]
    assert len(impossible) == {208: 112, 517: 299}.get(count, 0)


def test_unanswerable_questions_belong_to_squad_2_alone(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.json", SQUAD2)
    answered, impossible = read_set("squad2", "dev.en", [path]).examples
    assert isinstance(answered, Question) and [answer.text for answer in answered.answers] == ["house"]
    assert isinstance(impossible, Question) and impossible.answers == ()
    for task in ("squad1", "squad", "xquad", "mlqa"):
        with pytest.raises(UserError, match=r"is this SQuAD 2\.0"):
            read_set(task, "dev.en", [path])


def test_emptied_answers_are_no_answers(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.json", squad(question("q1", ("", 0)), question("q2", ("", 0))))
    rows = read_set("xquad", "test.de", [path], labelled=False).examples
    assert [row.answers for row in rows if isinstance(row, Question)] == [(), ()]
    path = write_file(tmp_path / "b.json", squad(question("q1", ("", 0)), question("q2", HOUSE)))
    with pytest.raises(UserError, match=r"b.json:\d+: question 'q2' has an answer in a file whose first"):
        read_set("xquad", "test.de", [path], labelled=False)


def test_xtremes_english_training_file(data_root: Path) -> None:
    """Its ids are numbers that repeat: 45 different ones for 600 questions."""
    path = data_root / "tydiqa_goldp/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json"
    found = names("tydiqa", "train.en", path)
    assert len(found) == len(set(found)) == 600 and found[0] == "tydiqa.goldp.en.train-0"


@pytest.mark.parametrize("language", ["en", "fi", "ko", "sw", "te"])
def test_development_files_by_language(data_root: Path, language: str) -> None:
    path = data_root / f"tydiqa_goldp/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{language}.dev.json"
    assert len(names("tydiqa", f"test.{language}", path)) == 120


def test_of_the_official_file_one_language_is_taken(tmp_path: Path) -> None:
    text = squad(*(question(f"{name}-{number}", HOUSE) for number, name in enumerate(["arabic", "english"] * 3)))
    path = write_file(tmp_path / OFFICIAL, text)
    assert names("tydiqa", "train.en", path) == ["english-1", "english-3", "english-5"]
    assert names("tydiqa", "dev.ar", path) == ["arabic-0", "arabic-2", "arabic-4"]
    with pytest.raises(UserError, match=rf"{OFFICIAL}:1: no question of language te"):
        read_set("tydiqa", "test.te", [path])


def test_the_official_file_must_say_the_language_of_each_question(tmp_path: Path) -> None:
    path = write_file(tmp_path / OFFICIAL, squad(question("english-1", HOUSE), question("12", HOUSE)))
    with pytest.raises(UserError, match=rf"{OFFICIAL}:21: id '12' does not begin with one of arabic"):
        read_set("tydiqa", "train.en", [path])


def test_all_languages_in_the_english_file_are_refused(tmp_path: Path) -> None:
    """What jiant's download makes: the whole training file under the name of every language."""
    ids = [f"{name}-{number}" for number, name in enumerate(["english", "telugu", "english", *["arabic"] * 20])]
    path = write_file(tmp_path / "tydiqa.en.train.json", squad(*(question(name, HOUSE) for name in ids)))
    with pytest.raises(UserError) as caught:
        read_set("tydiqa", "train.en", [path])
    assert caught.value.problems[0].startswith(f"{path}:21: question 'telugu-1' is not of language en")
    assert len(caught.value.problems) == 11 and "11 more" in caught.value.problems[-1]


def test_more_questions_than_english_has_are_refused(tmp_path: Path) -> None:
    """Numbers for ids say nothing of the language; the whole file has 49,881 questions, English 3,696."""
    path = write_file(tmp_path / "tydiqa.goldp.en.train.json", articles(*[EN] * 3696))
    assert len(names("tydiqa", "train.en", path)) == 3696
    write_file(path, articles(*[EN] * 3697))
    with pytest.raises(UserError, match=r"train.json:\d+: the question after the 3,696 .* of 3,697"):
        read_set("tydiqa", "train.en", [path])


@pytest.mark.parametrize(
    "foreign",
    [
        "Это было в доме Анны.",
        "이것은 집에 있었다.",
        "Se oli talossa, jonka The Beatles osti vuonna 1965.",
        "Kucing ini adalah milik saya dan lagu The Beatles.",
        "హౌస్ లో ఉంది",
    ],
)
def test_contexts_in_other_languages_are_refused(tmp_path: Path, foreign: str) -> None:
    path = write_file(tmp_path / "tydiqa.goldp.en.train.json", articles(*[EN] * 8, foreign, foreign))
    with pytest.raises(UserError, match=r"train.json:\d+: the first of 2 contexts, of 10, that are not English"):
        read_set("tydiqa", "train.en", [path])


def test_one_context_in_fifty_may_look_foreign(tmp_path: Path) -> None:
    """Lists of places or numbers have no such words; a short context needs none."""
    places = "Northernmost point: Kure Atoll; southernmost point: Jacquemart"
    path = write_file(tmp_path / "tydiqa.goldp.en.train.json", articles(*[EN] * 49, places, "Kure Atoll"))
    assert len(names("tydiqa", "train.en", path)) == 51
    write_file(path, articles(*[EN] * 48, places, places))
    with pytest.raises(UserError, match="the first of 2 contexts, of 50, that are not English"):
        names("tydiqa", "train.en", path)


@pytest.mark.parametrize("split", ["train", "dev"])
@pytest.mark.parametrize("name", ["ar-1", "English-1", "1-2", "", "en"])
def test_an_id_that_names_no_language_is_refused_in_english(tmp_path: Path, split: str, name: str) -> None:
    path = write_file(tmp_path / "tydiqa.goldp.en.x.json", squad(question("12", HOUSE), question(name, HOUSE)))
    with pytest.raises(UserError, match=rf"x.json:\d+: id '{name}' is no number, nor does it begin with 'english-'"):
        names("tydiqa", f"{split}.en", path)


@pytest.mark.parametrize("language", ["fi", "ko", "sw", "te"])
def test_no_other_language_passes_for_english(data_root: Path, tmp_path: Path, language: str) -> None:
    """Real passages, with ids cut down as XTREME cuts those of its training files."""
    source = data_root / f"tydiqa_goldp/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{language}.dev.json"
    record = json.loads(source.read_text())
    for article in record["data"]:
        for paragraph in article["paragraphs"]:
            for entry in paragraph["qas"]:
                entry["id"] = entry["id"].rpartition("-")[2]
    path = write_file(tmp_path / "tydiqa.goldp.en.train.json", json.dumps(record, indent=0))
    with pytest.raises(UserError, match="of 120, that are not English"):
        read_set("tydiqa", "train.en", [path])
