"""Multiple choice: a context with each of its endings, one of which is right: HellaSwag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from stilts.data.examples import Choice
from stilts.data.prepared import PreparedSet
from stilts.evaluation.metrics import accuracy
from stilts.tasks.encoding import Encoded, EncodeSettings, check_finite, encode_texts


def encode(examples: Sequence[Choice], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """C sequences an example, one after the other; `labels` int64 [N]."""
    inputs = ((choice.context, ending) for choice in examples for ending in choice.endings)
    arrays = encode_texts(inputs, tokenizer, settings)
    arrays["labels"] = np.array([choice.label for choice in examples], dtype=np.int64)
    return Encoded(arrays, len(examples), choices=len(examples[0].endings))


def tabulate(examples: Sequence[Choice]) -> pa.Table:
    """What scoring needs: id, label (index of the right ending)."""
    return pa.table({"id": [choice.id for choice in examples], "label": [choice.label for choice in examples]})


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


def score(predictions: pa.Table) -> dict[str, float]:
    """Accuracy in percent."""
    return {"accuracy": accuracy(predictions["label"].to_pylist(), predictions["prediction"].to_pylist())}
