"""Metrics against values recorded from seqeval 0.0.12 and worked by hand from SQuAD 1.1's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stilts.evaluation.metrics import accuracy, chunk_f1, find_chunks, normalize_answer, squad_scores, token_accuracy
from stilts.tasks.catalogue import UPOS

# Gold tags, predicted tags ("|" between sentences) and 100 * f1_score, all made by seqeval 0.0.12. The first two
# tell run rules from word rules: SCONJ and SYM are never joined, INTJ is.
RECORDED = [
    ("SCONJ SYM SCONJ | SCONJ SCONJ SCONJ SYM SYM SCONJ SCONJ",
     "SCONJ SYM SCONJ | SCONJ SCONJ SCONJ SCONJ SYM SCONJ SCONJ", 90.0),
    ("INTJ INTJ INTJ | SYM SCONJ INTJ INTJ",
     "INTJ INTJ INTJ | SYM SYM INTJ INTJ", 75.0),
    ("SCONJ INTJ NOUN INTJ | NOUN INTJ SCONJ SCONJ NOUN SYM INTJ SYM",
     "NOUN INTJ INTJ INTJ | NOUN INTJ SCONJ INTJ NOUN SCONJ INTJ NOUN", 45.45454545454545),
    ("PROPN PUNCT NOUN PUNCT PROPN | PROPN PROPN NOUN NOUN NOUN",
     "PROPN PUNCT NOUN NOUN ADJ | ADJ NOUN PROPN NOUN NOUN", 26.666666666666668),
    ("ADJ VERB VERB ADJ ADJ VERB SCONJ | SCONJ SCONJ VERB ADJ SCONJ",
     "SCONJ SCONJ VERB SCONJ VERB VERB SCONJ | SCONJ SCONJ VERB VERB SCONJ", 40.0),
    ("ADP ADJ ADP ADP | PART AUX ADJ ADJ",
     "PART ADJ PART ADP | PART AUX ADJ ADJ", 61.53846153846153),
    ("ADJ X AUX AUX X AUX ADJ | X AUX ADJ AUX ADJ X ADJ X",
     "ADJ ADJ AUX X ADJ X ADJ | X X ADJ AUX ADJ X ADJ ADJ", 38.46153846153846),
    ("B-PER B-LOC B-ORG B-LOC | I-LOC I-LOC I-PER O B-PER I-ORG",
     "B-PER I-PER B-PER I-PER | I-LOC B-PER B-ORG O I-ORG I-ORG", 0.0),
]  # fmt: skip


def sentences(text: str) -> list[list[str]]:
    return [sentence.split() for sentence in text.split("|")]


@pytest.mark.parametrize(("gold", "predicted", "f1"), RECORDED)
def test_chunk_f1_is_that_of_seqeval(gold: str, predicted: str, f1: float) -> None:
    assert chunk_f1(sentences(gold), sentences(predicted)) == pytest.approx(f1)


def test_chunks_of_bare_tags() -> None:
    """Recorded from seqeval 0.0.12's get_entities."""
    tags = "NOUN NOUN SCONJ SCONJ INTJ INTJ SYM INTJ NOUN PROPN PROPN".split()
    assert find_chunks(tags) == [
        ("NOUN", 0, 1), ("SCONJ", 2, 2), ("SCONJ", 3, 3), ("INTJ", 4, 5), ("SYM", 6, 6), ("INTJ", 7, 7),
        ("NOUN", 8, 8), ("PROPN", 9, 10),
    ]  # fmt: skip


def test_a_tag_keeps_its_first_letter() -> None:
    """seqeval from 0.0.18 on takes CCONJ and SCONJ for one type and calls this half right answer right."""
    assert chunk_f1([["CCONJ", "NOUN"]], [["SCONJ", "NOUN"]]) == 50


def test_one_error_costs_the_run() -> None:
    gold, predicted = [["NOUN", "NOUN", "NOUN", "VERB"]], [["NOUN", "ADJ", "NOUN", "VERB"]]
    assert token_accuracy(gold, predicted) == 75
    assert chunk_f1(gold, predicted) == pytest.approx(100 * 2 * 1 / (2 + 4))


@given(st.lists(st.lists(st.sampled_from(UPOS), min_size=1), min_size=1))
def test_gold_against_itself_is_100(tags: list[list[str]]) -> None:
    assert chunk_f1(tags, tags) == 100
    assert token_accuracy(tags, tags) == 100


@given(st.lists(st.sampled_from(UPOS), min_size=1))
def test_chunks_cover_each_word_once(tags: list[str]) -> None:
    covered = [word for _, first, last in find_chunks(tags) for word in range(first, last + 1)]
    assert covered == list(range(len(tags)))
    assert all(tags[word] == kind for kind, first, last in find_chunks(tags) for word in range(first, last + 1))


def test_sentences_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 predicted tags for 2 words"):
        chunk_f1([["NOUN", "VERB"]], [["NOUN"]])


@pytest.mark.parametrize(
    ("prediction", "answers", "f1", "exact_match"),
    [
        ("The Eiffel Tower!", ["eiffel tower"], 100, 100),
        ("a  cat, an\u00a0ox", ["cat ox"], 100, 100),
        ("in 1066", ["1066", "year 1066"], 200 / 3, 0),
        ("", ["the"], 0, 100),  # both are empty once normalised: equal strings, no word shared
        ("red red blue", ["red blue blue"], 200 / 3, 0),
        ("北京大学", ["北京"], 0, 0),  # no blank, no partial credit: as in XTREME
        ("北京。", ["北京"], 0, 0),  # the full stop is no ASCII punctuation
        ("theory", ["ory"], 0, 0),
    ],
)
def test_squad_scores(prediction: str, answers: list[str], f1: float, exact_match: float) -> None:
    assert squad_scores([prediction], [answers]) == pytest.approx({"f1": f1, "exact_match": exact_match})


def test_squad_scores_are_means_over_questions() -> None:
    assert squad_scores(["x", "y"], [["x"], ["z"]]) == {"f1": 50, "exact_match": 50}
    assert normalize_answer(" An  Apple-pie ") == "applepie"


def test_accuracy_counts_equal_pairs() -> None:
    assert accuracy(["a", "b", "c", "c"], ["a", "b", "c", "a"]) == 75
    with pytest.raises(ValueError, match="longer than"):
        accuracy(["a"], ["a", "b"])
