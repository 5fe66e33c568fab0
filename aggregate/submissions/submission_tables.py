"""One language's stored predictions as a file of the submission layout: what the scorer would refuse is not written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from aggregate.submissions.submission_files import write_answers, write_lines, write_tags
from stilts.errors import UserError
from stilts.tasks.catalogue import TARGETS, training_of

SHOWN = 3  # values in a problem


def write_table(path: Path, target: str, table: pa.Table) -> None:
    """Write the predictions of `table`, which holds one language. Raises UserError where they fill no legal file."""
    family = TARGETS[target].family
    chosen = choose_pairs(table) if family == "mining" else table
    problems = list(find_problems(chosen, target))
    if problems:
        language = table["language"][0].as_py() if len(table) else path.stem
        raise UserError(f"{language}: {problem}; not written" for problem in problems)
    match family:
        case "tagging":
            write_tags(path, chosen["predictions"].to_pylist())
        case "span":
            write_answers(path, dict(zip(chosen["id"].to_pylist(), chosen["prediction"].to_pylist(), strict=True)))
        case "mining":
            write_lines(path, (f"{row['foreign_id']}\t{row['english_id']}" for row in chosen.to_pylist()))
        case _:  # a label, or for Tatoeba the position of the foreign sentence
            write_lines(path, map(str, chosen["prediction"].to_pylist()))


def choose_pairs(table: pa.Table) -> pa.Table:
    """The mined pairs at or above the threshold; a gold pair not mined has no score."""
    if table["threshold"].null_count:
        raise UserError(f"{table['language'][0]}: no threshold, for the run has no labelled dev set of this language")
    return table.filter(pc.greater_equal(table["score"], table["threshold"]))


def find_problems(table: pa.Table, target: str) -> Iterator[str]:
    """What the scorer would refuse in the predictions of one language, or what would be lost in the file."""
    match TARGETS[target].family:
        case "tagging":
            yield from _find_strange(pc.list_flatten(table["predictions"]), target)
            empty = pc.sum(pc.equal(pc.list_value_length(table["predictions"]), 0)).as_py()
            if empty:
                yield f"{empty} sentences without words, which the layout has no form for"
        case "span":
            twice = [name for name, count in Counter(table["id"].to_pylist()).items() if count > 1]
            if twice:
                yield f"question ids that stand there twice: {_show(twice)}"
            yield from _find_unfit(table["id"])
        case "mining":
            yield from _find_unfit(table["foreign_id"])
            yield from _find_unfit(table["english_id"])
        case "retrieval":
            wrong = pc.unique(table["prediction"].filter(pc.less(table["prediction"], 0))).to_pylist()
            if wrong:
                yield f"negative line numbers: {_show(wrong)}"
        case _:
            yield from _find_strange(table["prediction"], target)


def _find_strange(values: pa.ChunkedArray, target: str) -> Iterator[str]:
    training = training_of(target)
    assert training, f"{target} has no labels"
    strange = [label for label in pc.unique(values).to_pylist() if label not in training.labels]
    if strange:
        yield f"no labels of {target}: {_show(strange)}; legal: {' '.join(training.labels)}"


def _find_unfit(ids: pa.ChunkedArray) -> Iterator[str]:
    unfit = [name for name in pc.unique(ids).to_pylist() if name != name.strip() or not name or _is_torn(name)]
    if unfit:
        yield f"ids that are empty, or have a tab, a line end or white space at an edge: {_show(unfit)}"


def _is_torn(name: str) -> bool:
    return any(mark in name for mark in "\t\n\r")


def _show(values: list[str] | list[int]) -> str:
    return ", ".join(repr(value) for value in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
