"""The table `layers`: retrieval with the hidden states of every layer, where a sweep has scored them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aggregate.scores.averages import Cell, Score, show_absolute, subtract_baseline
from aggregate.scores.columns import METRIC_TITLES, TARGET_TITLES, list_columns
from aggregate.scores.main_table import TableRow, score_cell
from aggregate.scores.selection import Selection, select_layers
from aggregate.sheets.main_sheet import describe_suite, part
from aggregate.sheets.sheet import NARROW, Numbering, Sheet, ShownBlock, ShownCell, ShownRow, show_number
from aggregate.study import Study
from stilts.results import RowKey
from stilts.tasks.catalogue import TARGET_ORDER

NOT_SWEPT = "no sweep over layers"

Place = tuple[str, int | None]  # target and layer; None: the one that counts in the main table
Layers = Mapping[Place, Selection]


@dataclass(frozen=True)
class LayerCell:
    """A row's score with one layer, and its difference to the baseline's with the same layer (none in a baseline)."""

    absolute: Cell
    difference: Cell | None


def build_layer_sheet(study: Study) -> Sheet | None:
    """Rows with a sweep by layer of each retrieval target; None where there is no sweep."""
    cells, places = read_layers(study)
    return write_sheet(study, cells, places) if places else None


def read_layers(study: Study) -> tuple[dict[RowKey, dict[Place, LayerCell]], list[Place]]:
    """The scores of rows with a sweep, and the targets and layers that there are; nothing where there is no sweep."""
    layers = select_layers(study.collection, study.scope)
    layers |= {(target, None): study.selection for target, _ in tuple(layers)}
    places = sorted(layers, key=lambda place: (TARGET_ORDER.index(place[0]), -1 if place[1] is None else place[1]))
    cells: dict[RowKey, dict[Place, LayerCell]] = {}
    for block in study.table.blocks:
        for row in block.rows:
            if any(list_swept(layers, row.key, target) for target, _ in places):
                cells[row.key] = {place: make_cell(study, layers, row, block.rows[0], place) for place in places}
    swept = {target for target, _ in places if any(list_swept(layers, row, target) for row in cells)}
    return cells, [place for place in places if place[0] in swept]


def list_swept(layers: Layers, row: RowKey, target: str) -> list[int]:
    """The layers of a row that files name; one alone is that of the row's settings and no sweep."""
    named = [
        layer
        for (other, layer), one in layers.items()
        if layer is not None and other == target and (row, target) in one.found
    ]
    return named if len(named) > 1 else []


def make_cell(study: Study, layers: Layers, row: TableRow, baseline: TableRow, place: Place) -> LayerCell:
    own = score_layer(study, layers, row.key, place)
    if row is baseline:
        return LayerCell(show_absolute(own), None)
    return LayerCell(show_absolute(own), subtract_baseline(own, score_layer(study, layers, baseline.key, place)))


def score_layer(study: Study, layers: Layers, row: RowKey, place: Place) -> Score:
    """The mean over the target's languages, with the main table's rules."""
    target, layer = place
    (column,) = list_columns(target)
    score = score_cell(row, column, layers[place], study.collection.outcomes, study.scope)
    swept = layer is None or score.excluded or list_swept(layers, row, target)
    return score if swept else Score({}, (), NOT_SWEPT)


def write_sheet(study: Study, cells: Mapping[RowKey, Mapping[Place, LayerCell]], places: list[Place]) -> Sheet:
    """Of each target first the score that stands in the main table, then every layer."""
    headings = [(TARGET_TITLES[target], "main" if layer is None else str(layer)) for target, layer in places]
    numbering = Numbering()
    blocks = []
    for block in study.table.blocks:
        rows = [row for row in block.rows if row.key in cells]
        shown = []
        for row, above in zip(rows, (None, *rows), strict=False):
            texts = [show_cell(study, place, cells[row.key], numbering) for place in places]
            shown.append(ShownRow(row.name, tuple(texts), part(row, above) if above else ""))
        if shown:
            blocks.append(ShownBlock(block.title, tuple(shown)))
    notes = (*note_narrow(study, list(dict.fromkeys(target for target, _ in places))), *numbering.list_notes())
    records = tuple(list_records(study, cells, places))
    caption = write_caption(study, cells, places)
    return Sheet("layers", "Retrieval by layer", caption, tuple(headings), tuple(blocks), notes, records)


def show_cell(study: Study, place: Place, row: Mapping[Place, LayerCell], numbering: Numbering) -> ShownCell:
    """An absolute value, shaded by its difference to the score of the layer that counts."""
    target, layer = place
    cell, main = row[place].absolute, row[target, None].absolute
    marks: tuple[str, ...] = (NARROW,) if cell.value is not None and study.scope.is_narrow(target) else ()
    marks += (numbering.mark(cell.reason, cell.runs),) if cell.reason else ()
    shade = None if cell.value is None or main.value is None or layer is None else cell.value - main.value
    return ShownCell(show_number(cell.value, signed=False), marks, shade)


def note_narrow(study: Study, targets: list[str]) -> Iterator[tuple[str, str]]:
    for target in targets:
        if study.scope.is_narrow(target):
            some, every = len(study.scope.languages[target]), len(study.scope.full(target))
            title = TARGET_TITLES[target]
            yield NARROW, f"{title}: over {some} of {every} languages, not comparable with published numbers"


def list_records(
    study: Study, cells: Mapping[RowKey, Mapping[Place, LayerCell]], places: list[Place]
) -> Iterator[dict[str, object]]:
    """One line per row, target and layer."""
    for row in study.table.rows:
        for place in places if row.key in cells else ():
            cell = cells[row.key][place]
            yield {
                "model": row.key.model,
                "variant": row.key.variant,
                "row": row.name,
                "target": place[0],
                "layer": "main" if place[1] is None else place[1],
                "value": cell.absolute.value,
                "difference": cell.difference.value if cell.difference else None,
                "seeds": cell.absolute.seeds,
                "reason": cell.absolute.reason,
            }


def write_caption(study: Study, cells: Mapping[RowKey, Mapping[Place, LayerCell]], places: list[Place]) -> str:
    counts = sorted({row[place].absolute.seeds for row in cells.values() for place in places} - {0})
    seeds = f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "") if counts else "no seed"
    targets = [
        f"{TARGET_TITLES[target]} {METRIC_TITLES[list_columns(target)[0].metric]}"
        for target in dict.fromkeys(target for target, _ in places)
    ]
    return (
        f"Retrieval by layer: {describe_suite(study.table)}{' and '.join(targets)} in percent, all in absolute values, "
        "means over the languages and over seeds "
        f"({seeds} per cell; one run of an encoder without our training). Layer 0 is the embeddings; main is the "
        "score that stands in the main table, and a layer is shaded by its difference to it. Rows without a sweep are "
        "left out. Dev scores of BUCC; Tatoeba has one released set. No test is made."
    )
