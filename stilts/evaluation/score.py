"""From a trained model and prepared sets to predictions on disk and metrics."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from stilts.data.prepared import Prepared
from stilts.evaluation.predict import predict
from stilts.runs import RunFolder
from stilts.tasks.families import family

# (language, split, metrics in percent, number of examples)
Score = tuple[str, str, dict[str, float], int]


def score_target(
    model: Path,
    target: str,
    prepared: Path,
    folder: RunFolder,
    training: str | None,
    device: torch.device,
    layer: int | None = None,
) -> list[Score]:
    """Score a model on every labelled set in the folder `prepared`, all languages in one pass.

    `training` names the head (an intermediate task's is its own name), None is retrieval with `layer`. Training sets
    are left out. Predictions go to `<run>/predictions/<target>.<split>.parquet`, one row an example, `language` first;
    they alone suffice to compute the metrics again.
    """
    data = Prepared.load(prepared)
    names = [name for name in data.sets if not name.startswith("train.")]
    if not names:
        return []
    outputs = predict(model, prepared, names, training, device, layer)
    module = family(data.manifest["family"])
    scores: list[Score] = []
    tables: dict[str, list[pa.Table]] = {}
    for name in sorted(names):
        split, _, language = name.partition(".")
        table = module.decode(data.open(name), data.examples(name), outputs[name])
        tables.setdefault(split, []).append(table)
        scores.append((language, split, module.score(table), len(table)))
    for split, parts in tables.items():
        write_parquet(folder.predictions / f"{target}.{split}.parquet", parts)
    return scores


def write_parquet(path: Path, parts: Sequence[pa.Table]) -> None:
    """Write the tables one below the other, the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        pq.write_table(pa.concat_tables(parts), temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
