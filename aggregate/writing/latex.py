"""A sheet as LaTeX: complete `table` environments for \\input, needing only booktabs and xcolor."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby

from aggregate.sheets.sheet import NARROW, PARTIAL, Sheet, ShownBlock, ShownRow, find_tint

# What fits a page of the article class in the size used, with a caption of CAPTION_LINES and MAX_NOTES lines of notes.
# A line more of the caption takes the room of one and a half.
LINES_PER_PAGE = 44
CAPTION_LINES = 8
PARTING = 0.6  # of a line, above a group of rows
CAPTION_CHARACTERS = 72  # of a line
MAX_NOTES = 12
MAX_CHARACTERS = 116  # of all columns but that of names, their gaps included
COLUMN_GAP = 1.5  # characters
NOTE_CHARACTERS = 110  # of a line of notes
CHARACTERS_PER_CM = 7.8
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
_PARTINGS = {"space": "\\addlinespace", "rule": "\\midrule"}
_SYMBOLS = {PARTIAL: "\\dagger", NARROW: "\\ddagger"}


def write_latex(sheet: Sheet, digest: str) -> str:
    """The text of its file. A table that is too long or too wide is split into numbered parts.

    The notes stand under the last part, or as text behind it where they are too many for a float.
    """
    pages = [(part, page) for part in cut_columns(sheet) for page in split_pages(part)]
    parts = [f"% inputs sha256 {digest}\n% needs \\usepackage{{booktabs}} and \\usepackage[table]{{xcolor}}\n"]
    name = f"tab:{sheet.name.replace('/', '-')}"
    short = sum(-(-len(text) // NOTE_CHARACTERS) for _, text in sheet.notes) <= MAX_NOTES
    for number, (part, blocks) in enumerate(pages, start=1):
        caption = escape(sheet.caption) if number == 1 else f"{escape(sheet.title)}, continued."
        label = name if number == 1 else f"{name}-{number}"
        parts.append(
            "\\begin{table}[tp]\n\\centering\n"
            f"\\caption{{{caption}}}\n\\label{{{label}}}\n"
            "\\par\\smallskip\n\\scriptsize\n\\setlength{\\tabcolsep}{2.5pt}\n"
            f"\\makebox[\\textwidth][c]{{%\n{write_tabular(part, blocks)}}}\n"
            f"{write_notes(sheet) if short and number == len(pages) else ''}\\end{{table}}\n"
        )
    if not short:
        parts.append(
            f"\\par{{\\scriptsize\\raggedright\\noindent Notes to Table~\\ref{{{name}}}.\\par\n{list_notes(sheet)}}}\n"
        )
    return "".join(parts)


def cut_columns(sheet: Sheet) -> Iterator[Sheet]:
    """The sheet itself, or parts of like width where it has more columns than fit on a page; those that have the first
    line of their heading in common stay together."""
    columns = [measure_column(sheet, at) for at in range(len(sheet.headings))]
    groups = list(group_columns(sheet, columns))
    sizes = [sum(columns[at] for at in group) for group in groups]
    room: float = MAX_CHARACTERS
    count = len(list(fill_parts(sizes, room)))
    while room > max(sizes) and len(list(fill_parts(sizes, room - 1))) == count:
        room -= 1  # as many parts, and the last one fuller
    for part in fill_parts(sizes, room):
        chosen = slice(groups[part[0]][0], groups[part[-1]][-1] + 1)
        blocks = tuple(
            replace(block, rows=tuple(replace(row, cells=row.cells[chosen]) for row in block.rows))
            for block in sheet.blocks
        )
        yield replace(sheet, headings=sheet.headings[chosen], blocks=blocks, text_widths=sheet.widths[chosen])


def group_columns(sheet: Sheet, sizes: Sequence[float]) -> Iterator[list[int]]:
    """Columns of one heading; each by itself where they are too wide for a page together."""
    for _, same in groupby(range(len(sheet.headings)), key=lambda at: sheet.headings[at][0]):
        group = list(same)
        whole = sum(sizes[at] for at in group) <= MAX_CHARACTERS
        yield from [group] if whole else ([at] for at in group)


def fill_parts(sizes: Sequence[float], room: float) -> Iterator[list[int]]:
    """Consecutive places whose sizes fit into `room` together; one at least."""
    part: list[int] = []
    for place, size in enumerate(sizes):
        if part and sum(sizes[one] for one in part) + size > room:
            yield part
            part = []
        part.append(place)
    yield part


def measure_column(sheet: Sheet, place: int) -> float:
    """About how many characters wide a column is, with its distance to the next."""
    if sheet.widths[place]:
        return fit_characters(sheet.widths[place]) + COLUMN_GAP
    shared = [heading[0] for heading in sheet.headings].count(sheet.headings[place][0]) > 1
    texts = {row.cells[place].text for block in sheet.blocks for row in block.rows}
    shown = (text.rstrip("*") for text in texts)
    return max(map(len, (*sheet.headings[place][shared:], *shown))) + COLUMN_GAP


def split_pages(sheet: Sheet) -> Iterator[list[ShownBlock]]:
    """Blocks cut so that every page has its fill, the first one below the caption; a title where a block goes on, and
    everywhere where blocks are titled. Elsewhere the baseline, its first row, says what a block is about.
    """
    page: list[ShownBlock] = []
    room: float = LINES_PER_PAGE - max(0, -(-len(sheet.caption) // CAPTION_CHARACTERS) - CAPTION_LINES) * 3 // 2
    for block in sheet.blocks:
        start = 0
        for index, row in enumerate(block.rows):
            height = count_lines(sheet, row) + (PARTING if row.above else 0)
            if height > room and (page or index > start):
                yield [*page, cut_block(block, start, index, sheet.titled)] if index > start else page
                page, room, start = [], LINES_PER_PAGE, index
            room -= height
        page.append(cut_block(block, start, len(block.rows), sheet.titled))
    yield page


def cut_block(block: ShownBlock, start: int, stop: int, titled: bool) -> ShownBlock:
    title = f"{block.title}, continued" if start else block.title if titled else ""
    return ShownBlock(title, block.rows[start:stop])


def count_lines(sheet: Sheet, row: ShownRow) -> int:
    """About how many lines a row takes: those of its longest text."""
    texts = [(sheet.name_width, row.name), *zip(sheet.widths, (cell.text for cell in row.cells), strict=True)]
    return max(count_wrapped(text, fit_characters(width)) for width, text in texts if width)


@lru_cache(maxsize=4096)
def count_wrapped(text: str, characters: int) -> int:
    """A row's name is counted once more for every part of its table."""
    return len(textwrap.wrap(text, characters))


