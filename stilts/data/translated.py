"""Translated examples as JSON lines, one format for each family; what `translate` writes and users may bring.

- pair: `id`, `text`, `second_text`, `label`;
- choice: `id`, `context`, `endings` (a list), `label` (number of the right one, from 0);
- span: `id`, `question`, `context`, `answers` (a list of `text` and `start`, a character of the context, from 0; the
  first is the one to train on, and a question of SQuAD 2.0 may have none).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stilts.data.examples import Answer, Choice, Example, Pair, Question, Reading
from stilts.data.lines import Ids, Refused, parse_object, read_rows
from stilts.errors import UserError
from stilts.tasks.catalogue import task_family, task_labels

FAMILIES = ("pair", "choice", "span")
# The task whose questions may have no answer.
_WITH_EMPTY_ANSWERS = "squad2"


def find_family(task: str) -> str:
    """The family of a task that can be translated. Raises UserError for one whose labels belong to English words."""
    family = task_family(task)
    if family in FAMILIES:
        return family
    reason = "; its labels belong to single words, and a translation has others" if family == "tagging" else ""
    raise UserError(
        f"{task}: cannot be translated: it is of family {family}, only {', '.join(FAMILIES)} can{reason}. Leave it out "
        "of the grid's translated rows"
    )


def is_translated(set_name: str, paths: Sequence[Path]) -> bool:
    """Whether the files of a set are translations: JSON lines of a training set that is not English."""
    split, _, language = set_name.partition(".")
    return split == "train" and language != "en" and paths[0].suffix == ".jsonl"


def format_row(example: Example) -> str:
    """One line without its end."""
    return json.dumps(asdict(example), ensure_ascii=False)


def read_translated(path: Path, task: str) -> Reading:
    """All examples of a file, none where it is empty.

    Raises UserError with file and line: JSON, keys, types, an id twice, a label that is none, an answer that does not
    stand at its place or is missing; or a task that cannot be translated.
    """
    ids, make = Ids(), _choose_maker(task)

    def parse(line: int, text: str) -> Example:
        example = make(text)
        ids.add(example.id, path, line)
        return example

    return Reading(list(read_rows(path, parse)))


def _choose_maker(task: str) -> Callable[[str], Pair | Choice | Question]:
    widths: list[int] = []
    match find_family(task):
        case "pair":
            return lambda line: _make_pair(line, task_labels(task))
        case "choice":
            return lambda line: _make_choice(line, widths)
        case _:
            return lambda line: _make_question(line, task == _WITH_EMPTY_ANSWERS)


def _make_pair(line: str, labels: tuple[str, ...]) -> Pair:
    row = parse_object(line, ("id", "text", "second_text", "label"))
    texts = [_take_text(row, key) for key in ("id", "text", "second_text", "label")]
    if texts[3] not in labels:
        raise Refused(f"label {texts[3]!r} is not one of {', '.join(labels)}")
    return Pair(*texts)


def _make_choice(line: str, widths: list[int]) -> Choice:
    row = parse_object(line, ("id", "context", "endings", "label"))
    endings, label = row["endings"], row["label"]
    if not isinstance(endings, list) or len(endings) < 2 or not all(isinstance(text, str) for text in endings):
        raise Refused(f"endings {endings!r}: a list of two or more strings is needed")
    widths.append(len(endings))
    if len(endings) != widths[0]:
        raise Refused(f"{len(endings)} endings, the first row has {widths[0]}")
    if type(label) is not int or not 0 <= label < len(endings):
        raise Refused(f"label {label!r} is not one of 0 to {len(endings) - 1}")
    return Choice(_take_text(row, "id"), _take_text(row, "context"), tuple(endings), label)


def _make_question(line: str, may_be_empty: bool) -> Question:
    row = parse_object(line, ("id", "question", "context", "answers"))
    name, question, context = (_take_text(row, key) for key in ("id", "question", "context"))
    if not isinstance(row["answers"], list):
        raise Refused(f"answers {row['answers']!r}: a list is needed")
    if not row["answers"] and not may_be_empty:
        raise Refused(f"question {name!r} has no answer; only those of {_WITH_EMPTY_ANSWERS} may have none")
    return Question(name, question, context, tuple(_make_answer(value, context) for value in row["answers"]))


def _make_answer(value: Any, context: str) -> Answer:
    if not isinstance(value, dict) or not {"text", "start"} <= value.keys():
        raise Refused(f"answer {value!r}: an object with text and start is needed")
    text, start = value["text"], value["start"]
    if not isinstance(text, str) or type(start) is not int:
        raise Refused(f"answer {value!r}: text must be a string, start a number")
    found = context[start : start + len(text)] if start >= 0 else ""
    if not text or found != text:
        raise Refused(f"answer {text!r} at {start}, where {found!r} stands")
    return Answer(text, start)


def _take_text(row: dict[str, Any], key: str) -> str:
    if not isinstance(row[key], str):
        raise Refused(f"{key} {row[key]!r}: a string is needed")
    return str(row[key])
