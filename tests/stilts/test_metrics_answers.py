"""Answers compared by SQuAD 1.1's, SQuAD 2.0's and MLQA's rules: by hand, and against slow readings of the rules."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stilts.errors import UserError
from stilts.evaluation.answers import normalize_mlqa, normalize_squad, score_answer, score_possible_answer
from stilts.tasks import span
from stilts.tasks.columns import task_metrics

ARTICLES = {
    "en": "a an the",
    "es": "un una unos unas el la los las",
    "vi": "của là cái chiếc những",
    "de": "ein eine einen einem eines einer der die das den dem des",
    "hi": "",
    "zh": "",
    "ar": "",
}
LANGUAGES = tuple(ARTICLES)

# Scripts from right to left, combining marks, Thai, CJK with its own marks, digits of other scripts, all white space.
AWKWARD = (
    "the a An él LA los của là ein Die den ال الكتاب كال العَرَبِيّة שָׁלוֹם กรุงเทพฯ ไทย 北京 。、·《上海》 한국 हिन्दी का ।"
).split()
characters = st.sampled_from(
    list(" \t\n\u00a0\u3000\u200b\u200f.,!?-'\"$+^`|~<>«»“”،؟。、！（）·…٪%€№")
    + list("aAeEİßǅñÑ1²٣۴अ़ाक्กำे\u0301\u0300北京龥龦㐀𠀀")
)
texts = st.one_of(
    st.lists(st.one_of(st.sampled_from(AWKWARD), characters), max_size=12).map("".join),
    st.lists(st.sampled_from(AWKWARD), max_size=8).map(" ".join),
    st.text(max_size=12),
)
answers = st.lists(texts, min_size=1, max_size=3)


def slow_words(text: str, articles: str, punctuation: bool, split_chinese: bool = False, drop_al: bool = False) -> list:
    """The words of a normalised text, character by character. `punctuation`: of all scripts, not ASCII's alone."""
    kept = ""
    for character in text.lower():
        marks = character in string.punctuation or (punctuation and unicodedata.category(character)[0] == "P")
        kept += "" if marks else character
    # A word for the articles is a run of letters, digits and underscores, as \b sees it.
    runs = re.findall(r"\w+|\W", kept)
    kept = "".join(" " if run in articles.split() else run for run in runs)
    if drop_al:
        kept = " ".join(kept.split("ال"))
    if split_chinese:
        kept = "".join(f" {c} " if 0x4E00 <= ord(c) <= 0x9FA5 else c for c in kept)
    return kept.split()


def slow_mlqa(text: str, language: str) -> list[str]:
    return slow_words(text, ARTICLES[language], True, language == "zh", language == "ar")


def slow_f1(words: list[str], gold: list[str], both_empty: float = 0.0) -> float:
    if not words or not gold:
        return both_empty if words == gold else 0.0
    rest, shared = list(gold), 0
    for word in words:
        if word in rest:
            rest.remove(word)
            shared += 1
    return 2 * shared / (len(words) + len(gold))


@given(texts, answers)
def test_squad_scores_are_those_of_the_slow_rules(prediction: str, golds: list[str]) -> None:
    words = [slow_words(text, ARTICLES["en"], False) for text in (prediction, *golds)]
    f1, exact = score_answer(prediction, golds, normalize_squad)
    assert f1 == pytest.approx(max(slow_f1(words[0], gold) for gold in words[1:]))
    assert exact == any(words[0] == gold for gold in words[1:])
    assert normalize_squad(prediction) == " ".join(words[0])


@given(texts, answers, st.sampled_from(LANGUAGES))
def test_mlqa_scores_are_those_of_the_slow_rules(prediction: str, golds: list[str], language: str) -> None:
    words = [slow_mlqa(text, language) for text in (prediction, *golds)]
    f1, exact = score_answer(prediction, golds, lambda text: normalize_mlqa(text, language))
    assert normalize_mlqa(prediction, language) == " ".join(words[0])
    assert f1 == pytest.approx(max(slow_f1(words[0], gold) for gold in words[1:]))
    assert exact == any(words[0] == gold for gold in words[1:])


@given(texts, st.lists(texts, max_size=3))
def test_squad2_scores_are_those_of_the_slow_rules(prediction: str, golds: list[str]) -> None:
    words = slow_words(prediction, ARTICLES["en"], False)
    wanted = [gold for gold in (slow_words(text, ARTICLES["en"], False) for text in golds) if gold] or [[]]
    f1, exact = score_possible_answer(prediction, golds)
    assert f1 == pytest.approx(max(slow_f1(words, gold, both_empty=1.0) for gold in wanted))
    assert exact == (words in wanted)


