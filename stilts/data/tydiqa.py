"""TyDiQA-GoldP, one language at a time; only English is ever trained on.

The release has one training file for all nine languages (ids `english-...`) and development files by language.
jiant writes the whole training file into every language's file, so that "English" training sees all languages.
Where ids name their language, that cannot happen here: of an official all-language file the set's language alone is
taken, in a file of one language a question of another is refused, and an English file may have no ids but `english-...`
and the numbers to which XTREME's conversion cuts them (and which repeat).
Where the English training file has such numbers, it is unlikely, not impossible: the file may not have more questions
than the English training set, and at most one context in fifty may not look like English. A few foreign contexts among
many English ones pass, as do those that quote some English or, in Latin script, have fewer than 40 characters.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from stilts.data.examples import Reading
from stilts.data.languages import LANGUAGES
from stilts.data.lines import Ids
from stilts.data.squad import Entry, SquadFile
from stilts.errors import UserError
from stilts.tasks.catalogue import TARGETS, TRAININGS

CODES = {LANGUAGES[code].name.lower(): code for code in TARGETS["tydiqa"].languages}  # how ids begin
ALL_LANGUAGES = ("tydiqa-goldp-v1.1-train", "tydiqa-goldp-v1.1-dev")  # file names without .json

# Words that are frequent in English and rare in the other eight languages ("on" and "he" are Finnish words). In the
# slices at hand 0.5 % of the 600 English training contexts have not two of them, of those in Finnish, Korean, Swahili
# and Telugu 94 to 97 %.
_ENGLISH = frozenset(
    "the of and was is to for as by at from with were are be which that it his or an had has have this but its their "
    "they who been after".split()
)
_WORD = re.compile(r"[a-z]+")
_LEAST_WORDS = 2
_SHORT = 40  # characters of a context that needs none of these words
_MOST_FOREIGN = 0.02
_NUMBER = re.compile(r"[0-9]+")


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
        found = CODES.get(name.partition("-")[0])
        if file.path.stem in ALL_LANGUAGES:
            if found is None:
                problems.append(f"{file.path}:{entry[0]}: id {name!r} does not begin with one of {', '.join(CODES)}")
            elif found == language:
                chosen.append(entry)
        elif found == language or (found is None and (language != "en" or _NUMBER.fullmatch(name))):
            chosen.append(entry)
        elif found is None:
            problems.append(
                f"{file.path}:{entry[0]}: id {name!r} is no number, nor does it begin with 'english-'; which language "
                "is it?"
            )
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
    words = _ENGLISH & set(_WORD.findall(context.lower()))
    return 2 * latin >= len(letters) and (len(context) < _SHORT or len(words) >= _LEAST_WORDS)


def _name_entry(path: Path, number: int, entry: Entry) -> Entry:
    line, context, question = entry
    if isinstance(question, dict) and _NUMBER.fullmatch(str(question.get("id"))):
        return line, context, {**question, "id": f"{path.stem}-{number}"}
    return entry
