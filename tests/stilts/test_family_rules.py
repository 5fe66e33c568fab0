"""Small examples by hand of what the families do: sets without labels, empty answers, unknown tags, directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stilts.data.examples import Answer, Choice, Pair, Question, Sentence, Translation
from stilts.data.prepared import PreparedSet
from stilts.errors import UserError
from stilts.tasks import choice, pair, retrieval, span, tagging
from stilts.tasks.catalogue import NLI
from stilts.tasks.columns import task_metrics
from stilts.tasks.encoding import IGNORED, Encoded, EncodeSettings
from stilts.tasks.families import family
from tests.stilts.slices import make_character_tokenizer

PLAIN = make_character_tokenizer(["abcdefgh"])


def opened_set(family_name: str, encoded: Encoded, labels: tuple[str, ...] = ()) -> PreparedSet:
    arrays = dict(encoded.arrays)
    tokens, offsets = arrays.pop("tokens"), arrays.pop("offsets")
    return PreparedSet("test.de", family_name, tokens, offsets, None, arrays, 1, labels, encoded.examples)


UNLABELLED: dict[str, tuple[str, list[Any], tuple[str, ...], str]] = {
    "pair": ("xnli", [Pair("0", "a", "b", None), Pair("1", "c", "d", None)], NLI, "correct"),
    "span": ("xquad", [Question("0", "a", "b c", ()), Question("1", "a", "d e f", ())], (), "f1"),
    "tagging": ("panx", [Sentence("0", ("a", "bc"), ()), Sentence("1", ("d",), ())], ("O", "B-PER"), "chunks_right"),
    "retrieval": ("tatoeba", [Translation("0", "a", "b", None), Translation("1", "c", "d", None)], (), "correct"),
}


@pytest.mark.parametrize("name", UNLABELLED)
def test_sets_without_labels_are_predicted_and_never_scored(name: str) -> None:
    task, examples, labels, column = UNLABELLED[name]
    module = family(name)
    opened = opened_set(name, module.encode(examples, PLAIN, EncodeSettings(24, labels, 4)), labels)
    golds = [opened.arrays[key] for key in ("labels", "starts", "ends") if key in opened.arrays]
    assert golds and all((array == IGNORED).all() for array in golds)
    sizes = {"logits": (2, 3), "start": len(opened.tokens), "end": len(opened.tokens), "embeddings": (4, 3)}
    outputs = {key: np.ones(size, np.float32) for key, size in sizes.items()}
    outputs["labels"] = np.ones(len(opened.tokens), np.int32)
    table = module.annotate(module.decode(opened, module.tabulate(examples), outputs), task)
    assert len(table) == 2 and table["prediction" if name != "tagging" else "predictions"].null_count == 0
    assert table[column].null_count == 2 and module.count(table) == 0
    with pytest.raises(UserError, match="de: 2 of 2 rows have no gold labels, so there is no score"):
        module.score(table, task_metrics(task))
    empty = table.slice(0, 0)
    with pytest.raises(UserError, match="no row at all"):
        module.score(module.annotate(empty, task), task_metrics(task))


def test_labelled_and_unlabelled_rows_go_into_one_table() -> None:
    """Some languages' test sets have labels, others' not: their columns are of the same types."""
    labelled = {
        "pair": Pair("0", "a", "b", NLI[0]),
        "span": Question("0", "a", "b c", (Answer("b", 0),)),
        "tagging": Sentence("0", ("a",), ("O",)),
        "retrieval": Translation("0", "a", "b", 0),
    }
    for name, example in labelled.items():
        schemas = [family(name).tabulate(examples).schema for examples in ([example], UNLABELLED[name][1])]
        assert schemas[0].equals(schemas[1])


def test_a_category_that_training_lacks_is_an_error_and_no_loss() -> None:
    """CCG: the dev tag N/N is not among the labels."""
    sentence = Sentence("0", ("a", "bc"), ("N", "N/N"))
    opened = opened_set("tagging", tagging.encode([sentence], PLAIN, EncodeSettings(16, ("N",))), ("N",))
    assert opened.arrays["labels"].tolist() == [IGNORED, 0, IGNORED, IGNORED, IGNORED]
    outputs = {"labels": np.zeros(len(opened.tokens), np.int32)}
    table = tagging.annotate(tagging.decode(opened, tagging.tabulate([sentence]), outputs), "ccg")
    assert table["tags"].to_pylist() == [["N", "N/N"]]
    assert tagging.score(table, task_metrics("ccg")) == {"accuracy": 50}


def test_an_unanswerable_question_trains_on_the_first_token() -> None:
    rows = [Question("0", "a", "b c", ()), Question("1", "a", "d e", (Answer("e", 2),))]
    arrays = span.encode(rows, PLAIN, EncodeSettings(24, (), 4)).arrays
    assert arrays["starts"].tolist() == arrays["ends"].tolist() == [0, 5]
    assert span.tabulate(rows)["answers"].to_pylist() == [[], ["e"]]


def test_the_null_score_is_the_lowest_of_the_windows() -> None:
    """Context "b c d e f g h" in two windows; the first tokens' sums are 3 and -1, the best text has 9."""
    rows = [Question("0", "a", "b c d e f g h", (Answer("c", 2),))]
    opened = opened_set("span", span.encode(rows, PLAIN, EncodeSettings(10, (), 2)))
    assert len(opened.lengths) == 2
    start, end = (np.zeros(len(opened.tokens), np.float32) for _ in range(2))
    first, second = opened.offsets[:2]
    start[[first, second]], end[[first, second]] = (1, -2), (2, 1)
    places = np.flatnonzero(opened.arrays["char_starts"] == 2)
    start[places[0]], end[places[0]] = 4, 5
    table = span.decode(opened, span.tabulate(rows), {"start": start, "end": end})
    row = table.to_pylist()[0]
    assert (row["prediction"], row["score"], row["null_score"]) == ("c", 9, -1)
    annotated = span.annotate(table, "squad2")
    assert annotated["null_odds"].to_pylist() == [-10]
    assert span.score(annotated, ("f1", "exact_match", "best_f1_thresh")) == {
        "f1": 100,
        "exact_match": 100,
        "best_f1_thresh": -10,
    }


