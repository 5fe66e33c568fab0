"""Original formats become the right examples: hand-made files for the rules, real slices for the formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stilts.data.choices import read_choices
from stilts.data.examples import Answer, Choice, Line, Pair, Question, Text, Translation
from stilts.data.files import find_files
from stilts.data.pairs import ANLI_SPELLINGS as SPELLED
from stilts.data.pairs import read_pairs
from stilts.data.parallel import read_tatoeba
from stilts.data.readers import read_set, read_texts
from stilts.data.squad import read_squad
from stilts.errors import UserError
from stilts.tasks.catalogue import NLI
from tests.stilts.originals import COSMOSQA_HEADER, QQP_HEADER, write_file, write_originals
from tests.stilts.slices import complete_anli

CREAM = ("Conceptually cream skimming ", "Product and geography are what ")


@pytest.mark.parametrize(
    ("name", "examples", "first"),
    [
        ("mnli/MNLI/train.tsv", 288, ("136628e", "Price caps may sound more ", "Rate cases make ", "entailment")),
        ("mnli/glue_fixture/MNLI/dev_matched.tsv", 2, ("63735n", "The new rights ", "Everyone really ", "neutral")),
        ("mnli/multinli_1.0_fixture/multinli_1.0_train.jsonl", 5, ("31193n", *CREAM, "neutral")),
        ("xnli/XNLI-1.0_fixture/multinli.train.en.tsv", 49, ("0", *CREAM, "neutral")),
    ],
)
def test_mnli_in_its_four_layouts(data_root: Path, name: str, examples: int, first: tuple[str, ...]) -> None:
    reading = read_pairs(data_root / name, NLI, "en")
    assert len(reading.examples) + reading.skipped == examples
    pair = reading.examples[0]
    assert isinstance(pair, Pair) and (pair.id, pair.label) == (first[0], first[3])
    assert pair.text.startswith(first[1]) and pair.second_text.startswith(first[2])
    assert pair.text == pair.text.strip() and pair.second_text == pair.second_text.strip()


def test_multinli_text_and_json_agree(data_root: Path) -> None:
    folder = data_root / "mnli/multinli_1.0_fixture"
    texts, jsons = (read_pairs(folder / f"multinli_1.0_dev_matched.{e}", NLI, "en").examples for e in ("txt", "jsonl"))
    assert len(texts) == 4 and texts == jsons[:4]


def test_xnli_original_and_converted_agree(data_root: Path) -> None:
    original = read_pairs(data_root / "xnli/XNLI-1.0_fixture/xnli.dev.tsv", NLI, "ar").examples
    assert original == read_pairs(data_root / "xnli/XNLI-1.0_fixture/xnli.dev.jsonl", NLI, "ar").examples[:49]
    converted = read_pairs(data_root / "xnli/xtreme/dev-ar.tsv", NLI, "ar").examples
    by_text = {(pair.text, pair.second_text): pair.label for pair in converted if isinstance(pair, Pair)}
    both = [(p.label, by_text[p.text, p.second_text]) for p in original
            if isinstance(p, Pair) and (p.text, p.second_text) in by_text]  # fmt: skip
    assert len(both) > 25 and all(mine == theirs for mine, theirs in both)


def test_rows_of_other_languages_are_left_alone(tmp_path: Path) -> None:
    head = "language\tgold_label\tsentence1\tsentence2\tpairID\n"
    path = write_file(tmp_path / "x.tsv", head + "ar\tneutral\ta\tb\t7\nde\tentailment\tc\td\t8\nxx\tnonsense\t\t\t\n")
    assert read_pairs(path, NLI, "de").examples == [Pair("8", "c", "d", "entailment")]


def test_quotes_are_text_and_carriage_returns_are_not(tmp_path: Path) -> None:
    path = write_file(tmp_path / "x.tsv", '"He said \u2028so\t ""x" \tneutral\r\nb\tc\tcontradictory\r\n')
    assert read_pairs(path, NLI, "en").examples == [
        Pair("0", '"He said \u2028so', '""x"', "neutral"),
        Pair("1", "b", "c", "contradiction"),
    ]


def test_mnli_pairs_without_gold_are_skipped_and_counted(tmp_path: Path) -> None:
    rows = "pairID\tsentence1\tsentence2\tgold_label\n1\ta\tb\t-\n2\ta\tb\tneutral\n"
    reading = read_pairs(write_file(tmp_path / "x.tsv", rows), NLI, "en")
    assert (reading.examples, reading.skipped) == ([Pair("2", "a", "b", "neutral")], 1)


def test_hellaswag(data_root: Path) -> None:
    rows = read_choices(data_root / "hellaswag/hellaswag_val.jsonl", "hellaswag").examples
    assert len(rows) == 200
    assert all(isinstance(row, Choice) and len(row.endings) == 4 and 0 <= row.label < 4 for row in rows)


@pytest.mark.parametrize(("name", "count", "most"), [("squad_v1.1/train-v1.1.json", 975, 1),
                                                     ("squad_v1.1/dev-v1.1.json", 378, 4),
                                                     ("xquad/xquad.zh.json", 632, 1)])  # fmt: skip
def test_answers_stand_at_their_offsets(data_root: Path, name: str, count: int, most: int) -> None:
    rows = read_squad(data_root / name).examples
    assert len(rows) == count
    assert max(len(row.answers) for row in rows if isinstance(row, Question)) == most
    for row in rows:
        assert isinstance(row, Question)
        for answer in row.answers:
            assert row.context[answer.start :].startswith(answer.text)


def test_tatoeba_sorts_english_and_keeps_the_line(tmp_path: Path) -> None:
    foreign = write_file(tmp_path / "tatoeba.deu-eng.deu", "zwei\neins\ndrei\nEins\n")
    english = write_file(tmp_path / "tatoeba.deu-eng.eng", "two\none\nthree\none\n")
    assert read_tatoeba(foreign, english).examples == [
        Translation("0", "one", "zwei", 1),
        Translation("1", "one", "eins", 3),
        Translation("2", "three", "drei", 2),
        Translation("3", "two", "Eins", 0),
    ]


def test_texts_and_answers(tmp_path: Path) -> None:
    assert read_texts(write_file(tmp_path / "t.tsv", "en\ta b\tc\nqaa\td\t\n")).examples == [
        Text("a b", "c"),
        Text("d", ""),
    ]
    squad = '{"data": [{"paragraphs": [{"context": " ab", "qas": [{"id": "1", "question": " q ", "answers": [%s]}]}]}]}'
    path = write_file(tmp_path / "s.json", squad % '{"text": "b", "answer_start": 2}')
    assert read_squad(path).examples == [Question("1", "q", " ab", (Answer("b", 2),))]


@pytest.mark.parametrize(("folder", "train", "dev"), [("anli_v1.0", 300, 100), ("anli_v0.1_fixture", 5, 5)])
def test_anli(data_root: Path, folder: str, train: int, dev: int) -> None:
    for split, count in (("train", train), ("dev", dev)):
        paths = [data_root / f"anli/{folder}/{part}/{split}.jsonl" for part in ("R1", "R2", "R3")]
        rows = read_set("anli", f"{split}.en", paths).examples
        assert len(rows) == 3 * count
        assert {row.label for row in rows if isinstance(row, Pair)} == set(NLI)
    (first,) = [row for row in rows if isinstance(row, Pair)][:1]
    assert first.label == SPELLED[json.loads(paths[0].read_text().splitlines()[0])["label"]]


def test_anli_has_all_its_sources_in_one_set(tmp_path: Path) -> None:
    """Pairs of MNLI and SNLI without a gold label are left out there too."""
    root = write_originals(tmp_path, "anli", "train")
    found = find_files("anli", "train", (), root)
    reading = read_set("anli", "train.en", found.sets["train.en"])
    assert [row.id for row in reading.examples] == ["train1", "train2", "train3", "7n", "7e", "9.jpg#0r1n"]  # type: ignore[union-attr]
    assert reading.skipped == 1


def test_anli_on_the_slices(data_root: Path, tmp_path: Path) -> None:
    """R1 to R3, MNLI and SNLI, in this order: 3 x 300 + 288 + 20 to train on, 3 x 100 + 96 + 20 to tune on."""
    found = find_files("anli", "train", (), complete_anli(data_root, tmp_path))
    assert [len(read_set("anli", name, paths).examples) for name, paths in found.sets.items()] == [1208, 416]
    assert [path.parent.name for path in found.sets["train.en"]] == ["R1", "R2", "R3", "MNLI", "snli_1.0"]


def test_broken_rows_of_qqp_are_left_out_and_counted(tmp_path: Path) -> None:
    """A question with a line break in it, as in Quora's data: two lines with too few columns."""
    rows = [f"{number}\t1\t2\tWhere?\tWhen?\t{number % 2}" for number in range(3000)]
    broken = '5000\t1\t2\t"What is it?\n"\tWhere is it?\t0'
    path = write_file(tmp_path / "train.tsv", QQP_HEADER + "\n".join([*rows[:9], broken, *rows[9:]]) + "\n")
    reading = read_set("qqp", "train.en", [path])
    assert (len(reading.examples), reading.skipped) == (3000, 2)
    assert reading.examples[1] == Pair("1", "Where?", "When?", "1")
    write_file(path, QQP_HEADER + "\n".join([*rows[:9], *[broken] * 3, *rows[9:99]]) + "\n\n\n")
    reading = read_set("qqp", "train.en", [path])
    assert (len(reading.examples), reading.skipped) == (99, 6)
    write_file(path, QQP_HEADER + "\n".join([*rows[:9], *[broken] * 4, *rows[9:]]) + "\n")
    with pytest.raises(UserError, match=r"train.tsv:11: 4 tab-separated columns, 6 are needed(.|\n)*train.tsv:12: 3"):
        read_set("qqp", "train.en", [path])


