"""Sentence pairs from the original files of ANLI, MNLI, SNLI, QQP, XNLI and PAWS-X and from XTREME's conversions.

What is known to be wrong with these files, and what is done about it:

- XTREME writes XNLI and PAWS-X with Python's csv module: a text with a quote mark is put into quotes and its quote
  marks are doubled. Such files are recognised as a whole (every field with a quote mark has that form) and the
  quoting is undone, which gives the text of the original release; one field of another form, and all quote marks of
  the file stay text. XTREME itself, and who follows it, trains on the doubled marks.
- PAWS-X has `NS` in place of a text that was not translated. XTREME keeps these pairs, and so does this reader.
- XNLI-MT-1.0 writes `contradictory` for contradiction, ANLI `c`.
- MNLI and SNLI have the label `-` where the annotators did not agree; such pairs are left out and counted.
- A few of Quora's questions hold a line break, which breaks their row of GLUE's QQP file into lines with too few
  columns. They are left out, as everywhere, and the lines counted; more than one line in 1,000 is an error, but for
  the pieces of three rows, which any file may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from stilts.data.examples import Pair, Reading
from stilts.data.lines import Ids, Refused, parse_object, read_lines, read_rows, require_rows, split_columns


class Columns(NamedTuple):
    """What a release calls the id (if it has one), the two texts and the label of a pair."""

    id: str
    text: str
    second_text: str
    label: str


MULTINLI = Columns("pairID", "sentence1", "sentence2", "gold_label")  # also SNLI, GLUE's MNLI and XNLI-1.0
ANLI = Columns("uid", "context", "hypothesis", "label")
QQP = Columns("id", "question1", "question2", "is_duplicate")
PAWSX = Columns("id", "sentence1", "sentence2", "label")
XNLI_MT = Columns("", "premise", "hypo", "label")
XTREME = Columns("", "sentence1", "sentence2", "label")  # no header

SPELLINGS = {"contradictory": "contradiction"}
ANLI_SPELLINGS = {"e": "entailment", "n": "neutral", "c": "contradiction"}
NO_GOLD = "-"

# XTREME's test files may carry one dummy label in all rows; so many rows alike are no chance.
DUMMY_ROWS = 20
_ROWS_PER_BROKEN_LINE = 1000
_BROKEN_LINES = 6  # three rows in two pieces


class _Maker:
    """Makes pairs of the rows of one file, and counts what the rules of the task leave out."""

    def __init__(self, path: Path, labels: tuple[str, ...], language: str, labelled: bool, ids: Ids) -> None:
        self.path, self.labels, self.language = path, labels, language
        self.labelled, self.ids = labelled, ids
        self.rows = 0
        self.skipped = 0

    def make(self, line: int, fields: Mapping[str, str], columns: Columns) -> Pair | None:
        """None for a row of another language and for one without a gold label."""
        if fields.get("language", self.language) != self.language:
            return None
        self.rows += 1
        name = fields.get(columns.id, str(self.rows - 1))
        text, second = fields[columns.text].strip(), fields[columns.second_text].strip()
        if columns.id in fields:
            self.ids.add(name, self.path, line, (text, second))
        label = self._read_label(fields[columns.label], columns) if self.labelled else None
        if label == NO_GOLD:
            self.skipped += 1
            return None
        return Pair(name, text, second, label)

    def _read_label(self, value: str, columns: Columns) -> str:
        label = (ANLI_SPELLINGS if columns is ANLI else SPELLINGS).get(value, value)
        if label not in self.labels and not (label == NO_GOLD and columns is MULTINLI):
            raise Refused(f"label {value!r} is not one of {', '.join(self.labels)}")
        return label


def read_pairs(
    path: Path, labels: tuple[str, ...], language: str, ids: Ids | None = None, labelled: bool = True
) -> Reading:
    """The pairs of a file: JSON lines, a table whose header names the columns, or XTREME's bare columns.

    Rows of another `language` (XNLI-1.0 has all in one file) are left alone. Ids are the release's, else the row
    number from 0; `ids` are those of the set's earlier files. `labelled` False: the label column may be cut off, and
    what stands in it is not read.
    Raises UserError with file and line: columns, keys, labels, ids, JSON, encoding; or no pair at all.
    """
    maker = _Maker(path, labels, language, labelled, ids or Ids())
    pairs = _read_json(path, maker) if path.suffix == ".jsonl" else _read_table(path, maker)
    if not maker.skipped:
        require_rows(path, pairs)
    return Reading(list(pairs), maker.skipped)


def has_labels(path: Path) -> bool:
    """False for XTREME's blanked test files: two columns, or one and the same label in a good many rows."""
    if path.suffix != ".tsv" or _find_columns(path)[0] is not XTREME:
        return True
    rows = [line.split("\t") for _, line in read_lines(path)]
    found = {fields[2] for fields in rows if len(fields) > 2}
    return not rows or (bool(found) and (len(rows) < DUMMY_ROWS or len(found) > 1))


