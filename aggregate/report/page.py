"""The page itself: a template filled with what the study has, in one file that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from aggregate.report.coverage import STATES, Place, map_coverage
from aggregate.report.island import Island, count_commits, find_base, write_island
from aggregate.report.run_facts import RunReader
from aggregate.report.sentences import VERDICT_SIGNS, VERDICT_WORDS, summarise
from aggregate.scores.columns import AVERAGE, TARGET_TITLES
from aggregate.sheets.sheet import Sheet, ShownCell, ShownRow, find_step
from aggregate.study import Study

HERE = Path(__file__).resolve().parent
SCRIPTS = ("tables.js", "runs.js")
OPEN_CELLS = 6000  # so many cells are laid out when the page opens; tables beyond are folded
_SIGNS = {state.name: Markup("<i class={}>{}</i>").format(state.name, state.sign) for state in STATES}
_TITLES = {title: target for target, title in TARGET_TITLES.items()} | {"Avg": AVERAGE, "Partial": AVERAGE}


@dataclass(frozen=True)
class ShownTable:
    """`sections` are rows between rules: a baseline stays above its differences however they are sorted. `targets`
    are those whose runs stand behind the columns, "" where a column has none, empty where no cell has any."""

    sheet: Sheet
    sections: tuple[tuple[str, tuple[tuple[int, ShownRow], ...]], ...]
    targets: tuple[str, ...]
    is_open: bool

    @property
    def id(self) -> str:
        return f"table-{self.sheet.name.replace('/', '-')}"


def build_report(study: Study, sheets: Sequence[Sheet], draw: Callable[[], Mapping[str, bytes]], out: Path) -> bytes:
    """report.html for the folder `out`, from which its links lead to the logs. Same input, same bytes. `draw` gives the
    files of the figures and is asked last, for they may still be drawn elsewhere."""
    reader = RunReader(study.run_records)
    coverage = map_coverage(study, reader)
    island = Island(study, coverage, reader, find_base(study.results, out))
    scripts = [(HERE / name).read_text(encoding="utf-8") for name in SCRIPTS]
    text = (
        _environment()
        .get_template("page.html")
        .render(
            style=Markup((HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704  ours
            scripts=[Markup(script) for script in scripts],  # noqa: S704  ours
            digests=[base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts],
            island=Markup(write_island(island.build())),  # noqa: S704  cannot end its element
            study=study,
            sentences=summarise(study, coverage, sheets),
            verdicts=VERDICT_WORDS,
            signs=VERDICT_SIGNS,
            states=[(state, coverage.counts[state.name]) for state in STATES],
            coverage=coverage,
            target_titles=TARGET_TITLES,
            tables=list(list_tables(study, sheets)),
            commits=count_commits(island.facts.values()),
            figures=list(list_figures(draw())),
        )
    )
    return text.encode("utf-8", "replace")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cells": show_cells, "places": show_places, "breaks": allow_breaks}
    return environment


def list_tables(study: Study, sheets: Sequence[Sheet]) -> Iterator[ShownTable]:
    names = [row.name for row in study.table.rows]
    room = OPEN_CELLS
    for sheet in sheets:
        rows = [row for block in sheet.blocks for row in block.rows]
        room -= len(rows) * len(sheet.headings)
        # A sheet whose rows are those of the main table has the same runs behind them.
        behind = list_targets(sheet) if [row.name for row in rows] == names else ()
        yield ShownTable(sheet, tuple(cut_sections(sheet)), behind, room >= 0 or sheet is sheets[0])


def list_targets(sheet: Sheet) -> tuple[str, ...]:
    """The target of each column; all columns of a table of languages are of one."""
    folder, _, target = sheet.name.rpartition("/")
    if folder == "languages":
        return (target,) * len(sheet.headings)
    targets = tuple(_TITLES.get(title, "") for title, _ in sheet.headings)
    return targets if sheet.name == "main" else ()


def cut_sections(sheet: Sheet) -> Iterator[tuple[str, tuple[tuple[int, ShownRow], ...]]]:
    """Rows between rules, each with its number in the sheet, below the title of their block where it begins."""
    number = 0
    for block in sheet.blocks:
        title = block.title if len(sheet.blocks) > 1 else ""
        rows: list[tuple[int, ShownRow]] = []
        for row in block.rows:
            if row.above == "rule" and rows:
                yield title, tuple(rows)
                title, rows = "", []
            rows.append((number, row))
            number += 1
        yield title, tuple(rows)


def show_cells(row: ShownRow, widths: Sequence[float]) -> Markup:
    """The cells of a row without their end tags, which HTML does not need: there may be hundreds of thousands."""
    cells = zip(row.cells, widths, strict=True)
    shown = [show_cell(cell.text, cell.marks, find_shade(cell), width > 0) for cell, width in cells]
    return Markup("".join(shown))  # noqa: S704  each is escaped already


def find_shade(cell: ShownCell) -> str:
    """The class of the tint that the printed tables have there."""
    step = find_step(cell.shade)
    return f"{'up' if step > 0 else 'down'}{abs(step)}" if step else ""


@lru_cache(maxsize=1 << 16)
def show_cell(text: str, marks: tuple[str, ...], shade: str, is_text: bool) -> Markup:
    """Stars and marks hang behind the number, so that numbers stand below each other at the point."""
    stars = () if is_text else ("*",) * text.endswith("*")
    shown = text.removesuffix("*") if stars else text
    classes = " ".join(name for name in (shade, "text" * is_text) if name)
    start = Markup('<td class="{}">').format(classes) if classes else Markup("<td>")
    return start + escape(shown) + show_marks((*stars, *marks))


def show_marks(marks: tuple[str, ...]) -> Markup:
    return Markup("<sup>{}</sup>").format(",".join(marks)) if marks else Markup("")


def allow_breaks(name: str) -> Markup:
    """A row's name, which may go on on the next line after a +, and within settings."""
    return Markup("<wbr>").join(re.split(r"(?<=[+.=;])", name))


def show_places(places: Sequence[Place]) -> Markup:
    """The signs of a cell of the coverage map, one for each seed."""
    return Markup("").join(_SIGNS[place.state] for place in places)


def list_figures(figures: Mapping[str, bytes]) -> Iterator[tuple[str, Markup]]:
    """Title and picture of each SVG among the figures' files."""
    for name, content in figures.items():
        if name.endswith(".svg"):
            short = name.removeprefix("figures/").removesuffix(".svg")
            yield short.replace("_", " ").replace("/", ", ").capitalize(), inline_svg(short, content.decode())


def inline_svg(name: str, text: str) -> Markup:
    """An SVG file as an element: without its prolog and metadata, its ids told apart from those of other figures."""
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    prefix = re.sub(r"[^a-z0-9]+", "-", name.lower())
    body = re.sub(r'(\sid="|\bhref="#|url\(#)', rf"\g<1>{prefix}-", body)
    return Markup(body)  # noqa: S704  from matplotlib, which escapes the texts in it
