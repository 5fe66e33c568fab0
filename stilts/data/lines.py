"""Strict reading of text files: every complaint carries file and line, and several come at once."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from stilts.data.examples import Example, Text
from stilts.errors import UserError

# Complaints about one file before reading it stops: a file of another format is wrong in every line.
MOST_PROBLEMS = 10

BYTE_ORDER_MARK = "\ufeff"

# A field of a CSV file may be as long as it likes; csv's own limit is 131,072 characters.
_LONGEST_FIELD = 2**31 - 1
# Numbers of the files are places in a text or a sentence; Python refuses to read numbers of more than 4,300 digits.
_MOST_DIGITS = 9

_WHOLE_ESCAPES = re.compile(r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

_REPEATING = ("anli", "cosmosqa", "mnli", "qqp", "xnli")  # SNLI is part of anli, MultiNLI of xnli

Row = TypeVar("Row")


class Refused(ValueError):
    """What is wrong with one line; whoever catches it adds file and line.

    `line`: which one, from 1, where the text that is refused has several.
    """

    def __init__(self, text: str, line: int = 1) -> None:
        super().__init__(text)
        self.line = line


class Problems:
    """Complaints about one file, in order; raises UserError when there are enough of them or at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[str] = []

    def add(self, line: int, text: str) -> None:
        self.found.append(f"{self.path}:{line}: {text}")
        if len(self.found) >= MOST_PROBLEMS:
            raise UserError([*self.found, f"{self.path}: reading stopped after {MOST_PROBLEMS} problems"])

    def report(self) -> None:
        if self.found:
            raise UserError(self.found)


class Ids:
    """The ids of one set, over all of its files, each with the place where it stands.

    `repeats`: an id may stand several times if the texts of its rows differ (see `ids_repeat`).
    """

    def __init__(self, repeats: bool = False) -> None:
        self.repeats = repeats
        self._places: dict[tuple[str, ...], tuple[Path, int]] = {}

    def add(self, name: str, path: Path, line: int, texts: tuple[str, ...] = ()) -> None:
        """Raises Refused for an id that is empty or stands in the set already; names the first place."""
        if not name:
            raise Refused("an empty id")
        place = (path, line)
        first = self._places.setdefault((name, *texts) if self.repeats else (name,), place)
        if first is not place:
            rule = ", with the same texts" if self.repeats else "; every id stands once in a set"
            raise Refused(f"id {name!r} stands twice, first at {first[0]}:{first[1]}{rule}")


def ids_repeat(task: str, split: str) -> bool:
    """May an id stand several times in a set, on rows of different texts?

    HellaSwag numbers its two sources separately. Of the others nothing says that the ids of the released training sets
    are unique, so only rows that are the same are refused there; what is scored must be unique.
    """
    return task == "hellaswag" or (split == "train" and task in _REPEATING)


