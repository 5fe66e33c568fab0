"""Compute the metric files of finished runs again from their stored predictions, without a GPU.

python aggregate/rescore.py --results runs --check
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in (None, ""):
    # Run as a script: the repository root takes the place of this folder, whose module names are too plain.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from aggregate.scores.listing import SKIPPED_FOLDERS
from aggregate.scores.standing import stands
from aggregate.submissions.predictions import group_splits, judge_predictions, list_predictions, score_set
from stilts.errors import UserError
from stilts.results import MetricFile, read_metric_file, write_metric_file
from stilts.runs import RunFolder, read_json
from stilts.tasks.columns import NotScored

if TYPE_CHECKING:
    import pyarrow as pa

# Figures that differ by less are those of another order of summation (percent).
TOLERANCE = 1e-9

MANUAL = """\
what it does
  For every finished run below --results (a folder with run.json and DONE) it reads predictions/*.parquet, scores them
  as the run did, and compares the figures with those in metrics/*.json. A metric file whose figures differ by more
  than 1e-9 is written anew: figures and number of examples change, the rest stays, and its provenance gains
  "rescored": true and the commit of this code. Everything else is left as it is. Needs pyarrow and numpy.

what it tells
  changed  a metric file with its old and new figures
  note     a metric file without predictions (the layers of a sweep have none), predictions without a metric file,
           a run that is not finished, a file that cannot be read

exit code
  0 all figures are right now; 1 with --check: some differ; 2 nothing to do, or a file could not be read or written
"""


@dataclass
class Report:
    """What was found; `changed` and `notes` are lines for the user, `broken` those that make the command fail."""

    same: int = 0
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="aggregate/rescore.py",
        description="Compute the metric files of finished runs again from their stored predictions.",
        epilog=MANUAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="campaign root, or one run's folder")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if any figure differs")
    return parser.parse_args(arguments)


def rescore(results: Path, check: bool) -> Report:
    """Compare, and without `check` correct, every metric file below `results`. Raises UserError without any run."""
    runs = list(find_runs(results))
    if not runs:
        raise UserError(f"--results {results}: no run below it (a folder with run.json); give the campaign root")
    report = Report()
    for run in runs:
        folder = RunFolder(run)
        tasks = list_predictions(folder)
        if not tasks and not folder.metrics.is_dir():
            continue
        if not stands(run):
            report.notes.append(f"{run}: not done, or built on what has changed since; left as it is")
            continue
        rescore_run(folder, tasks, check, report)
    return report


def find_runs(results: Path) -> Iterator[Path]:
    """`results` itself or the run folders in it. Raises UserError where it is no folder."""
    if not results.is_dir():
        raise UserError(f"--results {results}: no such folder; give the campaign root")
    folders = [path for path in sorted(results.iterdir()) if path.name not in SKIPPED_FOLDERS]
    yield from (path for path in (results, *folders) if (path / "run.json").is_file())


def rescore_run(folder: RunFolder, tasks: dict[str, list[str]], check: bool, report: Report) -> None:
    """All metric files of one run; `tasks`: the splits of each that have predictions."""
    left = {path.name: path for path in sorted(folder.metrics.glob("*.json")) if not path.name.startswith(".")}
    for task, splits in tasks.items():
        for group in group_splits(task, splits):
            try:
                sets = judge_predictions(folder, task, group)
            except UserError as error:
                report.broken += error.problems
                unread = tuple(f"{task}.{split}." for split in group)
                left = {name: path for name, path in left.items() if not name.startswith(unread)}
                continue
            for name, table in sets.items():
                rescore_set(folder, task, name, table, left.pop(f"{task}.{name}.json", None), check, report)
    report.notes += [describe_leftover(path) for path in left.values()]


def rescore_set(
    folder: RunFolder, task: str, name: str, table: pa.Table, path: Path | None, check: bool, report: Report
) -> None:
    """One judged set against its metric file, if it has one."""
    try:
        figures = score_set(table, task)
    except UserError as error:
        found = report.notes if isinstance(error, NotScored) else report.broken
        found += [f"{folder.path}: {task} {name}: {problem}" for problem in error.problems]
        return
    if figures and path:
        try:
            compare(path, figures, check, report)
        except UserError as error:
            report.broken += error.problems
    elif figures:
        report.notes.append(f"{folder.path}: predictions of {task} {name} have no metric file; left")
    elif path:
        report.notes.append(f"{path}: its predictions have no labels to compute it from; left")


def compare(path: Path, figures: tuple[dict[str, float], int], check: bool, report: Report) -> None:
    """Count a metric file as the same, or write and tell what differs. Raises UserError where it is no metric file."""
    metrics, examples = figures
    metric = read_metric_file(path)
    changes = list(list_changes(metric, metrics, examples))
    if not changes:
        report.same += 1
        return
    report.changed.append(f"{path}: {', '.join(changes)}")
    if check:
        return
    commit = find_commit()
    marks = {"rescored": True, **({"rescored_commit": commit} if commit else {})}
    provenance = {**metric.provenance, **marks}
    # A metric that predictions do not give, such as a loss, stays.
    update = {"metrics": {**metric.metrics, **metrics}, "examples": examples, "provenance": provenance}
    try:
        write_metric_file(path, metric.model_copy(update=update))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def list_changes(metric: MetricFile, metrics: dict[str, float], examples: int) -> Iterator[str]:
    """`accuracy 71.3 -> 71.4` for every figure that is another or not there yet."""
    for name, new in metrics.items():
        old = metric.metrics.get(name)
        if old is None or abs(old - new) > TOLERANCE:
            yield f"{name} {'none' if old is None else repr(old)} -> {new!r}"
    if metric.examples != examples:
        yield f"examples {metric.examples} -> {examples}"


def describe_leftover(path: Path) -> str:
    """Why a metric file was not compared."""
    record = read_json(path) or {}
    if record.get("layer") is not None:
        return f"{path}: layer {record['layer']} of a sweep, which keeps no predictions; left"
    return f"{path}: no predictions to compute it from; left"


def find_commit() -> str | None:
    """The commit of this code, where it lies in a git checkout."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        report = rescore(options.results, options.check)
    except UserError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2
    for change in report.changed:
        print(f"{'differs' if options.check else 'changed'}: {change}")
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    for problem in report.broken:
        print(f"error: {problem}", file=sys.stderr)
    verdict = "differ" if options.check else "changed"
    print(f"{report.same} metric files are right, {len(report.changed)} {verdict}")
    if report.broken:
        return 2
    return 1 if options.check and report.changed else 0


if __name__ == "__main__":
    sys.exit(main())
