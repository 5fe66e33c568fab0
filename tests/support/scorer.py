"""A slow, obvious scorer of stored predictions: the oracle for the metric files.

Written from the rules alone (XTREME's scorers: SQuAD 1.1 normalisation, seqeval 0.0.12 on bare tags), without the
project's metrics, one example at a time.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def score_predictions(table: Path, target: str, language: str) -> dict[str, float]:
    """Metrics in percent of one language of a prediction file."""
    rows = [row for row in pq.read_table(table).to_pylist() if row["language"] == language]
    if target in ("xquad", "squad1"):
        return _score_answers(rows)
    if target == "udpos":
        return _score_tags(rows)
    gold = "gold" if target == "tatoeba" else "label"
    return {"accuracy": 100 * sum(row[gold] == row["prediction"] for row in rows) / len(rows)}


def _score_answers(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    exact = f1 = 0.0
    for row in rows:
        said = row["prediction"] or ""
        exact += max(float(_normalise(said) == _normalise(gold)) for gold in row["answers"])
        f1 += max(_overlap(_normalise(said).split(), _normalise(gold).split()) for gold in row["answers"])
    return {"exact_match": 100 * exact / len(rows), "f1": 100 * f1 / len(rows)}


def _normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single blanks, in that order."""
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def _overlap(said: list[str], gold: list[str]) -> float:
    common = sum((Counter(said) & Counter(gold)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(said), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def _score_tags(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    right = total = 0
    gold: set[tuple[int, int, int, str]] = set()
    said: set[tuple[int, int, int, str]] = set()
    for number, row in enumerate(rows):
        assert len(row["tags"]) == len(row["predictions"]) == len(row["words"])
        right += sum(a == b for a, b in zip(row["tags"], row["predictions"], strict=True))
        total += len(row["tags"])
        gold |= {(number, *chunk) for chunk in _chunks(row["tags"])}
        said |= {(number, *chunk) for chunk in _chunks(row["predictions"])}
    hits = len(gold & said)
    f1 = 2 * hits / (len(gold) + len(said)) if hits else 0.0
    return {"accuracy": 100 * right / total, "f1": 100 * f1}


def _chunks(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Runs of one tag are one chunk; SCONJ and SYM begin with the letter of a single-word chunk in IOBES."""
    chunks: list[tuple[int, int, str]] = []
    start = 0
    for tag, run in groupby(tags):
        length = len(list(run))
        if tag.startswith("S"):
            chunks += [(position, position + 1, tag) for position in range(start, start + length)]
        else:
            chunks.append((start, start + length, tag))
        start += length
    return chunks
