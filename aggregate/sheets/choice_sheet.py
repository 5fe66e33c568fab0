"""The table `xtreme_choice` as a sheet: which row is the best model of each target, and by what it was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aggregate.evidence.best_models import Choice, Contest
from aggregate.scores.columns import TARGET_TITLES
from aggregate.sheets.main_sheet import note_settings, why_hidden
from aggregate.sheets.sheet import MISSING, Numbering, Sheet, ShownBlock, ShownCell, ShownRow, show_number
from aggregate.study import Study
from stilts.tasks.catalogue import ONE_SET_TARGETS, TARGET_ORDER

PAPER, HONEST = "on the scored set itself, as in the paper: optimistic", "the honest choice"
CAPTION = (
    "Best models of the table of test scores: the row that is chosen for a target, what it is chosen by, its "
    "score there and the baseline's in percent (mean over languages and seeds, F1 and EM counting half each), and how "
    "many rows have such a score."
)
HEADINGS = (("target", ""), ("chosen by", ""), ("score", "there"), ("baseline", "there"), ("compared", "rows"))
NAMES_IN_NOTE = 3


def build_choice_sheet(study: Study) -> Sheet:
    """One row per choice: for each target the paper's, and for those with one released set the honest one too."""
    numbering = Numbering()
    targets = [target for target in TARGET_ORDER if not why_hidden(study.scored.table, target)]
    several = len(study.table.blocks) > 1
    blocks = []
    records: list[dict[str, object]] = []
    for block, pair in zip(study.table.blocks, study.scored.contests, strict=True):
        chosen = list(list_choices(pair, targets))
        # A row of its own, as LaTeX prints the title of a block only where it goes on.
        rows = [ShownRow(f"over {block.title}:", (ShownCell(""),) * len(HEADINGS))] if several else []
        rows += [show_choice(choice, manner, len(block.rows), numbering) for choice, manner in chosen]
        blocks.append(ShownBlock(block.title, tuple(rows)))
        records += [list_values(block.title, choice, manner) for choice, manner in chosen]
    notes = (*numbering.list_notes(), *note_settings(study.table))
    return Sheet("xtreme_choice", "Choice of the best models", CAPTION, HEADINGS, tuple(blocks), notes, tuple(records))


def list_choices(pair: tuple[Contest, Contest], targets: Sequence[str]) -> Iterator[tuple[Choice, str]]:
    """Choices with what is to be said of them, those of one target below each other."""
    papers, honest = pair
    for target in targets:
        one_set = target in ONE_SET_TARGETS
        yield papers.choices[target], PAPER if one_set else ""
        if one_set:
            yield honest.choices[target], HONEST


def show_choice(choice: Choice, manner: str, rows: int, numbering: Numbering) -> ShownRow:
    marks = (numbering.mark(manner),) if manner else ()
    gaps = (numbering.mark(choice.reason),) if choice.reason else ()
    silent = (numbering.mark(describe_silent(choice)),) if choice.silent else ()
    cells = (
        ShownCell(TARGET_TITLES[choice.target]),
        ShownCell(choice.by, marks),
        ShownCell(show_number(choice.score, signed=False), gaps),
        ShownCell(show_number(choice.baseline, signed=False)),
        ShownCell(f"{choice.compared} of {rows}", silent),
    )
    return ShownRow(choice.row.name if choice.row else MISSING, cells)


def describe_silent(choice: Choice) -> str:
    more = len(choice.silent) - NAMES_IN_NOTE
    names = ", ".join(choice.silent[:NAMES_IN_NOTE]) + (f" and {more} more (xtreme_choice.csv)" if more > 0 else "")
    return f"no such score: {names}"


def list_values(block: str, choice: Choice, manner: str) -> dict[str, object]:
    """One line of xtreme_choice.csv."""
    kind = {PAPER: "paper", HONEST: "honest"}.get(manner, "dev")
    return {
        "block": block,
        "target": choice.target,
        "choice": kind,
        "chosen_by": choice.by,
        "row": choice.row.name if choice.row else None,
        "score": choice.score,
        "baseline": choice.baseline,
        "compared": choice.compared,
        "not_compared": "; ".join(choice.silent),
    }
