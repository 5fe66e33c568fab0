"""Original file formats to examples, strictly: no csv quoting, every complaint with file and line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stilts.data.conllu import read_conllu, read_tagged_words
from stilts.data.examples import Choice, Example, Pair, Reading, Text, Translation
from stilts.data.lines import Refused, parse_object, read_lines, read_rows, split_columns
from stilts.data.squad import read_squad
from stilts.errors import UserError
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TEXT, TRAININGS, training_of

# MNLI: the annotators did not agree. XNLI-MT-1.0 spells one label in its own way.
NO_GOLD = "-"
SPELLINGS = {"contradictory": "contradiction"}


def task_family(task: str) -> str:
    """Family of an intermediate task, a training, a target or the pre-training text."""
    if task == TEXT:
        return "mlm"
    for table in (INTERMEDIATES, TRAININGS, TARGETS):
        if task in table:
            return table[task].family
    raise UserError(f"no task {task!r}: use one of {', '.join(sorted({*INTERMEDIATES, *TRAININGS, *TARGETS, TEXT}))}")


def task_labels(task: str) -> tuple[str, ...]:
    """Labels in the order of the classifier's outputs; empty for families without a fixed set."""
    if task in INTERMEDIATES:
        return INTERMEDIATES[task].labels
    training = TRAININGS.get(task) or (training_of(task) if task in TARGETS else None)
    return training.labels if training else ()


def read_set(task: str, set_name: str, paths: Sequence[Path]) -> Reading:
    """All examples of a set, file after file.

    Raises UserError with the problems of all its files.
    """
    language = set_name.partition(".")[2]
    if task_family(task) == "retrieval":
        return read_tatoeba(*paths)
    read = _choose_reader(task, language)
    readings, problems = [], []
    for path in paths:
        try:
            readings.append(read(path))
        except UserError as error:
            problems.extend(error.problems)
    if problems:
        raise UserError(problems)
    examples = [example for reading in readings for example in reading.examples]
    return Reading(examples, sum(reading.skipped for reading in readings))


def _choose_reader(task: str, language: str) -> Callable[[Path], Reading]:
    match task_family(task):
        case "pair":
            return lambda path: read_pairs(path, task_labels(task), language)
        case "choice":
            return read_choices
        case "span":
            return read_squad
        case "tagging":
            return lambda path: read_conllu(path, language) if path.suffix == ".conllu" else read_tagged_words(path)
        case _:
            return read_texts


def read_pairs(path: Path, labels: tuple[str, ...], language: str) -> Reading:
    """Sentence pairs: GLUE, multinli_1.0, XNLI-1.0 (rows of `language` alone), XNLI-MT-1.0, XTREME.

    A header line or JSON keys name the columns, a file without either has sentence1, sentence2 and label.
    MNLI pairs without a gold label are skipped. Ids are the file's pairID, else the row number from 0.
    """
    skipped = 0
    rows = 0

    def make(fields: dict[str, str]) -> Pair | None:
        nonlocal skipped, rows
        if fields.get("language", language) != language:
            return None
        rows += 1
        label = SPELLINGS.get(fields["gold_label"], fields["gold_label"])
        if label == NO_GOLD and "pairID" in fields:
            skipped += 1
            return None
        if label not in labels:
            raise Refused(f"label {label!r} is not one of {', '.join(labels)}")
        text, second = fields["sentence1"].strip(), fields["sentence2"].strip()
        return Pair(fields.get("pairID", str(rows - 1)), text, second, label)

    if path.suffix == ".jsonl":
        keys = ("sentence1", "sentence2", "gold_label", "pairID")
        pairs = read_rows(path, lambda line: make({key: str(v) for key, v in parse_object(line, keys).items()}))
    else:
        names, header = _read_header(path)
        pairs = read_rows(
            path,
            lambda line: make(dict(zip(names, split_columns(line, len(names), " ".join(names)), strict=True))),
            header,
        )
    return Reading(list(pairs), skipped)


def _read_header(path: Path) -> tuple[list[str], bool]:
    """Names of the columns of a table of pairs, and whether its first line gives them."""
    _, first = next(read_lines(path), (1, ""))
    names = first.split("\t")
    if {"sentence1", "sentence2", "gold_label"} <= set(names):
        return names, True
    return ["sentence1", "sentence2", "gold_label"], names == ["premise", "hypo", "label"]


def read_choices(path: Path) -> Reading:
    """HellaSwag's JSON lines; all rows have as many endings as the first."""
    choices: list[int] = []

    def parse(line: str) -> Choice:
        row = parse_object(line, ("ind", "ctx", "endings", "label"))
        endings, label = row["endings"], row["label"]
        if not isinstance(endings, list) or len(endings) < 2 or not all(isinstance(text, str) for text in endings):
            raise Refused(f"endings {endings!r}: a list of two or more strings is needed")
        choices.append(len(endings))
        if len(endings) != choices[0]:
            raise Refused(f"{len(endings)} endings, the first row has {choices[0]}")
        if type(label) is not int or not 0 <= label < len(endings):
            raise Refused(f"label {label!r} is not one of 0 to {len(endings) - 1}")
        return Choice(str(row["ind"]), str(row["ctx"]).strip(), tuple(text.strip() for text in endings), label)

    return Reading(list(read_rows(path, parse)))


def read_tatoeba(foreign: Path, english: Path) -> Reading:
    """The two sides of a Tatoeba pair. As in XTREME, English is sorted and the gold is the line it came from."""
    candidates, queries = (read_rows(path, lambda line: line.strip()) for path in (foreign, english))
    problems = [
        f"{path}:{number}: an empty line, a sentence is needed"
        for path, lines in ((foreign, candidates), (english, queries))
        for number, line in enumerate(lines, start=1)
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
    golds = sorted(range(len(queries)), key=queries.__getitem__)
    examples: list[Example] = [
        Translation(str(index), queries[gold], candidates[index], gold) for index, gold in enumerate(golds)
    ]
    return Reading(examples)


def read_texts(path: Path) -> Reading:
    """Pre-training text: `language TAB text TAB second text`."""

    def parse(line: str) -> Text:
        _, text, second = split_columns(line, 3, "language text second-text")
        return Text(text, second)

    return Reading(list(read_rows(path, parse)))
