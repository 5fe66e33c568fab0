"""The first examples of a set, so few that scoring them takes seconds, and still such that they can be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stilts.data.examples import Example, Line, Translation


def take_first(examples: Sequence[Example], count: int) -> list[Example]:
    """The first `count` examples; of two sides of sentences so many pairs that belong together."""
    if examples and isinstance(examples[0], Line):
        return list(_take_lines([line for line in examples if isinstance(line, Line)], count))
    if examples and isinstance(examples[0], Translation) and examples[0].gold is not None:
        return list(_take_translations([row for row in examples if isinstance(row, Translation)], count))
    return list(examples[:count])


def _take_lines(lines: Sequence[Line], count: int) -> list[Line]:
    """Foreign sentences with a partner first, then their partners: a set without a pair cannot be scored."""
    foreign = [line for line in lines if not line.english]
    chosen = sorted(foreign, key=lambda line: not line.partners)[:count]
    wanted = {partner for line in chosen for partner in line.partners}
    english = sorted((line for line in lines if line.english), key=lambda line: line.id not in wanted)
    return [*chosen, *english[: max(count, len(wanted))]]


def _take_translations(rows: Sequence[Translation], count: int) -> list[Translation]:
    """The first candidates, with the queries that they are right for."""
    chosen = [row for row in rows if row.gold is not None and row.gold < count]
    return [replace(row, id=str(place), candidate=rows[place].candidate) for place, row in enumerate(chosen)]
