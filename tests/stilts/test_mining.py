"""Mining and BUCC's F1 against double loops over the rules, and on awkward corpora."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from stilts.data.examples import Line
from stilts.data.prepared import PreparedSet
from stilts.errors import UserError
from stilts.tasks import mining
from stilts.tasks.columns import NotScored
from stilts.tasks.encoding import EncodeSettings
from tests.stilts.slices import make_character_tokenizer
from tests.stilts.test_neighbours import cosine, slow_neighbours

TOKENIZER = make_character_tokenizer(["abcdefghij"])


def slow_mine(foreign: np.ndarray, english: np.ndarray, k: int = 4) -> list[tuple[int, int, float]]:
    """The whole of LASER's mining as loops over sentences."""
    forth = [slow_neighbours(query, english, k) for query in foreign]
    back = [slow_neighbours(query, foreign, k) for query in english]
    means = [np.mean([cosine(foreign[i], english[j]) for j in near]) for i, near in enumerate(forth)]
    english_means = [np.mean([cosine(english[j], foreign[i]) for i in near]) for j, near in enumerate(back)]

    def margin(i: int, j: int) -> float:
        centre = (means[i] + english_means[j]) / 2
        return float(cosine(foreign[i], english[j]) / centre)

    candidates = [max(((margin(i, j), i, j) for j in near), key=lambda c: c[0]) for i, near in enumerate(forth)]
    candidates += [max(((margin(i, j), i, j) for i in near), key=lambda c: c[0]) for j, near in enumerate(back)]
    pairs: list[tuple[int, int, float]] = []
    used: tuple[set[int], set[int]] = set(), set()
    for value, i, j in sorted(candidates, key=lambda candidate: -candidate[0]):
        if i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            if value > 0:
                pairs.append((i, j, value))
    return pairs


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10_000), st.booleans())
@settings(deadline=None)
def test_mined_pairs_are_those_of_the_loops(size: int, others: int, seed: int, positive: bool) -> None:
    """Random embeddings, about half of them translations; in one half of the cases all cosines are positive."""
    rng = np.random.default_rng(seed)
    foreign, english = rng.normal(size=(size, 6)), rng.normal(size=(others, 6))
    shared = min(size, others) // 2
    english[:shared] = foreign[:shared] + 0.1 * rng.normal(size=(shared, 6))
    if positive:
        foreign, english = np.abs(foreign), np.abs(english)
    found = list(zip(*mining.mine(foreign.astype(np.float32), english.astype(np.float32)), strict=True))
    expected = slow_mine(foreign.astype("f4").astype(float), english.astype("f4").astype(float))
    assert [(i, j) for i, j, _ in found] == [(i, j) for i, j, _ in expected]
    np.testing.assert_allclose([pair[2] for pair in found], [pair[2] for pair in expected], rtol=1e-9)
    for side in (0, 1):
        assert max(Counter(pair[side] for pair in found).values(), default=0) <= 1


def test_margins_by_hand() -> None:
    """Cosine 0.9 with means 0.8 and 0.4 to the neighbours: 0.9 / 0.6. Without a mean there is no ratio."""
    scores = mining.score_margins(np.array([[0.9, 0.5]]), np.array([0.8]), np.array([[0.4, -0.8]]))
    assert scores[0].tolist() == [pytest.approx(1.5), -np.inf]


def test_greedy_takes_the_highest_score_first() -> None:
    rows, others, scores = np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2]), np.array([1.2, 1.5, 1.1, -0.5])
    assert mining.take_once(rows, others, scores).tolist() == [1]
    # Of equal scores the first one; a pair at or below 0 uses its sentences up and is none.
    assert mining.take_once(rows, others, np.array([1.0, 1.0, 1.0, 1.0])).tolist() == [0, 2, 3]


def line(name: str, text: str, *partners: str) -> Line:
    return Line(name, text, name.startswith("en"), partners)


def mine_set(lines: Sequence[Line], vectors_of: dict[str, list[float]], name: str = "dev.de") -> pa.Table:
    """Predictions for lines whose embeddings are those of their texts."""
    encoded = mining.encode(lines, TOKENIZER, EncodeSettings(16))
    arrays = dict(encoded.arrays)
    opened = PreparedSet(
        name, "mining", arrays.pop("tokens"), arrays.pop("offsets"), None, arrays, 1, (), encoded.examples
    )
    assert len(opened.lengths) == len(lines)
    embeddings = np.array([vectors_of[row.text] for row in lines], dtype=np.float32)
    return mining.annotate(mining.decode(opened, mining.tabulate(lines), {"embeddings": embeddings}), "bucc2018")


def evaluate(**tables: pa.Table) -> dict[str, float]:
    """F1 of sets named split_language."""
    tuned = mining.tune({name.replace("_", "."): table for name, table in tables.items()})
    return {name: mining.score(table, ("f1",))["f1"] for name, table in tuned.items()}


AXES = {letter: np.eye(8)[place].tolist() for place, letter in enumerate("abcdefgh")}


