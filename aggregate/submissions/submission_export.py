"""The predictions of a campaign as XTREME submissions: one for each row of its tables and each seed."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aggregate.scores.expectation import GRID_IN_RESULTS, Expected, find_expected, suite_targets
from aggregate.scores.main_table import row_order, shorten_models
from aggregate.scores.merging import Seed
from aggregate.scores.standing import stands
from aggregate.scores.variants import name_rows
from aggregate.submissions.predictions import judge_predictions, list_predictions, read_predictions
from aggregate.submissions.submission_files import file_name
from aggregate.submissions.submission_tables import write_table
from stilts.errors import UserError
from stilts.results import RowKey
from stilts.runs import RunFolder, write_json
from stilts.tasks.catalogue import ONE_SET_TARGETS, TARGETS, target_languages

MANIFEST = "manifest.json"
SCHEMA = "stilts.submission/1"
LONGEST_NAME = 100  # characters of a row's name in a folder's


@dataclass
class Submission:
    """One row and seed with the run of each target; what was written and what is missing, once it is written."""

    row: RowKey
    name: str
    seed: Seed
    runs: dict[str, str]
    folder: Path = Path()
    files: dict[str, dict[str, object]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name if self.seed is None else f"{self.name}, seed {self.seed}"


def export_submissions(
    results: Path, out: Path, split: str, grid: Path | None, row: str | None, seed: int | None
) -> list[Submission]:
    """Write the submissions of a campaign root, each whole or not at all; one without `files` had nothing to write.

    Files are called test-<lang> whatever the split is, for XTREME's scorer reads no others. Raises UserError where the
    grid names no runs, no row or seed fits, `out` holds something else, or there is no prediction at all.
    """
    if not results.is_dir():
        raise UserError(f"--results {results}: no such folder; give the campaign root")
    expected = find_expected(results, grid)
    if expected is None or not any(one.runs for one in expected.rows):
        raise UserError(
            f"{grid or results / GRID_IN_RESULTS}: names no runs; the resolved copy of a grid, which launch/grid.py "
            "keeps in the campaign root, says which run fills which row"
        )
    submissions = merge_seeds(choose_submissions(list_submissions(results, expected), row, seed))
    place_submissions(submissions, out)
    for submission in submissions:
        write_submission(submission, results, split, expected.suite)
    if not any(one.files for one in submissions):
        gaps = (f"{one}: {gap}" for one in submissions for gap in one.missing)
        raise UserError([f"--results {results}: no {split} predictions to export", *gaps])
    return submissions


def list_submissions(results: Path, expected: Expected) -> list[Submission]:
    """Every row and seed of the grid. A run serves further targets than the grid asks for: SQuAD's has MLQA too."""
    cells: dict[RowKey, dict[int, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for row in expected.rows:
        for target, by_seed in row.runs.items():
            for seed, run in by_seed.items():
                cells[row.key()][seed][target] = run
    names = name_rows(cells, shorten_models({key.model for key in cells}))
    submissions = []
    for key in sorted(cells, key=row_order):
        for seed, runs in sorted(cells[key].items()):
            served = {target: run for run in runs.values() for target in list_predictions(RunFolder(results / run))}
            submissions.append(Submission(key, names[key].text, seed, served | runs))
    return submissions


def choose_submissions(submissions: Sequence[Submission], row: str | None, seed: int | None) -> list[Submission]:
    """Those of the row whose name is `row`, else of all rows that contain it, and of `seed`."""
    names = list(dict.fromkeys(one.name for one in submissions))
    if row is not None and row not in names:
        fitting = [name for name in names if row.casefold() in name.casefold()]
        if not fitting:
            raise UserError(f"--row {row!r}: no row's name contains it; rows: {', '.join(names)}")
    else:
        fitting = names if row is None else [row]
    chosen = [one for one in submissions if one.name in fitting]
    if seed is not None:
        seeds = sorted({one.seed for one in chosen if one.seed is not None})
        if seed not in seeds:
            raise UserError(f"--seed {seed}: no such seed in these rows; seeds: {', '.join(map(str, seeds))}")
        chosen = [one for one in chosen if one.seed == seed]
    return chosen


def merge_seeds(submissions: Sequence[Submission]) -> list[Submission]:
    """One submission without a seed for a row whose runs are the same under every seed: they have none of their own."""
    by_row: dict[RowKey, list[Submission]] = defaultdict(list)
    for one in submissions:
        by_row[one.row].append(one)
    merged: list[Submission] = []
    for group in by_row.values():
        if len(group) > 1 and all(one.runs == group[0].runs for one in group):
            group[0].seed = None
            merged.append(group[0])
        else:
            merged += group
    return merged


def place_submissions(submissions: Sequence[Submission], out: Path) -> None:
    """Give each its folder: `out` itself to a single one. Raises UserError where a folder holds something else."""
    if len(submissions) == 1:
        submissions[0].folder = out
    else:
        taken: set[str] = set()
        for one in submissions:
            plain = re.sub(r"[^A-Za-z0-9.+=_]+", "-", one.name.replace(" > ", "-then-")).strip("-.")[:LONGEST_NAME]
            name = plain if one.seed is None else f"{plain}-seed{one.seed}"
            while name in taken:
                name += "-x"
            taken.add(name)
            one.folder = out / name
    obstacles = {one.folder: _find_obstacle(one.folder) for one in submissions}
    problems = [f"--out {folder}: {obstacle}" for folder, obstacle in obstacles.items() if obstacle]
    if problems:
        raise UserError(problems)


def _find_obstacle(folder: Path) -> str | None:
    """Why no export may take the place of `folder`; None where it is not there, empty, or an earlier export."""
    try:
        names = _list_names(folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        return "a file; name a folder" if isinstance(error, NotADirectoryError) else f"unreadable: {error.strerror}"
    return "holds something else than an earlier export; name a new folder" if names and MANIFEST not in names else None


def _list_names(folder: Path) -> list[str]:
    """What a folder holds. One that another export moves away meanwhile, and empties, is not the one to list."""
    while True:
        before = os.stat(folder)
        names = os.listdir(folder)
        after = os.stat(folder)
        if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
            return names


def write_submission(submission: Submission, results: Path, split: str, suite: str) -> None:
    """Write the whole folder and its manifest, or nothing where there is no prediction at all."""
    folder = submission.folder.resolve()
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        for target in suite_targets(suite):
            try:
                write_target(submission, results, target, split, draft, suite)
            except UserError as error:
                submission.missing += [f"{target}: {problem}" for problem in error.problems]
        if not submission.files:
            return
        row = {**asdict(submission.row), "name": submission.name}
        head = {"schema": SCHEMA, "row": row, "seed": submission.seed, "split": split}
        write_json(draft / MANIFEST, {**head, "files": submission.files, "missing": submission.missing})
        _swap(draft, folder)
    except OSError as error:
        raise UserError(f"--out {submission.folder}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _swap(draft: Path, folder: Path) -> None:
    """Put the finished draft into the place of an earlier export, which goes only then. The last of several stays."""
    old = draft.with_name(f"{draft.name}.old")
    try:
        while not _take_place(draft, folder, old):
            pass  # another export was faster: look at what it has put there
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _take_place(draft: Path, folder: Path, old: Path) -> bool:
    """False where another export has moved or put its folder there in between."""
    if obstacle := _find_obstacle(folder):
        raise UserError(f"--out {folder}: {obstacle}")
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        os.replace(folder, old)
    try:
        os.replace(draft, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def write_target(submission: Submission, results: Path, target: str, split: str, draft: Path, suite: str) -> None:
    """Write the files of one target. Raises UserError with what there is no prediction for, or none that is legal."""
    run = submission.runs.get(target)
    if run is None:
        raise UserError("not in the grid")
    folder = RunFolder(results / run)
    if not folder.done.is_file() or not stands(folder.path):
        raise UserError(f"{run} is not done, or was built on what has changed since; launch/status.py says more")
    source = "test" if target in ONE_SET_TARGETS else split
    path = folder.predictions / f"{target}.{source}.parquet"
    if not path.is_file():
        raise UserError(f"{run} has no {path.relative_to(folder.path).as_posix()}")
    if TARGETS[target].family == "mining":
        sets = judge_predictions(folder, target, list_predictions(folder)[target])
        tables = {name.partition(".")[2]: table for name, table in sets.items() if name.startswith(f"{source}.")}
    else:
        tables = read_predictions(path, target)
    problems = []
    wanted = target_languages(target, source, suite)
    for language, table in tables.items():
        if language not in wanted:  # nor may such a name be part of a path
            problems.append(f"{path}: {language!r} is no language of the {source} set; not written")
            continue
        name = f"{target}/{file_name(target, language)}"
        try:
            write_table(draft / name, target, table)
        except UserError as error:
            problems += error.problems
            continue
        origin = {"run": run, "predictions": path.relative_to(results).as_posix(), "rows": len(table)}
        submission.files[name] = origin
    lacking = [language for language in wanted if language not in tables]
    if lacking:
        problems.append(f"{run} has no predictions of {' '.join(lacking)}")
    if problems:
        raise UserError(problems)
