"""Retrieval with the hidden states of every layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aggregate.evidence.statistics import estimate
from aggregate.scores.columns import list_columns
from aggregate.scores.main_table import Block, TableRow
from aggregate.sheets.layer_sheet import LayerCell, Place, read_layers
from aggregate.study import Study
from aggregate.writing.drawings.style import (
    BASELINE,
    add_legend,
    choose_rows,
    measure_legend,
    shorten_name,
    style_line,
    title_column,
)
from stilts.results import RowKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CURVES = 4
PANEL_SIZE = (3.2, 2.4)  # inches
Cells = Mapping[RowKey, Mapping[Place, LayerCell]]


def draw_layers(study: Study) -> Iterator[tuple[str, Figure]]:
    """A figure for each baseline whose rows have a sweep, a panel for each target; of further baselines the names end
    in a number."""
    cells, places = read_layers(study)
    for number, block in enumerate(study.table.blocks, start=1):
        if any(row.key in cells for row in block.rows):
            yield f"layers{f'-{number}' if number > 1 else ''}", draw_block(block, cells, places)


def draw_block(block: Block, cells: Cells, places: list[Place]) -> Figure:
    from matplotlib.figure import Figure

    targets = list(dict.fromkeys(target for target, _ in places))
    rows, choice = choose_rows(block, lambda row: find_peak(row, cells), MOST_CURVES)
    across = len(targets) + 1  # names in the legend
    below = measure_legend(len(rows) + 1, across) + 0.4
    figure = Figure(figsize=(PANEL_SIZE[0] * len(targets), PANEL_SIZE[1] + below))
    panels = figure.subplots(1, len(targets), squeeze=False)[0]
    for panel, target in zip(panels, targets, strict=True):
        layers = [layer for other, layer in places if other == target and layer is not None]
        for index, row in enumerate((block.rows[0], *rows)):
            if row.key in cells:
                style = style_line(index - 1) if index else BASELINE
                draw_curve(panel, row, {layer: cells[row.key][target, layer] for layer in layers}, style)
        panel.set_title(title_column(list_columns(target)[0]), loc="left")
        panel.set_xlabel("layer (0: embeddings)")
        panel.set_ylim(bottom=0)
    panels[0].set_ylabel("score, percent")
    figure.tight_layout(rect=(0, (below - 0.4) / (PANEL_SIZE[1] + below), 1, 1))
    add_legend(figure, panels[0], across, f"95% intervals over seeds, where there are several; {choice or 'all rows'}")
    return figure


def find_peak(row: TableRow, cells: Cells) -> float | None:
    """The highest score of any layer and target."""
    found = [cell.absolute.value for cell in cells.get(row.key, {}).values() if cell.absolute.value is not None]
    return max(found, default=None)


def draw_curve(panel: Axes, row: TableRow, by_layer: Mapping[int, LayerCell], style: Mapping[str, Any]) -> None:
    """A line through the layers that have a score; its shade is Student's interval."""
    known = {layer: cell.absolute for layer, cell in by_layer.items() if cell.absolute.value is not None}
    panel.plot(
        list(known),
        [cell.value or 0.0 for cell in known.values()],
        label=shorten_name(row),
        markersize=3,
        linewidth=1,
        **style,
    )
    found = {layer: estimate(cell.by_seed.values()) for layer, cell in known.items()}
    told = {layer: one for layer, one in found.items() if one.low is not None and one.high is not None}
    panel.fill_between(
        list(told),
        [max(0.0, one.low or 0.0) for one in told.values()],
        [min(100.0, one.high or 0.0) for one in told.values()],
        color=style["color"],
        alpha=0.15,
        linewidth=0,
    )
