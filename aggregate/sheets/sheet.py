"""A table ready for markup, whatever it is about: cell texts, marks, the notes that explain them, and its CSV."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aggregate.evidence.statistics import Estimate

MISSING = "--"
PARTIAL, NARROW = "†", "‡"
ELLIPSIS = "..."
RUNS_IN_NOTE = 3

# Tints of blue and vermilion (Okabe and Ito's palette, told apart by the colour-blind), light enough for black text;
# in grey they differ by size, and the sign stands in the number. A step is reached from so many points on.
TINT_STEPS = (0.5, 2.0, 5.0, 10.0, 20.0)
_RISES = ("EAF3F9", "CFE4F0", "ABD0E6", "82BADA", "5AA4CF")
_FALLS = ("FCF0E8", "F8DCC9", "F2C09F", "EBA173", "E4844A")


class Interval(Protocol):
    """Bounds in points, over whatever units."""

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True)
class ShownCell:
    """`marks` are * (significant), † (mean over some tasks), ‡ (over some languages) and numbers of notes; `shade` is
    the difference in points that the cell is shaded by."""

    text: str
    marks: tuple[str, ...] = ()
    shade: float | None = None


@dataclass(frozen=True)
class ShownRow:
    """`above` parts it from the row before: a rule below the baseline, a space between kinds of training."""

    name: str
    cells: tuple[ShownCell, ...]
    above: Literal["", "space", "rule"] = ""


@dataclass(frozen=True)
class ShownBlock:
    title: str
    rows: tuple[ShownRow, ...]


@dataclass(frozen=True)
class Sheet:
    """`name` is that of its files without the suffix, `headings` are (task, metric) of each column, `notes` are (mark,
    text), `records` the lines of its CSV: numbers at full precision, None where there is none.

    `titled`: a block is known by its title rather than by its first row. `name_width` is that of the column of names
    on paper, in cm; `text_widths` are those of the other columns, 0 for one of numbers: all are where it is empty.
    `inputs` is a digest of what this table alone was made from besides the inputs of all tables.
    """

    name: str
    title: str
    caption: str
    headings: tuple[tuple[str, str], ...]
    blocks: tuple[ShownBlock, ...]
    notes: tuple[tuple[str, str], ...]
    records: tuple[Mapping[str, object], ...]
    titled: bool = False
    name_width: float = 2.7
    text_widths: tuple[float, ...] = ()
    inputs: str = ""

    @property
    def widths(self) -> tuple[float, ...]:
        """One of each column but that of names."""
        return self.text_widths or (0.0,) * len(self.headings)

    def join_digests(self, study: str) -> str:
        """The digest of all that this table was made from; `study` is that of what all tables are made from."""
        return hashlib.sha256(f"{study}\n{self.inputs}".encode()).hexdigest() if self.inputs else study


@dataclass
class Numbering:
    """Numbers for reasons, in order of appearance; reasons that are equal but for the runs they name share one."""

    marks: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, set[str]] = field(default_factory=dict)
    runs: dict[str, dict[str, None]] = field(default_factory=dict)

    def mark(self, reason: str, runs: Iterable[str] = ()) -> str:
        kind = reason
        for run in runs:
            kind = re.sub(rf"(?<!\S){re.escape(run)}(?=,? )", ELLIPSIS, kind)
        kind = kind.replace(f"{ELLIPSIS}, ", "")
        self.reasons.setdefault(kind, set()).add(reason)
        self.runs.setdefault(kind, {}).update(dict.fromkeys(runs))
        return self.marks.setdefault(kind, str(len(self.marks) + 1))

    def list_notes(self) -> Iterator[tuple[str, str]]:
        """The reason itself where a number has one, else what its reasons have in common, with some of the runs."""
        for kind, mark in self.marks.items():
            if len(self.reasons[kind]) == 1:
                yield mark, next(iter(self.reasons[kind]))
                continue
            runs = list(self.runs[kind])
            more = f" and {len(runs) - RUNS_IN_NOTE} more (main_detail.csv)" if len(runs) > RUNS_IN_NOTE else ""
            yield mark, f"{kind}; runs: {', '.join(runs[:RUNS_IN_NOTE])}{more}"


def show_number(value: float | None, signed: bool) -> str:
    """One decimal; a difference carries its sign unless it prints as zero."""
    if value is None:
        return MISSING
    text = f"{value:+.1f}" if signed else f"{value:.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def show_interval(found: Interval | None, signed: bool = True) -> str:
    """`+1.2 to +3.4`; "" where there is none."""
    if found is None or found.low is None or found.high is None:
        return ""
    return f"{show_number(found.low, signed)} to {show_number(found.high, signed)}"


def show_p(p: float | None) -> str:
    """Three decimals; a smaller one as such."""
    return MISSING if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def list_figures(found: Estimate | None, *names: str) -> dict[str, object]:
    """Figures of an estimate for a CSV, at full precision; None where there are none."""
    return {name: getattr(found, name, None) for name in names}


def find_tint(shade: float | None) -> str | None:
    """The background (six hexadecimal digits) of a difference in points; None where it has none."""
    step = find_step(shade)
    return (_RISES if step > 0 else _FALLS)[abs(step) - 1] if step else None


def find_step(shade: float | None) -> int:
    """How many of TINT_STEPS a difference in points has reached, with its sign."""
    if shade is None:
        return 0
    return bisect_right(TINT_STEPS, shade) if shade > 0 else -bisect_right(TINT_STEPS, -shade)


def as_sentence(text: str) -> str:
    """A clause as a sentence of its own."""
    return f"{text[0].upper()}{text[1:]}." if text else ""
