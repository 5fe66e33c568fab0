"""XTREME's submission layout: one folder a task, one file a language, `test-<lang>.tsv` or, for questions, `.json`.

What the files hold (google-research/xtreme: `evaluate.py` and `mock_test_data/`):

  xnli, pawsx    one label a line: names for xnli, 0 or 1 for pawsx
  udpos, panx    one tag a line, a blank line between sentences
  tatoeba        one number a line for each English sentence, in their alphabetical order: which line of the foreign
                 file translates it. Lines count from 0, as the positions that a nearest-neighbour search gives do;
                 the mock data has the numbers 0 to 998 for files of 1,000 lines.
  bucc2018       `foreign-id TAB English-id` a line
  QA tasks       labels: SQuAD's JSON; predictions: one JSON object, question id to text
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from stilts.data.lines import BYTE_ORDER_MARK, MOST_PROBLEMS, Problems, Refused, read_lines, split_columns
from stilts.errors import UserError
from stilts.runs import write_text
from stilts.tasks.catalogue import TARGETS, training_of

SPLIT = "test"  # what the layout calls every set
NUMBER = re.compile(r"0|[1-9][0-9]*")
# str() of a row of a numpy array with one column: XTREME's own script writes its predictions so.
NUMPY_ROW = re.compile(r"\[\s*([0-9]+)\s*\]")

_NEEDED = 'predictions are {"question id": "text", ...}, labels SQuAD\'s JSON'

Value = TypeVar("Value")


def file_name(task: str, language: str) -> str:
    """Name of a language's file in the folder of its task."""
    return f"{SPLIT}-{language}.{'json' if TARGETS[task].family == 'span' else 'tsv'}"


def read_labels(path: Path, task: str) -> list[str]:
    """One label of `task` a line."""
    return _read_values(path, lambda line: check_label(line, task))


def read_numbers(path: Path) -> list[str]:
    """One line number a line, as written."""
    return _read_values(path, _check_number)


def read_tags(path: Path, task: str) -> list[str]:
    """One tag of `task` a line, "" for the blank line between sentences; blank lines at the end are left out."""
    return _read_values(path, lambda line: check_label(line, task) if line else "")


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """One (foreign id, English id) a line; none is fine where nothing was found."""
    return _read_values(path, _split_pair)


def _read_values(path: Path, parse: Callable[[str], Value]) -> list[Value]:
    """`parse` of every line without the white space around it; blank lines at the end are none (as a text editor adds).

    Raises UserError with file and line of every problem, at most ten.
    """
    lines = [line.strip() for _, line in read_lines(path)]
    while lines and not lines[-1]:
        lines.pop()
    values, problems = [], Problems(path)
    for number, line in enumerate(lines, start=1):
        try:
            values.append(parse(line))
        except Refused as refusal:
            problems.add(number, str(refusal))
    problems.report()
    return values


def check_label(text: str, task: str) -> str:
    """The label, if the task has it. Raises Refused."""
    training = training_of(task)
    assert training, f"{task} has no labels"
    if text not in training.labels:
        given = f"{text!r} is no label of {task}" if text else "a blank line"
        raise Refused(f"{given}; use one of {' '.join(training.labels)}")
    return text


def _check_number(text: str) -> str:
    if row := NUMPY_ROW.fullmatch(text):
        raise Refused(f"{text!r} is a printed numpy row, as XTREME's own script writes it; write {row[1]} alone")
    if not NUMBER.fullmatch(text):
        raise Refused(f"{text!r} is no line number; write 0 for the first line of the foreign file, 1 for the next")
    return text


def _split_pair(text: str) -> tuple[str, str]:
    foreign, english = split_columns(text, 2, "foreign-id TAB English-id")
    if not foreign.strip() or not english.strip():
        raise Refused("an empty id; foreign-id TAB English-id is needed")
    return foreign, english


def read_answers(path: Path) -> dict[str, str]:
    """Predicted text by question id. Raises UserError, with the line where the file is no JSON."""
    document = _read_json(path)
    wrong = [key for key, text in document.items() if not isinstance(text, str)]
    if wrong:
        raise UserError(
            f'{path}: the answer to {key!r} is a {type(document[key]).__name__}; write {{"question id": "text", ...}}'
            for key in wrong[:MOST_PROBLEMS]
        )
    return document


def read_questions(path: Path) -> dict[str, list[str]]:
    """Gold answers by question id, in the file's order. Raises UserError where a question has none, or no id."""
    golds: dict[str, list[str]] = {}
    problems = []
    try:
        questions = [
            question
            for article in _read_json(path)["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
        for question in questions:
            name, texts = question["id"], [answer["text"] for answer in question["answers"]]
            if name in golds:
                problems.append(f"{path}: question {name!r} stands there twice")
            if not any(texts):
                # XTREME's own download empties the answers of its test files.
                problems.append(f"{path}: question {name!r} has no answer; labels that were blanked cannot be scored")
            golds[name] = texts
    except (KeyError, TypeError) as error:
        what = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"{path}: not SQuAD's JSON ({what}); data[].paragraphs[].qas[] with id and answers[].text are needed"
        ) from None
    if problems:
        raise UserError(problems[:MOST_PROBLEMS])
    if not golds:
        raise UserError(f"{path}: no question in it")
    return golds


def _read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; a key twice in one object is refused, for the reader would drop one of its values.

    A byte-order mark at the start is no text, as in the files of lines.
    """
    try:
        text = path.read_bytes().decode("utf-8").removeprefix(BYTE_ORDER_MARK)
        document = json.loads(text, object_pairs_hook=_join_pairs)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start + 1}); convert it to UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: no JSON ({error.msg} at column {error.colno})") from None
    except Refused as refusal:
        raise UserError(f"{path}: {refusal}") from None
    except RecursionError:
        raise UserError(f"{path}: lists or objects nested too deep; {_NEEDED}") from None
    except ValueError:  # of int(), which takes no number of more than 4,300 digits
        raise UserError(f"{path}: a number with too many digits; {_NEEDED}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: a JSON {type(document).__name__} where an object is needed")
    return document


def _join_pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    joined = dict(pairs)
    if len(joined) < len(pairs):
        names = [name for name, _ in pairs]
        raise Refused(f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return joined


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """One value a line: labels, numbers, or pairs already joined by a tab."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_tags(path: Path, sentences: Iterable[Sequence[str]]) -> None:
    """One tag a line, a blank line between sentences."""
    write_text(path, "\n".join("".join(f"{tag}\n" for tag in sentence) for sentence in sentences))


def write_answers(path: Path, answers: Mapping[str, str]) -> None:
    """One JSON object, question id to text."""
    write_text(path, json.dumps(dict(answers), indent=1, ensure_ascii=False) + "\n")
