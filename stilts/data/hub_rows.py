"""Rows of sets brought from the hub to examples: the same content gives the same examples as the original files.

Texts are stripped as the readers of the original files strip them. Class labels are taken by their NAMES, which stand
in the Parquet file beside the schema; a file that has numbers and no names is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from stilts.data.choices import LETTERS
from stilts.data.conllu import ZERO_WIDTH_NON_JOINER
from stilts.data.examples import Choice, Example, Line, Pair, Question, Reading, Sentence, Translation
from stilts.data.hub_sets import tydiqa_prefix
from stilts.data.hub_tables import (
    CUT_CONTEXTS,
    TAGS,
    HubTable,
    Row,
    find_shifts,
    has_labels,
    iterate_rows,
    locate,
    open_table,
    take_class,
    take_name,
    take_number,
    take_text,
)
from stilts.data.lines import MOST_PROBLEMS, Refused, ids_repeat, number_repeated
from stilts.errors import UserError

__all__ = ["has_labels", "read_rows_of_hub"]

_TEXTS = {"qqp": ("question1", "question2"), "pawsx": ("sentence1", "sentence2")}
_NLI_TEXTS = ("premise", "hypothesis")
# Here a pair without a label is one on which the annotators did not agree (NLI), or whose label the hub's card calls
# missing or wrong (PAWS-X, to train on); it is left out. Elsewhere it is a fault: scores would be of other examples.
_WITHOUT_GOLD = {"anli": ("train", "dev"), "mnli": ("train", "dev"), "pawsx": ("train",)}


def read_rows_of_hub(task: str, set_name: str, path: Path) -> Reading:
    """All examples of a set written by `bring_sets`; ids are row numbers from 0 where the hub has none.

    A set that hides all its labels gives examples without. Raises UserError with file and row (from 1): columns, class
    names, labels, tags, answers, ids twice; or no example at all.
    """
    table = open_table(path, task, set_name)
    make = _choose_maker(table)
    if task in CUT_CONTEXTS and table.labelled:
        table.shifts = find_shifts(table)
    problems: list[str] = []
    examples: list[Example] = []
    for number, row in enumerate(iterate_rows(table.table), start=1):
        try:
            examples += make(table, row, number)
        except Refused as refusal:
            problems.append(f"{path}:row {number}: {refusal}")
            if len(problems) == MOST_PROBLEMS:
                raise UserError([*problems, f"{path}: reading stopped after {MOST_PROBLEMS} problems"]) from None
    if problems:
        raise UserError(problems)
    if not examples:
        raise UserError(f"{path}: no example in it; fetch the set again")
    if ids_repeat(task, table.split):
        examples = number_repeated(examples)
    return Reading(_ARRANGE.get(task, list)(examples), table.skipped)


def _choose_maker(table: HubTable) -> Callable[[HubTable, Row, int], list[Example]]:
    """The function for the rows of a task; UserError where a column that it needs, or a class's name, is missing."""
    span = (_make_question, ("id", "question", "context", "answers"))
    makers: dict[str, tuple[Callable[[HubTable, Row, int], list[Example]], tuple[str, ...]]] = {
        "hellaswag": (_make_hellaswag, ("ind", "ctx", "endings", "label")),
        "cosmosqa": (
            _make_cosmosqa,
            ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label"),
        ),
        "csqa": (_make_csqa, ("id", "question", "choices", "answerKey")),
        "bucc2018": (_make_lines, ("source_sentence", "target_sentence", "source_lang", "target_lang")),
        "tatoeba": (_make_translation, ("source_sentence", "target_sentence")),
        **{task: (_make_sentence, ("tokens", tags)) for task, tags in TAGS.items()},
        **{
            task: (_make_pair, (*_TEXTS.get(task, _NLI_TEXTS), "label"))
            for task in ("anli mnli qqp xnli pawsx".split())
        },
        **dict.fromkeys("squad1 squad2 squad xquad mlqa tydiqa".split(), span),
    }
    if table.task not in makers:
        raise UserError(f"{table.task}: sets of the hub have rows of {', '.join(makers)}")
    make, needed = makers[table.task]
    problems = [
        f"{table.path}: no column {column}; there are {', '.join(table.table.column_names)}"
        for column in needed
        if column not in table.table.column_names
    ]
    if not problems and table.labels:
        column = needed[-1]
        names = table.classes.get(column, ())
        if unknown := [name for name in names if name not in table.labels]:
            problems.append(
                f"{table.path}: {column} has the classes {', '.join(unknown)}; legal are {', '.join(table.labels)}"
            )
    if problems:
        raise UserError(problems)
    return make


def _make_pair(table: HubTable, row: Row, number: int) -> list[Example]:
    text, second = (take_text(row, column) for column in _TEXTS.get(table.task, _NLI_TEXTS))
    label = take_class(table, "label", row["label"])
    if label is None and table.split in _WITHOUT_GOLD.get(table.task, ()) and table.labelled:
        table.skipped += 1
        return []
    if label is None and table.labelled:
        raise Refused(f"label {row['label']!r} in a set with labels; legal are {', '.join(table.labels)}")
    name = str(row.get("uid") or (row["id"] if row.get("id") is not None else number - 1))
    return [Pair(take_name(table, name, number, text, second), text, second, label)]


