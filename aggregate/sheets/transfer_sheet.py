"""Transfer: what each single intermediate task does for each target."""

from __future__ import annotations

from collections.abc import Mapping

from aggregate.evidence.significance import Place
from aggregate.evidence.statistics import Estimate, Holm, describe_family, holm
from aggregate.scores.columns import AVERAGE, COLUMNS, METRIC_TITLES, TARGET_TITLES
from aggregate.scores.main_table import Block, TableRow
from aggregate.sheets.sheet import (
    Numbering,
    Sheet,
    ShownBlock,
    ShownCell,
    ShownRow,
    as_sentence,
    list_figures,
    show_number,
)
from aggregate.study import Study


def build_transfer_sheet(study: Study) -> Sheet | None:
    """Tasks by targets, each baseline a block: differences, tested as a family of their own."""
    blocks = [(block, rows) for block in study.table.blocks if (rows := _list_singles(block))]
    if not blocks:
        return None
    singles = {row.key for _, rows in blocks for row in rows}
    estimates = {place: one for place, one in study.significance.estimates.items() if place[0] in singles}
    family = holm({place: one.p for place, one in estimates.items()})
    shown = [c for c in COLUMNS if any(row.cells[c.key].value is not None for _, rows in blocks for row in rows)]
    numbering = Numbering()
    filled = tuple(
        ShownBlock(
            block.title,
            tuple(
                ShownRow(row.name, (*(_show(row, c.key, family, numbering) for c in shown), _show_mean(row, family)))
                for row in rows
            ),
        )
        for block, rows in blocks
    )
    headings = (*((TARGET_TITLES[c.target], METRIC_TITLES[c.metric]) for c in shown), ("Avg", ""))
    partial = any(row.average.avg is None for _, rows in blocks for row in rows)
    average = "the tasks that are complete in its row, not of all nine" if partial else "the nine tasks"
    caption = (
        "Transfer from single intermediate tasks: differences to the baseline in points of development scores, paired "
        f"by seed. Avg is the mean of {average}. {as_sentence(describe_family(family, estimates))}"
    )
    notes = tuple(numbering.list_notes())
    keys = (*(column.key for column in shown), AVERAGE)
    records = tuple(
        _record(block, row, key, family, estimates) for block, rows in blocks for row in rows for key in keys
    )
    return Sheet("transfer", "Transfer", caption, headings, filled, notes, records)


def _list_singles(block: Block) -> list[TableRow]:
    return [row for row in block.rows if row.key.mode == "single" and not row.key.mlm and not row.key.translated]


def _show(row: TableRow, column: str, family: Holm[Place], numbering: Numbering) -> ShownCell:
    cell = row.cells[column]
    marks = (numbering.mark(cell.reason, cell.runs),) if cell.reason else ()
    star = family.star((row.key, column)) if cell.value is not None else ""
    return ShownCell(show_number(cell.value, signed=True) + star, marks, cell.value)


def _show_mean(row: TableRow, family: Holm[Place]) -> ShownCell:
    star = family.star((row.key, AVERAGE)) if row.average.partial is not None else ""
    return ShownCell(show_number(row.average.partial, signed=True) + star, (), row.average.partial)


def _record(
    block: Block, row: TableRow, column: str, family: Holm[Place], estimates: Mapping[Place, Estimate]
) -> dict[str, object]:
    found = estimates.get((row.key, column))
    head = {"baseline": block.title, "task": row.name, "column": column}
    figures = list_figures(found, "mean", "sd", "n", "low", "high", "p")
    return {**head, **figures, "p_holm": family.adjusted.get((row.key, column))}
