"""Which files serve which set: the slices, other layouts, and what is said of what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stilts.data.files import LAYOUTS, find_files
from stilts.errors import UserError
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TRAININGS, splits
from tests.stilts.originals import ORIGINALS, SQUAD, language_of, write_originals
from tests.stilts.originals import TYDIQA as TYDIQA_ALL

TYDIQA = "tydiqa_goldp/tydiqa-goldp-v1.1"
BLANK = json.dumps({"data": [{"paragraphs": [{"context": "c", "qas": [
    {"id": "1", "question": "q", "answers": [{"answer_start": 0, "text": ""}]}]}]}]})  # fmt: skip


def touch(root: Path, *names: str, text: str = "x\ty\tneutral\n") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_every_task_has_layouts() -> None:
    for name in [*INTERMEDIATES, *TRAININGS]:
        assert all(LAYOUTS[name, split] for split in ("train", "dev")), name
    for name in TARGETS:
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
        ("squad2", "squad_v2.0/train-v2.0.json", "squad_v2.0/dev-v2.0.json"),
        ("ccg", "ccg_standin_pmb/4.0.0/en/gold/train.conll", "ccg_standin_pmb/4.0.0/en/gold/dev.conll"),
        ("cosmosqa", "cosmosqa/train.csv", "cosmosqa/valid.csv"),
        ("csqa", "commonsenseqa/train_rand_split.jsonl", "commonsenseqa/dev_rand_split.jsonl"),
        ("pawsx", "pawsx/x-final/en/train.tsv", "pawsx/x-final/en/dev_2k.tsv"),
        ("panx", "panx/xtreme/train-en.tsv", "panx/xtreme/dev-en.tsv"),
        ("tydiqa", f"{TYDIQA}-train/tydiqa.goldp.en.train.json", f"{TYDIQA}-dev/tydiqa.goldp.en.dev.json"),
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
    ("task", "labelled", "blanked"),
    [
        ("xnli", {"xnli/dev-fr.tsv": "x\ty\tneutral\n"}, {"xnli/test-fr.tsv": "Bonjour\tSalut\n"}),
        ("xnli", {"xnli/dev-fr.tsv": "x\ty\tneutral\n" * 30}, {"xnli/test-fr.tsv": "x\ty\tneutral\n" * 30}),
        ("pawsx", {"pawsx/dev-fr.tsv": "x\ty\t0\n"}, {"pawsx/test-fr.tsv": "x\ty\t0\n" * 30}),
        ("udpos", {"udpos/dev-fr.tsv": "Bonjour\tINTJ\n"}, {"udpos/test-fr.tsv": "Bonjour\n.\n\n"}),
        ("panx", {"panx/dev-fr.tsv": "Bonjour\tO\n"}, {"panx/test-fr.tsv": "\nBonjour\n.\n\n"}),
        ("udpos", {"udpos/dev-fr.tsv": "Bonjour\tX\n\n" * 30}, {"udpos/test-fr.tsv": "Bonjour\tX\n.\tX\n\n" * 30}),
        ("panx", {"panx/dev-fr.tsv": "Bonjour\tO\n"}, {"panx/test-fr.tsv": "Bonjour\tO\n\n" * 20}),
        ("panx", {"panx_dataset/fr/dev": "fr:a\tO\n\n" * 30}, {"panx_dataset/fr/test": "fr:a\tO\n\n" * 20}),
        ("panx", {"panx_dataset/fr-dev": "fr:a\tO\n"}, {"panx_dataset/fr-test": "fr:a\tO\n\n" * 20}),
        ("mlqa", {"MLQA_V1/dev/dev-context-de-question-de.json": SQUAD},
         {"MLQA_V1/test/test-context-de-question-de.json": BLANK}),
        ("bucc2018", {f"bucc2018/fr-en.dev.{side}": "x\ty\n" for side in ("fr", "en", "gold")},
         {f"bucc2018/fr-en.test.{side}": "x\ty\n" for side in ("fr", "en")}),
        ("xquad", {}, {"xquad/xquad.fr.json": BLANK}),
        ("tydiqa", {}, {"tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.fr.dev.json": BLANK}),
        ("tatoeba", {}, {"tatoeba/fr-en.fr": "un\n", "tatoeba/fr-en.en": "one\n"}),
    ],
)  # fmt: skip
def test_blanked_test_files_are_found_and_named(
    tmp_path: Path, task: str, labelled: dict[str, str], blanked: dict[str, str]
) -> None:
    """XTREME cuts labels off or writes a dummy, empties answers, re-orders Tatoeba and deletes BUCC's gold list."""
    for name, text in (labelled | blanked).items():
        touch(tmp_path, name, text=text)
    language = "de" if task == "mlqa" else "fr"
    found = find_files(task, "scored", [language], tmp_path)
    assert found.unlabelled == [f"test.{language}"] and found.absent == []
    assert found.sets[f"test.{language}"] == [tmp_path / name for name in blanked]
    assert list(found.sets) == [f"dev.{language}"] * bool(labelled) + [f"test.{language}"]