def test_quoting_of_xtreme_is_undone_to_the_original_text(data_root: Path) -> None:
    """The German pairs are in the slices in both layouts; one of them has quote marks."""
    original = read_set("pawsx", "dev.de", [data_root / "pawsx/x-final/de/dev_2k.tsv"]).examples
    converted = read_set("pawsx", "dev.de", [data_root / "pawsx/xtreme/dev-de.tsv"]).examples
    parts = [[(row.text, row.second_text, row.label) for row in rows if isinstance(row, Pair)]
             for rows in (original, converted)]  # fmt: skip
    assert parts[0] == parts[1] and len(parts[0]) == 150
    assert '"' in "".join(text for text, _, _ in parts[1]) and '""' not in "".join(text for text, _, _ in parts[1])


def test_quotes_stay_where_one_of_them_is_not_csvs(tmp_path: Path) -> None:
    rows = '"a ""b"""\tc\tneutral\n'
    quoted = read_pairs(write_file(tmp_path / "a.tsv", rows), NLI, "en").examples
    plain = read_pairs(write_file(tmp_path / "b.tsv", rows + '"d"\te\tneutral\n'), NLI, "en").examples
    assert quoted == [Pair("0", 'a "b"', "c", "neutral")]
    assert plain == [Pair("0", '"a ""b"""', "c", "neutral"), Pair("1", '"d"', "e", "neutral")]


