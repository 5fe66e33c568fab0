"""Multiple choice from the original files of HellaSwag (JSON lines), CosmosQA (CSV) and CommonsenseQA (JSON lines).

The context of CosmosQA is its context and question with a blank between, as in jiant; that of CommonsenseQA is the
stem of its question. HellaSwag numbers the examples of its two sources separately (`ind` runs from 70 for WikiHow and
from 4 for ActivityNet in the slices at hand), so a number may stand twice: the second is called `70-2`, and only the
same number with the same context and endings is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stilts.data.examples import Choice, Reading
from stilts.data.lines import Ids, Problems, Refused, ids_repeat, parse_object, read_records, read_rows, require_rows

COSMOSQA_HEADER = "id context question answer0 answer1 answer2 answer3 label".split()
LETTERS = "ABCDE"


def read_choices(path: Path, task: str, ids: Ids | None = None) -> Reading:
    """All examples of a file of `task`; UserError with file and line. `ids`: those of the set's earlier files.

    Ids that may repeat are as they stand in the file; `read_set` numbers them.
    """
    ids = ids or Ids(ids_repeat(task, ""))
    match task:
        case "cosmosqa":
            examples = _read_cosmosqa(path, ids)
        case "csqa":
            examples = _read_json(path, _make_csqa, ids)
        case _:
            examples = _read_json(path, _make_hellaswag, ids)
    require_rows(path, examples)
    return Reading(list(examples))


def _read_json(path: Path, make: Callable[[str], Choice], ids: Ids) -> list[Choice]:
    """One example a line; all have as many endings as the first."""
    widths: list[int] = []

    def parse(line: int, text: str) -> Choice:
        example = make(text)
        widths.append(len(example.endings))
        if len(example.endings) != widths[0]:
            raise Refused(f"{len(example.endings)} endings, the first row has {widths[0]}")
        ids.add(example.id, path, line, (example.context, *example.endings))
        return example

    return read_rows(path, parse)


def _make_hellaswag(line: str) -> Choice:
    row = parse_object(line, ("ind", "ctx", "endings", "label"))
    endings, label = row["endings"], row["label"]
    if not isinstance(endings, list) or len(endings) < 2 or not all(isinstance(text, str) for text in endings):
        raise Refused(f"endings {endings!r}: a list of two or more strings is needed")
    if type(label) is not int or not 0 <= label < len(endings):
        raise Refused(f"label {label!r} is not one of 0 to {len(endings) - 1}")
    return Choice(str(row["ind"]), _take_text(row, "ctx"), tuple(text.strip() for text in endings), label)


def _make_csqa(line: str) -> Choice:
    row = parse_object(line, ("id", "question", "answerKey"))
    question, key = row["question"], row["answerKey"]
    if not isinstance(question, dict) or not {"stem", "choices"} <= question.keys():
        raise Refused("no question with stem and choices")
    choices = question["choices"]
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise Refused(f"choices {choices!r}: a list of objects is needed")
    if [choice.get("label") for choice in choices] != list(LETTERS):
        raise Refused(f"choices labelled {[choice.get('label') for choice in choices]}, A B C D E are needed")
    if key not in list(LETTERS):
        raise Refused(f"answerKey {key!r} is not one of {' '.join(LETTERS)}")
    endings = tuple(_take_text(choice, "text") for choice in choices)
    return Choice(_take_text(row, "id"), _take_text(question, "stem"), endings, LETTERS.index(key))


def _take_text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise Refused(f"{key} {value!r}: a string is needed")
    return value.strip()


def _read_cosmosqa(path: Path, ids: Ids) -> list[Choice]:
    problems, examples = Problems(path), list[Choice]()
    for line, fields in read_records(path):
        try:
            if line == 1:
                if fields != COSMOSQA_HEADER:
                    raise Refused(f"header {','.join(fields)}, {','.join(COSMOSQA_HEADER)} is needed")
                continue
            if len(fields) != len(COSMOSQA_HEADER):
                raise Refused(f"{len(fields)} fields, {len(COSMOSQA_HEADER)} are needed: {','.join(COSMOSQA_HEADER)}")
            name, context, question, *endings, label = (field.strip() for field in fields)
            if label not in ("0", "1", "2", "3"):
                raise Refused(f"label {label!r} is not one of 0 to 3")
            ids.add(name, path, line, (context, question, *endings))
            examples.append(Choice(name, f"{context} {question}", tuple(endings), int(label)))
        except Refused as refusal:
            problems.add(line, str(refusal))
    problems.report()
    return examples
