"""Stored predictions of a run (`<run>/predictions/<target>.<split>.parquet`), a table for each set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aggregate.submissions.prediction_columns import check_columns
from stilts.errors import UserError
from stilts.runs import RunFolder
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, task_family
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


def read_predictions(path: Path, task: str) -> dict[str, pa.Table]:
    """One table a language, in the order of the file, with the columns of docs/predictions.md.

    Raises UserError, one problem, where the file is no table of predictions of this task.
    """
    try:
        table = pq.read_table(path)
        table.validate(full=True)
        table, problems = check_columns(table, task)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: no table of predictions ({reason}); score the run again") from None
    if problems:
        raise UserError(f"{path}: no predictions of {task} ({'; '.join(problems)}); score the run again")
    languages = table["language"].unique().to_pylist()
    return {language: table.filter(pc.equal(table["language"], language)) for language in languages}


def group_splits(task: str, splits: Sequence[str]) -> list[list[str]]:
    """Splits that have to be judged together: mining takes its thresholds from dev, all others stand alone."""
    return [list(splits)] if task_family(task) == "mining" else [[split] for split in splits]


def judge_predictions(folder: RunFolder, task: str, splits: Sequence[str]) -> dict[str, pa.Table]:
    """The sets `<split>.<language>` of a task, each example with its score statistics, thresholds set on dev.

    Raises UserError where a file is no table of predictions of this task.
    """
    paths = {split: folder.predictions / f"{task}.{split}.parquet" for split in splits}
    tables: dict[str, pa.Table] = {}
    problems = []
    for split, path in paths.items():
        try:
            tables |= {f"{split}.{language}": table for language, table in read_predictions(path, task).items()}
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    try:
        return finish_tables(task_family(task), task, tables)
    except (KeyError, ValueError, pa.ArrowException, UserError) as error:
        names = ", ".join(map(str, paths.values()))
        raise UserError(f"{names}: no predictions of {task} ({error}); score the run again") from None


def score_set(table: pa.Table, task: str) -> tuple[dict[str, float], int] | None:
    """Metrics in percent and number of examples of one judged set; None where its labels are kept back.

    Raises NotScored where labels are there and still no score is possible.
    """
    module = family(task_family(task))
    examples = int(module.count(table))
    return (module.score(table, task_metrics(task)), examples) if examples else None