@pytest.mark.parametrize(
    "text", ["fr:Lyon\tO\nfr:.\tO\n\n" * 19, "fr:Lyon\tO\n\n" * 30 + "fr:Lyon\tB-LOC\n", "fr:Lyon\tO\n" * 30]
)
def test_tags_that_are_no_dummy(tmp_path: Path, text: str) -> None:
    """Few sentences may be alike, and one other tag is enough."""
    touch(tmp_path, "panx_dataset/fr/test", text=text)
    assert find_files("panx", "scored", ["fr"], tmp_path).unlabelled == []


def test_labels_in_a_later_layout_win(tmp_path: Path) -> None:
    touch(tmp_path, "xnli/test-fr.tsv", text="x\ty\n")
    touch(tmp_path, "xnli/test_labelled/test-fr.tsv")
    found = find_files("xnli", "scored", ["fr"], tmp_path)
    assert found.sets == {"test.fr": [tmp_path / "xnli/test_labelled/test-fr.tsv"]}
    assert (found.unlabelled, found.absent) == ([], ["dev.fr"])


def test_nothing_is_tuned_on_without_labels(tmp_path: Path) -> None:
    """XTREME empties TyDiQA's English development file, which serves for tuning."""
    touch(tmp_path, "tydiqa/tydiqa-goldp-v1.1-train.json", text=TYDIQA_ALL)
    touch(tmp_path, "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.en.dev.json", text=BLANK)
    with pytest.raises(UserError, match=r"^tydiqa dev.en: only files without labels, which cannot be trained or tuned"):
        find_files("tydiqa", "train", (), tmp_path)


@pytest.mark.parametrize(("task", "part"), ORIGINALS)
def test_original_layouts(tmp_path: Path, task: str, part: str) -> None:
    root = write_originals(tmp_path, task, part)
    found = find_files(task, part, [language_of(task)], root)
    assert {path.relative_to(root).as_posix() for paths in found.sets.values() for path in paths} == set(
        ORIGINALS[task, part]
    )


def test_sections_of_ccgbank(tmp_path: Path) -> None:
    names = {s: f"ccg/ccgbank_1_1/data/AUTO/{s:02}/wsj_{s:02}01.auto" for s in range(25)}
    touch(tmp_path, *names.values())
    found = find_files("ccg", "train", (), tmp_path)
    assert found.sets["train.en"] == [tmp_path / names[section] for section in range(2, 22)]
    assert found.sets["dev.en"] == [tmp_path / names[0]]


def test_ccgbank_is_not_to_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_files("ccg", "train", (), tmp_path)
    train, dev = caught.value.problems
    assert train.startswith(f"ccg train.en: no file under {tmp_path}") and dev.startswith("ccg dev.en")
    assert "licensed (Linguistic Data Consortium, LDC2005T13)" in train and "ccg/train.tsv and ccg/dev.tsv of" in train


def test_what_lacks_of_anli_is_named(data_root: Path) -> None:
    """The slices have ANLI and MNLI and no SNLI: the three together are the task."""
    with pytest.raises(UserError) as caught:
        find_files("anli", "train", (), data_root)
    assert "; of these there is no snli/snli_1.0/snli_1.0_train.jsonl | snli_1.0/" in caught.value.problems[0]


def test_tydiqa_in_one_file_and_by_language(tmp_path: Path) -> None:
    whole, single = "tydiqa-goldp-v1.1-dev.json", "tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{}.json"
    touch(tmp_path, whole, text=TYDIQA_ALL)
    assert find_files("tydiqa", "scored", ["fi"], tmp_path).sets == {"test.fi": [tmp_path / whole]}
    touch(tmp_path, single.format("finnish"), single.format("english"), text=TYDIQA_ALL)
    assert find_files("tydiqa", "scored", ["fi"], tmp_path).sets == {"test.fi": [tmp_path / single.format("finnish")]}
    touch(tmp_path, "tydiqa/tydiqa.en.train.json", text=TYDIQA_ALL)
    assert find_files("tydiqa", "train", (), tmp_path).sets["train.en"] == [tmp_path / "tydiqa/tydiqa.en.train.json"]
    touch(tmp_path, "tydiqa-goldp-v1.1-train.json", text=TYDIQA_ALL)
    assert find_files("tydiqa", "train", (), tmp_path).sets["train.en"] == [tmp_path / "tydiqa-goldp-v1.1-train.json"]


def test_mlqa_asks_in_the_language_of_its_context(data_root: Path) -> None:
    found = find_files("mlqa", "scored", ["en", "de"], data_root)
    assert {path.name for paths in found.sets.values() for path in paths} == {
        f"{split}-context-{code}-question-{code}.json" for split in ("dev", "test") for code in ("en", "de")
    }


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
