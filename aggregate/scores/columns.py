"""Columns of the main table: one per (target, headline metric), in the paper's order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from stilts.tasks.catalogue import ONE_SET_TARGETS, TARGET_METRICS, TARGET_ORDER

_SUFFIXES = {"f1": "f1", "exact_match": "em"}
TARGET_TITLES = {
    "xnli": "XNLI",
    "pawsx": "PAWS-X",
    "udpos": "POS",
    "panx": "NER",
    "xquad": "XQuAD",
    "mlqa": "MLQA",
    "tydiqa": "TyDiQA",
    "bucc2018": "BUCC",
    "tatoeba": "Tatoeba",
}
# XTREME's four groups (arXiv 2003.11080, table 1).
CATEGORIES = {
    "classification": ("xnli", "pawsx"),
    "tagging": ("udpos", "panx"),
    "qa": ("xquad", "mlqa", "tydiqa"),
    "retrieval": ("bucc2018", "tatoeba"),
}
METRIC_TITLES = {"accuracy": "acc.", "f1": "F1", "exact_match": "EM"}


@dataclass(frozen=True)
class Column:
    key: str
    target: str
    metric: str


def headline_metrics(target: str) -> tuple[str, ...]:
    """Metrics that enter the table: F1 and EM of a QA task, else the first one (F1 for udpos, not accuracy)."""
    metrics = TARGET_METRICS[target]
    return metrics if "exact_match" in metrics else metrics[:1]


@cache
def list_columns(target: str) -> tuple[Column, ...]:
    metrics = headline_metrics(target)
    if len(metrics) == 1:
        return (Column(target, target, metrics[0]),)
    return tuple(Column(f"{target}_{_SUFFIXES[metric]}", target, metric) for metric in metrics)


def released_split(target: str, split: str) -> str:
    """The split under which a score counts: the one released set of xquad, tydiqa and tatoeba is `test`."""
    return "test" if target in ONE_SET_TARGETS else split


AVERAGE = "avg"  # beside the keys of columns: the mean of the tasks
COLUMNS = tuple(column for target in TARGET_ORDER for column in list_columns(target))
