"""Two sides of sentences: Tatoeba (line i translates line i) and BUCC 2018 (two corpora and a list of gold pairs)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stilts.data.examples import Example, Line, Reading, Translation
from stilts.data.lines import Ids, Refused, read_lines, read_rows, require_rows, split_columns
from stilts.errors import UserError


def read_tatoeba(foreign: Path, english: Path, labelled: bool = True) -> Reading:
    """The two sides of a Tatoeba pair. As in XTREME, English is sorted and the gold is the line it came from.

    `labelled` False: XTREME's own files, whose English side is sorted already; row i has the i-th line of each.
    Raises UserError: an empty line, sides of unequal length.
    """
    candidates, queries = ([line.strip() for _, line in read_lines(path)] for path in (foreign, english))
    problems = [
        f"{path}:{number}: an empty line, a sentence is needed"
        for path, lines in ((foreign, candidates), (english, queries))
        for number, line in enumerate(lines or [""], start=1)
        if not line
    ]
    if len(candidates) != len(queries):
        path, shorter = (foreign, candidates) if len(candidates) < len(queries) else (english, queries)
        problems.append(
            f"{path}:{len(shorter)}: the last line, but {foreign.name} has {len(candidates)} and {english.name} "
            f"{len(queries)} lines; line i of one must translate line i of the other"
        )
    if problems:
        raise UserError(problems)
    if not labelled:
        rows = enumerate(zip(queries, candidates, strict=True))
        return Reading([Translation(str(index), query, candidate, None) for index, (query, candidate) in rows])
    golds = sorted(range(len(queries)), key=queries.__getitem__)
    examples: list[Example] = [
        Translation(str(index), queries[gold], candidates[index], gold) for index, gold in enumerate(golds)
    ]
    return Reading(examples)


def read_bucc(paths: Sequence[Path]) -> Reading:
    """The foreign and then the English sentences of a BUCC pair; `paths`: foreign, English and, where there is one,
    gold file, of `id TAB sentence` and `foreign-id TAB English-id` lines.

    A gold pair that stands twice is one pair: XTREME scores the set of pairs.
    Raises UserError with file and line: columns, an id twice, an empty sentence, a gold id without a sentence.
    """
    foreign, english = (_read_side(path) for path in paths[:2])
    partners: dict[str, list[str]] = {}
    for path in paths[2:]:
        for first, second in _read_gold(path, foreign, english):
            found = partners.setdefault(first, [])
            if second not in found:
                found.append(second)
    lines = [Line(name, text, False, tuple(partners.get(name, ()))) for name, text in foreign.items()]
    return Reading([*lines, *(Line(name, text, True) for name, text in english.items())])


def _read_side(path: Path) -> dict[str, str]:
    ids = Ids()

    def parse(number: int, line: str) -> tuple[str, str]:
        name, text = split_columns(line, 2, "id sentence")
        ids.add(name.strip(), path, number)
        if not text.strip():
            raise Refused(f"sentence {name!r} is empty")
        return name.strip(), text.strip()

    return dict(require_rows(path, read_rows(path, parse), "sentence"))


def _read_gold(path: Path, foreign: dict[str, str], english: dict[str, str]) -> list[tuple[str, str]]:
    def parse(number: int, line: str) -> tuple[str, str]:
        first, second = (name.strip() for name in split_columns(line, 2, "foreign-id English-id"))
        for name, side, kind in ((first, foreign, "foreign"), (second, english, "English")):
            if name not in side:
                raise Refused(f"gold id {name!r}: no {kind} sentence has it")
        return first, second

    return require_rows(path, read_rows(path, parse), "gold pair")
