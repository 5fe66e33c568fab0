"""Strict reading of text files: every complaint carries file and line, and several come at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from stilts.errors import UserError

# Complaints about one file before reading it stops: a file of another format is wrong in every line.
MOST_PROBLEMS = 10

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


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without its line end) of every line. U+2028 and the like do not end a line.

    XTREME's own files end their lines with CR LF, as Python's csv module does.
    """
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}:{number}: not UTF-8 (byte {error.start + 1} of the line is 0x{raw[error.start]:02x}); "
                    "fetch the file again, or convert it to UTF-8"
                ) from None
            yield number, text.removesuffix("\n").removesuffix("\r")


def read_rows(path: Path, parse: Callable[[str], Row | None], header: bool = False) -> list[Row]:
    """`parse` of every line; None leaves a line out. `header`: the first line is none of them."""
    rows, problems = [], Problems(path)
    for number, line in read_lines(path):
        if header and number == 1:
            continue
        try:
            row = parse(line)
        except Refused as refusal:
            problems.add(number, str(refusal))
        else:
            if row is not None:
                rows.append(row)
    problems.report()
    if not rows:
        raise UserError(f"{path}: no example in it; fetch the file again")
    return rows


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
