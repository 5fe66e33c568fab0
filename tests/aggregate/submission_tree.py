"""Small complete submissions and labels for the tests, written by hand in XTREME's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aggregate.submission import main
from tests.aggregate.metric_tree import LANGUAGES, POS

QA = ("xquad", "mlqa", "tydiqa")
LINES = {
    "xnli": ["entailment", "neutral", "contradiction"],
    "pawsx": ["0", "1", "1"],
    "udpos": ["DET", "NOUN", "", "VERB"],
    "panx": ["B-PER", "I-PER", "", "O"],
    "bucc2018": ["f-1\ten-7", "f-2\ten-9"],
    "tatoeba": ["2", "0", "1"],
}
ANSWERS = {"q1": ["Rome", "the city of Rome"], "q2": ["in 1920"]}


def list_languages(task: str) -> list[str]:
    """Languages of the test sets: `LANGUAGES` has those of dev."""
    return POS if task == "udpos" else LANGUAGES[task]


def file_of(folder: Path, task: str, language: str) -> Path:
    path = folder / task / f"test-{language}.{'json' if task in QA else 'tsv'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def squad(answers: dict[str, list[str]]) -> str:
    """SQuAD's JSON of questions by id."""
    questions = [
        {"id": name, "question": "?", "answers": [{"text": text, "answer_start": 0} for text in texts]}
        for name, texts in answers.items()
    ]
    return json.dumps({"version": "1.1", "data": [{"paragraphs": [{"context": "", "qas": questions}]}]})


def write_labels(folder: Path) -> Path:
    for task in LANGUAGES:
        for language in list_languages(task):
            text = squad(ANSWERS) if task in QA else "".join(f"{line}\n" for line in LINES[task])
            file_of(folder, task, language).write_text(text)
    return folder


def write_predictions(folder: Path) -> Path:
    """Every prediction right."""
    for task in LANGUAGES:
        for language in list_languages(task):
            right = json.dumps({name: texts[0] for name, texts in ANSWERS.items()})
            text = right if task in QA else "".join(f"{line}\n" for line in LINES[task])
            file_of(folder, task, language).write_text(text)
    return folder


def score(pair: tuple[Path, Path]) -> tuple[int, dict[str, Any]]:
    """Exit code and scores.json (empty where none was written) of predictions and labels."""
    out = pair[0].parent / "scores.json"
    code = main(["--score", str(pair[0]), "--labels", str(pair[1]), "--out", str(out)])
    return code, json.loads(out.read_text()) if out.exists() else {}
