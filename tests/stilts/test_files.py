"""Which files serve which set: the slices, other layouts, and what is said of what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stilts.data.files import LAYOUTS, find_files
from stilts.errors import UserError
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TRAININGS, splits


def touch(root: Path, *names: str, text: str = "x\ty\tneutral\n") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_every_ready_task_has_layouts() -> None:
    for name in [*INTERMEDIATES, *TRAININGS]:
        if (INTERMEDIATES.get(name) or TRAININGS[name]).ready:
            assert all(LAYOUTS[name, split] for split in ("train", "dev")), name
    for name, target in TARGETS.items():
        if target.ready:
            assert all(LAYOUTS[name, split] for split in splits(name)), name


@pytest.mark.parametrize(
    ("task", "train", "dev"),
    [
        ("mnli", "mnli/MNLI/train.tsv", "mnli/MNLI/dev_trainlayout.tsv"),
        ("squad1", "squad_v1.1/train-v1.1.json", "squad_v1.1/dev-v1.1.json"),
        ("squad", "squad_v1.1/train-v1.1.json", "squad_v1.1/dev-v1.1.json"),
        ("hellaswag", "hellaswag/hellaswag_train.jsonl", "hellaswag/hellaswag_val.jsonl"),
        ("xnli", "mnli/MNLI/train.tsv", "xnli/xtreme/dev-en.tsv"),
        ("udpos", "udpos/UD_English-EWT/en_ewt-ud-train.conllu", "udpos/UD_English-EWT/en_ewt-ud-dev.conllu"),
    ],
)
def test_training_files_of_the_slices(data_root: Path, task: str, train: str, dev: str) -> None:
    found = find_files(task, "train", (), data_root)
    assert found.sets == {"train.en": [data_root / train], "dev.en": [data_root / dev]}


def test_labelled_files_serve_before_unlabelled(data_root: Path) -> None:
    found = find_files("xnli", "scored", ["de", "sw"], data_root)
    assert found.sets["test.de"] == [data_root / "xnli/test_labelled/test-de.tsv"]
    assert found.sets["dev.sw"] == [data_root / "xnli/xtreme/dev-sw.tsv"]
    assert (found.unlabelled, found.absent) == ([], [])


def test_splits_without_a_file_are_absent(data_root: Path) -> None:
    found = find_files("udpos", "scored", ["ar", "en", "yo"], data_root)
    assert sorted(found.sets) == ["dev.en", "test.ar", "test.en", "test.yo"]
    assert found.absent == ["dev.ar"]  # Yoruba has no development data in any release: nothing is absent there


def test_all_tatoeba_languages_are_in_the_slices(data_root: Path) -> None:
    languages = TARGETS["tatoeba"].languages
    found = find_files("tatoeba", "scored", languages, data_root)
    assert len(found.sets) == 36 and not found.absent
    assert [path.name for path in found.sets["test.zh"]] == ["tatoeba.cmn-eng.cmn", "tatoeba.cmn-eng.eng"]


@pytest.mark.parametrize(
    ("task", "name", "text"),
    [
        ("xnli", "xnli/test-fr.tsv", "Bonjour\tSalut\n"),
        ("udpos", "udpos/test-fr.tsv", "Bonjour\n.\n\n"),
    ],
)
def test_blanked_test_files_are_left_out_and_named(tmp_path: Path, task: str, name: str, text: str) -> None:
    touch(tmp_path, name.replace("test", "dev"), text="x\ty\tneutral\n" if task == "xnli" else "Bonjour\tINTJ\n")
    touch(tmp_path, name, text=text)
    found = find_files(task, "scored", ["fr"], tmp_path)
    assert (list(found.sets), found.unlabelled, found.absent) == (["dev.fr"], ["test.fr"], [])


@pytest.mark.parametrize(
    ("task", "files"),
    [
        ("xquad", {"xquad/xquad.fr.json": json.dumps({"data": [{"paragraphs": [{"context": "c", "qas": [
            {"id": "1", "question": "q", "answers": [{"answer_start": 0, "text": ""}]}]}]}]})}),
        ("tatoeba", {"tatoeba/fr-en.fr": "un\n", "tatoeba/fr-en.en": "one\n"}),
    ],
)  # fmt: skip
def test_a_language_with_blanked_files_alone_cannot_be_scored(tmp_path: Path, task: str, files: dict[str, str]) -> None:
    """XTREME empties XQuAD's answers and re-orders Tatoeba's English side."""
    for name, text in files.items():
        touch(tmp_path, name, text=text)
    with pytest.raises(UserError, match=f"{task} test.fr: only files without labels.*\n.*go on without fr"):
        find_files(task, "scored", ["fr"], tmp_path)


def test_treebanks_are_sorted_by_file_name(tmp_path: Path) -> None:
    names = ["udpos/UD_German-B/de_aaa-ud-train.conllu", "udpos/UD_German-A/de_zzz-ud-train-b-1.conllu",
             "udpos/UD_German-A/de_zzz-ud-train-a-1.conllu"]  # fmt: skip
    touch(tmp_path, *(name.replace("de_", "en_") for name in names), "udpos/UD_X/en_x-ud-dev.conllu", *names)
    touch(tmp_path, "udpos/train-en.tsv", "udpos/dev-en.tsv")
    found = find_files("udpos", "train", (), tmp_path)
    order = ["en_aaa-ud-train.conllu", "en_zzz-ud-train-a-1.conllu", "en_zzz-ud-train-b-1.conllu"]
    assert [path.name for path in found.sets["train.en"]] == order


def test_original_xnli_holds_all_languages_in_one_file(tmp_path: Path) -> None:
    text = "language\tgold_label\tsentence1\tsentence2\nar\tneutral\tx\ty\nde\tneutral\tx\ty\n"
    touch(tmp_path, "XNLI-1.0/xnli.dev.tsv", text=text)
    found = find_files("xnli", "scored", ["ar", "de"], tmp_path)
    path = tmp_path / "XNLI-1.0/xnli.dev.tsv"
    assert found.sets == {"dev.ar": [path], "dev.de": [path]}
    with pytest.raises(UserError, match=r"xnli dev.fr: no file"):
        find_files("xnli", "scored", ["ar", "fr"], tmp_path)


@pytest.mark.parametrize(
    "name", ["MNLI/train.tsv", "glue/MNLI/train.tsv", "mnli/multinli_1.0/multinli_1.0_train.jsonl"]
)
def test_other_places_of_mnli(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name, name.replace("train", "dev_matched"))
    assert find_files("mnli", "train", (), tmp_path).sets["train.en"] == [tmp_path / name]


def test_toy_questions_serve_the_target_training_first(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/{split}-v1.1.json" for folder in ("xquad", "squad1") for split in ("train", "dev")))
    assert find_files("squad", "train", (), tmp_path).sets["train.en"] == [tmp_path / "xquad/train-v1.1.json"]
    assert find_files("squad1", "train", (), tmp_path).sets["train.en"] == [tmp_path / "squad1/train-v1.1.json"]


def test_everything_missing_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_files("mnli", "train", (), tmp_path)
    train, dev = caught.value.problems
    assert train.startswith(f"mnli train.en: no file under {tmp_path}; looked for mnli/MNLI/train.tsv, MNLI/train.tsv")
    assert "dev_matched.tsv" in dev
    with pytest.raises(UserError) as caught:
        find_files("tatoeba", "scored", ["de", "zh"], tmp_path)
    assert "tatoeba/v1/tatoeba.cmn-eng.cmn + tatoeba/v1/tatoeba.cmn-eng.eng" in caught.value.problems[2]
    assert caught.value.problems[3] == "tatoeba: to go on without zh, name the others under `languages:` in the grid"


def test_the_root_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_files("mnli", "train", (), tmp_path / "nowhere")
