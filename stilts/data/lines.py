"""Strict reading of text files: every complaint carries file and line, and several come at once."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from stilts.errors import UserError

# Complaints about one file before reading it stops: a file of another format is wrong in every line.
MOST_PROBLEMS = 10

BYTE_ORDER_MARK = "\ufeff"

Row = TypeVar("Row")


class Refused(ValueError):
    """What is wrong with one line; whoever catches it adds file and line."""


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
    """The ids of one set, over all of its files, each with the place where it stands."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[Path, int]] = {}

    def add(self, name: str, path: Path, line: int) -> None:
        """Raises Refused for an id that is empty or stands in the set already; names the first place."""
        if not name:
            raise Refused("an empty id")
        place = (path, line)
        first = self._places.setdefault(name, place)
        if first is not place:
            raise Refused(f"id {name!r} stands twice, first at {first[0]}:{first[1]}; every id stands once in a set")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without its line end) of every line. U+2028 and the like do not end a line.

    CR LF ends a line too, as Python's csv module writes it; a byte-order mark at the start of the file is no text.
    Raises UserError: not UTF-8, or the file cannot be opened or read.
    """
    try:
        with open(path, "rb") as file:
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

    Raises UserError: a quote that does not close, text after a closing quote, a field beyond csv's limit.
    """
    reader = csv.reader((line + "\n" for _, line in read_lines(path)), strict=True)
    start = 1
    try:
        for fields in reader:
            yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{start}: no CSV record ({error}); fetch the file again") from None


def split_columns(line: str, count: int, names: str) -> list[str]:
    """Tab-separated fields; quote marks mean nothing."""
    fields = line.split("\t")
    if len(fields) != count:
        raise Refused(f"{len(fields)} tab-separated columns, {count} are needed: {names}")
    return fields


def parse_object(line: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object on one line that has all `keys`."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise Refused(f"no JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(value, dict):
        raise Refused(f"a JSON {type(value).__name__} where an object is needed")
    missing = [key for key in keys if key not in value]
    if missing:
        raise Refused(f"no key {', '.join(missing)}; an object with {', '.join(keys)} is needed")
    return value
