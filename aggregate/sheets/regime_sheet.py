"""The user's question on TyDiQA: mixtures against sequences of the same tasks, at every number of tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aggregate.evidence.curve_scores import collect_scores, contrast_regimes, score_column
from aggregate.evidence.statistics import Estimate, Holm, describe_family, holm
from aggregate.scores.columns import METRIC_TITLES, TARGET_TITLES, Column, list_columns
from aggregate.scores.curves import Curve, Point
from aggregate.sheets.sheet import (
    MISSING,
    Sheet,
    ShownBlock,
    ShownCell,
    ShownRow,
    as_sentence,
    list_figures,
    show_interval,
    show_number,
    show_p,
)
from aggregate.study import Study

TARGET = "tydiqa"
Place = tuple[Curve, int, str]  # of a comparison and a column


@dataclass(frozen=True)
class Comparison:
    """Both regimes with the same sets of `count` tasks: points of a mixture and of sequences, each by draw."""

    curve: Curve
    count: int
    mixed: Point
    in_turn: Point

    def place(self, column: Column) -> Place:
        return self.curve, self.count, column.key

    def contrast(self, column: str) -> Estimate | None:
        """Mixture minus sequence, paired by draw and seed: over draws, over seeds where there is one set of tasks."""
        mixed, in_turn = (collect_scores([point], score_column(column)) for point in (self.mixed, self.in_turn))
        return contrast_regimes(mixed, in_turn, self.mixed.sets)


def find_comparisons(points: list[Point]) -> list[Comparison]:
    """Every number of tasks above one at which two curves of the same draws, and of settings that differ at most in
    how tasks are mixed, have both regimes: a single task is the same run on both."""
    sides: dict[tuple[Curve, int], dict[str, Point]] = defaultdict(dict)
    for point in points:
        if point.count > 1:
            sides[point.curve.without_regime(), point.count].setdefault(point.curve.regime, point)
    return [
        Comparison(curve, count, both["multitask"], both["sequential"])
        for (curve, count), both in sides.items()
        if len(both) == 2
    ]


def build_tydiqa_sheet(study: Study) -> Sheet | None:
    """A line for each number of tasks: both regimes, their difference, its interval and p, for F1 and EM."""
    columns = list_columns(TARGET)
    comparisons = [one for one in find_comparisons(study.points) if any(one.contrast(column.key) for column in columns)]
    if not comparisons:
        return None
    contrasts = {
        one.place(column): found
        for one in comparisons
        for column in columns
        if (found := one.contrast(column.key)) is not None
    }
    family = holm({place: found.p for place, found in contrasts.items()})
    headings = [
        (METRIC_TITLES[c.metric], name) for c in columns for name in ("mixture", "sequence", "diff.", "95%", "p")
    ]
    rows: dict[Curve, list[ShownRow]] = defaultdict(list)
    for one in comparisons:
        cells = [cell for column in columns for cell in _show(one, column, contrasts, family)]
        rows[one.curve].append(ShownRow(f"{one.count} tasks", tuple(cells)))
    caption = (
        f"{TARGET_TITLES[TARGET]}: mixtures against sequences of the same tasks. Mixture and sequence are differences "
        "to the baseline in points, means over draws, each the mean over its orders and seeds; diff. is mixture minus "
        "sequence, paired by draw and seed, with its 95% interval over draws (over seeds where all draws are one set) "
        f"and its unadjusted p. {as_sentence(describe_family(family, contrasts))}"
    )
    blocks = tuple(ShownBlock(_title(curve), tuple(own)) for curve, own in rows.items())
    records = tuple(_list_records(comparisons, contrasts, family))
    title = "Mixtures against sequences on TyDiQA"
    return Sheet("tydiqa", title, caption, tuple(headings), blocks, (), records, titled=len(blocks) > 1)


def _show(
    one: Comparison, column: Column, contrasts: Mapping[Place, Estimate], family: Holm[Place]
) -> Iterator[ShownCell]:
    for point in (one.mixed, one.in_turn):
        value = point.values[column.key]
        yield ShownCell(show_number(value, signed=True), shade=value)
    found = contrasts.get(one.place(column))
    star = family.star(one.place(column))
    yield ShownCell(MISSING if found is None else show_number(found.mean, signed=True) + star)
    p = found.p if found else None
    yield ShownCell(show_interval(found) or MISSING)
    yield ShownCell(show_p(p))


def _title(curve: Curve) -> str:
    parts = [curve.model, *([curve.variant] if curve.variant else [])]
    parts += [f"draws of {', '.join(curve.pool)} (seed {curve.seed})"] if curve.pool else []
    return "; ".join(parts)


def _list_records(
    comparisons: list[Comparison], contrasts: Mapping[Place, Estimate], family: Holm[Place]
) -> Iterator[dict[str, object]]:
    for one in comparisons:
        for column in list_columns(TARGET):
            found = contrasts.get(one.place(column))
            head = {"model": one.curve.model, "variant": one.curve.variant, "pool": "+".join(one.curve.pool)}
            values = {"mixture": one.mixed.values[column.key], "sequence": one.in_turn.values[column.key]}
            figures: dict[str, object] = {"difference": found.mean if found else None}
            figures |= list_figures(found, "sd", "n", "unit", "low", "high", "p")
            adjusted = family.adjusted.get(one.place(column))
            yield {**head, "tasks": one.count, "metric": column.metric, **values, **figures, "p_holm": adjusted}