@pytest.mark.parametrize(
    ("prediction", "golds", "f1", "exact"),
    [
        ("The Eiffel Tower!", ["eiffel tower"], 1, True),
        ("a  cat, an\u00a0ox", ["cat ox"], 1, True),
        ("in 1066", ["1066", "year 1066"], 2 / 3, False),
        ("", ["the"], 0, True),  # both are empty once normalised: equal texts, no word shared
        ("...", ["x"], 0, False),
        ("red red blue", ["red blue blue"], 2 / 3, False),
        ("北京大学", ["北京"], 0, False),  # no blank, no partial credit: as in XTREME
        ("「北京」", ["北京"], 0, False),  # marks of other scripts stay
        ("el gato", ["gato"], 2 / 3, False),  # and so do their articles
    ],
)
def test_squad_by_hand(prediction: str, golds: list[str], f1: float, exact: bool) -> None:
    assert score_answer(prediction, golds, normalize_squad) == (pytest.approx(f1), exact)


@pytest.mark.parametrize(
    ("language", "text", "normalized"),
    [
        ("en", "The «Eiffel» Tower’s “top”…", "eiffel towers top"),
        ("en", "$5 + 5% = ^6`", "5 5 6"),  # ASCII's symbols go, though they are no punctuation in Unicode
        ("en", "€5 ²", "€5 ²"),  # others stay
        ("es", "¿El gato y unas casas?", "gato y casas"),
        ("es", "él", "él"),
        ("de", "Die Katze des Königs, einer", "katze königs"),
        ("de", "diese", "diese"),
        ("vi", "Những chiếc xe của tôi là gì", "xe tôi gì"),
        ("hi", "the एक किताब।", "the एक किताब"),
        ("ar", "الكتاب، الجديد؟", "كتاب جديد"),
        ("ar", "خيال", "خي"),  # wherever it stands: the script's expression is not bound to the word's beginning
        ("zh", "《北京大学》 ABC大学 3年", "北 京 大 学 abc 大 学 3 年"),
        ("zh", "龥龦㐀", "龥 龦㐀"),  # characters from U+4E00 to U+9FA5 alone are words
        ("zh", "an the", "an the"),
    ],
)
def test_mlqa_by_hand(language: str, text: str, normalized: str) -> None:
    assert normalize_mlqa(text, language) == normalized


def test_mlqa_gives_partial_credit_in_chinese() -> None:
    assert score_answer("北京大学", ["北京"], lambda text: normalize_mlqa(text, "zh"))[0] == pytest.approx(2 / 3)
    with pytest.raises(UserError, match="no rules for language 'sw'; it has ar, de, en, es, hi, vi, zh"):
        normalize_mlqa("x", "sw")


def answer_table(rows: list[tuple[str, str, list[str] | None]], **columns: list[float | None]) -> pa.Table:
    languages, predictions, golds = zip(*rows, strict=True)
    lists = pa.array(golds, type=pa.list_(pa.string()))
    return pa.table({"language": languages, "prediction": predictions, "answers": lists, **columns})


def test_rows_are_scored_by_the_rules_of_their_task_and_language() -> None:
    rows: list[tuple[str, str, list[str] | None]] = [("zh", "北京大学", ["北京"]), ("es", "el gato", ["gato"])]
    f1 = {task: span.annotate(answer_table(rows), task)["f1"].to_pylist() for task in ("xquad", "tydiqa", "mlqa")}
    assert f1["xquad"] == f1["tydiqa"] == pytest.approx([0, 2 / 3])
    assert f1["mlqa"] == pytest.approx([2 / 3, 1])


def test_squad1_figures_are_means_over_questions() -> None:
    table = span.annotate(answer_table([("en", "x y", ["x"]), ("en", "", ["z"])]), "squad1")
    assert span.score(table, task_metrics("squad1")) == {"f1": pytest.approx(100 / 3), "exact_match": 0}
    assert span.count(table) == 2


def test_unlabelled_questions_have_predictions_alone() -> None:
    table = span.annotate(answer_table([("de", "x", None), ("de", "y", None)]), "xquad")
    assert table["f1"].to_pylist() == [None, None] and span.count(table) == 0
    with pytest.raises(UserError, match="de: 2 of 2 rows have no gold labels"):
        span.score(table, ("f1",))