def rows_of(table: pa.Table) -> list[tuple[str, str, bool, bool]]:
    """(foreign, English, whether mined, gold), sorted."""
    columns = (table[name].to_pylist() for name in ("foreign_id", "english_id", "score", "gold"))
    return sorted((f, e, s is not None, g) for f, e, s, g in zip(*columns, strict=True))


def test_a_small_corpus_by_hand() -> None:
    """Three translations, of which the gold list has two, and a gold pair of unlike sentences."""
    lines = [line("de-1", "a", "en-1"), line("de-2", "b", "en-2"), line("de-3", "c"), line("de-4", "d", "en-5")]
    lines += [line("en-1", "a"), line("en-2", "b"), line("en-3", "c"), line("en-5", "e")]
    table = mine_set(lines, AXES)
    assert rows_of(table) == [
        ("de-1", "en-1", True, True),
        ("de-2", "en-2", True, True),
        ("de-3", "en-3", True, False),
        ("de-4", "en-5", False, True),
    ]
    assert set(table["language"].to_pylist()) == {"de"} and mining.count(table) == 3
    # Cosine 1, mean of four neighbours (1, 0, 0, 0) 1/4 on both sides. All equal: the best F1 is reached after two
    # pairs, and the threshold between equal scores takes the third as well: 2 of 3 right, 2 of 3 found.
    assert table["score"].to_pylist() == [4, 4, 4, None]
    assert evaluate(dev_de=table) == {"dev.de": pytest.approx(200 / 3)}


def test_the_threshold_of_dev_decides_on_test() -> None:
    """Dev's right pair has ratio 4, its wrong one less; on test a pair below the middle is no prediction."""
    close = AXES | {"f": (0.6 * np.eye(8)[0] + 0.8 * np.eye(8)[1]).tolist(), "g": np.eye(8)[1].tolist()}
    dev = [line("de-1", "c", "en-1"), line("de-2", "f"), line("en-1", "c"), line("en-2", "g"), line("en-3", "a")]
    table = mine_set(dev, close)
    (tuned,) = mining.tune({"dev.de": table}).values()
    scores = [score for score in tuned["score"].to_pylist() if score is not None]
    assert tuned["threshold"].to_pylist() == [pytest.approx((scores[0] + scores[1]) / 2)] * len(tuned)
    test = [line("de-1", "c", "en-1"), line("de-2", "f", "en-2"), *dev[2:]]
    assert evaluate(dev_de=table, test_de=mine_set(test, close, "test.de")) == {
        "dev.de": 100,
        "test.de": pytest.approx(200 / 3),  # the right pair below the threshold is missed
    }
    blind = [line("de-1", "c"), line("de-2", "f"), *dev[2:]]
    unlabelled = mining.tune({"dev.de": table, "test.de": mine_set(blind, close, "test.de")})["test.de"]
    assert unlabelled["gold"].null_count == len(unlabelled) == 2 and mining.count(unlabelled) == 0
    assert [s >= t for s, t in zip(*(unlabelled[n].to_pylist() for n in ("score", "threshold")), strict=True)] == [
        True,
        False,
    ]
    with pytest.raises(UserError, match="de: 2 of 2 rows have no gold labels"):
        mining.score(unlabelled, ("f1",))


def test_a_test_set_needs_the_dev_set_of_its_language() -> None:
    lines = [line("fr-1", "a", "en-1"), line("en-1", "a")]
    tables = {"dev.de": mine_set(lines, AXES), "test.fr": mine_set(lines, AXES, "test.fr")}
    with pytest.raises(NotScored, match=r"fr: no threshold.*give its dev set"):
        mining.score(mining.tune(tables)["test.fr"], ("f1",))


def test_identical_sentences_are_one_and_have_no_pair() -> None:
    """Twice "a" on one side: one sentence for the neighbours, taken by no pair, its gold pairs missed."""
    lines = [line("de-1", "a", "en-1"), line("de-2", "a", "en-1"), line("de-3", "b", "en-2"), line("de-4", "c")]
    lines += [line("en-1", "a"), line("en-2", "b"), line("en-3", "d"), line("en-4", "d")]
    table = mine_set(lines, AXES)
    assert rows_of(table) == [
        ("de-1", "en-1", False, True),
        ("de-2", "en-1", False, True),
        ("de-3", "en-2", True, True),
    ]
    # The neighbourhoods hold each text once: (1, 0, 0), not (1, 0, 0, 0).
    assert table["score"][0].as_py() == pytest.approx(3)
    assert evaluate(dev_de=table) == {"dev.de": pytest.approx(2 * 1 * (1 / 3) / (1 + 1 / 3) * 100)}


def test_gold_pairs_of_lines_that_are_not_there_are_missed() -> None:
    table = mine_set([line("de-1", "a", "en-1", "en-99"), line("en-1", "a")], AXES)
    assert rows_of(table) == [("de-1", "en-1", True, True), ("de-1", "en-99", False, True)]
    assert evaluate(dev_de=table) == {"dev.de": pytest.approx(200 / 3)}


