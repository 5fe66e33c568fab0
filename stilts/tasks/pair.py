"""Sentence pairs with one label: MNLI, XNLI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from stilts.data.examples import Pair
from stilts.data.prepared import PreparedSet
from stilts.evaluation.metrics import accuracy
from stilts.tasks.encoding import Encoded, EncodeSettings, check_finite, encode_texts


def encode(examples: Sequence[Pair], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """One sequence an example; `labels` int64 [N]."""
    arrays = encode_texts(((pair.text, pair.second_text) for pair in examples), tokenizer, settings)
    arrays["labels"] = np.array([settings.labels.index(pair.label) for pair in examples], dtype=np.int64)
    return Encoded(arrays, len(examples))


def tabulate(examples: Sequence[Pair]) -> pa.Table:
    """What scoring needs: id, label."""
    return pa.table({"id": [pair.id for pair in examples], "label": [pair.label for pair in examples]})


def decode(prepared: PreparedSet, examples: pa.Table, outputs: Mapping[str, np.ndarray]) -> pa.Table:
    """`outputs`: "logits" float32 [N, L]. Columns language, id, label, prediction, scores (the logits)."""
    logits = check_finite(prepared.name, outputs["logits"], len(prepared))
    predictions = [prepared.label_names[label] for label in logits.argmax(axis=1)]
    return pa.table(
        {
            "language": [prepared.language] * len(prepared),
            "id": examples["id"],
            "label": examples["label"],
            "prediction": predictions,
            "scores": pa.array(logits.tolist(), type=pa.list_(pa.float32())),
        }
    )


def score(predictions: pa.Table) -> dict[str, float]:
    """Accuracy in percent."""
    return {"accuracy": accuracy(predictions["label"].to_pylist(), predictions["prediction"].to_pylist())}
