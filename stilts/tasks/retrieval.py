"""Sentence retrieval: for each English sentence the nearest foreign one by cosine (Tatoeba)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from stilts.data.examples import Translation
from stilts.data.prepared import PreparedSet
from stilts.evaluation.metrics import accuracy
from stilts.tasks.encoding import Encoded, EncodeSettings, check_finite, encode_texts

# Far above the rounding of a float32 product of unit vectors (about 1e-6), far below what separates sentences.
_MARGIN = 1e-5


def encode(examples: Sequence[Translation], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """Sequences 0..N-1: queries, N..2N-1: candidates; `labels` int64 [N]: the query's right candidate."""
    texts = [row.query for row in examples] + [row.candidate for row in examples]
    arrays = encode_texts(texts, tokenizer, settings)
    arrays["labels"] = np.array([row.gold for row in examples], dtype=np.int64)
    return Encoded(arrays, len(examples))


def tabulate(examples: Sequence[Translation]) -> pa.Table:
    """What scoring needs: id (rank of the English sentence), gold (index of its candidate)."""
    return pa.table({"id": [row.id for row in examples], "gold": [row.gold for row in examples]})


def decode(prepared: PreparedSet, examples: pa.Table, outputs: Mapping[str, np.ndarray]) -> pa.Table:
    """`outputs`: "embeddings" float32 [2N, H]. Columns language, id, gold, prediction, score (cosine)."""
    embeddings = check_finite(prepared.name, outputs["embeddings"], 2 * len(prepared))
    predictions, cosines = find_nearest(embeddings[: len(prepared)], embeddings[len(prepared) :])
    return pa.table(
        {
            "language": [prepared.language] * len(prepared),
            "id": examples["id"],
            "gold": examples["gold"],
            "prediction": predictions,
            "score": cosines,
        }
    )


def score(predictions: pa.Table) -> dict[str, float]:
    """Accuracy in percent."""
    return {"accuracy": accuracy(predictions["gold"].to_pylist(), predictions["prediction"].to_pylist())}


def find_nearest(queries: np.ndarray, candidates: np.ndarray, block: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """Index int64 [N] and cosine float32 [N] of the candidate nearest to each query; the first one of equals.

    The rounding of a matrix product depends on its shape. So the blocks only say which candidates come near the best,
    and these are compared by products of single rows: the result is the same for every block size.
    """
    queries, candidates = _normalize(queries), _normalize(candidates)
    nearest = np.empty(len(queries), dtype=np.int64)
    cosines = np.empty(len(queries), dtype=np.float32)
    for start in range(0, len(queries), block):
        products = queries[start : start + block] @ candidates.T
        bounds = products.max(axis=1, keepdims=True) - _MARGIN
        for row, near in enumerate(products >= bounds, start=start):
            indices = np.flatnonzero(near)
            exact = (candidates[indices].astype(np.float64) * queries[row]).sum(axis=1).astype(np.float32)
            best = int(exact.argmax())
            nearest[row], cosines[row] = indices[best], exact[best]
    return nearest, cosines


def _normalize(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