def _make_hellaswag(table: HubTable, row: Row, number: int) -> list[Example]:
    endings = row["endings"]
    if isinstance(endings, Mapping):
        endings = endings.get("ending")
    if not isinstance(endings, list) or len(endings) < 2 or not all(isinstance(text, str) for text in endings):
        raise Refused(f"endings {row['endings']!r}: a list of two or more strings is needed")
    label = take_number(row["label"], len(endings))
    context = take_text(row, "ctx")
    endings = tuple(text.strip() for text in endings)
    return [Choice(take_name(table, str(row["ind"]), number, context, *endings), context, endings, label)]


def _make_cosmosqa(table: HubTable, row: Row, number: int) -> list[Example]:
    endings = tuple(take_text(row, f"answer{index}") for index in range(4))
    context = f"{take_text(row, 'context')} {take_text(row, 'question')}"
    name = take_name(table, take_text(row, "id"), number, context, *endings)
    return [Choice(name, context, endings, take_number(row["label"], 4))]


def _make_csqa(table: HubTable, row: Row, number: int) -> list[Example]:
    choices, key = row["choices"], row["answerKey"]
    if not isinstance(choices, Mapping) or list(choices.get("label") or ()) != list(LETTERS):
        raise Refused(f"choices {choices!r}: texts labelled A B C D E are needed")
    if key not in tuple(LETTERS):
        raise Refused(f"answerKey {key!r} is not one of {' '.join(LETTERS)}")
    endings = tuple(take_text({"text": text}, "text") for text in choices["text"])
    name = take_name(table, take_text(row, "id"), number)
    return [Choice(name, take_text(row, "question"), endings, LETTERS.index(key))]


def _make_question(table: HubTable, row: Row, number: int) -> list[Example]:
    name, context, question, answers = row["id"], row["context"], row["question"], row["answers"]
    if not all(isinstance(value, str) for value in (name, context, question)) or not isinstance(answers, Mapping):
        raise Refused("id, context and question must be strings, answers lists of text and answer_start")
    if table.task == "tydiqa" and not name.startswith(prefix := tydiqa_prefix(table.language)):
        raise Refused(f"question {name!r} in a set of questions whose ids begin with {prefix!r}")
    found = locate(table, context, answers["text"] or [], answers["answer_start"] or []) if table.labelled else ()
    if not found and table.task != "squad2" and table.labelled:
        raise Refused(f"question {name!r} has no answer; one at least is needed")
    return [Question(take_name(table, name, number), question.strip(), context, found)]


def _make_sentence(table: HubTable, row: Row, number: int) -> list[Example]:
    column = TAGS[table.task]
    words, values = row["tokens"], row[column]
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or not words:
        raise Refused(f"tokens {words!r}: a list of strings is needed")
    tags = [take_class(table, column, value) for value in values or ()]
    if table.labelled and (None in tags or len(tags) != len(words)):
        raise Refused(f"{len(words)} tokens and the tags {values!r}: as many are needed")
    forms = tuple(word.strip() for word in words)
    if table.task == "udpos":  # what XTREME does to the treebanks' words
        forms = tuple(form.replace(ZERO_WIDTH_NON_JOINER, "").replace(" ", "") for form in forms)
    return [Sentence(str(number - 1), forms, tuple(tag for tag in tags if tag is not None))]


def _make_lines(table: HubTable, row: Row, number: int) -> list[Example]:
    """The two sentences of a gold pair, whose ids stand in the columns *_lang; `_merge_lines` joins the pairs."""
    foreign, english = row["source_lang"], row["target_lang"]
    texts = take_text(row, "source_sentence"), take_text(row, "target_sentence")
    if not foreign or not english:
        raise Refused(f"ids {foreign!r} and {english!r}: two are needed")
    if not all(texts):
        table.skipped += 1
        return []
    return [Line(foreign, texts[0], False, (english,)), Line(english, texts[1], True)]


def _make_translation(table: HubTable, row: Row, number: int) -> list[Example]:
    """A row as it stands; `_sort_queries` puts the English side in order when all are there."""
    candidate, query = take_text(row, "source_sentence"), take_text(row, "target_sentence")
    if not candidate or not query:
        raise Refused("an empty text, a sentence is needed")
    return [Translation(str(number - 1), query, candidate, number - 1)]


def _sort_queries(examples: list[Example]) -> list[Example]:
    """As in XTREME: English in the order of the alphabet, the gold is the row it came from."""
    rows = [example for example in examples if isinstance(example, Translation)]
    golds = sorted(range(len(rows)), key=lambda index: rows[index].query)
    return [Translation(str(i), rows[gold].query, rows[i].candidate, gold) for i, gold in enumerate(golds)]


def _merge_lines(examples: list[Example]) -> list[Example]:
    """Every sentence once, the foreign ones first; one in several pairs has several partners."""
    lines: dict[tuple[bool, str], Line] = {}
    for line in examples:
        assert isinstance(line, Line)
        before = lines.setdefault((line.english, line.id), line)
        partners = dict.fromkeys((*before.partners, *line.partners))
        lines[line.english, line.id] = Line(line.id, before.text, line.english, tuple(partners))
    return [*(line for line in lines.values() if not line.english), *(line for line in lines.values() if line.english)]


_ARRANGE: dict[str, Callable[[list[Example]], list[Example]]] = {
    "tatoeba": _sort_queries,
    "bucc2018": _merge_lines,
}
