"""The tables `languages/<target>`: every row of the main table by language and by group of languages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aggregate.scores.averages import Cell, show_absolute, subtract_baseline
from aggregate.scores.columns import METRIC_TITLES, TARGET_TITLES, Column, list_columns
from aggregate.scores.main_table import TableRow, find_scores
from aggregate.sheets.languages import Group, list_groups, read_facts
from aggregate.sheets.main_sheet import describe_suite, part
from aggregate.sheets.sheet import NARROW, Numbering, Sheet, ShownBlock, ShownCell, ShownRow, show_number
from aggregate.study import Study
from stilts.results import RowKey
from stilts.tasks.catalogue import ONE_SET_TARGETS, TARGET_ORDER

_KINDS = {
    "script": "Scripts",
    "family": "Language families (of Indo-European its branches)",
    "size": "Pre-training text of XLM-R (CC-100: arXiv 1911.02116, table 6)",
}


@dataclass(frozen=True)
class LanguageTable:
    """One target by language: `cells` of every row, by column key and group. `groups` are the same for each column."""

    target: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    cells: dict[RowKey, dict[tuple[str, Group], Cell]]

    @property
    def empty(self) -> bool:
        """Whether no row has a score in any language."""
        return all(cell.absolute is None for cells in self.cells.values() for cell in cells.values())


def build_language_sheets(study: Study) -> list[Sheet]:
    """A sheet for each target that has a score of any row in any language."""
    targets = [target for target in TARGET_ORDER if target in study.scope.languages]
    tables = [build_language_table(study, target) for target in targets]
    return [write_sheet(study, table) for table in tables if not table.empty]


def build_language_table(study: Study, target: str) -> LanguageTable:
    """Means over every group of the target's expected languages, with the main table's rules: a seed that lacks one
    of them has none, and a difference is paired by seed with the block's baseline."""
    groups, columns = list_groups(study.scope.languages[target], study.scope.suite), list_columns(target)
    places = [(column, group) for column in columns for group in groups]
    cells: dict[RowKey, dict[tuple[str, Group], Cell]] = {}
    for block in study.table.blocks:
        baseline = {}
        for row in block.rows:
            found = {
                column: find_scores(row.key, column, study.selection, study.collection.outcomes, study.scope)
                for column in columns
            }
            scores = {(column.key, group): found[column].average(group.languages) for column, group in places}
            if row is block.rows[0]:
                baseline = scores
                cells[row.key] = {place: show_absolute(score) for place, score in scores.items()}
            else:
                cells[row.key] = {place: subtract_baseline(score, baseline[place]) for place, score in scores.items()}
    return LanguageTable(target, columns, tuple(groups), cells)


def write_sheet(study: Study, table: LanguageTable) -> Sheet:
    """Columns: the mean, the languages and the groups; of a QA task first those of F1, then those of EM."""
    title = f"{TARGET_TITLES[table.target]} by language"
    narrow = study.scope.is_narrow(table.target)
    places = [(column, group) for column in table.columns for group in table.groups]
    headings = [(group.name, head_column(table, column, group)) for column, group in places]
    numbering = Numbering()
    blocks = []
    for block in study.table.blocks:
        rows = []
        for row, above in zip(block.rows, (None, *block.rows), strict=False):
            cells = [
                show_cell(row, table.cells[row.key][column.key, group], narrow and group.kind == "all", numbering)
                for column, group in places
            ]
            rows.append(ShownRow(row.name, tuple(cells), part(row, above)))
        blocks.append(ShownBlock(block.title, tuple(rows)))
    notes = (*note_narrow(study, table.target), *numbering.list_notes(), *note_groups(table.groups))
    caption = write_caption(study, table)
    records = tuple(list_records(study, table))
    return Sheet(f"languages/{table.target}", title, caption, tuple(headings), tuple(blocks), notes, records)


def head_column(table: LanguageTable, column: Column, group: Group) -> str:
    """The second line of a heading: the metric where there are two, else what a group has in common."""
    if len(table.columns) > 1:
        return METRIC_TITLES[column.metric]
    return group.kind if group.kind in _KINDS else ""


def show_cell(row: TableRow, cell: Cell, narrow: bool, numbering: Numbering) -> ShownCell:
    marks: tuple[str, ...] = (NARROW,) if narrow and cell.value is not None else ()
    marks += (numbering.mark(cell.reason, cell.runs),) if cell.reason else ()
    shade = None if row.key.is_baseline else cell.value
    return ShownCell(show_number(cell.value, signed=not row.key.is_baseline), marks, shade)


def list_records(study: Study, table: LanguageTable) -> Iterator[dict[str, object]]:
    """One line per row, metric and group."""
    facts = {} if study.scope.suite == "toy" else read_facts()
    for row in study.table.rows:
        for column in table.columns:
            for group in table.groups:
                cell = table.cells[row.key][column.key, group]
                known = facts.get(group.name) if group.kind == "language" else None
                yield {
                    "model": row.key.model,
                    "variant": row.key.variant,
                    "row": row.name,
                    "metric": column.metric,
                    "kind": group.kind,
                    "group": group.name,
                    "language_name": known.name if known else None,
                    "languages": " ".join(group.languages),
                    "value": cell.value,
                    "absolute": cell.absolute,
                    "baseline": cell.baseline,
                    "seeds": cell.seeds,
                    "reason": cell.reason,
                }


def note_narrow(study: Study, target: str) -> list[tuple[str, str]]:
    if not study.scope.is_narrow(target):
        return []
    some, every = len(study.scope.languages[target]), len(study.scope.full(target))
    return [(NARROW, f"over {some} of {every} languages, not comparable with published numbers")]


def note_groups(groups: tuple[Group, ...]) -> Iterator[tuple[str, str]]:
    for kind, title in _KINDS.items():
        members = [f"{group.name} ({' '.join(group.languages)})" for group in groups if group.kind == kind]
        if members:
            yield "", f"{title}: {', '.join(members)}"


def write_caption(study: Study, table: LanguageTable) -> str:
    target = table.target
    counts = sorted({cell.seeds for cells in table.cells.values() for cell in cells.values() if cell.seeds})
    seeds = f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "") if counts else "no pair"
    metrics = " and ".join(METRIC_TITLES[column.metric] for column in table.columns)
    split = "scores on the one released set" if target in ONE_SET_TARGETS else "development scores"
    grouped = any(group.kind in _KINDS for group in table.groups)
    means = (
        " Groups are means over those of these languages that share a script, a language family or a size of "
        "pre-training text, English included; a group of one language is left out, and one that lacks a language has "
        "no mean."
        if grouped
        else ""
    )
    return (
        f"{TARGET_TITLES[target]} by language: {describe_suite(study.table)}{split} in percent ({metrics}). The first "
        "row of a block is the baseline in absolute values, the other rows are differences to it, paired by seed "
        f"({seeds} per cell). Mean is over all {len(table.groups[0].languages)} languages, as in the main table."
        f"{means} Differences in one language or group are not tested."
    )
