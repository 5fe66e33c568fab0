"""Mining a corpus for translations (BUCC 2018), in the steps of XTREME's scripts, which are LASER's.

Identical sentences of a side are one. Each sentence's k nearest of the other side are its candidates, scored by the
ratio margin: cosine / mean of the two sentences' mean cosines to their k nearest. The best candidate of every sentence
of both sides, highest score first, is a pair if neither sentence has one yet and the score is above 0. Pairs with a
sentence that stands more than once on its side are dropped. Of the others those at or above a threshold are
the prediction; it is the one with the best F1 on the language's dev set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stilts.data.examples import Line
from stilts.data.prepared import PreparedSet
from stilts.evaluation.metrics import f1_score
from stilts.evaluation.neighbours import match_sides
from stilts.evaluation.thresholds import find_pair_threshold
from stilts.tasks.columns import NotScored, choose, put_columns, take_scored
from stilts.tasks.encoding import Encoded, EncodeSettings, check_finite, encode_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Nearest neighbours of a sentence (LASER's mine_bitexts.py, XTREME's utils_retrieve.py).
NEIGHBOURS = 4


def encode(examples: Sequence[Line], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """One sequence a line, of both sides, in their order."""
    return Encoded(encode_texts((line.text for line in examples), tokenizer, settings), len(examples))


def tabulate(examples: Sequence[Line]) -> pa.Table:
    """What scoring needs: id, english, sentence (lines of a side with one number have the same text), partners.

    Partners are null in a set without any, which is one whose gold list the release keeps back.
    """
    numbers: dict[tuple[bool, str], int] = {}
    sentences = [numbers.setdefault((line.english, line.text), len(numbers)) for line in examples]
    labelled = any(line.partners for line in examples)
    partners = [list(line.partners) if labelled else None for line in examples]
    return pa.table(
        {
            "id": [line.id for line in examples],
            "english": pa.array([line.english for line in examples], type=pa.bool_()),
            "sentence": pa.array(sentences, type=pa.int64()),
            "partners": pa.array(partners, type=pa.list_(pa.string())),
        }
    )


def decode(
    prepared: PreparedSet, examples: pa.Table, outputs: Mapping[str, np.ndarray], device: str = "cpu"
) -> pa.Table:
    """`outputs`: "embeddings" float32 [N, H]. Columns language, foreign_id, english_id, score, gold.

    One row a mined pair, highest score first; then one row a gold pair that was not mined, with a null score. Gold is
    null in a set without labels. The search runs on `device`; what it finds does not depend on it.
    """
    embeddings = check_finite(prepared.name, outputs["embeddings"], len(prepared))
    ids, numbers, english = (np.asarray(examples[name]) for name in ("id", "sentence", "english"))
    sides = [np.flatnonzero(english == side) for side in (False, True)]
    sentences = [merge_equal(numbers[side]) for side in sides]
    vectors = [embeddings[side[firsts]] for side, (firsts, _) in zip(sides, sentences, strict=True)]
    mined = mine(vectors[0], vectors[1], device)
    pairs: dict[tuple[str, str], float | None] = {}
    for foreign, other, value in zip(*mined, strict=True):
        places = [
            side[firsts[place]]
            for side, (firsts, counts), place in zip(sides, sentences, (foreign, other), strict=True)
            if counts[place] == 1
        ]
        if len(places) == 2:
            pairs[str(ids[places[0]]), str(ids[places[1]])] = float(value)
    labelled = examples["partners"].null_count < len(examples)
    gold = list_gold(examples) if labelled else []
    known = set(gold)
    pairs |= {pair: None for pair in gold if pair not in pairs}
    return pa.table(
        {
            "language": pa.array([prepared.language] * len(pairs), type=pa.string()),
            "foreign_id": pa.array([foreign for foreign, _ in pairs], type=pa.string()),
            "english_id": pa.array([other for _, other in pairs], type=pa.string()),
            "score": pa.array(list(pairs.values()), type=pa.float64()),
            "gold": pa.array([pair in known if labelled else None for pair in pairs], type=pa.bool_()),
        }
    )


def merge_equal(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first place, number of places) of each distinct value, in order of the first places."""
    _, firsts, counts = np.unique(numbers, return_index=True, return_counts=True)
    order = np.argsort(firsts)
    return firsts[order], counts[order]


