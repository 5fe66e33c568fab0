"""What single intermediate tasks do for each target, as a map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aggregate.sheets.sheet import ShownCell, find_tint
from aggregate.sheets.transfer_sheet import build_transfer_sheet
from aggregate.study import Study
from aggregate.writing.drawings.style import leave_room

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME_CHARACTER, HEAD_HEIGHT = 0.065, 0.4  # inches


def draw_transfer(study: Study) -> Iterator[tuple[str, Figure]]:
    """Heat map of single tasks by targets: the transfer table as a picture, its numbers and stars in the cells."""
    from matplotlib.figure import Figure

    sheet = build_transfer_sheet(study)
    if sheet is None:
        return
    rows = [row for block in sheet.blocks for row in block.rows]
    names = 0.2 + NAME_CHARACTER * max(len(row.name) for row in rows)
    figure = Figure(figsize=(names + 0.45 * len(sheet.headings), HEAD_HEIGHT + 0.26 * len(rows)))
    panel = figure.subplots()
    for y, row in enumerate(rows):
        for x, cell in enumerate(row.cells):
            _fill(panel, x, y, cell)
    panel.set_xlim(0, len(sheet.headings))
    panel.set_ylim(len(rows), 0)
    heads = ["\n".join(part for part in heading if part) for heading in sheet.headings]
    panel.set_xticks([x + 0.5 for x in range(len(heads))], labels=heads)
    panel.set_yticks([y + 0.5 for y in range(len(rows))], labels=[row.name for row in rows])
    panel.xaxis.tick_top()
    panel.tick_params(length=0, labelsize=7)
    for spine in panel.spines.values():
        spine.set_visible(False)
    leave_room(figure, names, 0.05, HEAD_HEIGHT, 0.05)
    yield "transfer", figure


def _fill(panel: Axes, x: int, y: int, cell: ShownCell) -> None:
    from matplotlib.patches import Rectangle

    tint = find_tint(cell.shade)
    panel.add_patch(Rectangle((x, y), 1, 1, facecolor=f"#{tint}" if tint else "white", edgecolor="white"))
    panel.text(x + 0.5, y + 0.5, cell.text, ha="center", va="center", fontsize=7)
