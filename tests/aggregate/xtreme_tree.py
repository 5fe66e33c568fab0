"""Studies with dev and test scores for the tests of the table `xtreme`, and a slow table of its own."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aggregate.tables import main
from tests.aggregate.metric_tree import LANGUAGES, METRIC, ONE_SET, POS, QA, write_task

TARGETS = tuple(LANGUAGES)
COLUMNS = [key for t in TARGETS for key in ((f"{t}_f1", f"{t}_em") if t in QA else (t,))]
GROUPS = {
    "classification": ("xnli", "pawsx"),
    "tagging": ("udpos", "panx"),
    "qa": ("xquad", "mlqa", "tydiqa"),
    "retrieval": ("bucc2018", "tatoeba"),
}


def list_languages(target: str, split: str) -> list[str]:
    return POS if (target, split) == ("udpos", "test") else LANGUAGES[target]


def name_metrics(target: str) -> tuple[str, ...]:
    return ("f1", "exact_match") if target in QA else (METRIC[target],)


def write_scores(folder: Path, intermediate: Mapping[str, Any], scores: Mapping[str, Any], **changes: Any) -> None:
    """One constant per target: (dev, test), or one number for the one set of xquad, tydiqa and tatoeba."""
    for target, numbers in scores.items():
        pairs = [("test", numbers)] if target in ONE_SET else zip(("dev", "test"), numbers, strict=True)
        for split, value in pairs:
            if value is not None:
                languages = changes.get("languages") or list_languages(target, split)
                given = {"intermediate": intermediate, "split": split} | changes | {"languages": languages}
                write_task(folder, target, value, **given)


def same(value: float, **other: Any) -> dict[str, Any]:
    """One score everywhere, but for the targets named."""
    return {target: value if target in ONE_SET else (value, value) for target in TARGETS} | other


def read_sheet(results: Path, out: Path, name: str = "xtreme") -> list[dict[str, str]]:
    assert main(["--results", str(results), "--out", str(out)]) == 0
    with open(out / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def read_rows(results: Path, out: Path) -> dict[str, dict[str, str]]:
    return {line["row"]: line for line in read_sheet(results, out)}


def read_choices(results: Path, out: Path) -> dict[tuple[str, str], dict[str, str]]:
    return {(line["target"], line["choice"]): line for line in read_sheet(results, out, "xtreme_choice")}
