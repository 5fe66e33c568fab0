"""What the printed tables show, before any markup: cell texts, marks, and the notes that explain them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from aggregate.columns import METRIC_TITLES, TARGET_TITLES, headline_metrics, list_columns
from aggregate.main_table import MainTable, TableRow
from stilts.tasks.catalogue import ONE_SET_TARGETS, TARGET_ORDER

MISSING = "--"
PARTIAL, NARROW = "†", "‡"
ELLIPSIS = "..."
RUNS_IN_NOTE = 3


@dataclass(frozen=True)
class ShownCell:
    """`marks` are † (mean over some tasks), ‡ (over some languages) and numbers of notes."""

    text: str
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShownRow:
    """`above` parts it from the row before: a rule below the baseline, a space between kinds of training."""

    name: str
    cells: tuple[ShownCell, ...]
    above: Literal["", "space", "rule"]


@dataclass(frozen=True)
class ShownBlock:
    title: str
    rows: tuple[ShownRow, ...]


@dataclass(frozen=True)
class View:
    """A table ready for markup. `headings` are (task, metric); `notes` are (mark, text)."""

    caption: str
    headings: tuple[tuple[str, str], ...]
    blocks: tuple[ShownBlock, ...]
    notes: tuple[tuple[str, str], ...]


@dataclass
class Numbering:
    """Numbers for reasons, in order of appearance; reasons that are equal but for the runs they name share one."""

    marks: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, set[str]] = field(default_factory=dict)
    runs: dict[str, dict[str, None]] = field(default_factory=dict)

    def mark(self, reason: str, runs: Iterable[str] = ()) -> str:
        kind = reason
        for run in runs:
            kind = re.sub(rf"(?<!\S){re.escape(run)}(?=,? )", ELLIPSIS, kind)
        kind = kind.replace(f"{ELLIPSIS}, ", "")
        self.reasons.setdefault(kind, set()).add(reason)
        self.runs.setdefault(kind, {}).update(dict.fromkeys(runs))
        return self.marks.setdefault(kind, str(len(self.marks) + 1))

    def list_notes(self) -> Iterator[tuple[str, str]]:
        """The reason itself where a number has one, else what its reasons have in common, with some of the runs."""
        for kind, mark in self.marks.items():
            if len(self.reasons[kind]) == 1:
                yield mark, next(iter(self.reasons[kind]))
                continue
            runs = list(self.runs[kind])
            more = f" and {len(runs) - RUNS_IN_NOTE} more (main_detail.csv)" if len(runs) > RUNS_IN_NOTE else ""
            yield mark, f"{kind}; runs: {', '.join(runs[:RUNS_IN_NOTE])}{more}"


def build_view(table: MainTable) -> View:
    """One column per task (F1/EM together), Avg, and Partial where some row lacks a task."""
    with_partial = any(row.average.avg is None for row in table.rows)
    targets = [target for target in TARGET_ORDER if not why_hidden(table, target)]
    numbering = Numbering()
    blocks = []
    for block in table.blocks:
        rows = []
        for row, above in zip(block.rows, (None, *block.rows), strict=False):
            cells = [show_task(table, row, target, numbering) for target in targets]
            cells += show_average(table, row, with_partial, numbering)
            rows.append(ShownRow(row.name, tuple(cells), part(row, above)))
        blocks.append(ShownBlock(block.title, tuple(rows)))
    headings = [(TARGET_TITLES[target], show_metrics(target)) for target in targets]
    headings += [("Avg", ""), ("Partial", "")][: 2 if with_partial else 1]
    notes = (
        *note_narrow(table),
        *note_partial(table),
        *numbering.list_notes(),
        *note_caveats(table),
        *note_settings(table),
        *note_hidden(table),
        *note_left_out(table),
    )
    return View(write_caption(table, targets), tuple(headings), tuple(blocks), notes)


def why_hidden(table: MainTable, target: str) -> str:
    """The reason why the table has no column of a target: no row asks for it or has it; "" for the other targets."""
    cells = [row.cells[column.key] for row in table.rows for column in list_columns(target)]
    return cells[0].reason if all(cell.excluded for cell in cells) else ""


def part(row: TableRow, above: TableRow | None) -> Literal["", "space", "rule"]:
    if above is None or above.key.is_baseline:
        return "rule" if above else ""
    kinds = [(each.key.mode, each.key.mlm, each.key.translated) for each in (row, above)]
    return "space" if kinds[0] != kinds[1] else ""


def show_metrics(target: str) -> str:
    return "/".join(METRIC_TITLES[metric] for metric in headline_metrics(target))


def show_number(value: float | None, signed: bool) -> str:
    """One decimal; a difference carries its sign unless it prints as zero."""
    if value is None:
        return MISSING
    text = f"{value:+.1f}" if signed else f"{value:.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def show_task(table: MainTable, row: TableRow, target: str, numbering: Numbering) -> ShownCell:
    cells = [row.cells[column.key] for column in list_columns(target)]
    texts = [show_number(cell.value, signed=not row.key.is_baseline) for cell in cells]
    text = MISSING if all(cell.value is None for cell in cells) else "/".join(texts)
    marks = [NARROW] if text != MISSING and table.scope.is_narrow(target) else []
    marks += dict.fromkeys(numbering.mark(cell.reason, cell.runs) for cell in cells if cell.reason)
    return ShownCell(text, tuple(marks))


def show_average(table: MainTable, row: TableRow, with_partial: bool, numbering: Numbering) -> list[ShownCell]:
    average = row.average
    narrow = (NARROW,) if averages_narrow(table, row) else ()
    avg = show_number(average.avg, signed=not row.key.is_baseline)
    if not with_partial:
        return [ShownCell(avg, narrow)]
    if average.complete == 0:
        reason = numbering.mark("no complete task")
        return [ShownCell(MISSING, (reason,)), ShownCell(MISSING, (reason,))]
    partial = show_number(average.partial, signed=not row.key.is_baseline)
    if average.avg is None:
        return [ShownCell(MISSING, (PARTIAL,)), ShownCell(partial, (PARTIAL, *narrow))]
    return [ShownCell(avg, narrow), ShownCell(partial, narrow)]


def averages_narrow(table: MainTable, row: TableRow) -> bool:
    """Whether a mean over fewer languages than XTREME's is among the tasks of this row's average."""
    targets = [target for target in table.scope.languages if table.scope.is_narrow(target)]
    return any(all(row.cells[column.key].value is not None for column in list_columns(t)) for t in targets)


def note_narrow(table: MainTable) -> list[tuple[str, str]]:
    """One note per fraction of languages, for the columns that show a number."""
    scope = table.scope
    fractions: dict[tuple[int, int], list[str]] = {}
    for target in scope.languages:
        shown = any(row.cells[column.key].value is not None for row in table.rows for column in list_columns(target))
        if shown and scope.is_narrow(target):
            fraction = (len(scope.languages[target]), len(scope.full(target)))
            fractions.setdefault(fraction, []).append(TARGET_TITLES[target])
    return [
        (NARROW, f"{', '.join(titles)}: over {some} of {every} languages, not comparable with published numbers")
        for (some, every), titles in fractions.items()
    ]


def note_partial(table: MainTable) -> list[tuple[str, str]]:
    counts: dict[int, list[str]] = {}
    for row in table.rows:
        if row.average.avg is None and row.average.complete:
            counts.setdefault(row.average.complete, []).append(row.name)
    every = len(TARGET_ORDER)
    notes = []
    for count, names in sorted(counts.items(), reverse=True):
        whose = f" ({', '.join(dict.fromkeys(names))})" if len(counts) > 1 else ""
        notes.append((PARTIAL, f"mean of {count} of {every} tasks{whose}; Avg needs all {every}"))
    return notes


def note_caveats(table: MainTable) -> list[tuple[str, str]]:
    return [
        ("", f"{TARGET_TITLES[target]} is not comparable with published numbers: {'; '.join(reasons)}")
        for target, reasons in table.caveats.items()
        if target in TARGET_TITLES
    ]


def note_settings(table: MainTable) -> list[tuple[str, str]]:
    """Settings of all rows, then what only some rows have and no name shows."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for row in table.rows:
        if row.unnamed:
            rows.setdefault(row.unnamed, []).append(row.name)
    groups = [("all rows", table.shared)] if table.shared else []
    groups += [(", ".join(dict.fromkeys(names)), settings) for settings, names in rows.items()]
    return [("", f"Settings of {whose}: {'; '.join(settings)}") for whose, settings in groups]