def _read_json(path: Path, maker: _Maker) -> list[Pair]:
    first = next((line for _, line in read_lines(path)), "")
    columns = ANLI if f'"{ANLI.id}"' in first else MULTINLI

    def parse(line: int, text: str) -> Pair | None:
        row = parse_object(text, columns)
        for key in columns:
            if not isinstance(row[key], str):
                raise Refused(f"{key} {row[key]!r}: a string is needed")
        return maker.make(line, row, columns)

    return read_rows(path, parse)


def _find_columns(path: Path) -> tuple[Columns, list[str]]:
    """The release that the first line names, and the names in it; XTREME has none."""
    header = next((line.split("\t") for _, line in read_lines(path)), [])
    for columns in (MULTINLI, QQP, PAWSX, XNLI_MT):
        if {columns.text, columns.second_text, columns.label} <= set(header):
            return columns, header
    return XTREME, []


def _read_table(path: Path, maker: _Maker) -> list[Pair]:
    columns, header = _find_columns(path)
    if columns is XTREME:
        return _read_bare(path, maker)
    names = " ".join(header)

    def parse(line: int, text: str) -> Pair | None:
        return maker.make(line, dict(zip(header, split_columns(text, len(header), names), strict=True)), columns)

    lines = None
    if columns is QQP:
        lines, maker.skipped = _drop_broken_rows(path, len(header))
    return read_rows(path, parse, header=True, lines=lines)


def _read_bare(path: Path, maker: _Maker) -> list[Pair]:
    """XTREME's `sentence1 TAB sentence2 TAB label`; the label may be cut off where none is wanted."""
    quoted = _is_csv_quoted(path)
    names = XTREME[1:]

    def parse(line: int, text: str) -> Pair | None:
        count = 2 if not maker.labelled and text.count("\t") == 1 else 3
        fields = split_columns(text, count, " ".join(names[:count]))
        if quoted:
            fields = [field[1:-1].replace('""', '"') if '"' in field else field for field in fields]
        return maker.make(line, dict(zip(names, fields, strict=False)), XTREME)

    return read_rows(path, parse)


def _is_csv_quoted(path: Path) -> bool:
    """Does every field with a quote mark have the form that the csv module gives it?"""
    marked = (field for _, line in read_lines(path) for field in line.split("\t") if '"' in field)
    return all(
        len(field) > 3 and field[0] == field[-1] == '"' and '"' not in field[1:-1].replace('""', "") for field in marked
    )


def _drop_broken_rows(path: Path, columns: int) -> tuple[list[tuple[int, str]], int]:
    """Numbered lines without the pieces of broken rows, and how many pieces; all lines where there are too many."""
    lines = list(read_lines(path))
    while lines and not lines[-1][1].strip():
        lines.pop()
    whole = [(number, line) for number, line in lines if line.count("\t") + 1 >= columns]
    broken = len(lines) - len(whole)
    return (lines, 0) if broken > max(_BROKEN_LINES, len(lines) / _ROWS_PER_BROKEN_LINE) else (whole, broken)
