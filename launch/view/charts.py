"""Two drawings of the campaign's page as SVG: progress over time, and GPU-hours by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape

from launch.view.overview import Overview, spell_seconds
from launch.view.tables import spell_hours

WIDTH, HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 34
_POINTS = 200  # of a line, however many runs there are
_BAR = 20

Step = tuple[float, int]


def draw_progress(overview: Overview) -> str:
    """Runs that had begun, and runs that were done, over the time of the campaign."""
    begun = sorted(found[0].started for found in overview.attempts.values() if found)
    done = sorted(
        attempt.ended
        for found in overview.attempts.values()
        for attempt in found[-1:]
        if attempt.state == "done" and attempt.ended is not None
    )
    if not begun:
        return '<p class="none">No run has begun.</p>'
    start, end = begun[0], max(overview.now, begun[-1], *done[-1:])
    span, total = max(end - start, 1.0), max(overview.total, 1)

    def x(moment: float) -> float:
        return _LEFT + (moment - start) / span * (WIDTH - _LEFT - _RIGHT)

    def y(count: float) -> float:
        return HEIGHT - _BOTTOM - count / total * (HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="runs begun and done over time">']
    for count in sorted({0, total // 2, total}):
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(count):.1f}" y2="{y(count):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(count) + 4:.1f}" text-anchor="end">{count:,}</text>')
    for moment, anchor in ((start, "start"), (end, "end")):
        told = time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
        parts.append(f'<text x="{x(moment):.1f}" y="{HEIGHT - 12}" text-anchor="{anchor}">{told}</text>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{spell_seconds(span)}</text>')
    for name, moments in (("begun", begun), ("finished", done)):
        line = " ".join(f"{x(moment):.1f},{y(count):.1f}" for moment, count in _steps(moments, start, end))
        parts.append(f'<polyline class="{name}" points="{line}"/>')
    return "\n".join([*parts, "</svg>"])


def _steps(moments: Sequence[float], start: float, end: float) -> list[Step]:
    """How many of the sorted moments have passed, at so many points of time that a line can be drawn through them."""
    points: list[Step] = []
    passed = 0
    for number in range(_POINTS + 1):
        now = start + (end - start) * number / _POINTS
        while passed < len(moments) and moments[passed] <= now:
            passed += 1
        points.append((now, passed))
    return points


def draw_hours(overview: Overview) -> str:
    """GPU-hours spent, and estimated for what is left, a bar for each stage that takes any."""
    stages = [stage for stage in overview.stages if stage.spent_h + stage.left_h > 0]
    if not stages:
        return '<p class="none">No stage takes GPU-hours.</p>'
    most = max(stage.spent_h + stage.left_h for stage in stages)
    room = WIDTH - 100 - 150
    height = len(stages) * (_BAR + 10) + 6
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="GPU-hours by stage">']
    for number, stage in enumerate(stages):
        top = 6 + number * (_BAR + 10)
        spent, left = stage.spent_h / most * room, stage.left_h / most * room
        told = f"{spell_hours(stage.spent_h)} spent, {spell_hours(stage.left_h)} left"
        parts.append(f'<text x="94" y="{top + 15}" text-anchor="end">{escape(stage.stage)}</text>')
        parts.append(f'<rect class="spent" x="100" y="{top}" width="{spent:.1f}" height="{_BAR}"/>')
        parts.append(f'<rect class="left" x="{100 + spent:.1f}" y="{top}" width="{left:.1f}" height="{_BAR}"/>')
        parts.append(f'<text x="{106 + spent + left:.1f}" y="{top + 15}">{told}</text>')
    return "\n".join([*parts, "</svg>"])
