"""The table `intermediate`: what the intermediate tasks themselves have learnt, on their own dev sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from aggregate.evidence.statistics import Estimate, estimate
from aggregate.scores.averages import name_seeds, seed_order
from aggregate.scores.columns import METRIC_TITLES
from aggregate.scores.main_table import MIXED_RECIPES, TableRow
from aggregate.scores.merging import ScoreSet, Seed
from aggregate.scores.variants import drop_settings
from aggregate.sheets.main_sheet import describe_suite, part
from aggregate.sheets.sheet import MISSING, Numbering, Sheet, ShownBlock, ShownCell, ShownRow, show_number
from aggregate.study import Study
from stilts.results import RowKey
from stilts.tasks.catalogue import INTERMEDIATES

PRIMARY = "primary"
ENGLISH = "en"
# An encoder is shared by rows that differ in what comes after it, and carries the labels of the first of them.
LATER_PARTS = ("target.", "retrieval.")
EARLIER_PHASE = "not scored after the last phase; its own phase is the row of that shorter sequence"
NO_RESULTS = "no results"


@dataclass
class Scores:
    """The dev scores of one row on one task: metrics by seed, and what forbids their use."""

    by_seed: dict[Seed, dict[str, float]] = field(default_factory=dict)
    conflicts: set[Seed] = field(default_factory=set)
    recipes: set[str] = field(default_factory=set)

    @property
    def found(self) -> bool:
        return bool(self.by_seed or self.conflicts)

    def add(self, one: ScoreSet) -> None:
        """The figures of English; two sets of them that disagree on a seed are a conflict."""
        seed = one.key.seed
        metrics = {name: numbers[ENGLISH] for name, numbers in one.numbers.items() if ENGLISH in numbers}
        if not metrics or self.by_seed.setdefault(seed, metrics) != metrics:
            self.conflicts.add(seed)
        self.recipes |= one.recipes.keys()


@dataclass(frozen=True)
class TaskCell:
    """A row's figure: over the seeds that have one, with the reason why others, or all, have none."""

    estimate: Estimate | None
    reason: str


# By the row of a file's labels, by task, and whether the row is without its settings of what comes after.
Found = dict[tuple[RowKey, str, bool], Scores]


def build_intermediate_sheet(study: Study) -> Sheet | None:
    """Rows of the study that train on a task, by task and metric; None where no task of any row has been scored."""
    found = find_scores(study)
    rows = [row for row in study.table.rows if row.key.tasks]
    scored = {task for row in rows for task in row.key.tasks if look_up(found, row.key, task).found}
    if not scored:
        return None
    order = [*INTERMEDIATES, *sorted(scored - INTERMEDIATES.keys())]
    columns = [(task, name) for task in order if task in scored for name in list_metrics(found, task)]
    numbering = Numbering()
    blocks = []
    cells: dict[RowKey, dict[tuple[str, str], TaskCell]] = {}
    for block in study.table.blocks:
        shown = []
        trained = [row for row in block.rows if row.key.tasks]
        for row, above in zip(trained, (None, *trained), strict=False):
            cells[row.key] = {
                column: make_cell(study, row.key, look_up(found, row.key, column[0]), column)
                for column in columns
                if column[0] in row.key.tasks
            }
            texts = tuple(show_cell(cells[row.key].get(column), numbering) for column in columns)
            shown.append(ShownRow(row.name, texts, part(row, above) if above else ""))
        if shown:
            blocks.append(ShownBlock(block.title, tuple(shown)))
    headings = tuple((task, METRIC_TITLES.get(name, name)) for task, name in columns)
    notes = (*numbering.list_notes(), ("", "An empty cell: the row does not train on the task"))
    records = tuple(list_records(rows, cells))
    return Sheet(
        "intermediate", "Intermediate tasks", write_caption(study, cells), headings, tuple(blocks), notes, records
    )


def find_scores(study: Study) -> Found:
    """Dev scores of stage `intermediate` by the row of their labels and by task, in the suite and seeds of the grid."""
    found: Found = defaultdict(Scores)
    collection, scope = study.collection, study.scope
    for one in collection.sets:
        key = one.key
        wanted = scope.seeds is None or key.seed is None or key.seed in scope.seeds
        english = ENGLISH in one.conflicts or any(ENGLISH in numbers for numbers in one.numbers.values())
        if key.stage != "intermediate" or key.split != "dev" or key.suite != scope.suite or not (wanted and english):
            continue
        assert isinstance(key.owner, RowKey), "only runs of targets are known by their names"
        for row, bare in ((key.owner, False), (drop_settings(key.owner, LATER_PARTS), True)):
            found[row, key.target, bare].add(one)
    return dict(found)


