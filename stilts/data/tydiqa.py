"""TyDiQA-GoldP, one language at a time; only English is ever trained on.

The release has one training file for all nine languages (ids `english-...`) and development files by language.
jiant writes the whole training file into every language's file, so that "English" training sees all languages.
That cannot happen here: of an official all-language file the set's language alone is taken; in a file of one
language a question of another one is refused; and the English training set may not be larger than it is, nor hold
contexts in other languages, for XTREME's conversion cuts the ids down to a number that repeats.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from stilts.data.examples import Reading
from stilts.data.lines import Ids
from stilts.data.squad import Entry, SquadFile
from stilts.errors import UserError
from stilts.tasks.catalogue import TRAININGS

LANGUAGES = {
    "arabic": "ar",
    "bengali": "bn",
    "english": "en",
    "finnish": "fi",
    "indonesian": "id",
    "korean": "ko",
    "russian": "ru",
    "swahili": "sw",
    "telugu": "te",
}
ALL_LANGUAGES = ("tydiqa-goldp-v1.1-train", "tydiqa-goldp-v1.1-dev")  # file names without .json

# In the English slice at hand 0.7 % of 600 contexts have none of these words, in Finnish and Swahili over 90 %.
_ENGLISH = re.compile(r"\b(the|of|and|was|is)\b", re.IGNORECASE)
_MOST_FOREIGN = 0.05
_NUMBER = re.compile(r"\d+")


def read_tydiqa(path: Path, split: str, language: str, ids: Ids | None = None, labelled: bool = True) -> Reading:
    """The questions of `language` in a file; UserError with file and line.

    Ids that XTREME cut down to a number are not unique; they get the file's name and the question's position.
    """
    file = SquadFile(path)
    entries = _choose_language(file, language)
    if split == "train":
        _check_english(path, entries)
    named = [_name_entry(path, number, entry) for number, entry in enumerate(entries)]
    return file.read(ids or Ids(), named, labelled=labelled)


def _choose_language(file: SquadFile, language: str) -> list[Entry]:
    """Entries of the language; in a file of one language all must be of it."""
    chosen, problems = [], []
    for entry in file.entries:
        name = str(entry[2].get("id")) if isinstance(entry[2], dict) else ""
        found = LANGUAGES.get(name.partition("-")[0])
        if file.path.stem in ALL_LANGUAGES:
            if found is None:
                problems.append(
                    f"{file.path}:{entry[0]}: id {name!r} does not begin with one of {', '.join(LANGUAGES)}"
                )
            elif found == language:
                chosen.append(entry)
        elif found in (None, language):
            chosen.append(entry)
        else:
            problems.append(
                f"{file.path}:{entry[0]}: question {name!r} is not of language {language}; this file may hold no other "
                "(jiant's conversion writes all languages into each file): use the official files"
            )
    if problems:
        more = [f"{file.path}: and {len(problems) - 10} more such questions"] if len(problems) > 10 else []
        raise UserError([*problems[:10], *more])
    if not chosen:
        raise UserError(f"{file.path}:1: no question of language {language} in it")
    return chosen


def _check_english(path: Path, entries: list[Entry]) -> None:
    """Raises UserError where the training set cannot be the English one."""
    most = TRAININGS["tydiqa"].examples
    if len(entries) > most:
        raise UserError(
            f"{path}:{entries[most][0]}: the question after the {most:,} that the English training set has, of "
            f"{len(entries):,}; other languages are in this file: use the official tydiqa-goldp-v1.1-train.json"
        )
    foreign = [entry for entry in entries if isinstance(entry[1], str) and not _looks_english(entry[1])]
    if len(foreign) > _MOST_FOREIGN * len(entries):
        raise UserError(
            f"{path}:{foreign[0][0]}: the first of {len(foreign)} contexts, of {len(entries)}, that are not English "
            f"({foreign[0][1][:30]!r}); TyDiQA trains on English alone"
        )


def _looks_english(context: str) -> bool:
    letters = [character for character in context if character.isalpha()]
    latin = sum("LATIN" in unicodedata.name(letter, "") for letter in letters)
    return 2 * latin >= len(letters) and bool(_ENGLISH.search(context))


def _name_entry(path: Path, number: int, entry: Entry) -> Entry:
    line, context, question = entry
    if isinstance(question, dict) and _NUMBER.fullmatch(str(question.get("id"))):
        return line, context, {**question, "id": f"{path.stem}-{number}"}
    return entry