def test_retrieval_goes_from_english_to_foreign() -> None:
    """Each query's nearest candidate; of two equal ones the first."""
    rows = [Translation("0", "a", "b", 1), Translation("1", "c", "d", 0), Translation("2", "e", "f", 2)]
    opened = opened_set("retrieval", retrieval.encode(rows, PLAIN, EncodeSettings(8)))
    queries, candidates = [[1, 0], [0, 1], [1, 1]], [[0, 2], [3, 0], [0, 5]]
    embeddings = np.array(queries + candidates, dtype=np.float32)
    table = retrieval.decode(opened, retrieval.tabulate(rows), {"embeddings": embeddings})
    assert table["prediction"].to_pylist() == [1, 0, 0]
    assert table["score"].to_pylist() == pytest.approx([1, 1, 0.5**0.5])
    assert retrieval.score(retrieval.annotate(table, "tatoeba"), ("accuracy",)) == {"accuracy": pytest.approx(200 / 3)}


def test_choices_are_scored_by_their_index() -> None:
    rows = [Choice("0", "a", ("b", "c"), 1), Choice("1", "a", ("b", "c"), 1)]
    opened = opened_set("choice", choice.encode(rows, PLAIN, EncodeSettings(8)))
    table = choice.decode(opened, choice.tabulate(rows), {"logits": np.array([[0, 1], [1, 0]], np.float32)})
    assert choice.score(choice.annotate(table, "csqa"), ("accuracy",)) == {"accuracy": 50}


def test_only_the_metrics_asked_for_are_given() -> None:
    table = pa.table({"language": ["en"], "label": ["1"], "prediction": ["1"]})
    assert pair.score(pair.annotate(table, "mnli"), ("accuracy",)) == {"accuracy": 100}
    with pytest.raises(UserError, match="no metric exact_match here: use accuracy"):
        pair.score(pair.annotate(table, "mnli"), ("exact_match",))
    with pytest.raises(UserError, match="no scored task 'squad': use one of anli"):
        task_metrics("squad")
