"""Sentence retrieval: for each English sentence the nearest foreign one by cosine (Tatoeba)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stilts.data.examples import Translation
from stilts.data.prepared import PreparedSet
from stilts.evaluation.metrics import share
from stilts.evaluation.neighbours import find_neighbours
from stilts.tasks.columns import choose, put_columns, take_scored
from stilts.tasks.columns import tune as tune
from stilts.tasks.encoding import IGNORED, Encoded, EncodeSettings, check_finite, encode_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def encode(examples: Sequence[Translation], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """Sequences 0..N-1: queries, N..2N-1: candidates; `labels` int64 [N]: the query's right candidate or IGNORED."""
    texts = [row.query for row in examples] + [row.candidate for row in examples]
    arrays = encode_texts(texts, tokenizer, settings)
    arrays["labels"] = np.array([IGNORED if row.gold is None else row.gold for row in examples], dtype=np.int64)
    return Encoded(arrays, len(examples))


def tabulate(examples: Sequence[Translation]) -> pa.Table:
    """What scoring needs: id (rank of the English sentence), gold (index of its candidate)."""
    golds = pa.array([row.gold for row in examples], type=pa.int64())
    return pa.table({"id": [row.id for row in examples], "gold": golds})


def decode(
    prepared: PreparedSet, examples: pa.Table, outputs: Mapping[str, np.ndarray], device: str = "cpu"
) -> pa.Table:
    """`outputs`: "embeddings" float32 [2N, H]. Columns language, id, gold, prediction, score (cosine).

    The search runs on `device`; what it finds does not depend on it.
    """
    embeddings = check_finite(prepared.name, outputs["embeddings"], 2 * len(prepared))
    nearest, cosines = find_neighbours(embeddings[: len(prepared)], embeddings[len(prepared) :], 1, device=device)
    return pa.table(
        {
            "language": [prepared.language] * len(prepared),
            "id": examples["id"],
            "gold": examples["gold"],
            "prediction": nearest[:, 0],
            "score": cosines[:, 0].astype(np.float32),
        }
    )


def annotate(table: pa.Table, task: str) -> pa.Table:
    """With `correct`: whether the nearest candidate is the gold one."""
    return put_columns(table, {"correct": pc.equal(table["gold"], table["prediction"])})


def score(table: pa.Table, metrics: Sequence[str]) -> dict[str, float]:
    """Accuracy in percent."""
    correct = take_scored(table, "correct")
    return choose({"accuracy": share(int(correct.sum()), len(correct))}, metrics)


def count(table: pa.Table) -> int:
    """Scored examples."""
    return table["correct"].length() - table["correct"].null_count
