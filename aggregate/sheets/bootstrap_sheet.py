"""The table `bootstrap`: the main table's differences with intervals over examples, beside those over seeds."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.progress import Progress

from aggregate.evidence.example_intervals import ExampleInterval, judge_row
from aggregate.evidence.example_samples import PARALLEL, Samples, count_steps, draw_samples
from aggregate.scores.columns import AVERAGE, COLUMNS, METRIC_TITLES, TARGET_TITLES
from aggregate.scores.main_table import TableRow
from aggregate.sheets.main_sheet import averages_narrow, note_narrow, note_partial, part, why_hidden
from aggregate.sheets.sheet import (
    MISSING,
    NARROW,
    PARTIAL,
    Numbering,
    Sheet,
    ShownBlock,
    ShownCell,
    ShownRow,
    list_figures,
    show_interval,
    show_number,
)
from aggregate.study import Study
from stilts.errors import UserError
from stilts.results import RowKey

FEWEST = 100  # resamples: a bound at 2.5 % is then the third of them
TARGETS_OF = {column.key: column.target for column in COLUMNS}
Intervals = Mapping[RowKey, Mapping[str, ExampleInterval]]


def build_bootstrap_sheet(study: Study, resamples: int) -> Sheet:
    """Rows as in the main table; for each column the difference, and its intervals over examples and over seeds.

    Raises UserError where nothing says which runs are behind the rows, or `resamples` are too few.
    """
    if resamples < FEWEST:
        raise UserError(f"--bootstrap {resamples}: give {FEWEST} resamples or more; 1000 are usual")
    if not study.scope.runs:
        raise UserError(
            "--bootstrap: no plan names the runs whose predictions are behind the rows; give --results the campaign "
            "root, or --grid its resolved grid"
        )
    samples = sample_study(study, resamples)
    intervals = {
        row.key: judge_row(study.scope, row, block.rows[0].key, samples)
        for block in study.table.blocks
        for row in block.rows
    }
    columns = [column for column in COLUMNS if not why_hidden(study.table, column.target)]
    keys = [*(column.key for column in columns), AVERAGE]
    titles = [f"{TARGET_TITLES[column.target]} {METRIC_TITLES[column.metric]}" for column in columns]
    numbering = Numbering()
    blocks = tuple(
        ShownBlock(
            block.title,
            tuple(
                ShownRow(row.name, tuple(show_row(study, row, keys, intervals[row.key], numbering)), part(row, above))
                for row, above in zip(block.rows, (None, *block.rows), strict=False)
            ),
        )
        for block in study.table.blocks
    )
    return Sheet(
        name="bootstrap",
        title="Intervals over examples",
        caption=write_caption(study, resamples),
        headings=tuple((title, name) for title in (*titles, "Avg") for name in ("diff.", "examples", "seeds")),
        blocks=blocks,
        notes=(*note_narrow(study.table), *note_partial(study.table), *numbering.list_notes()),
        records=tuple(list_records(study, keys, intervals, resamples)),
        inputs=hashlib.sha256(f"{resamples} {samples.digest.hexdigest()}".encode()).hexdigest(),
    )


def sample_study(study: Study, resamples: int) -> Samples:
    """With a progress bar where somebody watches."""
    rows = [row.key for row in study.table.rows]
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("bootstrap over examples", total=count_steps(study.scope, rows))
        return draw_samples(study.results, study.scope, rows, resamples, lambda: progress.advance(task))


def show_row(
    study: Study, row: TableRow, keys: list[str], intervals: Mapping[str, ExampleInterval], numbering: Numbering
) -> Iterator[ShownCell]:
    signed = not row.key.is_baseline
    for key in keys:
        found, over_seeds = intervals[key], study.significance.estimates.get((row.key, key))
        narrow = averages_narrow(study.table, row) if key == AVERAGE else study.scope.is_narrow(TARGETS_OF[key])
        caveats = (PARTIAL,) * (key == AVERAGE and row.average.avg is None) + (NARROW,) * narrow
        marks = (numbering.mark(found.reason, found.runs),) if found.reason else ()
        if found.value is None:
            yield from (ShownCell(MISSING, marks), ShownCell(MISSING), ShownCell(MISSING))
            continue
        yield ShownCell(show_number(found.value, signed), caveats, found.value if signed else None)
        yield ShownCell(show_interval(found, signed) or MISSING, marks)
        untold = (numbering.mark(over_seeds.reason),) if over_seeds and over_seeds.reason else ()
        yield ShownCell(show_interval(over_seeds, signed) or MISSING, untold)


def list_records(study: Study, keys: list[str], intervals: Intervals, resamples: int) -> Iterator[dict[str, object]]:
    """One line per row and column: both intervals, and why one is not there."""
    for row in study.table.rows:
        for key in keys:
            found, over_seeds = intervals[row.key][key], study.significance.estimates.get((row.key, key))
            yield {
                "model": row.key.model,
                "variant": row.key.variant,
                "row": row.name,
                "column": key,
                "value": found.value,
                "targets_complete": row.average.complete if key == AVERAGE else None,
                "low_examples": found.low,
                "high_examples": found.high,
                "resamples": resamples if found.low is not None else None,
                "seeds": over_seeds.n if over_seeds else None,
                **{f"{name}_seeds": bound for name, bound in list_figures(over_seeds, "low", "high").items()},
                "reason": found.reason,
            }


def write_caption(study: Study, resamples: int) -> str:
    targets = [target for target in PARALLEL if target in study.scope.languages]
    shown = [target for target in targets if not why_hidden(study.table, target)]
    together = f" ({', '.join(TARGET_TITLES[target] for target in shown)}: with their translations)" if shown else ""
    mined = "bucc2018" in study.scope.languages and not why_hidden(study.table, "bucc2018")
    return (
        f"Intervals over examples: about these trained models only, languages fixed, not about other seeds. The first "
        "row of a block is the baseline in absolute values, the other rows are differences to it, as in the main "
        f"table. Examples: 95% of {resamples:,} resamples, in each of which the examples of every language are drawn "
        f"anew with replacement{together}, the same ones for all models; a score is then the plain mean over the "
        "languages, and over the seeds' models that the difference is of."
        + (" Of BUCC foreign sentences are drawn, the threshold stays." if mined else "")
        + " Seeds: the 95% interval of Student's t over seeds, about other seeds on these examples. They answer two "
        "questions and do not add up to one. Nothing is tested here."
    )
