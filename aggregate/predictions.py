"""Stored predictions of a run (`<run>/predictions/<target>.<split>.parquet`), a table for each set."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stilts.errors import UserError
from stilts.runs import RunFolder
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS
from stilts.tasks.columns import task_metrics
from stilts.tasks.families import family, finish_tables


def list_predictions(folder: RunFolder) -> dict[str, list[str]]:
    """Splits that a run has predictions of, by target or intermediate task; sorted."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.predictions.glob("*.parquet")):
        task, _, split = path.stem.partition(".")
        if not path.name.startswith(".") and (task in TARGETS or task in INTERMEDIATES):
            found.setdefault(task, []).append(split)
    return found


def read_predictions(path: Path) -> dict[str, pa.Table]:
    """One table a language, in the order of the file. Raises UserError where it is no table of predictions."""
    try:
        table = pq.read_table(path)
        languages = table["language"].unique().to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(
            f"{path}: no table of predictions ({' '.join(str(error).split())}); score the run again"
        ) from None
    return {language: table.filter(pc.equal(table["language"], language)) for language in languages}


def task_family(task: str) -> str:
    """Name of the family of a target or an intermediate task."""
    return TARGETS[task].family if task in TARGETS else INTERMEDIATES[task].family


def judge_predictions(folder: RunFolder, task: str) -> dict[str, pa.Table]:
    """All sets `<split>.<language>` of a task, each example with its score statistics, thresholds set on dev.

    Raises UserError where a file is no table of predictions of this task.
    """
    paths = {split: folder.predictions / f"{task}.{split}.parquet" for split in list_predictions(folder).get(task, [])}
    tables = {
        f"{split}.{language}": table
        for split, path in paths.items()
        for language, table in read_predictions(path).items()
    }
    try:
        return finish_tables(task_family(task), task, tables)
    except (KeyError, ValueError, pa.ArrowException) as error:
        names = ", ".join(map(str, paths.values()))
        raise UserError(f"{names}: no predictions of {task} ({error}); score the run again") from None


def score_set(table: pa.Table, task: str) -> tuple[dict[str, float], int] | None:
    """Metrics in percent and number of examples of one judged set; None where its labels are kept back.

    Raises NotScored where labels are there and still no score is possible.
    """
    module = family(task_family(task))
    examples = int(module.count(table))
    return (module.score(table, task_metrics(task)), examples) if examples else None