@pytest.mark.parametrize(
    ("task", "name", "count"),
    [("pawsx", "pawsx/xtreme/dev-ko.tsv", 150), ("pawsx", "pawsx/xtreme/train-en.tsv", 800),
     ("pawsx", "pawsx/x-final/en/train.tsv", 49), ("xnli", "xnli/test_labelled/test-th.tsv", 50)],
)  # fmt: skip
def test_no_first_line_is_lost(data_root: Path, task: str, name: str, count: int) -> None:
    rows = read_set(task, "dev.xx", [data_root / name]).examples
    first = (data_root / name).read_text(encoding="utf-8").splitlines()[int("x-final" in name)].split("\t")
    assert len(rows) == count and isinstance(rows[0], Pair) and rows[0].text in (first[0].strip(), first[1].strip())


def test_untranslated_pairs_are_kept(data_root: Path) -> None:
    rows = read_set("pawsx", "dev.ko", [data_root / "pawsx/xtreme/dev-ko.tsv"]).examples
    assert len(rows) == 150
    assert sum(isinstance(row, Pair) and "NS" in (row.text, row.second_text) for row in rows) == 3


@pytest.mark.parametrize(("task", "name"), [("xnli", "xnli/xtreme/test-de.tsv"), ("pawsx", "pawsx/xtreme/test-de.tsv")])
def test_pairs_without_labels(data_root: Path, tmp_path: Path, task: str, name: str) -> None:
    rows = read_set(task, "test.de", [data_root / name], labelled=False).examples
    assert len(rows) == 50 and all(isinstance(row, Pair) and row.label is None for row in rows)
    dummy = "".join(f"{line}\tentailment\n" for line in (data_root / name).read_text(encoding="utf-8").splitlines())
    assert read_set(task, "test.de", [write_file(tmp_path / "test-de.tsv", dummy)], labelled=False).examples == rows


def test_cosmosqa_and_csqa(data_root: Path) -> None:
    for task, name, count in (
        ("cosmosqa", "cosmosqa/train.csv", 800), ("cosmosqa", "cosmosqa/valid.csv", 200),
        ("csqa", "commonsenseqa/train_rand_split.jsonl", 800), ("csqa", "commonsenseqa/dev_rand_split.jsonl", 200),
    ):  # fmt: skip
        rows = read_set(task, "dev.en", [data_root / name]).examples
        assert len(rows) == count and {row.label for row in rows if isinstance(row, Choice)} == set(
            range(4 if task == "cosmosqa" else 5)
        )
    assert isinstance(rows[0], Choice) and rows[0].endings[rows[0].label] == "bank"
    first = read_choices(data_root / "cosmosqa/train.csv", "cosmosqa").examples[0]
    assert isinstance(first, Choice) and first.endings == ("Clothes", "None of the above choices .", "Cars", "Money")
    assert first.context.endswith("short - lived intense obsessions . What did I consider stealing ?")


