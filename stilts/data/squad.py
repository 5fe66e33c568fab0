"""SQuAD's JSON (1.1, 2.0, XQuAD, MLQA, TyDiQA-GoldP) as questions with answers that stand at their offsets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stilts.data.examples import Answer, Example, Question, Reading
from stilts.data.lines import Ids, Problems, Refused, parse_json, read_lines, require_rows
from stilts.errors import UserError

Entry = tuple[int, Any, Any]  # line of the id, context and question, as the file has them


class SquadFile:
    """The questions of a file in its order.

    Raises UserError with file and line: no JSON, no SQuAD file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        raw = "\n".join(line for _, line in read_lines(path))
        if not raw.strip():
            raise UserError(f"{path}:1: no question in it; fetch the file again")
        try:
            articles = parse_json(raw)["data"]
            paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
            pairs = [(paragraph["context"], entry) for paragraph in paragraphs for entry in paragraph["qas"]]
        except Refused as refusal:
            raise UserError(f"{path}:{refusal.line}: {refusal}") from None
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{path}:1: no SQuAD file ({type(error).__name__}: {error}); it is an object with data[].paragraphs[] "
                "of context and qas[]"
            ) from None
        lines = _find_lines(raw, [entry for _, entry in pairs])
        self.entries: list[Entry] = [(line, *pair) for line, pair in zip(lines, pairs, strict=True)]

    def read(self, ids: Ids, entries: Sequence[Entry], version2: bool = False, labelled: bool = True) -> Reading:
        """Questions of `entries`. `version2`: SQuAD 2.0; `labelled` False: the answers are those XTREME emptied.

        Raises UserError with file and line: keys, an id twice, answers that may not be missing or do not stand at
        their offset.
        """
        problems, examples = Problems(self.path), list[Example]()
        for line, context, entry in entries:
            try:
                question = _make_question(context, entry, version2, labelled)
                ids.add(question.id, self.path, line)
                examples.append(question)
            except Refused as refusal:
                problems.add(line, str(refusal))
        problems.report()
        return Reading(require_rows(self.path, examples, "question"))


def read_squad(path: Path, ids: Ids | None = None, version2: bool = False, labelled: bool = True) -> Reading:
    """All questions of a file; UserError with file and line."""
    file = SquadFile(path)
    return file.read(ids or Ids(), file.entries, version2, labelled)


def has_answers(path: Path) -> bool:
    """False where XTREME emptied the answers of all questions."""
    try:
        entries = [entry for _, _, entry in SquadFile(path).entries]
        return not entries or any(answer["text"] for entry in entries for answer in entry["answers"])
    except (UserError, KeyError, TypeError):
        return True  # not to be judged here: the reader complains about it with its line


def _make_question(context: Any, entry: Any, version2: bool, labelled: bool) -> Question:
    try:
        name, question = entry["id"], entry["question"]
        answers = tuple(Answer(answer["text"], answer["answer_start"]) for answer in entry["answers"])
        impossible = entry["is_impossible"] if version2 else False
    except (KeyError, TypeError) as error:
        needed = "id, question, answers[] of text, answer_start" + ", is_impossible" * version2
        raise Refused(f"question without {error}; {needed} are needed") from None
    if not all(isinstance(value, str) for value in (context, name, question)) or not all(
        isinstance(answer.text, str) and type(answer.start) is int for answer in answers
    ):
        raise Refused(f"question {name!r}: id, question, context and text must be strings, answer_start a number")
    if not labelled:
        if any(answer.text for answer in answers):
            raise Refused(f"question {name!r} has an answer in a file whose first answers are all empty")
        return Question(name, question.strip(), context, ())
    _check_answers(name, context, answers, impossible, version2)
    return Question(name, question.strip(), context, answers)


def _check_answers(name: str, context: str, answers: Sequence[Answer], impossible: Any, version2: bool) -> None:
    if version2 and (not isinstance(impossible, bool) or impossible == bool(answers)):
        raise Refused(
            f"question {name!r}: is_impossible is {json.dumps(impossible)} and it has {len(answers)} answers; "
            "true needs none, false one at least"
        )
    if not answers and not version2:
        raise Refused(f"question {name!r} has no answer; SQuAD 1.1 has one at least (is this SQuAD 2.0?)")
    for answer in answers:
        found = context[answer.start : answer.start + len(answer.text)]
        if answer.start < 0 or not answer.text or found != answer.text:
            raise Refused(f"question {name!r}: answer {answer.text!r} at {answer.start}, where {found!r} stands")


def _find_lines(raw: str, entries: Sequence[Any]) -> list[int]:
    """The line of each question's id, searched for in the file's order; the last one found where one is not."""
    lines, position, line = [], 0, 1
    for entry in entries:
        name = entry.get("id") if isinstance(entry, dict) else None
        found = raw.find(json.dumps(name, ensure_ascii=False), position) if position >= 0 and name else position
        if found >= 0 and position >= 0:
            line += raw.count("\n", position, found)
        # An id written in another way than ours is not to be found: no search to the end of the file for every one.
        position = found if found < 0 or not name else found + 1
        lines.append(line)
    return lines
