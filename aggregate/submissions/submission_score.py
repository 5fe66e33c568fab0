"""A submission against labels, by the rules of XTREME's own scorer (google-research/xtreme `evaluate.py`).

Per language, then the plain mean over the languages of the task; a QA task is the mean of its two means; a category
is the plain mean of its tasks, and so is the whole of the nine tasks (not of the four categories).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from aggregate.scores.columns import CATEGORIES
from aggregate.submissions.submission_files import file_name
from aggregate.submissions.submission_metrics import METRICS, Figures, score_file
from stilts.errors import UserError
from stilts.tasks.catalogue import TARGETS

WHOLE = "all_task"


@dataclass
class TaskScores:
    """One task: figures by language, in the catalogue's order. Means are None while a language is missing."""

    task: str
    figures: dict[str, Figures] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return set(self.figures) == set(TARGETS[self.task].languages)

    def mean(self, metric: str) -> float | None:
        return fmean(figures[metric] for figures in self.figures.values()) if self.complete else None

    @property
    def score(self) -> float | None:
        """The figure that enters the averages: the mean of F1 and exact match for QA, else F1 or accuracy."""
        metrics = METRICS[TARGETS[self.task].family]
        headline = metrics if "exact_match" in metrics else metrics[:1]
        return fmean(self.mean(metric) or 0.0 for metric in headline) if self.complete else None

    def document(self) -> dict[str, object]:
        """The keys of XTREME's scorer: `f1: {language: percent}`, `avg_f1`, `avg_metric`."""
        metrics = METRICS[TARGETS[self.task].family]
        by_language = {metric: {name: figures[metric] for name, figures in self.figures.items()} for metric in metrics}
        means = {f"avg_{metric}": self.mean(metric) for metric in metrics}
        return {**by_language, **means, "avg_metric": self.score}


@dataclass(frozen=True)
class Scores:
    """All nine tasks. `missing` says which files are not there, `notes` what is there and not read."""

    tasks: dict[str, TaskScores]
    missing: tuple[str, ...]
    notes: tuple[str, ...]

    def average(self, tasks: Sequence[str]) -> float | None:
        """The plain mean of tasks, None while one of them is not complete."""
        scores = [self.tasks[task].score for task in tasks]
        known = [score for score in scores if score is not None]
        return fmean(known) if len(known) == len(scores) else None

    def averages(self) -> dict[str, float | None]:
        categories = {name: self.average(tasks) for name, tasks in CATEGORIES.items()}
        return {WHOLE: self.average(tuple(self.tasks)), **categories}

    def document(self) -> dict[str, object]:
        """What scores.json holds; null where parts are missing."""
        return {**self.averages(), **{name: task.document() for name, task in self.tasks.items()}}


def score_submission(predictions: Path, labels: Path) -> Scores:
    """Score every file that both folders have.

    Raises UserError with the problems of all files: no folder, unreadable, a label that the task does not have, counts
    that differ (but for QA and BUCC), or nothing to score.
    """
    folders = {"--score": predictions, "--labels": labels}
    problems = [
        f"{option} {path}: {'a file' if path.exists() else 'no such folder'}; give the folder that has one folder a "
        f"task: {' '.join(TARGETS)}"
        for option, path in folders.items()
        if not path.is_dir()
    ]
    if problems:
        raise UserError(problems)
    tasks = {name: TaskScores(name) for name in TARGETS}
    missing: list[str] = []
    notes = [note for folder in folders.values() for note in _find_strangers(folder)]
    for scores in tasks.values():
        try:
            _score_task(scores, predictions, labels, missing, notes)
        except UserError as error:
            problems += error.problems
    if not problems and not any(scores.figures for scores in tasks.values()):
        problems = [f"{predictions} and {labels}: no file of a task that both have", *missing]
    if problems:
        raise UserError(problems)
    return Scores(tasks, tuple(missing), tuple(notes))


def _score_task(scores: TaskScores, predictions: Path, labels: Path, missing: list[str], notes: list[str]) -> None:
    """Fill in the languages that both folders have. Raises UserError with the problems of all of them."""
    task = scores.task
    absent = {folder / task: _find_absent(folder / task, task) for folder in (predictions, labels)}
    missing += [f"{folder}: {_tell_absent(names, task)}" for folder, names in absent.items() if names]
    problems = []
    for language in TARGETS[task].languages:
        name = file_name(task, language)
        if any(name in names for names in absent.values()):
            continue
        said, gold = predictions / task / name, labels / task / name
        try:
            scores.figures[language] = score_file(task, language, said, gold, notes)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)


def _find_absent(folder: Path, task: str) -> list[str]:
    """Files of a task that are not in its folder, which may be missing as a whole but may not be a file."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file; a folder with {file_name(task, 'LANGUAGE')} files is needed")
    names = [file_name(task, language) for language in TARGETS[task].languages]
    return [name for name in names if not (folder / name).exists()]


def _tell_absent(names: Sequence[str], task: str) -> str:
    return f"no {' '.join(names)}" if len(names) < len(TARGETS[task].languages) else "none of the task's files"


def _find_strangers(folder: Path) -> Iterator[str]:
    """What the layout does not know, which is most often a misspelt name."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in TARGETS and not path.name.startswith("."):
            yield f"{path}: not read; no task of that name"
    for task, target in TARGETS.items():
        known = {file_name(task, language) for language in target.languages}
        names = sorted(path.name for path in folder.glob(f"{task}/*"))
        strangers = [name for name in names if name not in known and not name.startswith(".")]
        if strangers:
            yield f"{folder / task}: not read: {' '.join(strangers)}; no file of {task} has such a name"
