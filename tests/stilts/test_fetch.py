"""Fetching: what the manifest says, that damage shows at once, that nothing half-written stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stilts.data.fetch import fetch_data
from stilts.data.fetched import Fetched
from stilts.data.texts import task_texts
from stilts.errors import UserError
from stilts.runs import file_digest

TOY = [("text", "train"), ("mnli", "train"), ("squad1", "train"), ("hellaswag", "train"), ("xnli", "train"),
       ("squad", "train"), ("udpos", "train"), ("xnli", "scored"), ("xquad", "scored"), ("udpos", "scored"),
       ("tatoeba", "scored")]  # fmt: skip
SIZES = {"train": 12, "dev": 8, "test": 6}


def config(task: str, part: str, suite: str = "xtreme", **more: Any) -> dict[str, Any]:
    return {"kind": "data", "suite": suite, "task": task, "part": part, **more}


@pytest.mark.parametrize(("task", "part"), TOY)
def test_toy_data_of_every_task(tmp_path: Path, task: str, part: str) -> None:
    languages = ["qaa", "qab", "qac"] + ["en"] * (task != "tatoeba")
    more = {"languages": languages} if part == "scored" else {}
    manifest = fetch_data(config(task, part, "toy", toy={"sizes": SIZES}, **more), None, tmp_path / "data")
    expected = {"train": ["train.en", "dev.en"], "scored": [f"{s}.{x}" for x in languages for s in ("dev", "test")]}[
        part
    ]
    expected = {"text": ["train.mul"], "xquad": [f"test.{x}" for x in languages],
                "tatoeba": [f"test.{x}" for x in languages]}.get(task, expected)  # fmt: skip
    assert list(manifest["sets"]) == expected
    assert json.loads((tmp_path / "data/manifest.json").read_text()) == manifest
    for name, files in manifest["sets"].items():
        assert manifest["counts"][name] == {"examples": SIZES[name.partition(".")[0]], "skipped": 0}
        for file in files:
            path = tmp_path / "data" / file["path"]
            assert not Path(file["path"]).is_absolute()
            assert (path.stat().st_size, file_digest(path)) == (file["bytes"], file["sha256"])


def test_toy_data_is_the_same_again_and_another_with_another_seed(tmp_path: Path) -> None:
    digests = [
        fetch_data(config("mnli", "train", "toy", toy=toy | {"sizes": SIZES}), None, tmp_path / str(number))["digest"]
        for number, toy in enumerate(({}, {"seed": 0}, {"seed": 1}))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_real_files_stay_where_they_are(data_root: Path, tmp_path: Path) -> None:
    manifest = fetch_data(config("xnli", "scored", languages=["de", "th"]), data_root, tmp_path / "data")
    assert manifest["counts"]["test.th"] == {"examples": 50, "skipped": 0}
    assert Path(manifest["sets"]["dev.de"][0]["path"]) == (data_root / "xnli/xtreme/dev-de.tsv").resolve()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["manifest.json"]


def test_skipped_and_unlabelled_and_absent_are_in_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "mnli/MNLI").mkdir(parents=True)
    for name in ("train", "dev_matched"):
        rows = "pairID\tsentence1\tsentence2\tgold_label\n1\ta\tb\t-\n2\ta\tb\tneutral\n"
        (tmp_path / f"mnli/MNLI/{name}.tsv").write_text(rows)
    manifest = fetch_data(config("mnli", "train"), tmp_path, tmp_path / "out")
    assert manifest["counts"]["train.en"] == {"examples": 1, "skipped": 1}
    (tmp_path / "xnli").mkdir()
    for language, split, row in (
        ("fr", "dev", "a\tb\tneutral"),
        ("fr", "test", "a\tb"),
        ("ru", "dev", "a\tb\tneutral"),
    ):
        (tmp_path / f"xnli/{split}-{language}.tsv").write_text(row + "\n")
    manifest = fetch_data(config("xnli", "scored", languages=["fr", "ru"]), tmp_path, tmp_path / "out")
    assert (manifest["unlabelled"], manifest["absent"]) == (["test.fr"], ["test.ru"])


def test_damage_in_any_file_leaves_no_trace(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "xnli").mkdir(parents=True)
    for language in ("de", "fr"):
        (root / f"xnli/dev-{language}.tsv").write_text("a\tb\tneutral\na\tb\tno\n")
    out = tmp_path / "run/data"
    with pytest.raises(UserError) as caught:
        fetch_data(config("xnli", "scored", languages=["de", "fr"]), root, out)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        f"{root}/xnli/dev-{language}.tsv:2" for language in ("de", "fr")
    ]
    assert list(out.parent.iterdir()) == []


def test_an_older_folder_survives_a_failure_and_gives_way_to_success(data_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    fetch_data(config("mnli", "train"), data_root, out)
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(UserError):
        fetch_data(config("xnli", "scored", languages=["fr"]), data_root, out)
    assert (out / "manifest.json").read_bytes() == before
    fetch_data(config("hellaswag", "train"), data_root, out)
    assert Fetched.load(out).manifest["task"] == "hellaswag"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_no_data_root_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mnli: no data root"):
        fetch_data(config("mnli", "train"), None, tmp_path / "data")


def test_changed_and_vanished_files_are_noticed(data_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(data_root / "hellaswag", root / "hellaswag", copy_function=shutil.copyfile)
    root.joinpath("hellaswag").chmod(0o755)
    fetch_data(config("hellaswag", "train"), root, tmp_path / "data")
    fetched = Fetched.load(tmp_path / "data")
    with open(root / "hellaswag/hellaswag_val.jsonl", "a") as file:
        file.write("\n")
    (root / "hellaswag/hellaswag_train.jsonl").unlink()
    with pytest.raises(UserError, match=r"hellaswag_val.jsonl: has changed since it was fetched for dev.en"):
        fetched.read("dev.en")
    with pytest.raises(UserError, match=r"hellaswag_train.jsonl: was fetched for train.en and is gone"):
        fetched.read("train.en")
    with pytest.raises(UserError, match="no fetched data in it"):
        Fetched.load(tmp_path)


def test_texts_of_every_family(tmp_path: Path) -> None:
    """Training text alone; each context once, before its questions."""
    texts = {}
    for task in ("text", "mnli", "squad1", "hellaswag", "udpos"):
        fetch_data(config(task, "train", "toy", toy={"sizes": SIZES}), None, tmp_path / task)
        texts[task] = list(task_texts(tmp_path / task))
    assert {task: len(pairs) for task, pairs in texts.items()} == {
        "text": 12, "mnli": 12, "squad1": 24, "hellaswag": 12, "udpos": 12}  # fmt: skip
    rows = (tmp_path / "text/text/train.tsv").read_text().splitlines()
    assert texts["text"] == [tuple(row.split("\t")[1:]) for row in rows]
    fetch_data(config("tatoeba", "scored", "toy", toy={"sizes": SIZES}, languages=["qaa"]), None, tmp_path / "tatoeba")
    assert len(list(task_texts(tmp_path / "tatoeba"))) == 6


def test_shared_contexts_come_once(data_root: Path, tmp_path: Path) -> None:
    fetch_data(config("squad1", "train"), data_root, tmp_path / "data")
    texts = list(task_texts(tmp_path / "data"))
    assert len(texts) == len(set(texts)) or len(texts) < 2 * 975
    contexts = [text for text, _ in texts if len(text) > 200]
    assert len(contexts) == len(set(contexts)) > 100
