"""The table `cost`: what the runs behind each row have taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aggregate.sheets.main_sheet import part
from aggregate.sheets.run_costs import (
    ENCODER_STAGES,
    SCORED_STAGES,
    Figure,
    RunCost,
    RunCosts,
    divide,
    sum_energy,
    sum_facts,
    sum_hours,
)
from aggregate.sheets.sheet import MISSING, PARTIAL, Numbering, Sheet, ShownBlock, ShownCell, ShownRow
from aggregate.study import Study
from stilts.results import RowKey

TOTAL = "All rows, each run once"
MILLION = 1e6
# Name in the CSV, heading, and what a shown figure is divided by.
COLUMNS = (
    ("encoder_hours", ("encoder", ""), 1.0),
    ("target_hours", ("targets", ""), 1.0),
    ("hours", ("together", ""), 1.0),
    ("energy_kwh", ("energy", "kWh"), 1.0),
    ("tokens", ("tokens", "millions"), MILLION),
    ("seconds", ("training", "s"), 1.0),
    ("tokens_per_s", ("tokens", "a second"), 1.0),
    ("peak_memory_gb", ("memory", "GB"), 1.0),
    ("attempts", ("attempts", ""), 1.0),
    ("restarts", ("restarts", ""), 1.0),
    ("resumes", ("resumes", ""), 1.0),
)
Heading = tuple[str, tuple[str, str], float]
_COUNTS = ("attempts", "restarts", "resumes")


@dataclass(frozen=True)
class Cost:
    """The cost of a set of runs, of which `done` have finished."""

    runs: int
    done: int
    figures: Mapping[str, Figure]


def build_cost_sheet(study: Study) -> Sheet | None:
    """Rows of the plan by what their runs have taken; None without a plan or without any run's folder."""
    reader = RunCosts(study.run_records)
    runs = {row: reader.collect(name_runs(study, row)) for row in study.scope.runs}
    every = set().union(*runs.values())
    if not any(reader.cost(run).attempts for run in every):
        return None
    on_gpus = any(reader.cost(run).gpu_hours for run in every)
    costs = {row: sum_costs([reader.cost(run) for run in sorted(names)], on_gpus) for row, names in runs.items()}
    total = sum_costs([reader.cost(run) for run in sorted(every)], on_gpus)
    columns = [column for column in COLUMNS if column[0] != "energy_kwh" or any(reader.cost(r).energies for r in every)]
    numbering = Numbering()
    blocks = []
    for block in study.table.blocks:
        rows = [row for row in block.rows if row.key in costs]
        shown = [
            ShownRow(row.name, show_cost(costs[row.key], columns, numbering), part(row, above) if above else "")
            for row, above in zip(rows, (None, *rows), strict=False)
        ]
        blocks += [ShownBlock(block.title, tuple(shown))] if shown else []
    blocks.append(ShownBlock("Total", (ShownRow(TOTAL, show_cost(total, columns, numbering)),)))
    unit = "GPU-hours" if on_gpus else "CPU-hours"
    headings = (
        ("runs", "done"),
        *((top, low or unit if name.endswith("hours") else low) for name, (top, low), _ in columns),
    )
    partial = any(figure.partial for cost in (*costs.values(), total) for figure in cost.figures.values())
    notes = (*note_partial(partial), *numbering.list_notes())
    records = tuple(list_records(study, costs, total, columns, unit))
    caption = write_caption(on_gpus, with_energy=len(columns) == len(COLUMNS))
    inputs = reader.describe(every)
    return Sheet("cost", "Cost", caption, headings, tuple(blocks), notes, records, inputs=inputs)


def name_runs(study: Study, row: RowKey) -> set[str]:
    """The runs that the plan names for a row."""
    return {run for by_seed in study.scope.runs[row].values() for run in by_seed.values()}