def test_whole_surrogate_pairs_are_characters(tmp_path: Path) -> None:
    row = '{"pairID": "c", "sentence1": "\\ud83d\\uDE00 \\\\ud83d", "sentence2": "b", "gold_label": "neutral"}\n'
    (pair,) = read_set("mnli", "dev.en", [write_file(tmp_path / "x.jsonl", row)]).examples
    assert isinstance(pair, Pair) and pair.text == "\U0001f600 \\ud83d"


def test_csv_fields_may_hold_quotes_and_line_breaks(tmp_path: Path) -> None:
    text = COSMOSQA_HEADER + 'c1,"a ""b"",\r\nc",q?,w,x,"y, z",,3\r\n'
    (row,) = read_choices(write_file(tmp_path / "a.csv", text), "cosmosqa").examples
    assert row == Choice("c1", 'a "b",\nc q?', ("w", "x", "y, z", ""), 3)


def test_long_fields_and_blank_lines_at_the_end_of_csv(tmp_path: Path) -> None:
    text = COSMOSQA_HEADER + f"c1,{'x' * 140_000},q?,w,x,y,z,3\r\n\r\n \r\n"
    (row,) = read_choices(write_file(tmp_path / "a.csv", text), "cosmosqa").examples
    assert isinstance(row, Choice) and len(row.context) == 140_003
    write_file(tmp_path / "a.csv", text + "c2,c,q?,w,x,y,z,3\r\n")
    with pytest.raises(UserError, match=r"a.csv:3: 0 fields, 8 are needed"):
        read_choices(tmp_path / "a.csv", "cosmosqa")


def test_bucc(data_root: Path) -> None:
    rows = read_set("bucc2018", "dev.zh", [data_root / f"bucc2018/zh-en.dev.{side}" for side in ("zh", "en", "gold")])
    lines = [row for row in rows.examples if isinstance(row, Line)]
    assert [sum(row.english is side for row in lines) for side in (False, True)] == [2000, 1493]
    assert [row.english for row in lines] == [False] * 2000 + [True] * 1493
    assert sum(len(row.partners) for row in lines) == 32
    partners = {row.id: row.partners for row in lines}
    assert partners["zh-000000057"] == ("en-000008530",) and not any(row.partners for row in lines[2000:])


def test_bucc_without_gold_and_with_a_pair_twice(tmp_path: Path) -> None:
    texts = {"de": "d1\teins\nd2\tzwei\n", "en": "e1\tone\ne2\tone too\n", "gold": "d1\te1\nd1\te2\nd1\te1\n"}
    paths = [write_file(tmp_path / f"de-en.test.{side}", text) for side, text in texts.items()]
    golden = read_set("bucc2018", "test.de", paths).examples
    assert golden[0] == Line("d1", "eins", False, ("e1", "e2")) and golden[3] == Line("e2", "one too", True)
    blind = read_set("bucc2018", "test.de", paths[:2], labelled=False).examples
    assert blind[0] == Line("d1", "eins", False) and blind[1:] == golden[1:]


def test_sorted_tatoeba_has_no_gold(tmp_path: Path) -> None:
    paths = [
        write_file(tmp_path / f"de-en.{side}", text) for side, text in (("de", "zwei\neins\n"), ("en", "one\ntwo\n"))
    ]
    assert read_set("tatoeba", "test.de", paths, labelled=False).examples == [
        Translation("0", "one", "zwei", None),
        Translation("1", "two", "eins", None),
    ]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """Windows editors put one at the start of the file; elsewhere the character is text."""
    bare = write_file(tmp_path / "a.tsv", "\ufeffa\tb\tneutral\n\ufeffc\td\tneutral\n")
    assert [row.text for row in read_pairs(bare, NLI, "en").examples if isinstance(row, Pair)] == ["a", "\ufeffc"]
    named = write_file(tmp_path / "b.tsv", "\ufeff" + QQP_HEADER + "1\t1\t1\ta\tb\t0\n")
    assert read_pairs(named, ("0", "1"), "en").examples == [Pair("1", "a", "b", "0")]
    text = '{"data": [{"paragraphs": [{"context": "b", "qas": [{"id": "1", "question": "q", "answers": %s}]}]}]}'
    squad = write_file(tmp_path / "c.json", "\ufeff" + text % '[{"text": "b", "answer_start": 0}]')
    assert len(read_squad(squad).examples) == 1


def test_blank_lines_at_the_end_are_no_rows(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.tsv", "a\tb\tneutral\n\r\n\n")
    assert len(read_pairs(path, NLI, "en").examples) == 1
