"""What all figures look like: type, and lines and dots that differ in hue, marker and dashes alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aggregate.scores.columns import METRIC_TITLES, TARGET_TITLES, Column
from aggregate.scores.main_table import Block, TableRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette; black is the baseline's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
BASELINE: dict[str, Any] = {"color": "#000000", "marker": "|", "linestyle": "-"}
MOST_ROWS = len(COLOURS)
NAME_WIDTH = 32  # characters of a row's name in a legend
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "stilts",  # else its ids are random
}


def style_line(index: int) -> dict[str, Any]:
    """Of the so many-th line of a figure, from 0."""
    styles = {"color": COLOURS, "marker": MARKERS, "linestyle": DASHES}
    return {name: choices[index % len(choices)] for name, choices in styles.items()}


def choose_rows(
    block: Block, score: Callable[[TableRow], float | None], most: int = MOST_ROWS
) -> tuple[list[TableRow], str]:
    """Rows of a block that a figure shows beside its baseline, and what to say of the choice: all that have a score, or
    where they are too many the highest of each kind of training, then the highest others."""
    rows = [row for row in block.rows[1:] if score(row) is not None]
    if len(rows) <= most:
        return rows, ""
    falling = sorted(rows, key=lambda row: -(score(row) or 0.0))
    best: dict[tuple[object, ...], TableRow] = {}
    for row in falling:
        best.setdefault((row.key.mode, row.key.mlm, row.key.translated), row)
    first = [*best.values(), *(row for row in falling if row not in best.values())][:most]
    said = f"{len(first)} of {len(rows)} rows: the best of each kind of training, then the best others"
    return [row for row in rows if row in first], said


def shorten_name(row: TableRow) -> str:
    """A name for a legend: of long ones the beginning, and what else tells rows apart."""
    if len(row.name) <= NAME_WIDTH:
        return row.name
    count, key = len(row.key.tasks), row.key
    told = [f"{count} tasks"] * (count > 1) + ["mlm"] * key.mlm + ["translated"] * key.translated
    tail = f"... ({', '.join(told)})" if told else "..."
    return row.name[: NAME_WIDTH - len(tail)] + tail


def leave_room(figure: Figure, left: float, right: float, top: float, bottom: float) -> None:
    """Margins around the panels, in inches."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)


def add_legend(figure: Figure, panel: Axes, columns: int, said: str) -> None:
    """Below the panels, with a line of what is shown above it, in the room that `measure_legend` tells."""
    handles, labels = panel.get_legend_handles_labels()
    legend = figure.legend(
        handles, labels, title=said, loc="lower left", ncols=columns, fontsize=7, borderaxespad=0.2, title_fontsize=7
    )
    legend.set_alignment("left")


def measure_legend(names: int, columns: int) -> float:
    """Inches."""
    return 0.17 * (1 + -(-names // columns)) + 0.1


def title_column(column: Column) -> str:
    return f"{TARGET_TITLES[column.target]} {METRIC_TITLES[column.metric]}"
