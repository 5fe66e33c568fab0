"""The overview in a terminal or a log file: bars by stage, where the time goes, failures, what waits."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from launch.show import STYLES
from launch.view.overview import Overview, StageView, spell_seconds
from stilts.failures import KINDS

BAR_WIDTH = 30
_NARROW = 100  # columns below which bars are short
# Shapes tell the states apart without colours; the second is for terminals that know ASCII alone.
_MARKS = {
    "done": "█#",
    "running": "▓>",
    "pending": "▒=",
    "failed": "xx",
    "blocked": "!!",
    "cancelled": "--",
    "stale": "~~",
    "planned": "·.",
}


def render(name: str, overview: Overview, notes: Iterable[str], console: Console) -> RenderableType:
    """Everything that a status shows, as wide as the console."""
    width = BAR_WIDTH if console.width >= _NARROW else BAR_WIDTH // 3
    bars = stage_bars(name, overview, console.encoding, width)
    parts: list[RenderableType] = [bars, Text(summary_line(overview))]
    parts += [table for table in (kinds_table(overview), axes_table(overview), waiting_table(overview)) if table]
    parts += [Text(f"note: {note}", overflow="fold") for note in notes]
    return Group(*parts)


def stage_bars(name: str, overview: Overview, encoding: str = "utf-8", width: int = BAR_WIDTH) -> Table:
    """A line for each stage: bar, counts by state, GPU-hours."""
    ascii_only = not encoding.lower().startswith("utf")
    table = Table(title=f"{name}: {overview.total:,} runs", title_justify="left", box=None, padding=(0, 1))
    present = [state for state in _MARKS if overview.counts.get(state)]
    table.add_column("stage", no_wrap=True)
    table.add_column("", min_width=width, no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    for state in present:
        table.add_column(state, justify="right", style=STYLES[state], no_wrap=True)
    table.add_column("GPU-h", justify="right", no_wrap=True)
    table.add_column("left", justify="right", no_wrap=True)
    for stage in overview.stages:
        counts = [f"{stage.counts[state]:,}" if stage.counts.get(state) else "" for state in present]
        share = f"{100 * stage.counts.get('done', 0) // max(1, stage.total)}%"
        hours = (spell_hours(stage.spent_h), spell_hours(stage.left_h))
        table.add_row(stage.stage, stage_bar(stage, ascii_only, width), share, *counts, *hours)
    return table


def stage_bar(stage: StageView, ascii_only: bool = False, width: int = BAR_WIDTH) -> Text:
    """The states of a stage as one bar; a state that is there has a mark at least."""
    widths = share_out({state: stage.counts.get(state, 0) for state in _MARKS}, width)
    parts = ((_MARKS[state][ascii_only] * length, STYLES[state]) for state, length in widths.items() if length)
    return Text.assemble(*parts)


def share_out(counts: Mapping[str, int], width: int) -> dict[str, int]:
    """Characters for each count, in proportion, `width` in all, and one at least for what is not 0."""
    total = sum(counts.values())
    if not total:
        return dict.fromkeys(counts, 0)
    widths = {name: max(1, count * width // total) if count else 0 for name, count in counts.items()}
    while sum(widths.values()) != width:
        surplus = sum(widths.values()) - width
        largest = max(widths, key=lambda name: (counts[name], name))
        if surplus > 0:
            largest = max(widths, key=lambda name: (widths[name], counts[name], name))
        widths[largest] -= 1 if surplus > 0 else surplus
    return widths


def summary_line(overview: Overview) -> str:
    """The campaign in one line: what is done, what it has cost, when it may end."""
    counts = overview.counts
    told = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    spent, left = sum(stage.spent_h for stage in overview.stages), sum(stage.left_h for stage in overview.stages)
    end = f"ETA {spell_seconds(overview.eta_s)} {overview.pace}" if overview.eta_s else f"ETA unknown: {overview.pace}"
    if counts["done"] == overview.total:
        end = overview.pace
    return f"{told}; {spent:,.1f} GPU-hours spent, about {left:,.1f} left; {end}"


def spell_hours(hours: float) -> str:
    """Hours, with a digit behind the point while they are few."""
    return f"{hours:,.1f}" if hours < 100 else f"{hours:,.0f}"


def kinds_table(overview: Overview) -> Table | None:
    """Failed runs by kind, with what most of them said."""
    if not overview.kinds:
        return None
    table = Table("failures", "runs", "what it is", "most of them said", box=None, padding=(0, 1))
    table.columns[1].justify = "right"
    for kind, count, signature in overview.kinds:
        table.add_row(Text(kind, style=STYLES["failed"]), f"{count:,}", KINDS[kind], Text(signature[:100]))
    return table


def axes_table(overview: Overview) -> Table | None:
    """Where the failures are: axis values by the share of their runs that failed."""
    if not overview.axes:
        return None
    table = Table("failed where", "runs", "of", "", box=None, padding=(0, 1))
    for entry in overview.axes:
        share = f"{100 * entry.failed / entry.total:.0f} %"
        table.add_row(Text(f"{entry.axis}={entry.value}"), f"{entry.failed:,}", f"{entry.total:,}", share)
    return table


def waiting_table(overview: Overview) -> Table | None:
    """The oldest pending runs with Slurm's reason, those that somebody must help first."""
    if not overview.waiting:
        return None
    table = Table("oldest pending", "since", "Slurm says", "that is", box=None, padding=(0, 1))
    for entry in overview.waiting:
        style = STYLES["failed"] if entry.stuck else ""
        since = spell_seconds(overview.now - entry.since)
        meaning = entry.meaning if entry.meaning != entry.reason else ""
        table.add_row(Text(entry.run_id), since, Text(entry.reason or "nothing", style=style), Text(meaning))
    return table


def plain_lines(overview: Overview, before: Overview | None) -> Iterator[str]:
    """What a log file gets each time: the summary where anything has changed, and new failures by kind."""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(overview.now))
    if before is None or before.counts != overview.counts:
        yield f"{clock} {summary_line(overview)}"
    known = {kind: count for kind, count, _ in before.kinds} if before else {}
    for kind, count, signature in overview.kinds:
        if count > known.get(kind, 0):
            yield f"{clock} failed: {count} {kind} ({signature[:100]})"
