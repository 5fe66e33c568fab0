"""The main table as LaTeX: complete `table` environments for \\input, needing only booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from aggregate.view import NARROW, PARTIAL, ShownBlock, ShownCell, View

# What fits a page of the article class in the size used, with a caption and MAX_NOTES lines of notes.
LINES_PER_PAGE = 44
MAX_NOTES = 12
NOTE_CHARACTERS = 110  # of a line of notes
NAME_CHARACTERS = 22  # of the name column's 2.7 cm
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


def write_latex(view: View, digest: str) -> str:
    """The text of main.tex. A long table is split into numbered parts.

    The notes stand under the last part, or as text behind it where they are too many for a float.
    """
    pages = list(split_pages(view.blocks))
    parts = [f"% inputs sha256 {digest}\n% needs \\usepackage{{booktabs}}\n"]
    short = sum(-(-len(text) // NOTE_CHARACTERS) for _, text in view.notes) <= MAX_NOTES
    for number, blocks in enumerate(pages, start=1):
        caption = escape(view.caption) if number == 1 else "Main table, continued."
        label = "tab:main" if number == 1 else f"tab:main-{number}"
        parts.append(
            "\\begin{table}[tp]\n\\centering\n"
            f"\\caption{{{caption}}}\n\\label{{{label}}}\n"
            "\\par\\smallskip\n\\scriptsize\n\\setlength{\\tabcolsep}{2.5pt}\n"
            f"\\makebox[\\textwidth][c]{{%\n{write_tabular(view, blocks)}}}\n"
            f"{write_notes(view) if short and number == len(pages) else ''}\\end{{table}}\n"
        )
    if not short:
        parts.append(f"\\par{{\\scriptsize\\noindent Notes to Table~\\ref{{tab:main}}.\\par\n{list_notes(view)}}}\n")
    return "".join(parts)


def split_pages(blocks: tuple[ShownBlock, ...]) -> Iterator[list[ShownBlock]]:
    """Blocks cut so that every page has its fill; a title only where a block goes on.

    Elsewhere the baseline, its first row, says which model and variant a block is about.
    """
    page: list[ShownBlock] = []
    room = LINES_PER_PAGE
    for block in blocks:
        start = 0
        for index, row in enumerate(block.rows):
            height = -(-len(row.name) // NAME_CHARACTERS)
            if height > room and (page or index > start):
                yield [*page, cut_block(block, start, index)] if index > start else page
                page, room, start = [], LINES_PER_PAGE, index
            room -= height
        page.append(cut_block(block, start, len(block.rows)))
    yield page


def cut_block(block: ShownBlock, start: int, stop: int) -> ShownBlock:
    return ShownBlock(f"{block.title}, continued" if start else "", block.rows[start:stop])


def write_tabular(view: View, blocks: list[ShownBlock]) -> str:
    """booktabs rules and a two-row header from pandas' Styler; rules between groups of rows are ours."""
    rows = [row for block in blocks for row in block.rows]
    headings = [("", ""), *((escape(task), escape(metric)) for task, metric in view.headings)]
    frame = pd.DataFrame(
        [[escape_name(row.name), *(format_cell(cell) for cell in row.cells)] for row in rows],
        columns=pd.MultiIndex.from_tuples(headings),
    )
    column_format = "p{2.7cm}" + "r" * len(view.headings)
    span = min(6, len(headings))  # of a title, which is wider than a name
    lines = frame.style.hide(axis="index").to_latex(hrules=True, column_format=column_format).splitlines()
    head = lines.index("\\midrule") + 1
    body: list[str] = []
    written = iter(lines[head : head + len(rows)])
    for block in blocks:
        body += ["\\midrule"] if body else []
        body += [f"\\multicolumn{{{span}}}{{l}}{{\\textit{{{escape(block.title)}}}}} \\\\"] if block.title else []
        for row in block.rows:
            body += [_PARTINGS[row.above]] if row.above and row is not block.rows[0] else []
            body.append(next(written))
    return "\n".join([*lines[:head], *body, *lines[head + len(rows) :]]) + "\n"


def write_notes(view: View) -> str:
    if not view.notes:
        return ""
    return f"\\par\\smallskip\n\\begin{{minipage}}{{\\textwidth}}\n\\raggedright\n{list_notes(view)}\\end{{minipage}}\n"


def list_notes(view: View) -> str:
    marked = ((format_marks((mark,)) if mark else "", escape(text)) for mark, text in view.notes)
    return "".join(f"\\noindent {mark}{text}.\\par\n" for mark, text in marked)


def format_cell(cell: ShownCell) -> str:
    """Signed numbers in math mode, for a minus instead of a hyphen; the marks raised."""
    return re.sub(r"[+-]\d+\.\d", lambda number: f"${number[0]}$", cell.text) + format_marks(cell.marks)


def format_marks(marks: tuple[str, ...]) -> str:
    return f"$^{{{','.join(_SYMBOLS.get(mark, mark) for mark in marks)}}}$" if marks else ""


def escape_name(name: str) -> str:
    """A row name that may break in its narrow column: after +, and within settings that are too long for it."""
    words = (re.split(r"(?<=[+._=])" if len(word) > NAME_CHARACTERS else r"(?<=\+)", word) for word in name.split(" "))
    broken = " ".join("\\allowbreak{}".join(escape(part) for part in parts) for parts in words)
    return f"\\raggedright\\hangindent=0.6em {broken}"


def escape(text: str) -> str:
    """Text for LaTeX. Characters that pdflatex cannot print without further packages show their code point."""
    return "".join(escape_character(" " if character.isspace() else character) for character in text)


def escape_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if " " <= character <= "~" else f"[U+{ord(character):04X}]"
