"""A data root with every task, and a grid for it: the real slices, and stand-ins for sets that may not be passed on.

SNLI and QQP are made of real sentence pairs of other slices (MNLI, PAWS-X), written in the two releases' own formats.
CCG is the slices' stand-in of the same kind of input.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from stilts.data.languages import LANGUAGES as LANGUAGES_BY_CODE
from stilts.data.sentences import split_sentences

# PAWS-X in XTREME's layout alone: the slice of the original one has 49 training pairs.
LINKED = {
    "anli/anli_v1.0",
    "bucc2018",
    "ccg_standin_pmb",
    "commonsenseqa",
    "cosmosqa",
    "hellaswag",
    "mlqa",
    "mnli/MNLI",
    "panx/xtreme",
    "pawsx/xtreme",
    "squad_v1.1",
    "tatoeba",
    "tydiqa_goldp",
    "udpos",
    "xnli",
    "xquad",
}

# Languages that the slices have labelled sets of.
LANGUAGES = {
    "xnli": ["de", "en", "sw", "zh"],
    "pawsx": ["de", "en", "ko", "zh"],
    "udpos": ["de", "en", "zh"],
    "panx": ["de", "en", "sw", "zh"],
    "xquad": ["de", "en", "zh"],
    "mlqa": ["de", "en", "zh"],
    "tydiqa": ["en", "fi", "ko", "sw", "te"],
    "bucc2018": ["zh"],
    "tatoeba": ["de", "sw", "zh"],
}
# Languages with text for masked language modelling.
MLM_LANGUAGES = ["de", "en", "sw", "zh"]

_TRAINING = {
    "precision": "fp32",
    "learning_rate": 2e-3,
    "batch_size": 16,
    "max_length": 128,
    "epochs": 4,
    "max_examples": 160,
    "selection": {"points": 2, "examples": 20},
}

# Every task, on a small encoder: the baseline and the mixture of nine on all targets; the nine single tasks, two
# translated ones and a mixture with masked language modelling on one or two that are cheap to score.
GRID: dict[str, Any] = {
    "name": "real-slices",
    "suite": "xtreme",
    "languages": LANGUAGES,
    "axes": {"model": "scratch", "intermediate": ["none", "all"], "target": "all", "seed": [1]},
    "include": [
        {"intermediate": "each", "target": "tatoeba"},
        {"intermediate": [["mnli", "squad1"]], "mlm": True, "target": ["xnli", "tatoeba"]},
        {"intermediate": ["mnli", "squad1"], "translated": True, "target": "tatoeba"},
    ],
    "pretrain": {
        "text": ["mnli", "squad1", "hellaswag", "xnli", "xquad", "udpos", "tatoeba", "ccg"],
        "tokenizer": "unigram",
        "vocabulary": 6000,
        "layers": 2,
        "hidden": 64,
        "heads": 2,
        "feed_forward": 128,
        "steps": 20,  # for a head of masked language modelling that is not a fresh one
    },
    "mlm": {"languages": MLM_LANGUAGES, "sentences": 600, "batch_size": 16, "epochs": 2, "max_length": 64},
    "translation": {"languages": ["de"], "shards": 2, "max_length": 24},  # with a `model` beside the data root
    # Sentence pairs take longest until a loss falls; several endings make several sequences.
    "intermediate": {
        **_TRAINING,
        "tasks": {
            **{key: {"epochs": 8} for key in ("anli", "mnli", "qqp")},
            **{key: {"max_length": 64} for key in ("cosmosqa", "csqa", "hellaswag")},
        },
    },
    "target": {**_TRAINING, "tasks": {key: {"epochs": 8} for key in ("xnli", "pawsx")}},
    "retrieval": {"max_length": 128, "sweep": True},
}


def build_root(slices: Path, out: Path) -> Path:
    """Fill the folder `out` with links to the slices and with the stand-ins; returns it."""
    for name in sorted(LINKED):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).symlink_to(slices / name)
    (out / "squad_v2.0").mkdir()
    for name, source in (
        ("train", "train-v2.0-mixed"),
        ("dev", "dev-v2.0"),
    ):  # the other training slice has answers alone
        (out / "squad_v2.0" / f"{name}-v2.0.json").symlink_to(slices / "squad_v2.0" / f"{source}.json")
    write_snli(slices, out / "snli_1.0")
    write_qqp(slices, out / "QQP")
    write_texts(slices, out / "mlm")
    return out


def write_texts(slices: Path, out: Path) -> None:
    """`<language>.txt`, one sentence a line: the contexts of XQuAD, of which Swahili has none, and Tatoeba's."""
    out.mkdir(parents=True)
    for language in MLM_LANGUAGES:
        path = slices / "xquad" / f"xquad.{language}.json"
        if path.is_file():
            articles = json.loads(path.read_text(encoding="utf-8"))["data"]
            contexts = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
            lines = [sentence for context in contexts for sentence in split_sentences(context)]
        else:
            code = LANGUAGES_BY_CODE[language].tatoeba
            text = (slices / "tatoeba" / "v1" / f"tatoeba.{code}-eng.{code}").read_text(encoding="utf-8")
            lines = text.splitlines()
        (out / f"{language}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_snli(slices: Path, out: Path) -> None:
    """`snli_1.0_{train,dev}.jsonl` from the MNLI slice, with one pair that has no gold label."""
    out.mkdir(parents=True)
    with open(slices / "mnli" / "MNLI" / "train.tsv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for split, part in (("train", rows[:200]), ("dev", rows[200:])):
        lines = [
            {
                "gold_label": "-" if number == 3 else row["gold_label"],
                "pairID": f"{split}.{number}",
                "sentence1": row["sentence1"],
                "sentence2": row["sentence2"],
            }
            for number, row in enumerate(part)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (out / f"snli_1.0_{split}.jsonl").write_text(text, encoding="utf-8")


def write_qqp(slices: Path, out: Path) -> None:
    """GLUE's `train.tsv` and `dev.tsv` from English PAWS-X pairs."""
    out.mkdir(parents=True)
    lines = (slices / "pawsx" / "xtreme" / "train-en.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    for split, part in (("train", rows[:600]), ("dev", rows[600:])):
        text = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
        for number, (first, second, label) in enumerate(part):
            text += f"{number}\t{2 * number}\t{2 * number + 1}\t{first}\t{second}\t{label}\n"
        (out / f"{split}.tsv").write_text(text, encoding="utf-8")
