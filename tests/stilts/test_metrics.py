"""Tag metrics against what seqeval 0.0.12 itself said, and thresholds against the slow way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stilts.errors import UserError
from stilts.evaluation.chunks import count_chunks
from stilts.evaluation.metrics import f1_score, share
from stilts.evaluation.thresholds import apply_null_threshold, find_null_threshold, find_pair_threshold
from stilts.tasks import pair, tagging
from stilts.tasks.catalogue import UPOS

TAG_LISTS = pa.list_(pa.string())
RECORDED = json.loads(Path(__file__).with_name("seqeval_vectors.json").read_text(encoding="utf-8"))


def sentences(text: str) -> list[list[str]]:
    return [sentence.split() for sentence in text.split("|")]


def tag_table(gold: list[list[str]] | list[None], predicted: list[list[str]]) -> pa.Table:
    columns = {"tags": pa.array(gold, type=TAG_LISTS), "predictions": pa.array(predicted, type=TAG_LISTS)}
    return tagging.annotate(pa.table({"language": ["en"] * len(predicted), **columns}), "udpos")


def tag_scores(gold: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    return tagging.score(tag_table(gold, predicted), ("f1", "accuracy"))


def test_chunks_are_those_of_seqeval() -> None:
    """Counts and F1 of all recorded cases; over 50 of each kind of tags, with empty sentences."""
    assert len(RECORDED) >= 400 and any("|  |" in gold for gold, *_ in RECORDED)
    for gold, predicted, counts, f1 in RECORDED:
        table = pa.table({"g": pa.array(sentences(gold), TAG_LISTS), "p": pa.array(sentences(predicted), TAG_LISTS)})
        found = count_chunks(table["g"].combine_chunks(), table["p"].combine_chunks())
        sums = [int(found[f"chunks_{name}"].sum()) for name in ("right", "gold", "predicted")]
        assert sums == counts, (gold, predicted)
        assert f1_score(*sums) == pytest.approx(100 * f1, abs=1e-9), (gold, predicted)


@given(st.lists(st.lists(st.sampled_from(UPOS), min_size=1), min_size=1))
def test_gold_against_itself_is_100(tags: list[list[str]]) -> None:
    assert tag_scores(tags, tags) == {"f1": 100, "accuracy": 100}


@given(st.lists(st.lists(st.tuples(st.sampled_from(UPOS), st.sampled_from(UPOS))), min_size=1))
def test_sentences_add_up(rows: list[list[tuple[str, str]]]) -> None:
    """A sentence has the same counts alone and among others, wherever the table was cut."""
    gold, predicted = ([[tags[side] for tags in row] for row in rows] for side in (0, 1))
    names = [name for name in tag_table(gold, predicted).column_names if name.startswith(("chunks_", "word"))]
    together = tag_table(gold, predicted).select(names).to_pylist()
    alone = [tag_table([g], [p]).select(names).to_pylist()[0] for g, p in zip(gold, predicted, strict=True)]
    assert together == alone
    sliced = tag_table(gold, predicted).slice(len(rows) // 2).drop_columns(names)
    assert tagging.annotate(sliced, "udpos").select(names).to_pylist() == alone[len(rows) // 2 :]


def test_rules_of_bare_tags_by_hand() -> None:
    """Runs are one chunk, SCONJ and SYM are single, a wrong word in a run costs the run."""
    assert tag_scores([["NOUN", "NOUN", "NOUN", "VERB"]], [["NOUN", "ADJ", "NOUN", "VERB"]]) == {
        "f1": pytest.approx(100 * 2 * 1 / (2 + 4)),
        "accuracy": 75,
    }
    assert tag_scores([["SCONJ", "SCONJ", "SYM"]], [["SCONJ", "SCONJ", "NOUN"]])["f1"] == pytest.approx(200 / 3)
    # seqeval from 0.0.18 on takes CCONJ and SCONJ for one kind and calls this half right answer right.
    assert tag_scores([["CCONJ", "NOUN"]], [["SCONJ", "NOUN"]])["f1"] == 50


def test_rules_of_entities_by_hand() -> None:
    """A stray I- starts an entity; the border between two of a kind needs a B-; O alone has no chunk."""
    assert tag_scores([["O", "I-PER", "I-PER"]], [["O", "B-PER", "I-PER"]])["f1"] == 100
    assert tag_scores([["B-PER", "B-PER"]], [["B-PER", "I-PER"]])["f1"] == 0
    assert tag_scores([["B-PER", "I-LOC"]], [["B-PER", "B-LOC"]])["f1"] == 100
    assert tag_scores([["O", "O"]], [["O", "O"]]) == {"f1": 0, "accuracy": 100}


def test_a_category_that_the_training_set_lacks_is_wrong() -> None:
    assert tag_scores([["N", "S[dcl]\\NP", "N/N"]], [["N", "N", "N/N"]])["accuracy"] == pytest.approx(200 / 3)


def test_sentences_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 predicted tags for 2 words in row 1"):
        tag_table([["X"], ["NOUN", "VERB"]], [["X"], ["NOUN"]])


def test_sentences_without_tags_have_predictions_alone() -> None:
    table = tag_table([None, None], [["X"], ["X", "NOUN"]])
    assert table["chunks_right"].null_count == table["word_count"].null_count == 2 and tagging.count(table) == 0
    with pytest.raises(UserError, match="en: 2 of 2 rows have no gold labels, so there is no score"):
        tagging.score(table, ("f1",))
    mixed = pa.concat_tables([table, tag_table([["X"]], [["X"]])])
    assert tagging.annotate(mixed, "udpos")["words_right"].to_pylist() == [None, None, 1]


def pair_scores(gold: list[str], predicted: list[str]) -> dict[str, float]:
    table = pa.table({"language": ["en"] * len(gold), "label": gold, "prediction": predicted})
    return pair.score(pair.annotate(table, "qqp"), ("accuracy", "f1"))


def test_f1_of_qqp_is_that_of_duplicates() -> None:
    """2 of 3 duplicates found with 1 false alarm: precision and recall 2/3."""
    assert pair_scores(list("11100000"), list("11010000")) == {"accuracy": 75, "f1": pytest.approx(200 / 3)}
    assert pair_scores(["0"], ["0"]) == {"accuracy": 100, "f1": 0}


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_f1_is_the_harmonic_mean(rows: list[tuple[bool, bool]]) -> None:
    gold, predicted = (["01"[row[side]] for row in rows] for side in (0, 1))
    hits = sum(g and p for g, p in rows)
    precision, recall = (hits / max(sum(row[side] for row in rows), 1) for side in (1, 0))
    f1 = 200 * precision * recall / (precision + recall) if hits else 0
    accuracy = 100 * sum(g == p for g, p in rows) / len(rows)
    assert pair_scores(gold, predicted) == {"accuracy": pytest.approx(accuracy), "f1": pytest.approx(f1)}


def test_shares_are_percent() -> None:
    assert share(1, 8) == 12.5
    assert f1_score(0, 0, 0) == 0


questions = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(-4, 4), st.booleans(), st.booleans()), min_size=1
)


@given(questions)
def test_the_null_threshold_is_the_official_one(rows: list[tuple[float, int, bool, bool]]) -> None:
    """The official walk over the questions in the order of their odds, question by question."""
    scores, odds, answerable, answered = (np.array(column) for column in zip(*rows, strict=True))
    best = value = float(sum(not row[2] for row in rows))
    threshold = 0.0
    for place in sorted(range(len(rows)), key=lambda place: rows[place][1]):
        share_won, odd, has_answer, has_text = rows[place]
        value += share_won if has_answer else -1 if has_text else 0
        if value > best:
            best, threshold = value, float(odd)
    found = find_null_threshold(scores, odds.astype(float), answerable, answered)
    assert found == (100 * best / len(rows), threshold)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_no_threshold_is_better_where_odds_differ(rows: list[tuple[float, bool]]) -> None:
    """Against trying every threshold and applying it. All odds are above 0, so that 0 stands for no answer at all."""
    odds = np.arange(1, len(rows) + 1, dtype=float)
    np.random.default_rng(len(rows)).shuffle(odds)
    answerable = np.array([row[1] for row in rows])
    scores = np.where(answerable, [row[0] for row in rows], 0.0)
    best, threshold = find_null_threshold(scores, odds, answerable, np.ones(len(rows), bool))
    tried = [100 * apply_null_threshold(scores, odds, answerable, t).mean() for t in [0, *odds]]
    assert best == pytest.approx(max(tried))
    assert 100 * apply_null_threshold(scores, odds, answerable, threshold).mean() == pytest.approx(best)


pairs_found = st.lists(st.tuples(st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5]), st.booleans()), max_size=12)


@given(pairs_found, st.integers(0, 4))
def test_the_pair_threshold_is_the_middle_behind_the_best_f1(rows: list[tuple[float, bool]], missed: int) -> None:
    rows = sorted(rows, key=lambda row: -row[0])
    gold = sum(hit for _, hit in rows) + missed
    f1s = []
    for size in range(1, len(rows) + 1):
        hits = sum(hit for _, hit in rows[:size])
        f1s.append(2 * hits / (size + gold) if hits else 0.0)
    found = find_pair_threshold([score for score, _ in rows], [hit for _, hit in rows], gold)
    if not any(f1s):
        assert found == 0
        return
    places = [place for place, f1 in enumerate(f1s) if f1 == pytest.approx(max(f1s))]
    middles = [(rows[place][0] + rows[min(place + 1, len(rows) - 1)][0]) / 2 for place in places]
    assert found in middles


def test_pair_thresholds_by_hand() -> None:
    """Best after the second pair: half-way between 1.2 and 1.0. After the last one there is no next: its own score."""
    assert find_pair_threshold([1.4, 1.2, 1.0, 0.9], [True, True, False, False], 2) == pytest.approx(1.1)
    assert find_pair_threshold([1.4, 1.2], [False, True], 1) == 1.2
    assert find_pair_threshold([], [], 3) == 0
