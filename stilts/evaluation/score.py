"""From a trained model and prepared sets to predictions on disk and metrics."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from stilts.data.prepared import Prepared
from stilts.evaluation.predict import MAX_TOKENS, count_layers, default_layer, load_model, run_model
from stilts.runs import RunFolder
from stilts.tasks.columns import NotScored, task_metrics
from stilts.tasks.families import family, finish_tables

# Prediction tables by set name.
Tables = dict[str, pa.Table]


@dataclass(frozen=True)
class Score:
    """Metrics in percent of one language and split. `layer` is the one asked for, of a sweep the one swept.

    None: the default layer, or a task with a head; such a score counts for the tables. `used_layer` is the layer that
    was really read, None where there is a head.
    """

    language: str
    split: str
    metrics: dict[str, float]
    examples: int
    layer: int | None = None
    used_layer: int | None = None


def score_target(
    model: Path,
    task: str,
    prepared: Path,
    folder: RunFolder,
    training: str | None,
    device: torch.device,
    layer: int | None = None,
    sweep: bool = False,
) -> list[Score]:
    """Predict every set but the training sets in the folder `prepared`; score those that have labels.

    `training` names the head (an intermediate task's is its own name). None is retrieval with `layer`, by default
    14/24 of the depth; a `sweep` adds the scores of every layer from the same forward pass. Then one set at a time is
    embedded, in a file of 4 S L H bytes in the run's folder: S sequences, L layers (1 without sweep), hidden size H.

    Predictions go to `<run>/predictions/<task>.<split>.parquet` (see docs/predictions.md), not those of swept layers;
    they alone suffice to compute the metrics again. The layer stands in the file's metadata.
    """
    data = Prepared.load(prepared)
    names = sorted(name for name in data.sets if not name.startswith("train."))
    if not names:
        return []
    if training is not None:
        return _score_sets(data, task, _predict_with_head(model, data, names, training, device), folder, None, None)
    depth = count_layers(model)
    used = default_layer(depth) if layer is None else layer
    swept = [other for other in range(depth + 1) if layer is None or other != layer] if sweep else []
    tables = _predict_layers(model, data, names, folder, device, [used, *swept])
    scores = _score_sets(data, task, tables[0], folder, layer, used)
    for other, others in zip(swept, tables[1:], strict=True):
        scores += _score_sets(data, task, others, None, other, other)
    return scores


@torch.inference_mode()
def _predict_with_head(
    model: Path, data: Prepared, names: Sequence[str], training: str, device: torch.device
) -> Tables:
    """All sets in one pass."""
    network, pad_id = load_model(model, training)
    opened = [data.open(name) for name in names]
    outputs = run_model(network.to(device), opened, pad_id, device, MAX_TOKENS[device.type])
    decode = family(data.manifest["family"]).decode
    return {one.name: decode(one, data.examples(one.name), outputs[one.name]) for one in opened}


@torch.inference_mode()
def _predict_layers(
    model: Path, data: Prepared, names: Sequence[str], folder: RunFolder, device: torch.device, layers: Sequence[int]
) -> list[Tables]:
    """The tables of each layer; a set's embeddings are gone before the next set's are made."""
    network, pad_id = load_model(model, None, sorted(set(layers)))
    network.to(device)
    columns = {layer: column for column, layer in enumerate(sorted(set(layers)))}
    decode = family(data.manifest["family"]).decode
    folder.path.mkdir(parents=True, exist_ok=True)
    made: list[Tables] = [{} for _ in layers]
    for name in names:
        opened, examples = data.open(name), data.examples(name)
        outputs = run_model(network, [opened], pad_id, device, MAX_TOKENS[device.type], folder.path)[name]
        decoded = {
            layer: decode(opened, examples, {"embeddings": outputs["embeddings"][:, column]}, str(device))
            for layer, column in columns.items()
        }
        for tables, layer in zip(made, layers, strict=True):
            tables[name] = decoded[layer]
    return made


def _score_sets(
    data: Prepared, task: str, tables: Tables, folder: RunFolder | None, layer: int | None, used: int | None
) -> list[Score]:
    """Scores of the labelled sets; the predictions of all go into `folder`, if there is one."""
    name = data.manifest["family"]
    finished = finish_tables(name, task, tables)
    if folder:
        _write_predictions(folder, task, finished, used)
    scores = []
    for set_name, table in finished.items():
        split, _, language = set_name.partition(".")
        if not data.manifest["sets"][set_name].get("labelled", True):
            continue
        try:
            metrics = family(name).score(table, task_metrics(task))
        except NotScored as reason:
            print(f"{task} {set_name} is not scored: {reason}", file=sys.stderr, flush=True)
            continue
        scores.append(Score(language, split, metrics, family(name).count(table), layer, used))
    return scores


def _write_predictions(folder: RunFolder, task: str, tables: Mapping[str, pa.Table], layer: int | None) -> None:
    """One file a split, the languages one below the other."""
    splits: dict[str, list[pa.Table]] = {}
    for name, table in tables.items():
        splits.setdefault(name.partition(".")[0], []).append(table)
    for split, parts in splits.items():
        whole = pa.concat_tables(parts)
        if layer is not None:
            whole = whole.replace_schema_metadata({"layer": str(layer)})
        write_parquet(folder.predictions / f"{task}.{split}.parquet", whole)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        pq.write_table(table, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
