"""The main table as Markdown, for the terminal, and as CSV."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from tabulate import tabulate

from aggregate.averages import Cell
from aggregate.columns import COLUMNS
from aggregate.main_table import MainTable, TableRow
from aggregate.merging import Finding
from aggregate.view import ShownCell, View
from stilts.tasks.catalogue import TARGET_ORDER

NAME_WIDTH = 28


def write_csv(table: MainTable) -> str:
    """One line per row, numbers at full precision, an empty field where there is none."""
    header = ["row", *(column.key for column in COLUMNS), "avg", "avg_partial", "targets_complete"]
    return format_csv([header, *(list_values(row) for row in table.rows)])


def list_values(row: TableRow) -> list[object]:
    average = row.average
    cells = [row.cells[column.key].value for column in COLUMNS]
    return [row.name, *cells, average.avg, average.partial, average.complete]


def write_detail_csv(table: MainTable) -> str:
    """One line per cell: the difference and both its sides, seeds, languages, and the reason of a gap."""
    header = ["model", "variant", "row", "column", "value", "absolute", "baseline"]
    header += ["seeds", "expected_languages", "present_languages", "reason"]
    lines: list[list[object]] = [list(header)]
    for row in table.rows:
        place = [row.key.model, row.key.variant, row.name]
        for column in COLUMNS:
            expected = table.scope.languages.get(column.target, ())
            lines.append([*place, column.key, *list_details(row.cells[column.key], expected)])
        gap = f"mean of {row.average.complete} of {len(TARGET_ORDER)} tasks" if row.average.avg is None else ""
        lines.append([*place, "avg", row.average.avg, "", "", "", "", "", gap])
        lines.append([*place, "avg_partial", row.average.partial, "", "", "", "", "", gap])
    return format_csv(lines)


def list_details(cell: Cell, expected: Sequence[str]) -> list[object]:
    numbers = [cell.value, cell.absolute, cell.baseline, cell.seeds]
    return [*numbers, " ".join(expected), " ".join(cell.present), cell.reason]


def format_csv(lines: Iterable[Sequence[object]]) -> str:
    """Floats as their shortest exact text (`repr`), None as an empty field."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([[repr(value) if isinstance(value, float) else value for value in line] for line in lines])
    return buffer.getvalue()


def write_markdown(view: View, findings: Iterable[Finding], files: int, digest: str) -> str:
    """The text of main.md: tables, notes, findings; `files` counts the metric files behind them."""
    parts = [f"<!-- inputs sha256 {digest} -->", "# Main table", escape_markdown(view.caption)]
    headers = ["", *(f"{task} ({metric})" if metric else task for task, metric in view.headings)]
    for block in view.blocks:
        if len(view.blocks) > 1:
            parts.append(f"## {escape_markdown(block.title)}")
        cells = [[escape_markdown(row.name), *map(mark_cell, row.cells)] for row in block.rows]
        lines = [headers, ["---"] + ["---:"] * len(view.headings), *cells]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if view.notes:
        parts.append("\n".join(f"- {escape_markdown(note)}" for note in list_notes(view)))
    lines_found = [f"- {escape_markdown(str(finding))}" for finding in findings]
    parts += ["## Findings", "\n".join(lines_found) or "None."]
    parts.append(f"{files} metric files read.")
    return "\n\n".join(parts) + "\n"


def mark_cell(cell: ShownCell) -> str:
    """`+7.7†`, `-- [1]`: symbols cling to the number, note numbers stand in brackets."""
    symbols = "".join(mark for mark in cell.marks if not mark.isdigit())
    numbers = ",".join(mark for mark in cell.marks if mark.isdigit())
    return cell.text + symbols + (f" [{numbers}]" if numbers else "")


def list_notes(view: View) -> list[str]:
    return [f"{f'[{mark}]' if mark.isdigit() else mark} {text}".strip() for mark, text in view.notes]


def escape_markdown(text: str) -> str:
    """Text that stays on one line and in one table cell."""
    line = " ".join(text.split())
    for character in "\\`*_|":
        line = line.replace(character, f"\\{character}")
    return line.replace("<", "&lt;").replace(">", "&gt;")


def format_terminal(view: View, width: int) -> str:
    """The table as plain text, its columns in as many tiers as `width` characters ask for, then the notes."""
    parts = [textwrap.fill(view.caption, width)]
    for block in view.blocks:
        parts += [textwrap.fill(f"== {block.title} ==", width)] if len(view.blocks) > 1 else []
        names = [wrap_name(row.name) for row in block.rows]
        columns = [
            [f"{task}\n{metric}" if metric else task, *(mark_cell(row.cells[index]) for row in block.rows)]
            for index, (task, metric) in enumerate(view.headings)
        ]
        name_width = max(len(line) for name in names for line in name.splitlines())
        for tier in split_columns(columns, width - name_width):
            body = [list(cells) for cells in zip(names, *(column[1:] for column in tier), strict=True)]
            headers = ["", *(column[0] for column in tier)]
            align = ("left", *("right" for _ in tier))
            parts.append(tabulate(body, headers, "simple", disable_numparse=True, colalign=align))
    wrapper = textwrap.TextWrapper(width, subsequent_indent="    ", break_on_hyphens=False)  # names of runs stay whole
    parts += ["\n".join(map(wrapper.fill, list_notes(view)))]
    return "\n\n".join(part for part in parts if part)


def split_columns(columns: list[list[str]], room: int) -> Iterator[list[list[str]]]:
    """Consecutive columns that fit into `room` characters with two between them; one at least.

    tabulate makes a column two characters wider than its heading.
    """
    tier: list[list[str]] = []
    used = 0
    for column in columns:
        heading, *cells = column
        need = 2 + max(2 + max(map(len, heading.splitlines())), *map(len, cells))
        if tier and used + need > room:
            yield tier
            tier, used = [], 0
        tier.append(column)
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
