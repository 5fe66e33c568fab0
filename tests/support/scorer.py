"""A slow, obvious scorer of stored predictions: the oracle for the metric files of all tasks.

Written from the rules alone (see xtreme_oracle.py, and the official SQuAD 2.0 script), without the project's metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.support.xtreme_oracle import find_entities, find_runs, normalise_mlqa, normalise_squad, overlap

Row = dict[str, Any]


def score_predictions(table: Path, task: str, language: str) -> dict[str, float]:
    """Metrics in percent of one language of a prediction file."""
    rows = [row for row in pq.read_table(table).to_pylist() if row["language"] == language]
    if task == "squad2":
        return _score_possible_answers(rows)
    if task in ("xquad", "mlqa", "tydiqa", "squad1"):
        normalise = (lambda text: normalise_mlqa(text, language)) if task == "mlqa" else normalise_squad
        return _score_answers(rows, normalise, [row["prediction"] for row in rows])
    if task in ("udpos", "panx", "ccg"):
        return _score_tags(rows, task)
    if task == "bucc2018":
        return {"f1": max(_pair_f1(rows, row["score"]) for row in rows if row["score"] is not None)}
    gold = "gold" if task == "tatoeba" else "label"
    right = [row[gold] == row["prediction"] for row in rows]
    scores = {"accuracy": 100 * sum(right) / len(rows)}
    if task == "qqp":
        hits = sum(row["label"] == row["prediction"] == "1" for row in rows)
        both = sum((row["label"] == "1") + (row["prediction"] == "1") for row in rows)
        scores["f1"] = 100 * 2 * hits / both if both else 0.0
    return scores


def _score_answers(rows: Sequence[Row], normalise: Callable[[str], str], said: Sequence[str]) -> dict[str, float]:
    exact = f1 = 0.0
    for row, text in zip(rows, said, strict=True):
        golds = row["answers"] or [""]
        exact += max(float(normalise(text) == normalise(gold)) for gold in golds)
        if row["answers"]:
            f1 += max(overlap(normalise(text).split(), normalise(gold).split()) for gold in golds)
        else:
            f1 += float(not normalise(text))
    return {"exact_match": 100 * exact / len(rows), "f1": 100 * f1 / len(rows)}


def _score_possible_answers(rows: Sequence[Row]) -> dict[str, float]:
    """The best that any threshold gives: an answer stands whose null odds are at or below it."""
    best = {"exact_match": 0.0, "f1": 0.0}
    odds = [row["null_odds"] for row in rows]
    for threshold in [float("-inf"), *sorted(set(odds))]:
        said = [row["prediction"] if own <= threshold else "" for row, own in zip(rows, odds, strict=True)]
        for metric, value in _score_answers(rows, normalise_squad, said).items():
            best[metric] = max(best[metric], value)
    return best


def _pair_f1(rows: Sequence[Row], threshold: float) -> float:
    mined = [row for row in rows if row["score"] is not None and row["score"] >= threshold]
    hits = sum(row["gold"] for row in mined)
    return 100 * 2 * hits / (len(mined) + sum(row["gold"] for row in rows))


def _score_tags(rows: Sequence[Row], task: str) -> dict[str, float]:
    right = total = 0
    gold: set[Any] = set()
    said: set[Any] = set()
    find = find_entities if task == "panx" else find_runs
    for number, row in enumerate(rows):
        assert len(row["tags"]) == len(row["predictions"]) == len(row["words"])
        right += sum(a == b for a, b in zip(row["tags"], row["predictions"], strict=True))
        total += len(row["tags"])
        gold |= {(number, *chunk) for chunk in find(row["tags"])}
        said |= {(number, *chunk) for chunk in find(row["predictions"])}
    hits = len(gold & said)
    scores = {"accuracy": 100 * right / total, "f1": 100 * 2 * hits / (len(gold) + len(said)) if hits else 0.0}
    return {name: scores[name] for name in {"ccg": ("accuracy",), "panx": ("f1",)}.get(task, ("accuracy", "f1"))}
