"""Trees of metric files for the tests, written by hand from the contract and not through our own writer."""

from __future__ import annotations

import csv
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

BASELINE = {"mode": "none", "tasks": [], "mlm": False, "translated": False}
MNLI = {"mode": "single", "tasks": ["mnli"], "mlm": False, "translated": False}


# Typed in from the XTREME table (arXiv 2003.11080), apart from the catalogue.
POS = "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh".split()
NER = [*POS, "bn", "jv", "ka", "ml", "ms", "my", "sw"]
LANGUAGES = {
    "xnli": "ar bg de el en es fr hi ru sw th tr ur vi zh".split(),
    "pawsx": "de en es fr ja ko zh".split(),
    "udpos": [language for language in POS if language not in ("kk", "th", "tl", "yo")],
    "panx": NER,
    "xquad": "ar de el en es hi ru th tr vi zh".split(),
    "mlqa": "ar de en es hi vi zh".split(),
    "tydiqa": "ar bn en fi id ko ru sw te".split(),
    "bucc2018": "de fr ru zh".split(),
    "tatoeba": [language for language in NER if language not in ("en", "ms", "my", "yo")],
}
TOY = {target: ["qaa", "qab", "qac"] for target in ("xnli", "udpos", "xquad", "tatoeba")}
for _target in ("xnli", "udpos", "xquad"):
    TOY[_target] = ["en", *TOY[_target]]
QA = ("xquad", "mlqa", "tydiqa")
ONE_SET = ("xquad", "tydiqa", "tatoeba")
METRIC = {"xnli": "accuracy", "pawsx": "accuracy", "udpos": "f1", "panx": "f1", "bucc2018": "f1", "tatoeba": "accuracy"}


def make_metrics(target: str, value: float, exact: float | None = None) -> dict[str, float]:
    if target in QA:
        return {"f1": value, "exact_match": value if exact is None else exact}
    return {METRIC[target]: value}


def make_document(target: str, language: str, metrics: dict[str, float], **changes: Any) -> dict[str, Any]:
    document = {
        "schema": "stilts.metrics/1",
        "run": f"target-{target}-00000000",
        "intermediate": BASELINE,
        "target": target,
        "language": language,
        "split": "test" if target in ONE_SET else "dev",
        "seed": 1,
        "metrics": metrics,
        "examples": 100,
        "provenance": {"commit": "abc"},
    }
    return document | changes


def write_document(folder: Path, document: Any) -> Path:
    """One file under the next free number."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sum(1 for _ in folder.iterdir()):06}.json"
    path.write_text(json.dumps(document))
    return path


def write_task(
    folder: Path,
    target: str,
    value: float,
    exact: float | None = None,
    languages: Iterable[str] | None = None,
    **changes: Any,
) -> None:
    """One constant score per language of a target, all of them unless `languages` says otherwise."""
    lists = TOY if changes.get("suite") == "toy" else LANGUAGES
    metrics = make_metrics(target, value, exact)
    run = folder / f"{target}-{zlib.crc32(json.dumps([metrics, changes], sort_keys=True).encode()):08x}"
    run.mkdir(parents=True, exist_ok=True)
    for language in lists[target] if languages is None else languages:
        (run / f"{language}.json").write_text(json.dumps(make_document(target, language, metrics, **changes)))


def write_row(folder: Path, value: float, without: Iterable[str] = (), **changes: Any) -> None:
    """All nine targets with one constant."""
    for target in LANGUAGES:
        if target not in without:
            write_task(folder, target, value, **changes)


def read_table(out: Path) -> list[dict[str, str]]:
    with open(out / "main.csv", newline="") as file:
        return list(csv.DictReader(file))


def read_cells(out: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    """Lines of main_detail.csv by (variant, row, column)."""
    with open(out / "main_detail.csv", newline="") as file:
        return {(line["variant"], line["row"], line["column"]): line for line in csv.DictReader(file)}


def find_shared(name: str) -> Path:
    """A file of the shared folder ($STILTS_SHARED, or beside the checkout); skips where it is absent."""
    root = os.environ.get("STILTS_SHARED") or Path(__file__).resolve().parents[3] / "shared"
    path = Path(root) / name
    if not path.is_file():
        pytest.skip(f"no {path}; name the shared folder in STILTS_SHARED")
    return path
