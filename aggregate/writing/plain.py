"""A sheet as Markdown, for the terminal, and as CSV."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby

from tabulate import tabulate

from aggregate.scores.merging import Finding
from aggregate.sheets.sheet import Sheet, ShownCell, ShownRow

NAME_WIDTH = 28


def write_csv(records: Sequence[Mapping[str, object]]) -> str:
    """One line per record under a line of their keys."""
    header = list(dict.fromkeys(chain.from_iterable(records)))
    return format_csv([header, *(list(map(record.get, header)) for record in records)])


def format_csv(lines: Iterable[Sequence[object]]) -> str:
    """Floats as their shortest exact text (`repr`), None as an empty field."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows(lines)  # writes a float's `repr`
    return buffer.getvalue()


def write_markdown(sheet: Sheet, digest: str, appendix: Sequence[str] = ()) -> str:
    """The table with its notes, and whatever paragraphs come after them."""
    parts = [f"<!-- inputs sha256 {digest} -->", f"# {sheet.title}", escape_markdown(sheet.caption)]
    headers = ["", *(f"{task} ({metric})" if metric else task for task, metric in sheet.headings)]
    for block in sheet.blocks:
        if len(sheet.blocks) > 1:
            parts.append(f"## {escape_markdown(block.title)}")
        cells = [[escape_markdown(row.name), *mark_cells(row, sheet)] for row in block.rows]
        lines = [headers, ["---", *("---" if width else "---:" for width in sheet.widths)], *cells]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if sheet.notes:
        parts.append("\n".join(f"- {escape_markdown(note)}" for note in list_notes(sheet)))
    return "\n\n".join((*parts, *appendix)) + "\n"


def list_findings(findings: Iterable[Finding], files: int) -> list[str]:
    """Paragraphs behind the main table: what was wrong with files, and how many metric files were read."""
    lines = [f"- {escape_markdown(str(finding))}" for finding in findings]
    return ["## Findings", "\n".join(lines) or "None.", f"{files} metric files read."]


def mark_cells(row: ShownRow, sheet: Sheet) -> Iterator[str]:
    """The cells of a row; text as it is, for Markdown."""
    for cell, width in zip(row.cells, sheet.widths, strict=True):
        yield escape_markdown(cell.text) if width else mark_cell(cell)


def mark_cell(cell: ShownCell) -> str:
    """`+7.7†`, `-- [1]`: symbols cling to the number, note numbers stand in brackets."""
    if not cell.marks:
        return cell.text
    symbols = "".join(mark for mark in cell.marks if not mark.isdigit())
    numbers = ",".join(mark for mark in cell.marks if mark.isdigit())
    return cell.text + symbols + (f" [{numbers}]" if numbers else "")


def list_notes(sheet: Sheet) -> list[str]:
    return [f"{f'[{mark}]' if mark.isdigit() else mark} {text}".strip() for mark, text in sheet.notes]


def escape_markdown(text: str) -> str:
    """Text that stays on one line and in one table cell."""
    line = " ".join(text.split())
    for character in "\\`*_|":
        line = line.replace(character, f"\\{character}")
    return line.replace("<", "&lt;").replace(">", "&gt;")


def format_terminal(sheet: Sheet, width: int) -> str:
    """The table as plain text, its columns in as many tiers as `width` characters ask for, then the notes."""
    parts = [textwrap.fill(sheet.caption, width)]
    for block in sheet.blocks:
        parts += [textwrap.fill(f"== {block.title} ==", width)] if len(sheet.blocks) > 1 else []
        names = [wrap_name(row.name) for row in block.rows]
        columns = [
            [heading, *(mark_cell(row.cells[index]) for row in block.rows)]
            for index, heading in enumerate(map("\n".join, sheet.headings))
        ]
        name_width = max(len(line) for name in names for line in name.splitlines())
        for tier in split_columns(columns, width - name_width):
            body = [list(cells) for cells in zip(names, *(column[1:] for column in tier), strict=True)]
            headers = ["", *share_headings([column[0] for column in tier])]
            align = ("left", *("right" for _ in tier))
            parts.append(tabulate(body, headers, "simple", disable_numparse=True, colalign=align))
    wrapper = textwrap.TextWrapper(width, subsequent_indent="    ", break_on_hyphens=False)  # names of runs stay whole
    parts += ["\n".join(map(wrapper.fill, list_notes(sheet)))]
    return "\n\n".join(part for part in parts if part)


def share_headings(headings: list[str]) -> Iterator[str]:
    """The first line of columns that have it in common once, above the first of them."""
    above = ""
    for heading in headings:
        first, _, second = heading.partition("\n")
        yield (f"\n{second}" if first == above else heading).rstrip("\n")
        above = first


def split_columns(columns: list[list[str]], room: int) -> Iterator[list[list[str]]]:
    """Consecutive columns that fit into `room` characters with two between them, those of one heading together; one
    heading at least.

    tabulate makes a column two characters wider than its heading.
    """
    tier: list[list[str]] = []
    used = 0
    for _, group in groupby(columns, key=lambda column: column[0].partition("\n")[0]):
        together = list(group)
        need = sum(2 + max(2 + max(map(len, head.splitlines())), *map(len, cells)) for head, *cells in together)
        if tier and used + need > room:
            yield tier
            tier, used = [], 0
        tier += together
        used += need
    if tier:
        yield tier


def wrap_name(name: str) -> str:
    """A row name over several lines, broken after + and blanks, and within settings that are longer than a line."""
    lines = textwrap.wrap(name.replace("+", "+ "), NAME_WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(part for line in lines for part in wrap_setting(line.replace("+ ", "+")))


def wrap_setting(line: str) -> list[str]:
    """`[intermediate.learning_rate=1e-05]` in parts that end in a dot, a = or a _ where they are not the last."""
    lines = [""]
    for piece in re.findall(r"[^._=]*[._=]|[^._=]+", line) if len(line) > NAME_WIDTH else [line]:
        if lines[-1] and len(lines[-1]) + len(piece) > NAME_WIDTH:
            lines.append("")
        lines[-1] += piece
    return lines
