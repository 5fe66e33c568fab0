"""A set's original files to its examples: which reader reads what. Every complaint has file and line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from stilts.data.ccg import read_ccg
from stilts.data.choices import read_choices
from stilts.data.conllu import read_conllu
from stilts.data.examples import Example, Reading, Text
from stilts.data.lines import (
    Ids,
    Refused,
    ids_repeat,
    number_repeated,
    read_lines,
    read_rows,
    require_rows,
    split_columns,
)
from stilts.data.pairs import read_pairs
from stilts.data.parallel import read_bucc, read_tatoeba
from stilts.data.squad import read_squad
from stilts.data.tagged import read_tagged_words
from stilts.data.translated import is_translated, read_translated
from stilts.data.tydiqa import read_tydiqa
from stilts.errors import UserError
from stilts.tasks.catalogue import task_family, task_labels


def read_set(task: str, set_name: str, paths: Sequence[Path], labelled: bool = True) -> Reading:
    """All examples of a set, file after file. `labelled` False: a set that XTREME distributes without labels.

    Raises UserError with the problems of all its files.
    """
    if paths[0].suffix == ".parquet":
        from stilts.data.hub_rows import read_rows_of_hub

        return read_rows_of_hub(task, set_name, paths[0])
    if is_translated(set_name, paths):
        return read_translated(paths[0], task)
    match task_family(task):
        case "retrieval":
            foreign, english = paths
            return read_tatoeba(foreign, english, labelled)
        case "mining":
            return read_bucc(paths)
    ids = Ids(repeats=ids_repeat(task, set_name.partition(".")[0]))
    read = _choose_reader(task, set_name, ids, labelled, several=len(paths) > 1)
    readings, problems = [], []
    for path in paths:
        try:
            readings.append(read(path))
        except UserError as error:
            problems.extend(error.problems)
    if problems:
        raise UserError(problems)
    examples = [example for reading in readings for example in reading.examples]
    require_rows(paths[0], examples)
    if ids.repeats:
        examples = number_repeated(examples)
    return Reading(examples, sum(reading.skipped for reading in readings))


def _choose_reader(task: str, set_name: str, ids: Ids, labelled: bool, several: bool) -> Callable[[Path], Reading]:
    """The reader of one file of a set; `ids` are those of all its files."""
    split, _, language = set_name.partition(".")
    match task_family(task):
        case "pair":
            return lambda path: read_pairs(path, task_labels(task), language, ids, labelled)
        case "choice":
            return lambda path: read_choices(path, task, ids)
        case "span" if task == "tydiqa":
            return lambda path: read_tydiqa(path, split, language, ids, labelled)
        case "span":
            return lambda path: read_squad(path, ids, task == "squad2", labelled)
        case "tagging" if task == "ccg":
            return lambda path: read_ccg(path, ids)
        case "tagging":
            return lambda path: _read_words(path, task, language, ids, labelled, several)
        case _:
            return read_texts


def _read_words(path: Path, task: str, language: str, ids: Ids, labelled: bool, several: bool) -> Reading:
    """A treebank, PAN-X's own file (`train`, `en-train`: no suffix) or XTREME's conversion of either."""
    if path.suffix == ".conllu":
        return read_conllu(path, language, ids, f"{path.stem}:" if several else "")
    prefix = f"{language}:" if task == "panx" and not path.suffix else ""
    return read_tagged_words(path, task_labels(task), prefix, labelled)


def read_texts(path: Path) -> Reading:
    """Pre-training text: `language TAB text TAB second text`."""

    def parse(_: int, line: str) -> Example:
        return Text(*_split_text(line)[1:])

    return Reading(require_rows(path, read_rows(path, parse)))


def iterate_texts(path: Path) -> Iterator[tuple[str, str, str]]:
    """(language, text, second text) of each line of such a file, one at a time; UserError at the first bad one."""
    for number, line in read_lines(path):
        try:
            yield _split_text(line)
        except Refused as refusal:
            raise UserError(f"{path}:{number}: {refusal}") from None


def _split_text(line: str) -> tuple[str, str, str]:
    language, text, second = split_columns(line, 3, "language text second-text")
    if not language:
        raise Refused("no language in the first column")
    return language, text, second
