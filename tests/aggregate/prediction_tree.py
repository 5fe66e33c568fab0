"""Campaign roots with made-up stored predictions of all nine targets, in the columns that the task families write."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.aggregate.submission_tree import file_of, list_languages, squad

MODEL = "xlm-roberta-large"
QA = ("xquad", "mlqa", "tydiqa")
LABELS = {
    "xnli": "contradiction entailment neutral".split(),
    "pawsx": ["0", "1"],
    "udpos": "NOUN VERB CCONJ SCONJ SYM INTJ X".split(),
    "panx": "O B-LOC I-LOC B-PER I-PER".split(),
}
# Articles, punctuation and scripts that the rules of SQuAD and MLQA treat in different ways.
WORDS = "the a der die una las الكتاب của 北京 大学, Rome; 1920 «year» $5 ก้าว".split()
RUNS = {
    "target-squad": ("xquad", "mlqa"),
    **{f"target-{target}": (target,) for target in (*LABELS, "tydiqa")},
    **{f"retrieval-{target}": (target,) for target in ("tatoeba", "bucc2018")},
}


def make_rows(task: str, language: str, dice: random.Random, labelled: bool = True) -> list[dict[str, Any]]:
    """Rows of one language as `decode` writes them, right about two times in three."""
    if task == "bucc2018":
        return make_pairs(language, dice, labelled)
    count = dice.randint(4, 7)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        row: dict[str, Any] = {"language": language, "id": f"{language}-{number}"}
        if task == "tatoeba":
            gold = (number * 3 + 1) % count if count % 3 else number
            row |= {"gold": gold, "prediction": guess(gold, range(count), dice), "score": dice.random()}
        elif task in QA:
            answers = [" ".join(dice.choices(WORDS, k=dice.randint(1, 4))) for _ in range(dice.randint(1, 3))]
            said = guess(answers[0], [" ".join(dice.choices(WORDS, k=3)), ""], dice)
            row |= {"answers": answers, "prediction": said, "score": dice.random(), "null_score": dice.random()}
        elif task in ("udpos", "panx"):
            tags = dice.choices(LABELS[task], k=dice.randint(1, 9))
            words = [f"w{place}" for place in range(len(tags))]
            row |= {"words": words, "tags": tags, "predictions": [guess(tag, LABELS[task], dice) for tag in tags]}
        else:
            label = dice.choice(LABELS[task])
            row |= {"label": label, "prediction": guess(label, LABELS[task], dice), "scores": [dice.random()]}
        if not labelled:
            row |= {name: None for name in ("gold", "answers", "tags", "label") if name in row}
        rows.append(row)
    return rows


def make_pairs(language: str, dice: random.Random, labelled: bool) -> list[dict[str, Any]]:
    """Mined pairs by falling score, good ones mostly first, then two gold pairs that were not mined."""
    rows = []
    for number in range(12):
        score = None if number >= 10 else 1.3 - number / 20
        gold = dice.random() < (0.8 if number < 5 else 0.3) or number in (0, 10, 11)
        names = {"foreign_id": f"{language}-{number:03}", "english_id": f"en-{dice.randint(0, 999):03}"}
        rows.append({"language": language, **names, "score": score, "gold": gold if labelled else None})
    return rows if labelled else rows[:10]


def guess(right: Any, others: Iterable[Any], dice: random.Random) -> Any:
    return right if dice.random() < 0.67 else dice.choice(list(others))


SCHEMAS = {
    "label": pa.string(),
    "gold": pa.int64(),
    "answers": pa.list_(pa.string()),
    "tags": pa.list_(pa.string()),
}


def write_predictions(run: Path, task: str, split: str, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows)
    for name, kind in SCHEMAS.items():
        if name in table.column_names:
            wanted = pa.bool_() if name == "gold" and task == "bucc2018" else kind
            table = table.set_column(table.column_names.index(name), name, table[name].cast(wanted))
    (run / "predictions").mkdir(parents=True, exist_ok=True)
    pq.write_table(table, run / "predictions" / f"{task}.{split}.parquet")


def make_run(results: Path, name: str, tasks: Iterable[str], seed: int = 1, labelled: bool = True) -> Path:
    """A finished run with test predictions of all languages, and dev ones of BUCC."""
    dice = random.Random(f"{name} {seed}")
    run = results / name
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"schema": "stilts.run/1", "id": name, "config": {"seed": seed}}))
    (run / "DONE").write_text(json.dumps({"schema": "stilts.done/1", "run": name, "output": "x", "needs": {}}))
    for task in tasks:
        for split in ("dev", "test") if task == "bucc2018" else ("test",):
            known = labelled or split == "dev"
            rows = [row for language in list_languages(task) for row in make_rows(task, language, dice, known)]
            write_predictions(run, task, split, rows)
    return run


def write_campaign(results: Path, rows: list[dict[str, Any]]) -> None:
    """The resolved grid that names the runs of each row."""
    path = results / "campaign" / "grid.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"name": "made", "expected": {"suite": "xtreme", "rows": rows}}))


def grid_row(runs: dict[str, dict[int, str]], mode: str = "none", tasks: Iterable[str] = ()) -> dict[str, Any]:
    return {"model": MODEL, "mode": mode, "tasks": list(tasks), "runs": runs}


def write_labels_of(run: Path, task: str, folder: Path) -> None:
    """Labels in XTREME's layout from the gold columns of stored predictions."""
    rows = pq.read_table(run / "predictions" / f"{task}.test.parquet").to_pylist()
    for language in list_languages(task):
        own = [row for row in rows if row["language"] == language]
        file_of(folder, task, language).write_text(format_labels(task, own))


def format_labels(task: str, rows: list[dict[str, Any]]) -> str:
    if task in QA:
        return squad({row["id"]: row["answers"] for row in rows})
    if task in ("udpos", "panx"):
        return "\n".join("".join(f"{tag}\n" for tag in row["tags"]) for row in rows)
    if task == "bucc2018":
        return "".join(f"{row['foreign_id']}\t{row['english_id']}\n" for row in rows if row["gold"])
    return "".join(f"{row['gold' if task == 'tatoeba' else 'label']}\n" for row in rows)