def number_repeated(examples: list[Example]) -> list[Example]:
    """The n-th example of an id gets `-n` behind it, from the second on, or the next number that no id has."""
    taken = {example.id for example in examples if not isinstance(example, Text)}
    counts: Counter[str] = Counter()
    named: list[Example] = []
    for example in examples:
        assert not isinstance(example, Text)
        counts[example.id] += 1
        if (again := counts[example.id]) > 1:
            while (name := f"{example.id}-{again}") in taken:
                again += 1
            counts[example.id] = again
            taken.add(name)
            example = replace(example, id=name)
        named.append(example)
    return named


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without its line end) of every line. U+2028 and the like do not end a line.

    CR LF ends a line too, as Python's csv module writes it; a byte-order mark at the start of the file is no text.
    A file `*.gz` is unpacked on the way. Raises UserError: not UTF-8, or the file cannot be opened or read.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    text = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{path}:{number}: not UTF-8 (byte {error.start + 1} of the line is 0x{raw[error.start]:02x}); "
                        "fetch the file again, or convert it to UTF-8"
                    ) from None
                if number == 1:
                    text = text.removeprefix(BYTE_ORDER_MARK)
                yield number, text.removesuffix("\n").removesuffix("\r")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: damaged ({error}); pack or fetch the file again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def read_rows(
    path: Path,
    parse: Callable[[int, str], Row | None],
    header: bool = False,
    lines: Iterable[tuple[int, str]] | None = None,
) -> list[Row]:
    """`parse` of every (number, line); None leaves a line out. `header`: the first line is none of them.

    Blank lines at the end of the file are no rows. `lines`: the file's numbered lines, if they are not simply those.
    """
    rows, problems, blanks = [], Problems(path), list[tuple[int, str]]()
    for number, line in read_lines(path) if lines is None else lines:
        if header and number == 1:
            continue
        if not line.strip():
            blanks.append((number, line))
            continue
        for place, text in [*blanks, (number, line)]:
            try:
                row = parse(place, text)
            except Refused as refusal:
                problems.add(place, str(refusal))
            else:
                if row is not None:
                    rows.append(row)
        blanks.clear()
    problems.report()
    return rows


def require_rows(path: Path, rows: list[Row], what: str = "example") -> list[Row]:
    """The rows; UserError where there is none."""
    if not rows:
        raise UserError(f"{path}:1: no {what} in it; fetch the file again")
    return rows


def read_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line of its start, fields) of every record of a comma-separated file with RFC-4180 quoting.

    Blank lines at the end of the file are no records.
    Raises UserError: a quote that does not close, text after a closing quote.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    blanks = list[tuple[int, list[str]]]()
    reader = csv.reader((line + "\n" for _, line in read_lines(path)), strict=True)
    start = 1
    try:
        for fields in reader:
            blanks.append((start, fields))
            if len(fields) > 1 or "".join(fields).strip():
                yield from blanks
                blanks.clear()
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{start}: no CSV record ({error}); fetch the file again") from None


def split_columns(line: str, count: int, names: str) -> list[str]:
    """Tab-separated fields; quote marks mean nothing."""
    fields = line.split("\t")
    if len(fields) != count:
        raise Refused(f"{len(fields)} tab-separated columns, {count} are needed: {names}")
    return fields


def parse_number(digits: str) -> int:
    """A whole number of decimal digits, of any script; Refused beyond nine of them."""
    if len(digits) > _MOST_DIGITS:
        raise Refused(f"the number {digits[:_MOST_DIGITS]}... has {len(digits)} digits, {_MOST_DIGITS} are legal")
    return int(digits)


def parse_json(text: str) -> Any:
    """The value of a JSON text of one or more lines.

    Raises Refused with its line: no JSON, nested too deeply, a number too long for Python, or half a surrogate pair
    (as in "\\ud83d" alone), which is no character and cannot be written as UTF-8.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise Refused(f"no JSON ({error.msg} at column {error.colno})", error.lineno) from None
    except RecursionError:
        raise Refused("no JSON of these data (lists or objects nested too deeply)") from None
    except ValueError:
        long = next((n for n, line in enumerate(text.split("\n"), start=1) if re.search(r"\d{4301}", line)), 1)
        raise Refused("a number of more than 4,300 digits", long) from None
    for number, line in enumerate(text.split("\n") if _SURROGATE.search(text) else (), start=1):
        if half := _SURROGATE.search(_WHOLE_ESCAPES.sub(" ", line)):
            raise Refused(f"{half.group()} is half a surrogate pair, which is no character", number)
    return value


def parse_object(line: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object on one line that has all `keys`."""
    value = parse_json(line)
    if not isinstance(value, dict):
        raise Refused(f"a JSON {type(value).__name__} where an object is needed")
    missing = [key for key in keys if key not in value]
    if missing:
        raise Refused(f"no key {', '.join(missing)}; an object with {', '.join(keys)} is needed")
    return value