def test_squad2_by_hand() -> None:
    """Five questions in the order of their odds, two of them without answer: 2 points for saying nothing.

    Then +1 (right), -1 (text without answer), +0.5, +0.5, +0: 3 of 5 points at odds -5, and again at 1, but no more.
    """
    rows: list[tuple[str, str, list[str] | None]] = [
        ("en", "one", ["one"]),
        ("en", "two", []),
        ("en", "one two three", ["one"]),
        ("en", "one two three", ["one"]),
        ("en", "", []),
    ]
    table = answer_table(rows, score=[9, 8, 7, 6, None], null_score=[4, 5, 6, 7, 3])
    table = span.annotate(table, "squad2")
    assert table["null_odds"].to_pylist() == [-5, -3, -1, 1, np.inf]
    assert table["answerable"].to_pylist() == [True, False, True, True, False]
    assert span.score(table, task_metrics("squad2")) == {
        "f1": pytest.approx(60),
        "exact_match": pytest.approx(60),
        "HasAns_f1": pytest.approx(100 / 3),
        "HasAns_exact": pytest.approx(100 / 3),
        "NoAns_f1": 100,
        "NoAns_exact": 100,
        "best_f1_thresh": -5,
        "best_exact_thresh": -5,
    }


def test_squad2_at_its_threshold() -> None:
    """The question with just the threshold's odds keeps its answer; a group without questions has no figures."""
    rows: list[tuple[str, str, list[str] | None]] = [("en", "one", ["one"]), ("en", "a", ["b"]), ("en", "c", ["c d"])]
    table = span.annotate(answer_table(rows, score=[2, 2, 2], null_score=[1, 2, 3]), "squad2")
    figures = span.score(table, task_metrics("squad2"))
    assert figures["best_f1_thresh"] == 1 and figures["best_exact_thresh"] == -1
    assert figures["f1"] == figures["HasAns_f1"] == pytest.approx(100 * (1 + 2 / 3) / 3)
    assert figures["HasAns_exact"] == pytest.approx(100 / 3) and not {"NoAns_f1", "NoAns_exact"} & set(figures)
    with pytest.raises(UserError, match="no metric bleu here"):
        span.score(table, ("bleu",))


@given(st.lists(st.tuples(st.sampled_from(["", "x", "y z", ".", "the"]), st.lists(st.sampled_from(["x", "z", "."]),
       max_size=2), st.integers(-3, 3), st.one_of(st.none(), st.integers(-3, 3))), min_size=1))  # fmt: skip
def test_squad2_is_the_official_evaluation(rows: list[tuple[str, list[str], int, int | None]]) -> None:
    """A whole slow evaluation: raw scores, the walk over thresholds, then the final scores of both groups."""
    table = answer_table([("en", text, golds) for text, golds, *_ in rows],
                         null_score=[row[2] for row in rows], score=[row[3] for row in rows])  # fmt: skip
    figures = span.score(span.annotate(table, "squad2"), task_metrics("squad2"))
    odds = [np.inf if score is None else null - score for _, _, null, score in rows]
    f1, exact = zip(*(score_possible_answer(text, golds) for text, golds, *_ in rows), strict=True)
    expected = {}
    for name, values in (("f1", f1), ("exact", exact)):
        best = value = float(sum(not row[1] for row in rows))
        threshold = 0.0
        for place in sorted(range(len(rows)), key=odds.__getitem__):
            value += values[place] if rows[place][1] else -1 if rows[place][0] else 0
            if value > best:
                best, threshold = value, float(odds[place])
        expected[{"f1": "f1", "exact": "exact_match"}[name]] = 100 * best / len(rows)
        expected[f"best_{name}_thresh"] = threshold
    for prefix, group in (("HasAns", True), ("NoAns", False)):
        places = [place for place, row in enumerate(rows) if bool(row[1]) is group]
        for name, values in (("f1", f1), ("exact", exact)):
            final = [not group if odds[place] > expected["best_f1_thresh"] else values[place] for place in places]
            if final:
                expected[f"{prefix}_{name}"] = 100 * sum(final) / len(final)
    assert figures == pytest.approx({name: value for name, value in expected.items() if np.isfinite(value)})


def test_squad2_has_no_infinite_threshold() -> None:
    """The one right answer comes without a legal stretch, so that all must stand: no finite threshold says so."""
    rows: list[tuple[str, str, list[str] | None]] = [("en", "b", ["a"]), ("en", "", ["the"])]
    table = span.annotate(answer_table(rows, score=[1, None], null_score=[0, 0]), "squad2")
    assert span.score(table, task_metrics("squad2")) == {
        "f1": 50,
        "exact_match": 50,
        "HasAns_f1": 50,
        "HasAns_exact": 50,
    }


def test_the_words_of_the_slow_rules_are_counted_as_bags() -> None:
    """The oracle of this file itself, by Counter."""
    words, gold = "a b b c".split(), "b b b d".split()
    shared = sum((Counter(words) & Counter(gold)).values())
    assert slow_f1(words, gold) == 2 * shared / 8
