"""Sentence pairs with one label: ANLI, MNLI, QQP, XNLI, PAWS-X."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stilts.data.examples import Pair
from stilts.data.prepared import PreparedSet
from stilts.evaluation.metrics import f1_score, share
from stilts.tasks.columns import choose, put_columns, take_scored
from stilts.tasks.columns import tune as tune
from stilts.tasks.encoding import IGNORED, Encoded, EncodeSettings, check_finite, encode_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# F1 (QQP, GLUE) is that of this class.
POSITIVE = "1"


def encode(examples: Sequence[Pair], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """One sequence an example; `labels` int64 [N], IGNORED where there is none."""
    arrays = encode_texts(((pair.text, pair.second_text) for pair in examples), tokenizer, settings)
    codes: dict[str | None, int] = {label: index for index, label in enumerate(settings.labels)} | {None: IGNORED}
    arrays["labels"] = np.array([codes[pair.label] for pair in examples], dtype=np.int64)
    return Encoded(arrays, len(examples))


def tabulate(examples: Sequence[Pair]) -> pa.Table:
    """What scoring needs: id, label."""
    labels = pa.array([pair.label for pair in examples], type=pa.string())
    return pa.table({"id": [pair.id for pair in examples], "label": labels})


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


def annotate(table: pa.Table, task: str) -> pa.Table:
    """With `correct`: whether the prediction is the label."""
    return put_columns(table, {"correct": pc.equal(table["label"], table["prediction"])})


def score(table: pa.Table, metrics: Sequence[str]) -> dict[str, float]:
    """Accuracy, and F1 of the class "1", in percent."""
    correct = take_scored(table, "correct")
    figures = {"accuracy": share(int(correct.sum()), len(correct))}
    if "f1" in metrics:
        gold, predicted = (np.asarray(pc.equal(table[name], POSITIVE)) for name in ("label", "prediction"))
        figures["f1"] = f1_score(int((gold & predicted).sum()), int(gold.sum()), int(predicted.sum()))
    return choose(figures, metrics)


def count(table: pa.Table) -> int:
    """Scored examples."""
    return table["correct"].length() - table["correct"].null_count