def list_gold(examples: pa.Table) -> list[tuple[str, str]]:
    """The gold pairs (foreign id, English id) of a labelled set, each once."""
    rows = zip(examples["id"].to_pylist(), examples["partners"].to_pylist(), strict=True)
    return list(dict.fromkeys((name, partner) for name, partners in rows for partner in partners or ()))


def mine(foreign: np.ndarray, english: np.ndarray, device: str = "cpu") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of distinct sentences: rows of `foreign` and of `english` (embeddings), scores, highest score first.

    Of equal scores the pair found from the foreign side comes first, then the one with the lower row.
    """
    if not len(foreign) or not len(english):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    (forth, forth_cosines), (back, back_cosines) = match_sides(foreign, english, NEIGHBOURS, device=device)
    means, english_means = forth_cosines.mean(axis=1), back_cosines.mean(axis=1)
    forth_best, forth_scores = choose_best(forth, score_margins(forth_cosines, means, english_means[forth]))
    back_best, back_scores = choose_best(back, score_margins(back_cosines, english_means, means[back]))
    rows = np.concatenate([np.arange(len(foreign)), back_best])
    others = np.concatenate([forth_best, np.arange(len(english))])
    scores = np.concatenate([forth_scores, back_scores])
    taken = take_once(rows, others, scores)
    return rows[taken], others[taken], scores[taken]


def score_margins(cosines: np.ndarray, means: np.ndarray, neighbour_means: np.ndarray) -> np.ndarray:
    """Ratio margin [N, k] of candidates with `cosines` [N, k]; lowest where the mean is 0 and there is no ratio."""
    centre = (means[:, None] + neighbour_means) / 2
    return np.divide(cosines, centre, out=np.full(cosines.shape, -np.inf), where=centre != 0)


def choose_best(neighbours: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The candidate with the highest score of each row, and the score; of equals the nearest."""
    best = scores.argmax(axis=1)
    rows = np.arange(len(scores))
    return neighbours[rows, best], scores[rows, best]


def take_once(rows: np.ndarray, others: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Places of the pairs that remain when the highest score takes its two sentences first; scores above 0 alone."""
    taken = []
    used: tuple[set[int], set[int]] = set(), set()
    for place in np.argsort(-scores, kind="stable").tolist():
        row, other = int(rows[place]), int(others[place])
        if row not in used[0] and other not in used[1]:
            used[0].add(row)
            used[1].add(other)
            if scores[place] > 0:
                taken.append(place)
    return np.array(taken, dtype=np.int64)


def annotate(table: pa.Table, task: str) -> pa.Table:
    """The table as it is: what counts of a pair is its score and whether it is gold."""
    return table


def tune(tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """With `threshold`: that of dev.<language>, for its dev and test set alike; null without labelled dev pairs."""
    thresholds: dict[str, float | None] = {}
    for name, table in tables.items():
        split, _, language = name.partition(".")
        if split == "dev" and len(table) and not table["gold"].null_count:
            mined = table.filter(pc.is_valid(table["score"])).sort_by([("score", "descending")])
            hits = mined["gold"].to_pylist()
            thresholds[language] = find_pair_threshold(mined["score"].to_pylist(), hits, count(table))
    return {
        name: put_columns(
            table, {"threshold": pa.array([thresholds.get(name.partition(".")[2])] * len(table), type=pa.float64())}
        )
        for name, table in tables.items()
    }


def score(table: pa.Table, metrics: Sequence[str]) -> dict[str, float]:
    """F1 over id pairs in percent: mined ones at or above the threshold against gold ones.

    Raises NotScored where the language has no dev set to take the threshold from.
    """
    gold = take_scored(table, "gold")
    if table["threshold"].null_count:
        language = table["language"][0].as_py()
        raise NotScored(
            f"{language}: no threshold, because there is no labelled dev set of this language; give its dev set too"
        )
    predicted = np.asarray(pc.fill_null(pc.greater_equal(table["score"], table["threshold"]), False))
    f1 = f1_score(int((gold & predicted).sum()), int(gold.sum()), int(predicted.sum()))
    return choose({"f1": f1}, metrics)


def count(table: pa.Table) -> int:
    """Gold pairs."""
    return pc.sum(table["gold"]).as_py() or 0
