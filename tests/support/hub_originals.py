"""Sets of the original releases whose files are in the small real slices, or made here in their layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stilts.data.readers import read_set


@dataclass(frozen=True)
class Original:
    """A set of the original release: the task that reads it, and its files."""

    task: str
    part: str
    name: str
    paths: tuple[Path, ...]

    def read(self) -> list[Any]:
        return read_set(self.task, self.name, self.paths).examples


def list_originals(root: Path, made: Path) -> list[Original]:
    """Sets whose files are at hand below `root`; `made` holds what the slices lack (QQP, SNLI)."""
    anli = [root / f"anli/anli_v1.0/{number}" for number in ("R1", "R2", "R3")]
    mnli, squad1, squad2 = root / "mnli/MNLI", root / "squad_v1.1", root / "squad_v2.0"
    tydiqa = root / "tydiqa_goldp"
    bucc = tuple(root / f"bucc2018/zh-en.dev.{end}" for end in ("zh", "en", "gold"))
    rows: list[tuple[str, str, str, tuple[Path, ...]]] = [
        (
            "anli",
            "train",
            "train.en",
            (*(f / "train.jsonl" for f in anli), mnli / "train.tsv", made / "snli_train.jsonl"),
        ),
        (
            "anli",
            "train",
            "dev.en",
            (*(f / "dev.jsonl" for f in anli), mnli / "dev_trainlayout.tsv", made / "snli_dev.jsonl"),
        ),
        ("mnli", "train", "train.en", (mnli / "train.tsv",)),
        ("mnli", "train", "dev.en", (mnli / "dev_trainlayout.tsv",)),
        ("qqp", "train", "train.en", (made / "train.tsv",)),
        ("qqp", "train", "dev.en", (made / "dev.tsv",)),
        ("squad1", "train", "train.en", (squad1 / "train-v1.1.json",)),
        ("squad1", "train", "dev.en", (squad1 / "dev-v1.1.json",)),
        ("squad", "train", "train.en", (squad1 / "train-v1.1.json",)),
        ("squad", "train", "dev.en", (squad1 / "dev-v1.1.json",)),
        ("squad2", "train", "train.en", (squad2 / "train-v2.0-mixed.json",)),
        ("squad2", "train", "dev.en", (squad2 / "dev-v2.0.json",)),
        ("hellaswag", "train", "train.en", (root / "hellaswag/hellaswag_train.jsonl",)),
        ("hellaswag", "train", "dev.en", (root / "hellaswag/hellaswag_val.jsonl",)),
        ("cosmosqa", "train", "train.en", (root / "cosmosqa/train.csv",)),
        ("cosmosqa", "train", "dev.en", (root / "cosmosqa/valid.csv",)),
        ("csqa", "train", "train.en", (root / "commonsenseqa/train_rand_split.jsonl",)),
        ("csqa", "train", "dev.en", (root / "commonsenseqa/dev_rand_split.jsonl",)),
        ("xnli", "train", "train.en", (root / "xnli/XNLI-1.0_fixture/multinli.train.en.tsv",)),
        ("xnli", "train", "dev.en", (root / "xnli/xtreme/dev-en.tsv",)),
        ("xnli", "scored", "dev.de", (root / "xnli/xtreme/dev-de.tsv",)),
        ("xnli", "scored", "test.de", (root / "xnli/test_labelled/test-de.tsv",)),
        ("pawsx", "train", "train.en", (root / "pawsx/x-final/en/train.tsv",)),
        ("pawsx", "train", "dev.en", (root / "pawsx/x-final/en/dev_2k.tsv",)),
        ("pawsx", "scored", "dev.de", (root / "pawsx/x-final/de/dev_2k.tsv",)),
        ("pawsx", "scored", "test.de", (root / "pawsx/x-final/de/test_2k.tsv",)),
        ("udpos", "train", "train.en", (root / "udpos/xtreme/train-en.tsv",)),
        ("udpos", "train", "dev.en", (root / "udpos/xtreme/dev-en.tsv",)),
        ("udpos", "scored", "test.yo", (root / "udpos/xtreme/test-yo.tsv",)),
        ("panx", "train", "train.en", (root / "panx/xtreme/train-en.tsv",)),
        ("panx", "train", "dev.en", (root / "panx/xtreme/dev-en.tsv",)),
        ("panx", "scored", "dev.sw", (root / "panx/panx_dataset_fixture/sw/dev",)),
        ("panx", "scored", "test.sw", (root / "panx/panx_dataset_fixture/sw/test",)),
        ("xquad", "scored", "test.zh", (root / "xquad/xquad.zh.json",)),
        ("mlqa", "scored", "dev.de", (root / "mlqa/MLQA_V1/dev/dev-context-de-question-de.json",)),
        ("mlqa", "scored", "test.de", (root / "mlqa/MLQA_V1/test/test-context-de-question-de.json",)),
        ("tydiqa", "train", "train.en", (tydiqa / "tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json",)),
        ("tydiqa", "train", "dev.en", (tydiqa / "tydiqa-goldp-v1.1-dev/tydiqa.goldp.en.dev.json",)),
        ("tydiqa", "scored", "test.fi", (tydiqa / "tydiqa-goldp-v1.1-dev/tydiqa.goldp.fi.dev.json",)),
        ("tydiqa", "scored", "test.ko", (tydiqa / "tydiqa-goldp-v1.1-dev/tydiqa.goldp.ko.dev.json",)),
        ("bucc2018", "scored", "dev.zh", bucc),
        ("bucc2018", "scored", "test.zh", bucc),
        ("tatoeba", "scored", "test.sw", tuple(root / f"tatoeba/v1/tatoeba.swh-eng.{end}" for end in ("swh", "eng"))),
    ]
    return [Original(*row) for row in rows]


def write_made_files(made: Path) -> None:
    """QQP in GLUE's layout and SNLI in its own, with pairs that have no gold label."""
    made.mkdir(parents=True, exist_ok=True)
    for name in ("train", "dev"):
        qqp = ["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"]
        qqp += [f'{i}\t{i}a\t{i}b\t How old is "{name}" {i}?\tWhat age has {name} {i} ?\t{i % 3 % 2}' for i in range(9)]
        (made / f"{name}.tsv").write_text("\n".join(qqp) + "\n", encoding="utf-8")
        snli = [
            {"pairID": f"{name}-{i}", "sentence1": f"A man {i}.", "sentence2": f" He is {i}. ", "gold_label": label}
            for i, label in enumerate(["entailment", "neutral", "contradiction", "-", "neutral"])
        ]
        (made / f"snli_{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in snli), encoding="utf-8")
