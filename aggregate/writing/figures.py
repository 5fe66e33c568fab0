"""Figures of the study: vector PDF for LaTeX and SVG for pages, readable in grey and by the colour-blind.

Curves differ in marker and dashes, cells of the heat map carry their numbers: no figure depends on a hue alone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from aggregate.evidence.statistics import Estimate
from aggregate.scores.columns import AVERAGE, METRIC_TITLES, TARGET_TITLES, list_columns
from aggregate.scores.curves import Curve, Point
from aggregate.sheets.scaling_sheet import estimate_point, read_value
from aggregate.sheets.sheet import ShownCell, find_tint
from aggregate.sheets.transfer_sheet import build_transfer_sheet
from aggregate.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue and vermilion of Okabe and Ito; the second line of a figure is dashed too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":")
_STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "stilts",  # else its ids are random
}


def draw_figures(study: Study) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of every figure that the study has something for, each as PDF and as SVG."""
    for name, draw in FIGURES.items():
        figure = _styled(draw, study)
        if figure is None:
            continue
        for kind, undated in (("pdf", "CreationDate"), ("svg", "Date")):
            buffer = io.BytesIO()
            with warnings.catch_warnings():
                # A name in a script that the font lacks shows boxes; the tables have it whole.
                warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
                figure.savefig(buffer, format=kind, bbox_inches="tight", metadata={undated: None})
            yield f"figures/{name}.{kind}", buffer.getvalue()


def _styled(draw: Callable[[Study], Figure | None], study: Study) -> Figure | None:
    import matplotlib

    matplotlib.use("Agg")  # no display on a login node
    matplotlib.rcParams.update(_STYLE)
    return draw(study)


def draw_scaling(study: Study) -> Figure | None:
    """Avg and TyDiQA against the number of intermediate tasks, with intervals over draws."""
    from matplotlib.figure import Figure

    asked = (AVERAGE, *(column.key for column in list_columns("tydiqa")))
    keys = [key for key in asked if any(read_value(point.values, key) is not None for point in study.points)]
    if not keys:
        return None
    figure = Figure(figsize=(2.4 * len(keys) + 0.6, 2.4))
    panels = figure.subplots(1, len(keys), squeeze=False)[0]
    curves = [(curve, list(points)) for curve, points in groupby(study.points, key=lambda point: point.curve)]
    for panel, key in zip(panels, keys, strict=True):
        for index, (curve, points) in enumerate(curves):
            _draw_curve(panel, index, _label(curve, curves), points, key)
        counts = sorted({point.count for point in study.points})
        panel.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        panel.set_xscale("log", base=2)
        panel.set_xticks(counts, labels=map(str, counts), minor=False)
        panel.set_xticks([], minor=True)
        panel.set_xlabel("intermediate tasks")
        panel.set_title(_title(key))
    panels[0].set_ylabel("difference to the baseline, points")
    panels[0].legend(loc="best")
    figure.tight_layout()
    return figure


def _draw_curve(panel: Axes, index: int, label: str, points: Sequence[Point], key: str) -> None:
    known = [(point, value) for point in points if (value := read_value(point.values, key)) is not None]
    halves = [_half_interval(estimate_point(point, key)) for point, _ in known]
    # Curves of one figure stand side by side, or their intervals would cover each other.
    places = [point.count * 1.03**index for point, _ in known]
    panel.errorbar(
        places,
        [value for _, value in known],
        yerr=halves,
        label=label,
        color=COLOURS[index % len(COLOURS)],
        marker=MARKERS[index % len(MARKERS)],
        linestyle=DASHES[index % len(DASHES)],
        markersize=4,
        linewidth=1.2,
        capsize=2,
        elinewidth=0.8,
    )


def _half_interval(found: Estimate | None) -> float:
    """Student's interval is as long below the mean as above; no bar where there is none."""
    return 0.0 if found is None or found.high is None else found.high - found.mean


def _label(curve: Curve, curves: Sequence[tuple[Curve, Sequence[Point]]]) -> str:
    parts = [curve.regime]
    if len({other.variant for other, _ in curves}) > 1 and curve.variant:
        parts.append(f"[{curve.variant}]")
    if len({(other.pool, other.seed) for other, _ in curves}) > 1:
        parts.append(f"(pool of {len(curve.pool)}, seed {curve.seed})")
    return " ".join(parts)


def _title(key: str) -> str:
    if key == AVERAGE:
        return "Avg"
    (column,) = (column for column in list_columns("tydiqa") if column.key == key)
    return f"{TARGET_TITLES[column.target]} {METRIC_TITLES[column.metric]}"


def draw_transfer(study: Study) -> Figure | None:
    """Heat map of single tasks by targets: the transfer table as a picture, its numbers and stars in the cells."""
    from matplotlib.figure import Figure

    sheet = build_transfer_sheet(study)
    if sheet is None:
        return None
    rows = [row for block in sheet.blocks for row in block.rows]
    figure = Figure(figsize=(0.5 * (len(sheet.headings) + 2), 0.26 * (len(rows) + 2)))
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
    return figure


def _fill(panel: Axes, x: int, y: int, cell: ShownCell) -> None:
    from matplotlib.patches import Rectangle

    tint = find_tint(cell.shade)
    panel.add_patch(Rectangle((x, y), 1, 1, facecolor=f"#{tint}" if tint else "white", edgecolor="white"))
    panel.text(x + 0.5, y + 0.5, cell.text, ha="center", va="center", fontsize=7)


FIGURES: dict[str, Callable[[Study], Figure | None]] = {"scaling": draw_scaling, "transfer": draw_transfer}
