"""Random small trees of runs with metric files: complete, doubtful and damaged ones, and changes to such trees."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

from tests.aggregate.metric_tree import BASELINE, LANGUAGES, MNLI, make_document

RUNS = ("target-a", "target-b", "retrieval-c", "intermediate-d")
PLACES = (("pawsx", "dev"), ("pawsx", "test"), ("xquad", "dev"), ("xquad", "test"), ("bucc2018", "dev"))
PLANNED = {"target-a": {"pawsx", "xquad"}, "retrieval-c": {"bucc2018"}}


def make_text(numbers: random.Random) -> str:
    """One file; values come from few, so that copies agree as often as they contradict each other."""
    target, split = numbers.choice(PLACES)
    names = {"xquad": ("f1", "exact_match"), "pawsx": ("accuracy",)}.get(target, ("f1",))
    metrics = {name: numbers.choice([50.0, 62.5]) for name in names} | numbers.choice([{}, {}, {"loss": 0.5}])
    # Which of two planned runs fills a cell that neither is named for is nobody's promise.
    runs = [run for run in RUNS if target in PLANNED.get(run, {target})]
    changes: dict[str, Any] = {
        "run": numbers.choice(runs),
        "split": split,
        "seed": numbers.choice([1, 1, 2, None]),
        "layer": numbers.choice([None, None, None, 7]),
        "intermediate": numbers.choice([BASELINE, MNLI]),
        "variant": numbers.choice(["", "target.epochs=3"]),
        "provenance": numbers.choice([{}, {"recipe": "aa"}, {"recipe": "bb"}, {"caveat": "other text"}]),
        "suite": numbers.choice(["xtreme"] * 9 + ["toy"]),
        "stage": numbers.choice(["target"] * 5 + ["intermediate"]),
    }
    document = make_document(target, numbers.choice(LANGUAGES[target][:3]), metrics, **changes)
    plain = {"model": "xlm-roberta-large", "draw": None, "layer": None}
    text = json.dumps(plain | document if numbers.random() < 0.7 else document)
    damage = numbers.random()
    return text if damage > 0.1 else numbers.choice([text[:-9], "{}", text.replace("50.0", "150.0"), "[1]"])


def list_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.json") if path.is_file())


def write_tree(root: Path, numbers: random.Random, files: int) -> None:
    for run in RUNS:
        (root / run / "metrics").mkdir(parents=True)
        for _ in range(numbers.randrange(3)):
            change_run(root, numbers)
    for _ in range(files):
        add_file(root, numbers)


def add_file(root: Path, numbers: random.Random) -> None:
    folder = root / numbers.choice([*(f"{run}/metrics" for run in RUNS), "loose/deep", "."])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{numbers.randrange(40)}.json").write_text(make_text(numbers))


def change_run(root: Path, numbers: random.Random) -> None:
    """A run begins, is done, is done again with another output, is built on another one, or loses its marker."""
    name = numbers.choice(RUNS)
    folder = root / name
    folder.mkdir(exist_ok=True)
    done = {"output": numbers.choice("xy"), "needs": {other: "x" for other in RUNS[3:] if other != name}}
    what = numbers.choice(["spec", "done", "done", "cut", "gone", "no spec"])
    if what == "spec":
        (folder / "run.json").write_text(json.dumps({"id": name}))
    elif what in ("done", "cut"):
        text = json.dumps(done)
        (folder / "DONE").write_text(text if what == "done" else text[:-2])
    else:
        (folder / ("DONE" if what == "gone" else "run.json")).unlink(missing_ok=True)


def change_tree(root: Path, numbers: random.Random) -> None:
    """One of the things that people and programs do to files."""
    what = numbers.choice(["add", "run", "edit", "quiet edit", "remove", "rename", "swap", "mode", "touch", "folders"])
    files = list_files(root)
    if what == "add" or not files:
        add_file(root, numbers)
    elif what == "run":
        change_run(root, numbers)
    elif what == "folders":
        _swap(*(root / name for name in numbers.sample(RUNS, 2)))
    elif what == "swap":
        _swap(numbers.choice(files), numbers.choice(files))
    else:
        _change_file(numbers.choice(files), what, numbers)


def _change_file(path: Path, what: str, numbers: random.Random) -> None:
    if what == "edit":
        path.write_text(make_text(numbers))
    elif what == "quiet edit":
        status, text = path.stat(), path.read_text()
        path.write_text(text.replace("50.0", "62.5") if "50.0" in text else text.replace("62.5", "50.0"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif what == "remove":
        path.unlink()
    elif what == "rename":
        path.rename(path.with_name(f"{numbers.randrange(40)}.json"))
    elif what == "mode":
        path.chmod(numbers.choice([0o600, 0o644]))
    else:
        os.utime(path)


def _swap(one: Path, other: Path) -> None:
    if one == other or not one.exists() or not other.exists():
        return
    aside = one.with_name("aside")
    shutil.move(one, aside)
    shutil.move(other, one)
    shutil.move(aside, other)
