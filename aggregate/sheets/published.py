"""Published XTREME scores: those that come with this package, and a user's own beside the results."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aggregate.scores.columns import AVERAGE, CATEGORIES, COLUMNS
from stilts.errors import UserError

FILE = "published.csv"
NUMBERS = (*(column.key for column in COLUMNS), *CATEGORIES, AVERAGE)
HEADER = ("row", "source", *NUMBERS)
_OURS = Path(__file__).resolve().parents[1] / FILE


@dataclass(frozen=True)
class PublishedRow:
    """`values` in percent by name in NUMBERS, None where the source prints nothing."""

    name: str
    source: str
    values: Mapping[str, float | None]


def read_published(results: Path) -> tuple[PublishedRow, ...]:
    """The rows of the package, then those of `published.csv` in the results folder; an equal name replaces a row.

    Raises UserError with all that is wrong with the user's file.
    """
    rows = {row.name: row for row in parse_rows(_OURS)}
    own = results / FILE
    if own.is_file():
        rows |= {row.name: row for row in parse_rows(own)}
    return tuple(rows.values())


def read_own_text(results: Path) -> str:
    """The user's file as it is, "" where there is none: for the digest of the inputs."""
    path = results / FILE
    return read_text(path) if path.is_file() else ""


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def parse_rows(path: Path) -> list[PublishedRow]:
    """Raises UserError: unreadable, another header, a row without name or source, a number that is none."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    numbered = [(number, line) for number, line in lines if line.strip() and not line.startswith("#")]
    header, *body = [(number, next(csv.reader([line]))) for number, line in numbered] or [(1, [])]
    if sorted(header[1]) != sorted(HEADER):
        raise UserError(f"{path}, line {header[0]}: the header must have the columns {','.join(HEADER)}, in any order")
    rows: list[PublishedRow] = []
    problems: list[str] = []
    for number, fields in body:
        wrong = list(check_fields(header[1], fields, [row.name for row in rows]))
        problems += [f"{path}, line {number}: {problem}" for problem in wrong]
        if not wrong:
            line = {name: field.strip() for name, field in zip(header[1], fields, strict=True)}
            values = {name: float(line[name]) if line[name] else None for name in NUMBERS}
            rows.append(PublishedRow(line["row"], line["source"], values))
    if problems:
        raise UserError(problems)
    return rows


def check_fields(header: list[str], fields: list[str], names: list[str]) -> Iterator[str]:
    if len(fields) != len(header):
        yield f"{len(fields)} fields under a header of {len(header)}; put a text that has a comma in double quotes"
        return
    line = {name: field.strip() for name, field in zip(header, fields, strict=True)}
    for name in ("row", "source"):
        if not line[name]:
            yield f"no {name}; every row needs its name and where its numbers are from"
    if line["row"] and line["row"] in names:
        yield f"a second row {line['row']!r}"
    for name in NUMBERS:
        if line[name] and not is_percentage(line[name]):
            yield f"{name} is {line[name]!r}, not a number from 0 to 100; leave it empty where there is none"


def is_percentage(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and 0 <= value <= 100
