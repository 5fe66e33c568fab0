"""The main table as a sheet: cell texts, marks, and the notes that explain them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from aggregate.evidence.significance import Significance
from aggregate.scores.averages import Cell
from aggregate.scores.columns import AVERAGE, COLUMNS, METRIC_TITLES, TARGET_TITLES, Column, list_columns
from aggregate.scores.main_table import MainTable, TableRow
from aggregate.sheets.sheet import (
    MISSING,
    NARROW,
    PARTIAL,
    Numbering,
    Sheet,
    ShownBlock,
    ShownCell,
    ShownRow,
    as_sentence,
    list_figures,
    show_number,
)
from stilts.tasks.catalogue import ONE_SET_TARGETS, TARGET_ORDER


def build_main_sheet(table: MainTable, significance: Significance) -> Sheet:
    """One column per task, of QA tasks F1 and EM, then Avg, and Partial where some row lacks a task."""
    with_partial = any(row.average.avg is None for row in table.rows)
    targets = [target for target in TARGET_ORDER if not why_hidden(table, target)]
    columns = [column for target in targets for column in list_columns(target)]
    numbering = Numbering()
    blocks = []
    for block in table.blocks:
        rows = []
        for row, above in zip(block.rows, (None, *block.rows), strict=False):
            cells = [show_score(table, row, column, numbering, significance) for column in columns]
            cells += show_average(table, row, with_partial, numbering, significance)
            rows.append(ShownRow(row.name, tuple(cells), part(row, above)))
        blocks.append(ShownBlock(block.title, tuple(rows)))
    headings = list(map(head_column, columns))
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
    caption = f"{write_caption(table, targets)} {as_sentence(significance.describe())}"
    return Sheet(
        "main", "Main table", caption, tuple(headings), tuple(blocks), notes, tuple(map(list_values, table.rows))
    )


def list_values(row: TableRow) -> dict[str, object]:
    """One line of main.csv."""
    average = row.average
    cells: dict[str, object] = {column.key: row.cells[column.key].value for column in COLUMNS}
    averages = {"avg": average.avg, "avg_partial": average.partial, "targets_complete": average.complete}
    return {"row": row.name, **cells, **averages}


def list_details(table: MainTable, significance: Significance) -> Iterator[dict[str, object]]:
    """One line of main_detail.csv per cell: the difference and both its sides, what its seeds say, languages, and the
    reason of a gap."""
    for row in table.rows:
        place = {"model": row.key.model, "variant": row.key.variant, "row": row.name}
        for column in COLUMNS:
            cell, expected = row.cells[column.key], table.scope.languages.get(column.target, ())
            numbers = {"value": cell.value, "absolute": cell.absolute, "baseline": cell.baseline, "seeds": cell.seeds}
            statistics = _list_statistics(significance, row, column.key)
            yield {**place, "column": column.key, **numbers, **statistics, **_list_languages(cell, expected)}
        gap = f"mean of {row.average.complete} of {len(TARGET_ORDER)} tasks" if row.average.avg is None else ""
        statistics = _list_statistics(significance, row, AVERAGE)
        whole, partial = ("avg", row.average.avg), ("avg_partial", row.average.partial)
        for name, value in (whole, partial):
            shown = statistics if value is not None else dict.fromkeys(statistics)
            numbers = {"value": value, "absolute": None, "baseline": None, "seeds": None}
            languages = {"expected_languages": "", "present_languages": "", "reason": gap}
            yield {**place, "column": name, **numbers, **shown, **languages}


def _list_statistics(significance: Significance, row: TableRow, column: str) -> dict[str, object]:
    found = significance.estimates.get((row.key, column))
    adjusted = significance.family.adjusted.get((row.key, column))
    return list_figures(found, "sd", "low", "high", "p") | {"p_holm": adjusted}


def _list_languages(cell: Cell, expected: Sequence[str]) -> dict[str, object]:
    present = " ".join(cell.present)
    return {"expected_languages": " ".join(expected), "present_languages": present, "reason": cell.reason}


def why_hidden(table: MainTable, target: str) -> str:
    """The reason why the table has no column of a target: no row asks for it or has it; "" for the other targets."""
    cells = [row.cells[column.key] for row in table.rows for column in list_columns(target)]
    return cells[0].reason if all(cell.excluded for cell in cells) else ""


def part(row: TableRow, above: TableRow | None) -> Literal["", "space", "rule"]:
    if above is None or above.key.is_baseline:
        return "rule" if above else ""
    kinds = [(each.key.mode, each.key.mlm, each.key.translated) for each in (row, above)]
    return "space" if kinds[0] != kinds[1] else ""


def head_column(column: Column) -> tuple[str, str]:
    return TARGET_TITLES[column.target], METRIC_TITLES[column.metric]


def show_score(
    table: MainTable, row: TableRow, column: Column, numbering: Numbering, significance: Significance
) -> ShownCell:
    cell, signed = row.cells[column.key], not row.key.is_baseline
    marks: tuple[str, ...] = (NARROW,) if cell.value is not None and table.scope.is_narrow(column.target) else ()
    marks += (numbering.mark(cell.reason, cell.runs),) if cell.reason else ()
    text = show_number(cell.value, signed) + (significance.star(row.key, column.key) if cell.value is not None else "")
    return ShownCell(text, marks, cell.value if signed else None)


def show_average(
    table: MainTable, row: TableRow, with_partial: bool, numbering: Numbering, significance: Significance
) -> list[ShownCell]:
    average = row.average
    narrow = (NARROW,) if averages_narrow(table, row) else ()
    star, shade = significance.star(row.key, AVERAGE), None if row.key.is_baseline else average.partial
    avg = show_number(average.avg, signed=not row.key.is_baseline) + (star if average.avg is not None else "")
    if not with_partial:
        return [ShownCell(avg, narrow, shade)]
    if average.complete == 0:
        reason = numbering.mark("no complete task")
        return [ShownCell(MISSING, (reason,)), ShownCell(MISSING, (reason,))]
    partial = show_number(average.partial, signed=not row.key.is_baseline) + star
    if average.avg is None:
        return [ShownCell(MISSING, (PARTIAL,)), ShownCell(partial, (PARTIAL, *narrow), shade)]
    return [ShownCell(avg, narrow, shade), ShownCell(partial, narrow, shade)]


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
    return (
        f"Main table: {describe_suite(table)}development scores in percent. The first row of a block is the baseline "
        f"in absolute values, the other rows are differences to it, paired by seed ({count} per cell). A score is the "
        f"mean over the languages of the task, which are fixed{describe_one_set(targets)}. Avg is the mean of the nine "
        "tasks, F1 and EM counting half each."
    )


def describe_suite(table: MainTable) -> str:
    return "toy languages (made up, not XTREME), " if table.scope.suite == "toy" else "XTREME, "


def describe_one_set(targets: list[str]) -> str:
    *titles, last = [TARGET_TITLES[target] for target in targets if target in ONE_SET_TARGETS] or [""]
    if not last:
        return ""
    return f"; {', '.join(titles)} and {last} have one released set" if titles else f"; {last} has one released set"
