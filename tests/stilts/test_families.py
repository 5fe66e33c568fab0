"""A perfect model scores 100 % in every family, on real text of many scripts; a broken one has no score."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stilts.data.examples import Answer, Question
from stilts.data.prepared import Prepared, PreparedSet
from stilts.data.squad import read_squad
from stilts.errors import UserError
from stilts.tasks import span
from stilts.tasks.catalogue import FAMILIES, INTERMEDIATES, TARGETS
from stilts.tasks.columns import task_metrics
from stilts.tasks.encoding import EncodeSettings
from stilts.tasks.families import family, finish_tables
from tests.stilts.slices import answer_perfectly, make_character_tokenizer, prepare_slices

Preparing = Callable[[str, str], Prepared]


@pytest.fixture(scope="module")
def prepared(data_root: Path, unigram: Path, tmp_path_factory: pytest.TempPathFactory) -> Preparing:
    """Prepared slices of a (task, part), made once; windows are short, so that many texts need several."""
    made: dict[tuple[str, str], Prepared] = {}

    def get(task: str, part: str) -> Prepared:
        if (task, part) not in made:
            out = tmp_path_factory.mktemp(f"{task}-{part}")
            made[task, part] = prepare_slices(data_root, unigram, out, task, part, max_length=96)
        return made[task, part]

    return get


def evaluate(prepared: Prepared, name: str, outputs: dict[str, np.ndarray]) -> dict[str, float]:
    opened, task = prepared.open(name), prepared.manifest["task"]
    module = family(opened.family)
    predictions = module.decode(opened, prepared.examples(name), outputs)
    assert predictions.column_names[0] == "language"
    assert set(predictions["language"].to_pylist()) == {name.partition(".")[2]}
    assert predictions["id"].to_pylist() == prepared.examples(name)["id"].to_pylist()
    table = finish_tables(opened.family, task, {name: predictions})[name]
    assert table.select(predictions.column_names).equals(predictions)
    assert finish_tables(opened.family, task, {name: table})[name].equals(table)
    assert module.count(table) == len(opened)
    scores: dict[str, float] = module.score(table, task_metrics(task))
    return scores


@pytest.mark.parametrize(
    ("task", "part", "metrics"),
    [
        ("mnli", "train", {"accuracy": 100}),
        ("hellaswag", "train", {"accuracy": 100}),
        ("udpos", "train", {"f1": 100, "accuracy": 100}),
        ("xnli", "scored", {"accuracy": 100}),
        ("udpos", "scored", {"f1": 100, "accuracy": 100}),
        ("tatoeba", "scored", {"accuracy": 100}),
    ],
)
def test_perfect_outputs_score_100(prepared: Preparing, task: str, part: str, metrics: dict[str, float]) -> None:
    folder = prepared(task, part)
    names = [name for name in folder.sets if not name.startswith("train.")]
    assert names
    for name in names:
        assert evaluate(folder, name, answer_perfectly(folder.open(name))) == metrics, name


def test_perfect_spans_hold_the_answer_in_every_script(prepared: Preparing) -> None:
    """A sub-word may reach over the answer's edge; nothing else may be added and nothing lost."""
    folder = prepared("xquad", "scored")
    assert set(folder.sets) == {f"test.{language}" for language in ("ar", "de", "en", "hi", "tr", "zh")}
    for name in folder.sets:
        opened = folder.open(name)
        predictions = span.decode(opened, folder.examples(name), answer_perfectly(opened))
        answerable = set(opened.arrays["example"][short_answers(opened)])
        rows = zip(predictions["prediction"].to_pylist(), predictions["answers"].to_pylist(), strict=True)
        for index, (prediction, answers) in enumerate(rows):
            if index in answerable:
                assert answers[0].strip() in prediction, (name, index)
                assert len(prediction) <= len(answers[0]) + 16, (name, index)
        assert len(answerable) > 0.9 * len(opened)


def short_answers(opened: PreparedSet) -> np.ndarray:
    """Windows that hold an answer of a length that may be predicted."""
    starts, ends = opened.arrays["starts"], opened.arrays["ends"]
    return (starts > 0) & (ends - starts < span.ANSWER_TOKENS)


@pytest.mark.parametrize("language", ["ar", "en", "hi", "zh"])
def test_characters_as_tokens_give_exact_match_100(data_root: Path, language: str) -> None:
    """With a token for each character the answer's edges are token edges, so real contexts must come back exactly."""
    rows = [row for row in read_squad(data_root / f"xquad/xquad.{language}.json").examples if isinstance(row, Question)]
    short = [row for row in rows if len(row.answers[0].text) <= span.ANSWER_TOKENS]
    assert len(short) > 400
    tokenizer = make_character_tokenizer([row.context + row.question for row in rows])
    encoded = span.encode(short, tokenizer, EncodeSettings(384, (), 128))
    arrays = dict(encoded.arrays)
    tokens, offsets = arrays.pop("tokens"), arrays.pop("offsets")
    opened = PreparedSet(f"test.{language}", "span", tokens, offsets, None, arrays, 1, (), encoded.examples)
    predictions = span.decode(opened, span.tabulate(short), answer_perfectly(opened))
    assert span.score(span.annotate(predictions, "xquad"), ("f1", "exact_match")) == {"f1": 100, "exact_match": 100}