def sum_costs(costs: Sequence[RunCost], on_gpus: bool) -> Cost:
    tokens, seconds = sum_facts(costs, "tokens"), sum_facts(costs, "seconds")
    figures = {
        "encoder_hours": sum_hours(costs, ENCODER_STAGES, on_gpus),
        "target_hours": sum_hours(costs, SCORED_STAGES, on_gpus),
        "hours": sum_hours(costs, (*ENCODER_STAGES, *SCORED_STAGES), on_gpus),
        "energy_kwh": sum_energy(costs),
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_s": divide(tokens, seconds),
        "peak_memory_gb": sum_facts(costs, "peak_memory_gb", max),
        "attempts": Figure(sum(cost.attempts for cost in costs)),
        "restarts": Figure(sum(cost.restarts for cost in costs)),
        "resumes": sum_facts(costs, "resumed"),
    }
    return Cost(len(costs), sum(cost.facts is not None for cost in costs), figures)


def show_cost(cost: Cost, columns: Sequence[Heading], numbering: Numbering) -> tuple[ShownCell, ...]:
    cells = [ShownCell(f"{cost.done}/{cost.runs}")]
    for name, _, unit in columns:
        figure = cost.figures[name]
        marks: tuple[str, ...] = (PARTIAL,) if figure.partial and figure.value is not None else ()
        marks += (numbering.mark(figure.reason),) if figure.reason else ()
        cells.append(ShownCell(show_amount(figure.value, name, unit), marks))
    return tuple(cells)


def show_amount(value: float | None, name: str, unit: float) -> str:
    """Three digits or more: small studies take thousandths of an hour, large ones thousands."""
    if value is None:
        return MISSING
    if name in _COUNTS:
        return str(int(value))
    amount = value / unit
    digits = sum(abs(amount) < limit for limit in (100, 10, 1))
    return f"{amount:.{digits}f}"


def note_partial(partial: bool) -> Iterator[tuple[str, str]]:
    if partial:
        yield PARTIAL, "so far: some runs are not done, or an attempt was killed and has left no end to count to"


def list_records(
    study: Study, costs: Mapping[RowKey, Cost], total: Cost, columns: Sequence[Heading], unit: str
) -> Iterator[dict[str, object]]:
    """One line per row, and one for all rows together."""
    rows: list[tuple[dict[str, object], Cost]] = [
        ({"model": row.key.model, "variant": row.key.variant, "row": row.name}, costs[row.key])
        for row in study.table.rows
        if row.key in costs
    ]
    rows.append(({"model": None, "variant": None, "row": TOTAL}, total))
    for place, cost in rows:
        figures = {name: cost.figures[name].value for name, *_ in columns}
        shown = [cost.figures[name] for name, *_ in columns]
        reasons = {figure.reason: None for figure in shown if figure.reason}
        partial = any(figure.partial for figure in shown)
        yield {
            **place,
            "unit": unit,
            "runs": cost.runs,
            "runs_done": cost.done,
            **figures,
            "partial": partial,
            "reason": "; ".join(reasons),
        }


def write_caption(on_gpus: bool, with_energy: bool) -> str:
    hours = (
        "GPU-hours are the time of all attempts, failed ones included, from start to end, times their GPUs; what "
        "runs without a GPU counts nothing."
        if on_gpus
        else "No GPU was used: CPU-hours are the time of all attempts, failed ones included, from start to end, times "
        "the cores that they asked for."
    )
    energy = " Energy is what all attempts' outcomes record." if with_energy else ""
    return (
        "Cost of the runs behind each row, over all its seeds and targets. Encoder: pre-training, translation and "
        "intermediate training; targets: target training and scoring; fetching and tokenising are left out. A run that "
        "several rows share counts in each of them, and once in the last line, which can so be less than their sum. "
        f"{hours}{energy} Tokens (without padding), seconds and tokens a second are those of the trainings whose work "
        "was kept; memory is the largest peak of a rank. Restarts: with another seed after a collapse; resumes: from a "
        "checkpoint."
    )
