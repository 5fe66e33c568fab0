"""Scores of one target by language: a dot for the baseline, and one for each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from aggregate.scores.columns import Column, list_columns
from aggregate.scores.main_table import Block, TableRow, score_cell
from aggregate.sheets.languages import read_facts
from aggregate.study import Study
from aggregate.writing.drawings.style import (
    BASELINE,
    add_legend,
    choose_rows,
    leave_room,
    measure_legend,
    shorten_name,
    style_line,
    title_column,
)
from stilts.tasks.catalogue import TARGET_ORDER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_HEIGHT, TITLE_HEIGHT, PANEL_WIDTH, NAMES_WIDTH, CLASS_WIDTH = 0.16, 0.3, 3.0, 1.1, 0.75  # inches
SPREAD = 0.5  # of a row's height: dots of one language stand below each other in it
Place = tuple[str, str]  # a language and its class of pre-training text


def draw_languages(study: Study) -> Iterator[tuple[str, Figure]]:
    """A figure for each target and baseline with a score; of further baselines the names end in a number."""
    for target in TARGET_ORDER:
        columns = list_columns(target)
        for number, block in enumerate(study.table.blocks, start=1):
            languages = study.scope.languages.get(target, ())
            if any(score_language(study, block.rows[0], columns[0], language) is not None for language in languages):
                name = f"languages-{target}{f'-{number}' if number > 1 else ''}"
                yield name, draw_target(study, block, target)


def score_language(study: Study, row: TableRow, column: Column, language: str) -> float | None:
    """Mean over the seeds, with the main table's rules."""
    scores = score_cell(row.key, column, study.selection, study.collection.outcomes, study.scope, (language,))
    return scores.mean


def draw_target(study: Study, block: Block, target: str) -> Figure:
    """Panels for F1 and EM of QA tasks, else one. Languages with much pre-training text stand above."""
    from matplotlib.figure import Figure

    columns = list_columns(target)

    def score_mean(row: TableRow) -> float | None:
        known = [score for column in columns if (score := row.cells[column.key].absolute) is not None]
        return fmean(known) if len(known) == len(columns) else None

    rows, choice = choose_rows(block, score_mean)
    places = order_languages(study.scope.languages[target], study.scope.suite)
    across = len(columns) + 1  # names in the legend
    below = measure_legend(len(rows) + 1, across) + 0.4
    size = (
        NAMES_WIDTH + PANEL_WIDTH * len(columns) + CLASS_WIDTH,
        ROW_HEIGHT * (len(places) + 1) + TITLE_HEIGHT + below,
    )
    figure = Figure(figsize=size)
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    leave_room(figure, NAMES_WIDTH, CLASS_WIDTH, TITLE_HEIGHT, below)
    for panel, column in zip(panels, columns, strict=True):
        draw_panel(study, panel, (block.rows[0], *rows), column, places)
        panel.set_title(title_column(column), loc="left")
        panel.set_xlabel("score, percent; means over seeds")
        panel.tick_params(axis="y", length=0)
    label_languages(panels[0], panels[-1], places)
    add_legend(figure, panels[0], across, choice or "all rows")
    return figure


def order_languages(languages: Sequence[str], suite: str) -> list[Place]:
    """By size of XLM-R's pre-training text, largest first; made-up languages as they come."""
    if suite == "toy":
        return [(language, "") for language in languages]
    facts = sorted((read_facts()[language] for language in languages), key=lambda one: (-one.cc100_gib, one.code))
    return [(one.code, one.size) for one in facts]


def draw_panel(study: Study, panel: Axes, rows: Sequence[TableRow], column: Column, places: Sequence[Place]) -> None:
    for index, row in enumerate(rows):
        found = [(score_language(study, row, column, language), y) for y, (language, _) in enumerate(places)]
        shift = SPREAD * ((index - 1) / (len(rows) - 2) - 0.5) if index and len(rows) > 2 else 0.0
        known = [(score, y + shift) for score, y in found if score is not None]
        style = (style_line(index - 1) if index else BASELINE) | {"linestyle": "none"}
        panel.plot(
            [score for score, _ in known],
            [y for _, y in known],
            label=shorten_name(row),
            markersize=4 if index else 8,
            markeredgewidth=0.8 if index else 1.4,
            markerfacecolor="none",  # what lies below stays visible
            **style,
        )
    panel.set_ylim(len(places) - 0.4, -0.6)
    panel.grid(axis="y", color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)
    for y, (above, below) in enumerate(pairwise(places)):
        if above[1] != below[1]:
            panel.axhline(y + 0.5, color="0.6", linewidth=0.6)


def label_languages(first: Axes, last: Axes, places: Sequence[Place]) -> None:
    """Languages at the left; at the right how much pre-training text the groups between the lines have."""
    facts = read_facts()
    names = [f"{facts[code].name} {code}" if code in facts else code for code, _ in places]
    first.set_yticks(range(len(places)), labels=names, fontsize=7)
    for size in dict.fromkeys(size for _, size in places if size):
        middle = fmean(y for y, (_, own) in enumerate(places) if own == size)
        text = f"{size}\nof text" if size == places[0][1] else size
        last.text(1.02, middle, text, transform=last.get_yaxis_transform(), fontsize=6, va="center", color="0.3")