def fit_characters(width: float) -> int:
    """About how many characters a line of so many cm has."""
    return int(width * CHARACTERS_PER_CM)


def write_tabular(sheet: Sheet, blocks: list[ShownBlock]) -> str:
    """booktabs rules, a header of two lines, and rules between groups of rows."""
    columns = (f"@{{\\hspace{{8pt}}}}p{{{width:g}cm}}" if width else "r" for width in sheet.widths)
    lines = [
        f"\\begin{{tabular}}{{p{{{sheet.name_width:g}cm}}{''.join(columns)}}}",
        "\\toprule",
        join_cells(["", *span_headings(task for task, _ in sheet.headings)]),
        join_cells(["", *(escape(metric) for _, metric in sheet.headings)]),
    ]
    span = min(6, 1 + len(sheet.headings))  # of a title, which is wider than a name
    for block in blocks:
        lines += ["\\midrule"]
        lines += [f"\\multicolumn{{{span}}}{{l}}{{\\textit{{{escape(block.title)}}}}} \\\\"] if block.title else []
        for row in block.rows:
            lines += [_PARTINGS[row.above]] if row.above and row is not block.rows[0] else []
            lines.append(join_cells([format_name(row.name, sheet.name_width), *format_cells(row, sheet.widths)]))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def join_cells(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def span_headings(tasks: Iterable[str]) -> Iterator[str]:
    """One heading over neighbours that share it."""
    for task, own in groupby(tasks):
        count = len(list(own))
        yield f"\\multicolumn{{{count}}}{{c}}{{{escape(task)}}}" if count > 1 else escape(task)


def write_notes(sheet: Sheet) -> str:
    if not sheet.notes:
        return ""
    return (
        f"\\par\\smallskip\n\\begin{{minipage}}{{\\textwidth}}\n\\raggedright\n{list_notes(sheet)}\\end{{minipage}}\n"
    )


def list_notes(sheet: Sheet) -> str:
    marked = ((format_marks((mark,)) if mark else "", escape(text)) for mark, text in sheet.notes)
    return "".join(f"\\noindent {mark}{text}.\\par\n" for mark, text in marked)


def format_cells(row: ShownRow, widths: tuple[float, ...]) -> Iterator[str]:
    """Numbers as numbers, text (`widths` not 0) ragged, where xcolor's tables have what keeps the end of the row."""
    for cell, width in zip(row.cells, widths, strict=True):
        if width:
            yield f"\\raggedright\\arraybackslash {break_words(cell.text, width)}"
        else:
            yield format_cell(cell.text, cell.marks, find_tint(cell.shade))


@lru_cache(maxsize=1 << 16)
def format_cell(text: str, marks: tuple[str, ...], tint: str | None) -> str:
    """Signed numbers in math mode, for a minus instead of a hyphen; the marks raised, and without a width of their own,
    so that numbers stand below each other at the point."""
    number = re.sub(r"[+-]\d+\.\d+", lambda number: f"${number[0]}$", escape(text.removesuffix("*")))
    marks = ("*",) * text.endswith("*") + marks
    shade = f"\\cellcolor[HTML]{{{tint}}}" if tint else ""
    return shade + number.replace("*", "$^{*}$") + (f"\\rlap{{{format_marks(marks)}}}" if marks else "")


def format_marks(marks: tuple[str, ...]) -> str:
    return f"$^{{{','.join(_SYMBOLS.get(mark, mark) for mark in marks)}}}$" if marks else ""


def format_name(name: str, width: float) -> str:
    """A row name that may break in its narrow column."""
    return f"\\raggedright\\hangindent=0.6em {break_words(name, width)}"


@lru_cache(maxsize=4096)
def break_words(text: str, width: float) -> str:
    """Text for a column of so many cm, which may break after +, and within settings that are too long for a line."""
    room = fit_characters(width)
    words = (re.split(r"(?<=[+._=])" if len(word) > room else r"(?<=\+)", word) for word in text.split(" "))
    return " ".join("\\allowbreak{}".join(escape(part) for part in parts) for parts in words)


def escape(text: str) -> str:
    """Text for LaTeX. Characters that pdflatex cannot print without further packages show their code point."""
    return text.translate(_SPELLINGS)


class _Spellings(dict[int, str]):
    """How each character is written, found once."""

    def __missing__(self, code: int) -> str:
        character = " " if chr(code).isspace() else chr(code)
        plain = character if " " <= character <= "~" else f"[U+{code:04X}]"
        self[code] = _ESCAPES.get(character, plain)
        return self[code]


_SPELLINGS = _Spellings()
