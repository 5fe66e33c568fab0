"""The table `xtreme` as a sheet: baseline, best models and what they gain on test, beside published rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from aggregate.evidence.best_models import Contest
from aggregate.evidence.statistics import NO_SPREAD
from aggregate.scores.columns import AVERAGE, CATEGORIES, COLUMNS, TARGET_TITLES, Column, list_columns
from aggregate.sheets.main_sheet import head_column, note_caveats, note_hidden, note_narrow, why_hidden
from aggregate.sheets.published import read_published
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
    show_number,
)
from aggregate.sheets.xtreme_lines import Line, estimate_gain, list_lines, list_published
from aggregate.study import Study
from stilts.tasks.catalogue import TARGET_ORDER

INCOMPLETE = "a task of this mean is missing"
CATEGORY_TITLES = {"classification": "class.", "tagging": "tag.", "qa": "QA", "retrieval": "retr."}
HONEST_CHOICES = {
    "xquad": "XQuAD by MLQA dev",
    "tydiqa": "TyDiQA by its English alone, which its score then leaves out",
    "tatoeba": "Tatoeba by BUCC dev",
}
PUBLISHED = "Published"


def build_xtreme_sheet(study: Study) -> Sheet:
    """Test scores of every block of the main table, then the published rows (suite xtreme alone).

    Raises UserError where the user's file of published rows is wrong.
    """
    scored = study.scored
    table = scored.table
    targets = [target for target in TARGET_ORDER if not why_hidden(table, target)]
    groups = [name for name, members in CATEGORIES.items() if set(members) <= set(targets)]
    blocks = [(pair[0].baseline.name, list(list_lines(pair, targets))) for pair in scored.contests]
    published = read_published(study.results) if study.scope.suite == "xtreme" else ()
    blocks += [(PUBLISHED, list(map(list_published, published)))] if published else []
    numbering = Numbering()
    narrow = {target for target in targets if table.scope.is_narrow(target)}
    shown = [ShownBlock(t, tuple(show_lines(lines, targets, groups, narrow, numbering))) for t, lines in blocks]
    headings = [head_column(column) for target in targets for column in list_columns(target)]
    headings += [*((CATEGORY_TITLES[name], "mean") for name in groups), ("Avg", "")]
    notes = (
        *note_narrow(table),
        *(("", text) for text in list_gains(scored.contests, targets) if len(scored.contests) > 1),
        *note_partial([line for _, lines in blocks for line in lines if line.cells]),
        *numbering.list_notes(),
        *note_caveats(table),
        *note_hidden(table),
        *(("", f"{row.name}: {row.source}") for row in published),
    )
    records = tuple(list_values(title, line) for title, lines in blocks for line in lines)
    caption = write_caption(study, scored.contests, targets, bool(published))
    return Sheet("xtreme", "Test scores", caption, tuple(headings), tuple(shown), notes, records)


def show_lines(
    lines: Sequence[Line], targets: Sequence[str], groups: Sequence[str], narrow: set[str], numbering: Numbering
) -> Iterator[ShownRow]:
    for place, line in enumerate(lines):
        cells = [show_score(line, column, narrow, numbering) for target in targets for column in list_columns(target)]
        cells += [show_mean(line, name, narrow, numbering) for name in groups]
        apart = line.apart and not lines[place - 1].apart
        yield ShownRow(line.name, (*cells, show_average(line, narrow, numbering)), "space" if apart else "")


def show_score(line: Line, column: Column, narrow: set[str], numbering: Numbering) -> ShownCell:
    value, cell = line.values[column.key], line.cells.get(column.key)
    if value is None and not cell:
        return ShownCell(MISSING)  # a published row without it
    marks: tuple[str, ...] = (NARROW,) if value is not None and cell and column.target in narrow else ()
    marks += (numbering.mark(cell.reason, cell.runs),) if cell and cell.reason else ()
    marks += (numbering.mark(line.marked[column.target]),) if value is not None and column.target in line.marked else ()
    return ShownCell(show_number(value, line.signed), marks, value if line.signed else None)


def show_mean(line: Line, name: str, narrow: set[str], numbering: Numbering) -> ShownCell:
    value = line.categories[name]
    if value is None:
        return ShownCell(MISSING, (numbering.mark(INCOMPLETE),) if line.cells else ())
    marks = (NARROW,) if line.cells and narrow & set(CATEGORIES[name]) else ()
    return ShownCell(show_number(value, line.signed), marks, value if line.signed else None)


def show_average(line: Line, narrow: set[str], numbering: Numbering) -> ShownCell:
    """Avg, of the study's own rows with a mark where it is over some tasks alone."""
    average, printed = line.average, line.printed.get(AVERAGE)
    if not line.cells:
        return ShownCell(show_number(average.avg if printed is None else printed, signed=False))
    if average.partial is None:
        return ShownCell(MISSING, (numbering.mark("no complete task"),))
    complete = {t for t in TARGET_ORDER if all(line.values[column.key] is not None for column in list_columns(t))}
    marks = [PARTIAL] if average.avg is None else []
    marks += [NARROW] if narrow & complete else []
    return ShownCell(show_number(average.partial, line.signed), tuple(marks), average.partial if line.signed else None)