def look_up(found: Found, row: RowKey, task: str) -> Scores:
    """The scores with exactly this row's labels, else those of a row with the same encoder."""
    same = found.get((row, task, False)) or found.get((drop_settings(row, LATER_PARTS), task, True))
    return same or Scores()


def list_metrics(found: Found, task: str) -> list[str]:
    """The primary figure of a task that has several metrics, then every metric, those of the catalogue first."""
    known = INTERMEDIATES[task].metrics if task in INTERMEDIATES else ()
    names = {
        name
        for (_, other, _), scores in found.items()
        if other == task
        for metrics in scores.by_seed.values()
        for name in metrics
    }
    ordered = [*(name for name in known if name in names), *sorted(names - set(known))]
    return ordered if len(ordered) == 1 else [PRIMARY, *ordered]


def read_metric(metrics: Mapping[str, float], name: str) -> float | None:
    """A metric, or the primary figure that a training is judged by: the mean of F1 and exact match (SQuAD), of accuracy
    and F1 (QQP), else the only metric (jiant's `evaluate/core.py`)."""
    if name != PRIMARY:
        return metrics.get(name)
    for pair in (("f1", "exact_match"), ("accuracy", "f1")):
        if all(one in metrics for one in pair):
            return fmean(metrics[one] for one in pair)
    return next(iter(metrics.values())) if len(metrics) == 1 else None


def make_cell(study: Study, row: RowKey, scores: Scores, column: tuple[str, str]) -> TaskCell:
    task, name = column
    if len(scores.recipes) > 1:
        return TaskCell(None, MIXED_RECIPES)
    values = {seed: read_metric(metrics, name) for seed, metrics in scores.by_seed.items()}
    usable = {seed: value for seed, value in values.items() if value is not None and seed not in scores.conflicts}
    if not scores.found:
        earlier = row.mode == "sequential" and task != row.tasks[-1]
        return TaskCell(None, EARLIER_PHASE if earlier else NO_RESULTS)
    # A score without a seed stands for every seed.
    expected: set[Seed] = {*values} if None in values else {*values, *(study.scope.seeds or ())}
    parts = []
    for what, seeds in (
        ("contradicting files", scores.conflicts),
        (NO_RESULTS, expected - {*values} - scores.conflicts),
        (f"no {METRIC_TITLES.get(name, name)}", {*values} - {*usable} - scores.conflicts),
    ):
        if seeds:
            parts.append(f"{name_seeds(sorted(seeds, key=seed_order))}: {what}")
    ordered = [usable[seed] for seed in sorted(usable, key=seed_order)]
    return TaskCell(estimate(ordered) if ordered else None, "; ".join(parts))


def show_cell(cell: TaskCell | None, numbering: Numbering) -> ShownCell:
    """`71.3 (0.4)`: the mean, and the deviation over seeds where there are several."""
    if cell is None:
        return ShownCell("")
    marks = (numbering.mark(cell.reason),) if cell.reason else ()
    if cell.estimate is None:
        return ShownCell(MISSING, marks)
    deviation = "" if cell.estimate.sd is None else f" ({show_number(cell.estimate.sd, signed=False)})"
    return ShownCell(show_number(cell.estimate.mean, signed=False) + deviation, marks)


def list_records(
    rows: list[TableRow], cells: Mapping[RowKey, Mapping[tuple[str, str], TaskCell]]
) -> Iterator[dict[str, object]]:
    """One line per row, task and metric."""
    for row in rows:
        for (task, name), cell in cells[row.key].items():
            only = (task, PRIMARY) not in cells[row.key]
            yield {
                "model": row.key.model,
                "variant": row.key.variant,
                "row": row.name,
                "task": task,
                "metric": name,
                "primary": name == PRIMARY or only,
                "mean": cell.estimate.mean if cell.estimate else None,
                "sd": cell.estimate.sd if cell.estimate else None,
                "n": cell.estimate.n if cell.estimate else 0,
                "reason": cell.reason,
            }


def write_caption(study: Study, cells: Mapping[RowKey, Mapping[tuple[str, str], TaskCell]]) -> str:
    counts = sorted({cell.estimate.n for row in cells.values() for cell in row.values() if cell.estimate})
    spread = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else "".join(map(str, counts)) or "0"
    deviation = (
        "with one seed there is no deviation" if counts == [1] else "in parentheses the standard deviation over seeds"
    )
    return (
        f"Intermediate tasks: {describe_suite(study.table)}English development scores of the encoder after its "
        "intermediate training, all in absolute values and in percent but for thresholds; means over seeds "
        f"(n = {spread} per cell), {deviation}. Of a task with several metrics the first figure is the primary one, "
        "which a training is judged by: the mean of F1 and EM, or of accuracy and F1; else the only metric is."
    )