@pytest.mark.parametrize("size", [1, 3, 40])
def test_equal_embeddings_are_mined_in_order(size: int) -> None:
    """All ratios are 1, and every sentence's nearest is the first: one pair, the same at each call."""
    names = ["".join(letters) for letters in itertools.islice(itertools.product("abcdefg", repeat=2), size)]
    lines = [line(f"de-{n}", text, f"en-{n}") for n, text in enumerate(names)]
    lines += [line(f"en-{n}", text) for n, text in enumerate(names)]
    tables = [mine_set(lines, {text: [1.0, 2.0] for text in names}) for _ in range(2)]
    assert tables[0].equals(tables[1])
    mined = [row for row in rows_of(tables[0]) if row[2]]
    assert mined == [("de-0", "en-0", True, True)]
    assert evaluate(dev_de=tables[0])["dev.de"] == pytest.approx(200 / (1 + size))


def test_a_side_without_sentences_and_embeddings_of_zero() -> None:
    assert [len(part) for part in mining.mine(np.zeros((0, 3)), np.ones((2, 3)))] == [0, 0, 0]
    assert [len(part) for part in mining.mine(np.zeros((2, 3)), np.ones((2, 3)))] == [0, 0, 0]
    table = mine_set([line("de-1", "a", "en-1"), line("en-1", "a")], {"a": [0.0, 0.0]})
    assert evaluate(dev_de=table) == {"dev.de": 0}


def test_a_diverged_model_is_refused() -> None:
    with pytest.raises(UserError, match="1 of 4 outputs are not finite"):
        mine_set([line("de-1", "a", "en-1"), line("en-1", "b")], {"a": [1.0, np.nan], "b": [1.0, 1.0]})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=8), st.data())
@settings(deadline=None)
def test_f1_is_that_of_id_pairs(texts: list[tuple[str, bool]], data: st.DataObject) -> None:
    """Duplicates, ids without lines, one side alone: the score from the table is the score from sets of pairs."""
    names = [f"{'en' if english else 'de'}-{n}" for n, (_, english) in enumerate(texts)]
    partners = [
        data.draw(st.lists(st.sampled_from(["en-0", "en-1", "en-2"]), unique=True)) if not english else []
        for _, english in texts
    ]
    lines = [line(name, text, *mine) for name, (text, _), mine in zip(names, texts, partners, strict=True)]
    gold = {(row.id, partner) for row in lines for partner in row.partners}
    table = mine_set(lines, AXES)
    if not gold:
        assert table["gold"].null_count == len(table)
        return
    (tuned,) = mining.tune({"dev.de": table}).values()
    predicted = {
        (row["foreign_id"], row["english_id"])
        for row in tuned.to_pylist()
        if row["score"] is not None and row["score"] >= row["threshold"]
    }
    by_name = {row.id: row.text for row in lines}
    counts = Counter((row.english, row.text) for row in lines)
    for foreign, english in predicted:
        assert by_name[foreign] == by_name[english]
        assert counts[False, by_name[foreign]] == counts[True, by_name[english]] == 1
    hits = len(gold & predicted)
    expected = 200 * hits / (len(gold) + len(predicted)) if hits else 0
    assert mining.score(tuned, ("f1",)) == {"f1": pytest.approx(expected)}
    assert mining.count(tuned) == len(gold)


def test_real_sentences_that_embed_as_their_gold_pairs_score_100(data_root: Path, unigram: Path) -> None:
    """The slice of zh-en, read here by hand; gold partners are given one random vector each, all others their own."""
    folder = data_root / "bucc2018"
    sides = [
        [row.split("\t", 1) for row in (folder / f"zh-en.dev.{side}").read_text("utf-8").splitlines()]
        for side in ("zh", "en")
    ]
    gold = [tuple(row.split("\t")) for row in (folder / "zh-en.dev.gold").read_text("utf-8").splitlines()]
    lines = [Line(name, text, False, tuple(e for f, e in gold if f == name)) for name, text in sides[0]]
    lines += [Line(name, text, True) for name, text in sides[1]]
    rng = np.random.default_rng(0)
    own = {row.text: rng.normal(size=64) for row in lines}
    texts = {row.id: row.text for row in lines}
    for foreign, english in gold:
        own[texts[english]] = own[texts[foreign]] + 0.05 * rng.normal(size=64)
    tokenizer = Tokenizer.from_file(str(unigram / "tokenizer.json"))
    arrays = dict(mining.encode(lines, tokenizer, EncodeSettings(64)).arrays)
    tokens, offsets = arrays.pop("tokens"), arrays.pop("offsets")
    opened = PreparedSet("dev.zh", "mining", tokens, offsets, None, arrays, 1, (), len(lines))
    outputs = {"embeddings": np.array([own[row.text] for row in lines], dtype=np.float32)}
    table = mining.decode(opened, mining.tabulate(lines), outputs)
    assert mining.count(table) == len(gold)
    assert evaluate(dev_zh=table) == {"dev.zh": 100}
