"""Scores against the number of intermediate tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from aggregate.evidence.statistics import Estimate
from aggregate.scores.columns import AVERAGE, COLUMNS, list_columns
from aggregate.scores.curves import Curve, Point
from aggregate.sheets.scaling_sheet import estimate_point, read_value
from aggregate.study import Study
from aggregate.writing.drawings.style import style_line, title_column

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_scaling(study: Study) -> Iterator[tuple[str, Figure]]:
    """Avg and TyDiQA against the number of intermediate tasks, with intervals over draws."""
    from matplotlib.figure import Figure

    asked = (AVERAGE, *(column.key for column in list_columns("tydiqa")))
    keys = [key for key in asked if any(read_value(point.values, key) is not None for point in study.points)]
    if not keys:
        return
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
    yield "scaling", figure


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
        **style_line(index),
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
    return "Avg" if key == AVERAGE else next(title_column(column) for column in COLUMNS if column.key == key)