def test_the_window_with_the_best_sum_wins(prepared: Preparing) -> None:
    folder = prepared("xquad", "scored")
    opened = folder.open("test.zh")
    owners = opened.arrays["example"]
    example = int(np.flatnonzero(np.bincount(owners) >= 2)[0])
    windows = np.flatnonzero(owners == example)
    start, end = (np.zeros(len(opened.tokens), dtype=np.float32) for _ in range(2))
    context = folder.examples("test.zh")["context"][example].as_py()
    for strength, window in enumerate(windows.tolist(), start=1):
        inside = opened.offsets[window] + np.flatnonzero(char_starts(opened, window) >= 0)
        start[inside[3]], end[inside[5]] = strength, strength
        expected = context[opened.arrays["char_starts"][inside[3]] : opened.arrays["char_ends"][inside[5]]]
    table = span.decode(opened, folder.examples("test.zh"), {"start": start, "end": end})
    assert table["prediction"][example].as_py() == expected
    assert table["score"][example].as_py() == 2 * len(windows)


def char_starts(opened: PreparedSet, window: int) -> np.ndarray:
    values: np.ndarray = opened.arrays["char_starts"][opened.offsets[window] : opened.offsets[window + 1]]
    return values


def test_spans_never_run_backwards_nor_beyond_thirty_tokens(prepared: Preparing) -> None:
    """The best end lies before the start, the next one 31 tokens on; the third is legal with 30 tokens."""
    folder = prepared("xquad", "scored")
    opened, examples = folder.open("test.de"), folder.examples("test.de")
    window = int(np.flatnonzero(opened.lengths == 96)[0])
    inside = opened.offsets[window] + np.flatnonzero(char_starts(opened, window) >= 0)
    start, end = (np.full(len(opened.tokens), -1, dtype=np.float32) for _ in range(2))
    start[inside[10]] = 9
    end[[inside[9], inside[40], inside[39]]] = 9, 8, 7
    owner = int(opened.arrays["example"][window])
    row = span.decode(opened, examples, {"start": start, "end": end}).slice(owner, 1).to_pylist()[0]
    first, last = opened.arrays["char_starts"][inside[10]], opened.arrays["char_ends"][inside[39]]
    assert row["prediction"] == examples["context"][owner].as_py()[first:last]
    assert row["score"] == 16


def test_a_window_without_context_predicts_nothing() -> None:
    empty = {
        "example": np.zeros(1, np.int32),
        **{name: np.full(4, -1, np.int32) for name in ("char_starts", "char_ends")},
    }
    opened = PreparedSet("test.en", "span", np.arange(4), np.array([0, 4]), None, empty, 1, (), 1)
    examples = span.tabulate([Question("q", "?", "\u200b", (Answer("\u200b", 0),))])
    zeros = np.zeros(4, np.float32)
    row = span.decode(opened, examples, {"start": zeros, "end": zeros}).to_pylist()[0]
    assert (row["prediction"], row["score"]) == ("", None)


def test_long_sentences_are_split_between_words_and_joined_again(prepared: Preparing) -> None:
    folder = prepared("udpos", "scored")
    for name in ("dev.de", "test.ar", "test.hi", "test.zh"):
        opened, examples = folder.open(name), folder.examples(name)
        assert opened.lengths.max() <= 96
        assert len(opened.lengths) > len(opened), f"{name}: no sentence needed a second window"
        words = [len(words) for words in examples["words"].to_pylist()]
        owners = np.repeat(opened.arrays["example"], opened.lengths)
        for example, count in enumerate(words):
            seen = opened.arrays["word"][owners == example]
            assert seen[seen >= 0].tolist() == list(range(count))


@pytest.mark.parametrize("task", ["mnli", "hellaswag"])
def test_wrong_outputs_do_not_score_100(prepared: Preparing, task: str) -> None:
    folder = prepared(task, "train")
    logits = answer_perfectly(folder.open("dev.en"))["logits"]
    logits[: len(logits) // 4] = np.roll(logits[: len(logits) // 4], 1, axis=1)
    expected = 100 * (1 - (len(logits) // 4) / len(logits))
    assert evaluate(folder, "dev.en", {"logits": logits})["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize(("task", "part", "name"), [("mnli", "train", "logits"), ("tatoeba", "scored", "embeddings"),
                                                    ("xquad", "scored", "end")])  # fmt: skip
def test_a_diverged_model_is_refused(prepared: Preparing, task: str, part: str, name: str) -> None:
    folder = prepared(task, part)
    opened = folder.open(folder.sets[-1])
    outputs = answer_perfectly(opened)
    outputs[name].flat[-1] = np.nan
    with pytest.raises(UserError, match=r"1 of \d+ outputs are not finite"):
        family(opened.family).decode(opened, folder.examples(opened.name), outputs)
    short = {key: values[:-1] for key, values in outputs.items()}
    with pytest.raises(ValueError, match="rows of outputs"):
        family(opened.family).decode(opened, folder.examples(opened.name), short)


def test_every_task_has_a_family_with_all_functions() -> None:
    names = {task.family for table in (INTERMEDIATES, TARGETS) for task in table.values()}
    assert names == set(FAMILIES) - {"mlm"}
    for name in names:
        for function in ("encode", "tabulate", "decode", "annotate", "tune", "score", "count"):
            assert callable(getattr(family(name), function)), (name, function)


def test_scoring_imports_nothing_heavy() -> None:
    code = (
        "import sys, stilts.tasks.families, stilts.evaluation.answers, stilts.evaluation.chunks\n"
        "heavy = {'torch', 'transformers', 'datasets', 'deepspeed', 'tokenizers', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(UserError, match=r"'pairs'.*pair, choice, span, tagging, retrieval, mining, mlm"):
        family("pairs")
