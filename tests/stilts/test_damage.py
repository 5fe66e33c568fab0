"""Damaged files of every task, fetched: each complaint is its own, with file and line, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stilts.data.fetch import fetch_data
from stilts.data.readers import read_set
from stilts.errors import UserError
from tests.stilts.originals import (
    COSMOSQA_HEADER,
    DERIVATION,
    HOUSE,
    LEAVES,
    MNLI_HEADER,
    NLI_ROWS,
    ORIGINALS,
    PAWSX_HEADER,
    QQP_HEADER,
    SQUAD,
    TREES,
    XNLI_HEADER,
    anli,
    conllu,
    csqa,
    hellaswag,
    language_of,
    question,
    snli,
    squad,
    write_file,
    write_originals,
)
from tests.stilts.slices import places_of

UD = "ud-treebanks-v2.5/UD_German-GSD/de_gsd-ud-dev.conllu"
AUTO = "ccgbank_1_1/data/AUTO/00/wsj_0001.auto"
BUCC = "bucc2018/de-en/de-en.sample."
TATOEBA = "tatoeba/v1/tatoeba.deu-eng."
SQUAD1_DEV, SQUAD2_DEV = "squad1/dev-v1.1.json", "squad2/dev-v2.0.json"
SWAG_DEV, CSQA_DEV, COSMOSQA = "hellaswag/hellaswag_val.jsonl", "csqa/dev_rand_split.jsonl", "cosmosqa/train.csv"
MLQA_DEV, MLQA_TEST = (f"MLQA_V1/{split}/{split}-context-de-question-de.json" for split in ("dev", "test"))
TYDIQA_DEV = "tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-russian.json"
PAIR = "1\tx\ty\t1\n"
SQUAD_CONTEXT, SQUAD_START = (
    next(number for number, row in enumerate(SQUAD.splitlines(), start=1) if key in row) for key in ("It was", "14")
)
COSMOSQA_ROW = "c1,It rained.,What fell?,Rain,Snow,Hail,None,0\r\n"


def part_of(task: str, name: str) -> str:
    """The part that a file belongs to."""
    parts = {part: files for (other, part), files in ORIGINALS.items() if other == task}
    return next((part for part, files in parts.items() if name in files), next(iter(parts)))


def fetch(root: Path, task: str, part: str, out: Path) -> None:
    config = {"kind": "data", "suite": "xtreme", "task": task, "part": part}
    fetch_data(config | ({"languages": [language_of(task)]} if part == "scored" else {}), root, out)


@pytest.mark.parametrize(("task", "part"), ORIGINALS)
def test_undamaged_files_are_fetched(tmp_path: Path, task: str, part: str) -> None:
    """What the damaged files below have in common with these is right."""
    fetch(write_originals(tmp_path / "root", task, part), task, part, tmp_path / "data")
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    assert manifest["absent"] == manifest["unlabelled"] == [] and all(
        entry["examples"] for entry in manifest["counts"].values()
    )


# task, file, its content, line of the first complaint, what it says
DAMAGE: list[tuple[str, str, str | bytes, int, str]] = [
    ("anli", "anli_v1.0/R2/train.jsonl", anli("a") + anli("b", "x"), 2, "label 'x' is not one of"),
    ("anli", "anli_v1.0/R3/dev.jsonl", anli("dev1"), 1, "id 'dev1' stands twice, first at"),
    ("anli", "snli_1.0/snli_1.0_dev.jsonl", snli("a")[:-9] + "\n", 1, "no JSON"),
    ("anli", "snli_1.0/snli_1.0_train.jsonl", snli("a", None), 1, "gold_label None: a st"),  # type: ignore[arg-type]
    ("mnli", "MNLI/train.tsv", MNLI_HEADER + NLI_ROWS + "2\tx\ty\n", 4, "3 tab-separated columns, 5 are"),
    ("mnli", "MNLI/train.tsv", "", 1, "no example in it"),
    ("mnli", "MNLI/dev_matched.tsv", MNLI_HEADER, 1, "no example in it"),
    ("mnli", "MNLI/train.tsv", MNLI_HEADER + NLI_ROWS * 2, 4, "id '7n' stands twice, first at "),
    ("mnli", "MNLI/train.tsv", MNLI_HEADER.encode("utf-16"), 1, "not UTF-8 (byte 1 of the line is 0xff)"),
    ("qqp", "QQP/train.tsv", QQP_HEADER + "1\t2\t3\tWhat\n\tis it?\t0\n" * 4, 2, "4 tab-separated columns, 6"),
    ("qqp", "QQP/dev.tsv", QQP_HEADER + "1\t2\t3\ta\tb\t2\n", 2, "label '2' is not one of 0, 1"),
    ("squad1", "squad1/train-v1.1.json", SQUAD[:-40], 28, "no JSON"),
    ("squad1", SQUAD1_DEV, squad(question("q1", ("house", 13))), 11, "'house' at 13, where ' hous'"),
    ("squad1", SQUAD1_DEV, squad(question("q1", HOUSE), question("q1", HOUSE)), 21, "id 'q1' stands twice, first at"),
    ("squad1", SQUAD1_DEV, squad(question("q1")), 11, "has no answer; SQuAD 1.1 has one"),
    ("squad1", SQUAD1_DEV, '{"data":\n[{"paragraphs": [{}]}]}', 1, "no SQuAD file (KeyError: 'qas')"),
    ("squad2", SQUAD2_DEV, squad(question("q1", HOUSE)), 11, "question without 'is_impossible'"),
    ("squad2", SQUAD2_DEV, squad(question("q", HOUSE, is_impossible=True)), 11, "true and it has 1 answers"),
    ("squad2", SQUAD2_DEV, squad(question("q", is_impossible=False)), 11, "false and it has 0 answers"),
    ("hellaswag", SWAG_DEV, hellaswag(1) + hellaswag(2, label=4), 2, "label 4 is not one of 0 to 3"),
    ("hellaswag", SWAG_DEV, hellaswag(1, label="0"), 1, "label '0' is not one of 0 to 3"),
    ("hellaswag", SWAG_DEV, hellaswag(1, endings="ab"), 1, "a list of two or more strings"),
    ("hellaswag", SWAG_DEV, hellaswag(1) + hellaswag(2, endings=["a", "b"]), 2, "2 endings, the first row has 4"),
    ("hellaswag", SWAG_DEV, hellaswag(1) + "[1]\n", 2, "a JSON list where an object is needed"),
    ("hellaswag", SWAG_DEV, hellaswag(1) + "\n" + hellaswag(2), 2, "no JSON"),
    ("anli", "anli_v1.0/R1/dev.jsonl", anli("a") + anli("b").replace("rains", "\\ud83d"), 2, "half a surrogate pair"),
    ("anli", "anli_v1.0/R1/dev.jsonl", anli("a") + "[" * 100_000 + "\n", 2, "nested too deeply"),
    ("squad1", SQUAD1_DEV, SQUAD.replace("It was", "\\uDE00 was"), SQUAD_CONTEXT, "\\uDE00 is half a surrogate pair"),
    ("squad1", SQUAD1_DEV, '{"data":\n' + "[" * 100_000, 1, "nested too deeply"),
    ("squad1", SQUAD1_DEV, SQUAD.replace("14", "9" * 5000), SQUAD_START, "a number of more than 4,300 digits"),
    ("mlqa", MLQA_TEST, SQUAD.replace("14", "9" * 5000), SQUAD_START, "a number of more than 4,300 digits"),
    ("xquad", "xquad/xquad.de.json", '{"data":' + "[" * 100_000, 1, "nested too deeply"),
    ("udpos", UD, TREES.replace("\t0\t", "\t" + "9" * 5000 + "\t", 1), 2, "999999999... has 5000 digits"),
    ("udpos", UD, f"1-{'9' * 5000}\tzum" + "\t_" * 8 + "\n", 1, "has 5000 digits"),
    ("ccg", AUTO, DERIVATION.replace("PRP PRP", "PRP"), 2, "2 leaves, of which 1 have six fields"),
    ("ccg", AUTO, DERIVATION[:-3] + "\n", 2, "3 opening and 2 closing brackets"),
    ("ccg", AUTO, DERIVATION.partition("\n")[0], 1, "the file ends where the derivation of wsj_0001.1"),
    ("ccg", AUTO, f"(<T S 1 2> {LEAVES} )\n", 1, "a derivation without a line ID="),
    ("cosmosqa", COSMOSQA, COSMOSQA_HEADER + COSMOSQA_ROW.replace(",0", ",4"), 2, "label '4' is not one of 0 to 3"),
    ("cosmosqa", COSMOSQA, COSMOSQA_HEADER + 'c0,"It\r\nrained' + COSMOSQA_ROW, 2, "no CSV record (unexpected end"),
    ("cosmosqa", COSMOSQA, COSMOSQA_ROW, 1, "header c1,It rained."),
    ("cosmosqa", "cosmosqa/valid.csv", COSMOSQA_HEADER + COSMOSQA_ROW.replace(",Hail", ""), 2, "7 fields, 8 are"),
    ("csqa", CSQA_DEV, csqa("a") + csqa("b", "F"), 2, "answerKey 'F' is not one of A B"),
    ("csqa", CSQA_DEV, csqa("a", letters="ABCD"), 1, "C D E are needed"),
    ("csqa", "csqa/train_rand_split.jsonl", csqa("a").replace("answerKey", "key"), 1, "no key answerKey"),
    ("xnli", "xnli/dev-en.tsv", "x\ty\tneutral\n\nx\ty\tneutral\n", 2, "1 tab-separated columns, 3 are needed"),
    ("xnli", "xnli/dev-en.tsv", "x\ty\tneutral\nx\ty\t-\n", 2, "label '-' is not one of"),
    ("xnli", "XNLI-1.0/xnli.test.tsv", XNLI_HEADER + "de\tneutral\ta\tb\t1\nde\tno\tc\td\t2\n", 3, "label 'no' is not"),
    ("pawsx", "x-final/en/train.tsv", PAWSX_HEADER + PAIR + PAIR, 3, "id '1' stands twice, first at"),
    ("pawsx", "x-final/de/test_2k.tsv", PAWSX_HEADER + "1\tx\t1\n", 2, "3 tab-separated columns, 4 are needed"),
    ("udpos", UD, "1\tHaus\t_\tNOUN\n\n", 1, "4 tab-separated columns, 10 are needed"),
    ("udpos", UD, conllu(("Haus", "NN")), 2, "tag 'NN' of 'Haus' is not one of ADJ"),
    ("udpos", UD, TREES * 2, 8, "id 's1' stands twice, first at"),
    ("udpos", UD, TREES.replace("\n2\t", "\n3\t"), 3, "'3' where number 2, a range from it"),
    ("udpos", UD, "# nothing\n\n", 1, "no sentence with words in it"),
    ("panx", "panx_dataset/de/dev", "de:Haus\tO\nfr:rue\tO\n", 2, "does not begin with 'de:'"),
    ("panx", "panx_dataset/de/test", "de:Haus\tO\nde:rot\n", 2, "1 tab-separated columns, 2 are needed"),
    ("panx", "panx_dataset/en/train", "en:Paris\tB-GPE\n", 1, "tag 'B-GPE' of 'Paris' is not one of O"),
    ("squad", "squad/dev-v1.1.json", squad(question("q1", ("house", -13))), 11, "'house' at -13"),
    ("xquad", "xquad/xquad.de.json", squad({"id": "q", "answers": []}), 11, "question without 'question'"),
    ("mlqa", MLQA_TEST, "", 1, "no question in it"),
    ("mlqa", MLQA_DEV, squad(question("q", ("", 0)), question("r", HOUSE)), 11, "answer '' at 0"),
    ("tydiqa", TYDIQA_DEV, squad(question("russian-1", HOUSE), question("korean-1", HOUSE)), 21, "not of language ru"),
    ("bucc2018", BUCC + "gold", "de-1\ten-1\nde-3\ten-2\n", 2, "gold id 'de-3': no foreign sentence has it"),
    ("bucc2018", BUCC + "gold", "de-1\ten-9\n", 1, "gold id 'en-9': no English sentence has it"),
    ("bucc2018", BUCC + "de", "de-1\teins\nde-2\tzwei\nde-1\tdrei\n", 3, "id 'de-1' stands twice, first at"),
    ("bucc2018", BUCC + "en", "en-1\t \nen-2\ttwo\n", 1, "sentence 'en-1' is empty"),
    ("bucc2018", BUCC + "en", "en-1 one\n", 1, "1 tab-separated columns, 2 are needed"),
    ("tatoeba", TATOEBA + "eng", "two\n", 1, "deu has 2 and tatoeba.deu-eng.eng 1 lines"),
    ("tatoeba", TATOEBA + "deu", "zwei\n\n", 2, "an empty line"),
    ("tatoeba", TATOEBA + "deu", b"zwei\n\xe9in\n", 2, "not UTF-8 (byte 1"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "name", "content", "line", "message"), DAMAGE)
def test_damage_is_placed(tmp_path: Path, task: str, name: str, content: str | bytes, line: int, message: str) -> None:
    part = part_of(task, name)
    root = write_originals(tmp_path / "root", task, part)
    write_file(root / name, content)
    out = tmp_path / "runs/data"
    with pytest.raises(UserError) as caught:
        fetch(root, task, part, out)
    assert places_of(caught.value.problems)[0] == f"{Path(name).name}:{line}"
    assert str(root / name) in caught.value.problems[0] and message in caught.value.problems[0]
    assert list(out.parent.iterdir()) == []


def test_every_task_is_damaged() -> None:
    assert {task for task, *_ in DAMAGE} == {task for task, _ in ORIGINALS}
    assert len({message for *_, message in DAMAGE}) > 40


@pytest.mark.parametrize(
    ("task", "part", "name"),
    [
        ("csqa", "train", "csqa/dev_rand_split.jsonl"),
        ("xquad", "scored", "xquad/xquad.de.json"),
        ("tatoeba", "scored", "tatoeba/v1/tatoeba.deu-eng.eng"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_is_named(tmp_path: Path, task: str, part: str, name: str, kind: str) -> None:
    root = write_originals(tmp_path / "root", task, part)
    (root / name).unlink()
    if kind == "folder":
        (root / name).mkdir()
    else:
        (root / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError) as caught:
        fetch(root, task, part, tmp_path / "runs/data")
    what = "a folder, not a file" if kind == "folder" else "a link to nothing"
    assert f"{root / name} is {what}" in caught.value.problems[0]
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_given_as_a_file_is_no_crash(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read: Is a directory"):
        read_set("squad1", "dev.en", [tmp_path])


def test_unreadable_treebanks_come_with_those_that_are_damaged(tmp_path: Path) -> None:
    """All files of a set and all sets of a part are complained about at once."""
    root = write_originals(tmp_path / "root", "udpos", "scored")
    write_file(root / UD, conllu(("Haus", "NN")))
    write_file(root / UD.replace("dev", "test"), b"# \xff\n")
    write_file(root / UD.replace("gsd", "hdt"), "1\n")
    with pytest.raises(UserError) as caught:
        fetch(root, "udpos", "scored", tmp_path / "runs/data")
    assert places_of(caught.value.problems) == [
        "de_gsd-ud-dev.conllu:2", "de_hdt-ud-dev.conllu:1", "de_gsd-ud-test.conllu:1"]  # fmt: skip


def test_all_problems_come_at_once_and_end_somewhere(tmp_path: Path) -> None:
    few, many = tmp_path / "few.tsv", tmp_path / "many.tsv"
    few.write_text("x\ty\tneutral\nx\ty\tno\nx\ty\tneutral\nx\ty\n")
    many.write_text("x\ty\tno\n" * 1000)
    with pytest.raises(UserError) as caught:
        read_set("xnli", "dev.en", [few, many])
    assert places_of(caught.value.problems)[:2] == ["few.tsv:2", "few.tsv:4"]
    assert places_of(caught.value.problems)[2:-1] == [f"many.tsv:{line}" for line in range(1, 11)]
    assert "stopped after 10 problems" in caught.value.problems[-1]


def test_pretraining_text_needs_three_columns(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.tsv", "en\tx\n")
    with pytest.raises(UserError, match=r"a.tsv:1: 2 tab-separated columns, 3 are needed"):
        read_set("text", "train.mul", [path])
