"""Campaign roots whose runs have predictions with score columns, and the metric files that follow from them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aggregate.submissions.predictions import score_set
from stilts.tasks.catalogue import task_family
from stilts.tasks.families import finish_tables
from tests.aggregate.metric_tree import LANGUAGES, ONE_SET, make_document
from tests.aggregate.prediction_tree import SCHEMAS

Rows = list[dict[str, Any]]
SHARED_IDS = ("xnli", "pawsx", "xquad", "mlqa")
TAGS = ["NOUN", "VERB", "ADJ", "CCONJ", "SYM"]
ENTITIES = ["O", "B-LOC", "I-LOC", "B-PER"]


def make_rows(task: str, language: str, skill: float, dice: random.Random, count: int) -> Rows:
    """`count` examples of a language, the same in every run, with what a run of this skill (0 to 1) says of them."""
    gold = random.Random(f"{task} {language}")
    rows: Rows = []
    for number in range(count):
        # Of mlqa every language has some of the questions.
        if task == "mlqa" and random.Random(f"{number} {language}").random() < 0.4 and number:
            continue
        name = f"q{number}" if task in SHARED_IDS else f"{language}-{number}"
        rows.append({"language": language, "id": name} | make_example(task, number, count, skill, gold, dice))
    return rows if task != "bucc2018" else make_pairs(language, skill, dice, count)


def make_example(
    task: str, number: int, count: int, skill: float, gold: random.Random, dice: random.Random
) -> dict[str, Any]:
    right = dice.random() < skill
    match task_family(task):
        case "tagging":
            known = TAGS if task == "udpos" else ENTITIES
            tags = [gold.choice(known) for _ in range(gold.randint(1, 6))]
            said = [tag if dice.random() < skill else dice.choice(known) for tag in tags]
            return {"words": ["w"] * len(tags), "tags": tags, "predictions": said}
        case "span":
            answer = " ".join(gold.choices(["red", "green", "blue", "old"], k=gold.randint(1, 3)))
            guess = answer if right else dice.choice(["red old", "blue", ""])
            return {"answers": [answer], "prediction": guess, "score": 1.0, "null_score": 0.0}
        case "retrieval":
            return {"gold": number, "prediction": number if right else (number + 1) % count, "score": 0.5}
        case "mining":
            return {}
        case _:
            labels = ["0", "1"] if task == "pawsx" else ["contradiction", "entailment", "neutral"]
            label = gold.choice(labels)
            wrong = dice.choice([other for other in labels if other != label])
            return {"label": label, "prediction": label if right else wrong, "scores": [0.0]}


def make_pairs(language: str, skill: float, dice: random.Random, count: int) -> Rows:
    """Of each gold pair whether it was mined, beside wrong pairs with lower scores, some of the same sentences."""
    rows: Rows = []
    for number in range(count):
        pair = {"language": language, "foreign_id": f"f{number}", "english_id": f"e{number}"}
        mined = dice.random() < skill
        rows.append(pair | {"score": 1.0 + dice.random() if mined else None, "gold": True})
        if not mined:
            rows.append(pair | {"english_id": f"e{number + count}", "score": 0.9 + dice.random() / 3, "gold": False})
    return rows


def write_run(results: Path, run: str, task: str, rows: Rows, split: str, **labels: Any) -> None:
    """A run's predictions, and a metric file for each language."""
    table = pa.Table.from_pylist(rows)
    for name, kind in SCHEMAS.items():
        if name in table.column_names:
            wanted = pa.bool_() if name == "gold" and task == "bucc2018" else kind
            table = table.set_column(table.column_names.index(name), name, table[name].cast(wanted))
    languages = list(dict.fromkeys(row["language"] for row in rows))
    sets = {f"{split}.{one}": table.filter(pa.compute.equal(table["language"], one)) for one in languages}
    sets = finish_tables(task_family(task), task, sets)
    folder = results / run
    for name in ("metrics", "predictions"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(sets.values()), folder / "predictions" / f"{task}.{split}.parquet")
    for language in languages:
        scored = score_set(sets[f"{split}.{language}"], task)
        assert scored is not None
        document = make_document(task, language, scored[0], run=run, examples=scored[1], split=split, **labels)
        (folder / "metrics" / f"{task}.{split}.{language}.json").write_text(json.dumps(document))


def write_study(
    results: Path,
    skills: Mapping[str, float],
    tasks: Iterable[str] = tuple(LANGUAGES),
    seeds: Sequence[int] = (1, 2),
    count: int = 8,
    languages: int = 3,
) -> None:
    """A row for each name of `skills` (`none`, `single mnli`), with the first languages of each target. What needs no
    target training is one run for all seeds of the baseline."""
    kept = {task: LANGUAGES[task][:languages] for task in tasks}
    expected = []
    for name, skill in skills.items():
        mode, *trained = name.split()
        runs: dict[str, dict[int, str]] = {}
        for task, own in kept.items():
            split = "test" if task in ONE_SET else "dev"
            lone = mode == "none" and task in ("tatoeba", "bucc2018")
            for seed in seeds:
                run = f"target-{task}-{'-'.join([mode, *trained])}{'' if lone else f'-s{seed}'}"
                runs.setdefault(task, {})[seed] = run
                if lone and seed != seeds[0]:
                    continue
                dice = random.Random(f"{run} 7")
                rows = [row for one in own for row in make_rows(task, one, skill + seed / 100, dice, count)]
                made = {"mode": mode, "tasks": trained, "mlm": False, "translated": False}
                write_run(results, run, task, rows, split, intermediate=made, seed=None if lone else seed)
        expected.append({"mode": mode, "tasks": trained, "runs": runs})
    targets = {task: {"test" if task in ONE_SET else "dev": own} for task, own in kept.items()}
    path = results / "campaign" / "grid.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"expected": {"targets": targets, "rows": expected}}))
