"""Multiple choice: a context with each of its endings, one of which is right: HellaSwag, CosmosQA, CommonsenseQA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stilts.data.examples import Choice
from stilts.data.prepared import PreparedSet
from stilts.evaluation.metrics import share
from stilts.tasks.columns import choose, put_columns, take_scored
from stilts.tasks.columns import tune as tune
from stilts.tasks.encoding import Encoded, EncodeSettings, check_finite, encode_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def encode(examples: Sequence[Choice], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """C sequences an example, one after the other; `labels` int64 [N]."""
    inputs = ((choice.context, ending) for choice in examples for ending in choice.endings)
    arrays = encode_texts(inputs, tokenizer, settings)
    arrays["labels"] = np.array([choice.label for choice in examples], dtype=np.int64)
    return Encoded(arrays, len(examples), choices=len(examples[0].endings))


def tabulate(examples: Sequence[Choice]) -> pa.Table:
    """What scoring needs: id, label (index of the right ending)."""
    labels = pa.array([choice.label for choice in examples], type=pa.int64())
    return pa.table({"id": [choice.id for choice in examples], "label": labels})


def decode(prepared: PreparedSet, examples: pa.Table, outputs: Mapping[str, np.ndarray]) -> pa.Table:
    """`outputs`: "logits" float32 [N, C]. Columns language, id, label, prediction, scores (the logits)."""
    logits = check_finite(prepared.name, outputs["logits"], len(prepared))
    return pa.table(
        {
            "language": [prepared.language] * len(prepared),
            "id": examples["id"],
            "label": examples["label"],
            "prediction": pa.array(logits.argmax(axis=1), type=pa.int64()),
            "scores": pa.array(logits.tolist(), type=pa.list_(pa.float32())),
        }
    )


def annotate(table: pa.Table, task: str) -> pa.Table:
    """With `correct`: whether the prediction is the label."""
    return put_columns(table, {"correct": pc.equal(table["label"], table["prediction"])})


def score(table: pa.Table, metrics: Sequence[str]) -> dict[str, float]:
    """Accuracy in percent."""
    correct = take_scored(table, "correct")
    return choose({"accuracy": share(int(correct.sum()), len(correct))}, metrics)


def count(table: pa.Table) -> int:
    """Scored examples."""
    return table["correct"].length() - table["correct"].null_count
