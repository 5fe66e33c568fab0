"""Rows of the table `xtreme` as numbers: a baseline, its best models, what they gain, and published rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aggregate.evidence.best_models import SPLIT_TARGET, Contest, average_categories
from aggregate.evidence.significance import average_seeds
from aggregate.evidence.statistics import Estimate, estimate
from aggregate.scores.averages import Average, Cell, average_tasks
from aggregate.scores.columns import CATEGORIES, COLUMNS
from aggregate.sheets.published import PublishedRow
from stilts.tasks.catalogue import ONE_SET_TARGETS

PAPERS_CHOICE = "chosen on the scored set itself, as in the paper: optimistic, and so are its difference and means"
WITHOUT_ENGLISH = "over the languages other than English, which chooses the model"


@dataclass(frozen=True)
class Line:
    """A row of the table: scores by column key, and what is printed of category means and Avg in `printed`.

    `cells` have the reasons of gaps, `marked` are notes by target; a published row has neither. `apart` is said of
    the honest choice.
    """

    name: str
    values: Mapping[str, float | None]
    signed: bool = False
    apart: bool = False
    cells: Mapping[str, Cell] = field(default_factory=dict)
    marked: Mapping[str, str] = field(default_factory=dict)
    printed: Mapping[str, float | None] = field(default_factory=dict)
    source: str = ""
    spread: Estimate | None = None

    @property
    def average(self) -> Average:
        return average_tasks(self.values)

    @property
    def categories(self) -> dict[str, float | None]:
        """As printed, else as computed."""
        computed = average_categories(self.values)
        return {name: computed[name] if self.printed.get(name) is None else self.printed[name] for name in CATEGORIES}


def list_lines(pair: tuple[Contest, Contest], targets: Sequence[str]) -> Iterator[Line]:
    """Baseline, best models and difference by the paper's choice, then by the honest one where a target needs one.

    The baseline stands there again where its TyDiQA is over other languages.
    """
    papers, honest = pair
    name = papers.baseline.name
    yield list_baseline(name, papers)
    yield from list_best(papers, "", dict.fromkeys(ONE_SET_TARGETS, PAPERS_CHOICE))
    if not set(ONE_SET_TARGETS) & set(targets):
        return
    marked = {SPLIT_TARGET: WITHOUT_ENGLISH}
    if SPLIT_TARGET in targets:
        yield list_baseline(f"{name}, TyDiQA without English", honest, marked)
    yield from list_best(honest, ", honest choice", marked)


def list_baseline(name: str, contest: Contest, marked: Mapping[str, str] | None = None) -> Line:
    cells = contest.baseline.cells
    values = {key: cell.absolute for key, cell in cells.items()}
    return Line(name, values, apart=contest.honest, cells=cells, marked=marked or {})


def list_best(contest: Contest, manner: str, marked: Mapping[str, str]) -> Iterator[Line]:
    cells = contest.gain.cells
    own = {key: cell.absolute for key, cell in cells.items()}
    gain = {key: cell.value for key, cell in cells.items()}
    yield Line(f"best models{manner}", own, apart=contest.honest, cells=cells, marked=marked)
    yield Line(
        f"difference{manner}",
        gain,
        signed=True,
        apart=contest.honest,
        cells=cells,
        spread=estimate_gain(contest),
    )


def list_published(row: PublishedRow) -> Line:
    values = {column.key: row.values[column.key] for column in COLUMNS}
    return Line(row.name, values, printed=row.values, source=row.source)


def estimate_gain(contest: Contest) -> Estimate | None:
    """The average improvement over the seeds that every task has."""
    by_seed = average_seeds(contest.gain)
    return estimate(by_seed.values()) if by_seed else None
