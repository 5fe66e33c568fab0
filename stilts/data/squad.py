"""SQuAD 1.1 JSON (also XQuAD) as questions with answers that stand at their offsets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stilts.data.examples import Answer, Example, Question, Reading
from stilts.data.lines import Problems, Refused, read_lines
from stilts.errors import UserError


def read_squad(path: Path) -> Reading:
    """All questions of a file in its order.

    Raises UserError: no JSON, keys missing, a question without answer or twice, an answer not at its offset.
    """
    raw = "\n".join(line for _, line in read_lines(path))
    try:
        articles = json.loads(raw)["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        entries = [(paragraph["context"], entry) for paragraph in paragraphs for entry in paragraph["qas"]]
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: no JSON ({error.msg} at column {error.colno})") from None
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path}:1: no SQuAD 1.1 file ({type(error).__name__}: {error}); it is an object with "
            "data[].paragraphs[] of context and qas[]"
        ) from None
    problems = Problems(path)
    examples: dict[str, Example] = {}
    for context, entry in entries:
        try:
            question = _make_question(context, entry)
            if question.id in examples:
                raise Refused(f"question {question.id!r} stands in the file twice")
            examples[question.id] = question
        except Refused as refusal:
            problems.add(_find_line(raw, entry), str(refusal))
    problems.report()
    if not examples:
        raise UserError(f"{path}: no question in it; fetch the file again")
    return Reading(list(examples.values()))


def _make_question(context: Any, entry: Any) -> Question:
    try:
        name, question = entry["id"], entry["question"]
        answers = tuple(Answer(answer["text"], answer["answer_start"]) for answer in entry["answers"])
    except (KeyError, TypeError) as error:
        raise Refused(f"question without {error}; id, question, answers[] of text, answer_start are needed") from None
    if not all(isinstance(value, str) for value in (context, name, question)) or not all(
        isinstance(answer.text, str) and isinstance(answer.start, int) for answer in answers
    ):
        raise Refused(f"question {name!r}: id, question, context and text must be strings, answer_start a number")
    if not answers:
        raise Refused(f"question {name!r} has no answer; SQuAD 1.1 has one at least (is this SQuAD 2.0?)")
    for answer in answers:
        found = context[answer.start : answer.start + len(answer.text)]
        if answer.start < 0 or not answer.text or found != answer.text:
            raise Refused(f"question {name!r}: answer {answer.text!r} at {answer.start}, where {found!r} stands")
    return Question(name, question.strip(), context, answers)


def _find_line(raw: str, entry: Any) -> int:
    """The line of the question's id, 1 where it cannot be found."""
    name = entry.get("id") if isinstance(entry, dict) else None
    position = raw.find(json.dumps(name, ensure_ascii=False)) if name else -1
    return raw.count("\n", 0, position) + 1 if position > 0 else 1