def note_hidden(table: MainTable) -> list[tuple[str, str]]:
    hidden: dict[str, list[str]] = {}
    for target in TARGET_ORDER:
        if why_hidden(table, target):
            hidden.setdefault(why_hidden(table, target), []).append(TARGET_TITLES[target])
    return [("", f"Columns left out ({reason}): {', '.join(titles)}") for reason, titles in hidden.items()]


def note_left_out(table: MainTable) -> list[tuple[str, str]]:
    return [("", f"Left out of this table: {'; '.join(table.left_out)}")] if table.left_out else []


def write_caption(table: MainTable, targets: list[str]) -> str:
    seeds = sorted({cell.seeds for row in table.rows for cell in row.cells.values() if cell.seeds})
    count = "no results" if not seeds else f"n = {seeds[0]}" + (f" to {seeds[-1]}" if len(seeds) > 1 else "")
    suite = "toy languages (made up, not XTREME), " if table.scope.suite == "toy" else "XTREME, "
    return (
        f"Main table: {suite}development scores in percent. The first row of a block is the baseline in absolute "
        f"values, the other rows are differences to it, paired by seed ({count} per cell). A score is the mean over "
        f"the languages of the task{describe_one_set(targets)}. Avg is the mean of the nine tasks, F1 and EM counting "
        "half each."
    )


def describe_one_set(targets: list[str]) -> str:
    *titles, last = [TARGET_TITLES[target] for target in targets if target in ONE_SET_TARGETS] or [""]
    if not last:
        return ""
    return f"; {', '.join(titles)} and {last} have one released set" if titles else f"; {last} has one released set"