def note_partial(lines: Iterable[Line]) -> list[tuple[str, str]]:
    counts: dict[int, list[str]] = {}
    for line in lines:
        if line.average.avg is None and line.average.complete:
            counts.setdefault(line.average.complete, []).append(line.name)
    notes = []
    for count, names in sorted(counts.items(), reverse=True):
        whose = f" ({', '.join(dict.fromkeys(names))})" if len(counts) > 1 else ""
        notes.append((PARTIAL, f"mean of {count} of {len(TARGET_ORDER)} tasks{whose}"))
    return notes


def list_values(block: str, line: Line) -> dict[str, object]:
    """One line of xtreme.csv; the interval is that of Avg over seeds."""
    average, spread, printed = line.average, line.spread, line.printed.get(AVERAGE)
    means = {"avg": average.avg if printed is None else printed}
    means |= {"avg_partial": average.partial} if line.cells else {"avg_partial": None}
    seeds: dict[str, object] = {"seeds": spread.n if spread else None}
    seeds |= list_figures(spread, "sd", "low", "high")
    head = {"block": block, "row": line.name, "source": line.source}
    scores = {column.key: line.values[column.key] for column in COLUMNS}
    return {**head, **scores, **line.categories, **means, "targets_complete": average.complete, **seeds}


def write_caption(
    study: Study, contests: Sequence[tuple[Contest, Contest]], targets: Sequence[str], published: bool
) -> str:
    suite = "Toy languages (made up, not XTREME)" if study.scope.suite == "toy" else "XTREME"
    parts = [
        f"{suite}: test scores in percent. Best models are for each target the row, the baseline among them, with the "
        "highest dev score (mean over languages and seeds; of equal ones the first of the main table); the difference "
        "to the baseline is paired by seed."
    ]
    one_set = [target for target in HONEST_CHOICES if target in targets]
    if one_set:
        titles = ", ".join(TARGET_TITLES[target] for target in one_set)
        ways = "; ".join(HONEST_CHOICES[target] for target in one_set)
        parts.append(f"With one released set ({titles}) the paper's choice is on that set. The honest choice: {ways}.")
    parts.append(
        "The categories (classification, tagging, QA, retrieval) and Avg are plain means of their tasks, F1 and EM "
        "counting half each."
    )
    gains = list_gains(contests, targets)
    parts += [f"{gains[0]}." if len(gains) == 1 else "The notes have the average improvement over each baseline."]
    parts += ["Last come published rows; of these, category means that are not printed are computed."] * published
    return " ".join(parts)


def list_gains(contests: Sequence[tuple[Contest, Contest]], targets: Sequence[str]) -> list[str]:
    """The average improvement over each baseline, with its interval over seeds or why there is none."""
    texts = []
    for papers, honest in contests:
        text = f"Average improvement over {papers.baseline.name}: {spell_gain(papers)}"
        texts.append(text + (f"; honest choice: {spell_gain(honest)}" if set(HONEST_CHOICES) & set(targets) else ""))
    return texts


def spell_gain(contest: Contest) -> str:
    """`+5.4 (95% interval +4.9 to +5.9 over 3 seeds, given the choice)`, or why there is no interval."""
    average = contest.gain.average
    if average.partial is None:
        return "none can be given, as no task is complete"
    text = show_number(average.partial, signed=True)
    text += "" if average.avg is not None else f" over {average.complete} of {len(TARGET_ORDER)} tasks"
    spread = estimate_gain(contest)
    if spread is None:
        return f"{text} (no seed has every task: no interval over seeds can be given)"
    if spread.low is None or spread.high is None:
        return f"{text} ({spread.reason})"
    seeds = f"{spread.n} seeds"
    if abs(spread.mean - average.partial) > NO_SPREAD:
        seeds = f"the {spread.n} seeds that have every task, their mean {spread.mean:+.1f}"
    return f"{text} (95% interval {spread.low:+.1f} to {spread.high:+.1f} over {seeds}, given the choice)"
