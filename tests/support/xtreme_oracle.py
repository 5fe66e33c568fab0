"""A slow, obvious scorer of XTREME submissions, written from the published rules alone, without the project's metrics.

Rules: google-research/xtreme (`evaluate.py`, `third_party/evaluate_squad.py`, `third_party/evaluate_mlqa.py`) and
seqeval 0.0.12. Everything is one example after the other, in percent.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

QA = ("xquad", "mlqa", "tydiqa")
GROUPS = {
    "classification": ("pawsx", "xnli"),
    "tagging": ("udpos", "panx"),
    "qa": QA,
    "retrieval": ("bucc2018", "tatoeba"),
}


def score_folders(predictions: Path, labels: Path) -> dict[str, Any]:
    """All figures of a complete submission: by task, metric and language, then `avg_metric`, groups and `all_task`."""
    figures: dict[str, Any] = {}
    for folder in sorted(labels.iterdir()):
        by_metric: dict[str, dict[str, float]] = {}
        for path in sorted(folder.iterdir()):
            language = path.stem.removeprefix("test-")
            for metric, value in score_files(
                folder.name, language, predictions / folder.name / path.name, path
            ).items():
                by_metric.setdefault(metric, {})[language] = value
        means = {f"avg_{metric}": sum(values.values()) / len(values) for metric, values in by_metric.items()}
        if folder.name in QA:
            means["avg_metric"] = (means["avg_f1"] + means["avg_exact_match"]) / 2
        else:
            means["avg_metric"] = means["avg_f1"] if "avg_f1" in means else means["avg_accuracy"]
        figures[folder.name] = {**by_metric, **means}
    for group, tasks in GROUPS.items():
        figures[group] = sum(figures[task]["avg_metric"] for task in tasks) / len(tasks)
    nine = [task for tasks in GROUPS.values() for task in tasks]
    figures["all_task"] = sum(figures[task]["avg_metric"] for task in nine) / 9
    return figures


def score_files(task: str, language: str, predictions: Path, labels: Path) -> dict[str, float]:
    """Metrics of one language."""
    if task in QA:
        return _score_answers(task, language, json.loads(predictions.read_text()), json.loads(labels.read_text()))
    said, gold = (path.read_text().splitlines() for path in (predictions, labels))
    if task == "bucc2018":
        return _compare_sets(set(said), set(gold))
    if task in ("udpos", "panx"):
        find = find_runs if task == "udpos" else find_entities
        return _compare_sets(find(said), find(gold))
    assert len(said) == len(gold)
    return {"accuracy": 100 * sum(a == b for a, b in zip(said, gold, strict=True)) / len(gold)}


def _compare_sets(said: set[Any], gold: set[Any]) -> dict[str, float]:
    hits = len(said & gold)
    if not hits:
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    precision, recall = hits / len(said), hits / len(gold)
    f1 = 2 * precision * recall / (precision + recall)
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}


def find_runs(lines: Sequence[str]) -> set[tuple[int, int, str]]:
    """Chunks (first line, last line, tag) of bare tags: runs of one tag, but each word of a tag that begins with S."""
    chunks = set()
    line = 0
    while line < len(lines):
        last = line
        while lines[line] and lines[line][0] != "S" and last + 1 < len(lines) and lines[last + 1] == lines[line]:
            last += 1
        if lines[line]:
            chunks.add((line, last, lines[line]))
        line = last + 1
    return chunks


def find_entities(lines: Sequence[str]) -> set[tuple[int, int, str]]:
    """Entities (first line, last line, type) of IOB2 tags: a stray I- begins one, as in conlleval."""
    entities = set()
    line = 0
    while line < len(lines):
        if not lines[line] or lines[line] == "O":
            line += 1
            continue
        kind, last = lines[line][2:], line
        while last + 1 < len(lines) and lines[last + 1] == f"I-{kind}":
            last += 1
        entities.add((line, last, kind))
        line = last + 1
    return entities


def _score_answers(task: str, language: str, said: dict[str, str], gold: dict[str, Any]) -> dict[str, float]:
    exact = f1 = 0.0
    questions = [
        question for article in gold["data"] for paragraph in article["paragraphs"] for question in paragraph["qas"]
    ]
    for question in questions:
        if question["id"] not in said:
            continue
        normalise: Callable[[str], str] = (
            normalise_squad if task != "mlqa" else lambda text: normalise_mlqa(text, language)
        )
        texts = [normalise(answer["text"]) for answer in question["answers"]]
        mine = normalise(said[question["id"]])
        exact += max(float(mine == text) for text in texts)
        f1 += max(overlap(mine.split(), text.split()) for text in texts)
    return {"exact_match": 100 * exact / len(questions), "f1": 100 * f1 / len(questions)}


def normalise_squad(text: str) -> str:
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


MLQA_ARTICLES = {
    "en": "a an the",
    "es": "un una unos unas el la los las",
    "vi": "của là cái chiếc những",
    "de": "ein eine einen einem eines einer der die das den dem des",
}


def normalise_mlqa(text: str, language: str) -> str:
    kept = ""
    for character in text.lower():
        if character not in string.punctuation and unicodedata.category(character)[0] != "P":
            kept += character
    if language in MLQA_ARTICLES:
        kept = re.sub(rf"\b({'|'.join(MLQA_ARTICLES[language].split())})\b", " ", kept)
    if language == "ar":
        kept = kept.replace("ال", " ")  # the script's expression is `\sال^|ال`: its first half never matches
    if language == "zh":
        words = ""
        for character in kept:
            words += f" {character} " if 0x4E00 <= ord(character) <= 0x9FA5 else character
        kept = words
    return " ".join(kept.split())


def overlap(said: list[str], gold: list[str]) -> float:
    common = sum((Counter(said) & Counter(gold)).values())
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(gold)
    return 2 * precision * recall / (precision + recall)
