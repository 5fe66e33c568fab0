"""Repositories as they lie on the hub, made from the small real slices: files, configurations, columns and class names.

The rows come from the original files through the readers of those; what the hub's loaders are known to do to the
content (white space cut off contexts, nine languages in one set) is done here too.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from datasets import ClassLabel, Dataset, Features, List, Value

from stilts.data.examples import Choice, Pair, Question, Sentence
from stilts.data.hub_sets import CONVERTED, HubSet, hub_sets
from tests.support.hub_originals import Original
from tests.support.hub_server import HubServer

Row = dict[str, Any]

TEXT = Value("string")
NLI = ["entailment", "neutral", "contradiction"]
UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
IOB2 = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
ANSWERS = {"text": List(TEXT), "answer_start": List(Value("int32"))}
_NLI_PAIR = {"premise": TEXT, "hypothesis": TEXT, "label": ClassLabel(names=NLI)}
_QUESTION = {"id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT, "answers": ANSWERS}
_TWO_SIDES = dict.fromkeys(("source_sentence", "target_sentence", "source_lang", "target_lang"), TEXT)

# Columns by the head of "repository configuration".
SCHEMAS: dict[str, dict[str, Any]] = {
    "facebook/anli": {"uid": TEXT, **_NLI_PAIR, "reason": TEXT},
    "nyu-mll/glue mnli": {**_NLI_PAIR, "idx": Value("int32")},
    "nyu-mll/glue qqp": {
        "question1": TEXT,
        "question2": TEXT,
        "label": ClassLabel(names=["not_duplicate", "duplicate"]),
        "idx": Value("int32"),
    },
    "stanfordnlp/snli": _NLI_PAIR,
    "facebook/xnli": _NLI_PAIR,
    "google-research-datasets/paws-x": {
        "id": Value("int32"),
        "sentence1": TEXT,
        "sentence2": TEXT,
        "label": ClassLabel(names=["0", "1"]),
    },
    "rajpurkar/": _QUESTION,
    "google/xtreme MLQA": _QUESTION,
    "google-research-datasets/tydiqa": _QUESTION,
    "google/xquad": {key: _QUESTION[key] for key in ("id", "context", "question", "answers")},
    "Rowan/hellaswag": {
        "ind": Value("int32"),
        **dict.fromkeys(("activity_label", "ctx_a", "ctx_b", "ctx"), TEXT),
        "endings": List(TEXT),
        **dict.fromkeys(("source_id", "split", "split_type", "label"), TEXT),
    },
    "allenai/cosmos_qa": {
        **dict.fromkeys(("id", "context", "question", "answer0", "answer1", "answer2", "answer3"), TEXT),
        "label": Value("int32"),
    },
    "tau/commonsense_qa": {
        **dict.fromkeys(("id", "question", "question_concept"), TEXT),
        "choices": {"label": List(TEXT), "text": List(TEXT)},
        "answerKey": TEXT,
    },
    "google/xtreme udpos": {"tokens": List(TEXT), "pos_tags": List(ClassLabel(names=UPOS))},
    "google/xtreme PAN-X": {"tokens": List(TEXT), "ner_tags": List(ClassLabel(names=IOB2)), "langs": List(TEXT)},
    "google/xtreme bucc18": _TWO_SIDES,
    "google/xtreme tatoeba": _TWO_SIDES,
}


def push_repositories(server: HubServer, originals: Iterable[Original]) -> None:
    """Every repository with the splits of the originals; main has a card, the converted branch has none."""
    repositories: dict[tuple[str, str], dict[tuple[str, str], list[Row]]] = {}
    for original in originals:
        for hub_set, rows in _list_rows(original):
            tables = repositories.setdefault((hub_set.repo, hub_set.revision), {})
            known = tables.setdefault((hub_set.config, hub_set.split), [])
            if hub_set.id_prefix or not known:  # the languages of TyDiQA share a split
                known += rows
    for (repo, revision), tables in repositories.items():
        server.push(repo, lay_out(repo, revision, tables), revision)


def lay_out(repo: str, revision: str, tables: Mapping[tuple[str, str], list[Row]]) -> dict[str, bytes]:
    """The files of a repository: one of two per split, a card on main."""
    files = {}
    configs: dict[str, list[dict[str, str]]] = {}
    for (config, split), rows in tables.items():
        data = to_parquet(rows, SCHEMAS[max((key for key in SCHEMAS if f"{repo} {config}".startswith(key)), key=len)])
        files[
            f"{config}/{split}/0000.parquet" if revision == CONVERTED else f"{config}/{split}-00000-of-00001.parquet"
        ] = data
        configs.setdefault(config, []).append({"split": split, "path": f"{config}/{split}-*"})
    if revision != CONVERTED:
        card = {"configs": [{"config_name": name, "data_files": entries} for name, entries in configs.items()]}
        files["README.md"] = f"---\n{yaml.safe_dump(card)}---\n# {repo}\n".encode()
    return files


def to_parquet(rows: list[Row], schema: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    filled = [{column: row.get(column) for column in schema} for row in rows]
    Dataset.from_list(filled, features=Features(schema)).to_parquet(buffer)
    return buffer.getvalue()


def _list_rows(original: Original) -> Iterable[tuple[HubSet, list[Row]]]:
    language = original.name.partition(".")[2]
    members = [s for s in hub_sets(original.task, original.part, [language]) if s.name == original.name]
    for member, path in zip(members, original.paths, strict=False):
        if member.part == "snli":
            yield member, _snli_rows(path)
        elif member.part:
            task = "mnli" if member.part == "mnli" else "anli"
            yield member, _make_rows(Original(task, original.part, original.name, (path,)))
        else:
            yield member, _make_rows(original)


def _make_rows(original: Original) -> list[Row]:
    """Rows as the hub has them; columns that are not given here are null."""
    match original.task:
        case "cosmosqa":
            with open(original.paths[0], encoding="utf-8", newline="") as file:
                return [{**row, "label": int(row["label"])} for row in csv.DictReader(file)]
        case "bucc2018":
            return _bucc_rows(original)
        case "tatoeba":
            queries = {example.gold: example.query for example in original.read()}
            pairs = ((example.candidate, queries[i]) for i, example in enumerate(original.read()))
            # The hub's loader kept the line ends.
            return [
                {"source_sentence": foreign + "\n", "target_sentence": english + "\n"} for foreign, english in pairs
            ]
        case "tydiqa":
            return _tydiqa_rows(original)
    return [_make_row(original.task, number, example) for number, example in enumerate(original.read())]


def _make_row(task: str, number: int, example: Any) -> Row:
    match example:
        case Pair() if task == "qqp":
            return {
                "question1": example.text,
                "question2": example.second_text,
                "label": int(str(example.label)),
                "idx": number,
            }
        case Pair() if task == "pawsx":
            texts = {"sentence1": example.text, "sentence2": example.second_text}
            return {"id": int(example.id), **texts, "label": int(str(example.label))}
        case Pair():
            label = NLI.index(str(example.label))
            return {
                "uid": example.id,
                "premise": example.text,
                "hypothesis": example.second_text,
                "label": label,
                "idx": number,
            }
        case Choice() if task == "csqa":
            choices = {"label": list("ABCDE"), "text": list(example.endings)}
            return {
                "id": example.id,
                "question": example.context,
                "choices": choices,
                "answerKey": "ABCDE"[example.label],
            }
        case Choice():
            row = {"ind": int(example.id), "ctx": example.context, "endings": list(example.endings)}
            return {**row, "label": str(example.label)}
        case Question():
            answers = {
                "text": [answer.text for answer in example.answers],
                "answer_start": [answer.start for answer in example.answers],
            }
            # The loaders of XQuAD, MLQA and TyDiQA cut contexts and left the offsets as they were.
            context = example.context if task.startswith("squad") else example.context.strip()
            return {"id": example.id, "context": context, "question": example.question, "answers": answers}
        case Sentence():
            column = "pos_tags" if task == "udpos" else "ner_tags"
            return {"tokens": list(example.words), column: list(example.tags)}
    raise AssertionError(example)


def _snli_rows(path: Path) -> list[Row]:
    labels = {name: number for number, name in enumerate(NLI)} | {"-": -1}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        {"premise": row["sentence1"], "hypothesis": row["sentence2"], "label": labels[row["gold_label"]]}
        for row in rows
    ]


def _bucc_rows(original: Original) -> list[Row]:
    lines = {line.id: line for line in original.read()}
    return [
        {
            "source_sentence": line.text,
            "target_sentence": lines[partner].text,
            "source_lang": line.id,
            "target_lang": partner,
        }
        for line in lines.values()
        for partner in line.partners
    ]


def _tydiqa_rows(original: Original) -> list[Row]:
    """The rows of a language; for training also rows of another one, as the hub's only set has them."""
    rows = [_make_row("tydiqa", number, example) for number, example in enumerate(original.read())]
    if original.name != "train.en":
        return rows
    rows = [{**row, "id": f"english-{row['id']}"} for row in rows]
    return [{**rows[0], "id": "finnish-1"}, *rows, {**rows[1], "id": "korean--2"}]
