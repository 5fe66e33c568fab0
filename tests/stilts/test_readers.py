"""Original formats become the right examples: hand-made files for the rules, real slices for the formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from stilts.data.conllu import read_conllu, read_tagged_words
from stilts.data.examples import Answer, Choice, Pair, Question, Sentence, Text, Translation
from stilts.data.readers import read_choices, read_pairs, read_set, read_tatoeba, read_texts
from stilts.data.squad import read_squad
from stilts.tasks.catalogue import NLI

CREAM = ("Conceptually cream skimming ", "Product and geography are what ")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def conllu(*rows: str) -> str:
    """CoNLL-U of one sentence from rows `number/form/tag[/head[/enhanced]]`."""
    lines = []
    for row in rows:
        number, form, tag, head, enhanced = [*row.split("/"), "_", "_"][:5]
        lines.append("\t".join([number, form, "_", tag, "_", "_", head, "_", enhanced, "_"]))
    return "\n".join(lines) + "\n\n"


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
    path = write(tmp_path / "x.tsv", head + "ar\tneutral\ta\tb\t7\nde\tentailment\tc\td\t8\nxx\tnonsense\t\t\t\n")
    assert read_pairs(path, NLI, "de").examples == [Pair("8", "c", "d", "entailment")]


def test_quotes_are_text_and_carriage_returns_are_not(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", '"He said \u2028so\t ""x" \tneutral\r\nb\tc\tcontradictory\r\n')
    assert read_pairs(path, NLI, "en").examples == [
        Pair("0", '"He said \u2028so', '""x"', "neutral"),
        Pair("1", "b", "c", "contradiction"),
    ]


def test_mnli_pairs_without_gold_are_skipped_and_counted(tmp_path: Path) -> None:
    rows = "pairID\tsentence1\tsentence2\tgold_label\n1\ta\tb\t-\n2\ta\tb\tneutral\n"
    reading = read_pairs(write(tmp_path / "x.tsv", rows), NLI, "en")
    assert (reading.examples, reading.skipped) == ([Pair("2", "a", "b", "neutral")], 1)


def test_hellaswag(data_root: Path) -> None:
    rows = read_choices(data_root / "hellaswag/hellaswag_val.jsonl").examples
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


def test_multi_word_tokens_take_their_fused_form(tmp_path: Path) -> None:
    """Tag of the part nearest to the root; of equally near ones, by precedence: AUX before PART, ADP before DET."""
    text = conllu("1-2/don't/_", "1/do/AUX/3", "2/n't/PART/3", "3/go/VERB/0", "4-5/zum/_", "4/zu/ADP/6", "5/dem/DET/6",
                  "6/Haus/NOUN/3", "7-8/daselo/_", "7/da/DET/3", "8/selo/PRON/7", "8.1/ghost/VERB/3")  # fmt: skip
    (sentence,) = read_conllu(write(tmp_path / "x.conllu", "# sent_id = s1\n" + text), "en").examples
    words, tags = ("don't", "go", "zum", "Haus", "daselo"), ("AUX", "VERB", "ADP", "NOUN", "DET")
    assert sentence == Sentence("s1", words, tags)


@pytest.mark.parametrize(
    ("language", "tag"), [("en", "NOUN"), ("de", "NOUN"), ("es", "ADP"), ("fr", "PRON"), ("it", "ADV")]
)
def test_precedence_lists(tmp_path: Path, language: str, tag: str) -> None:
    """Without heads the lists decide; French and Italian differ in what comes before ADP."""
    parts = {"es": ("NOUN", "ADP"), "fr": ("NOUN", "PRON"), "it": ("NOUN", "PRON", "ADV")}.get(
        language, ("PRON", "NOUN")
    )
    rows = [f"{number}/x/{part}" for number, part in enumerate(parts, start=1)]
    path = write(tmp_path / "x.conllu", conllu(f"1-{len(parts)}/xx/_", *rows))
    assert read_conllu(path, language).examples[0] == Sentence("x-0", ("xx",), (tag,))


def test_enhanced_heads_count_as_ancestors(tmp_path: Path) -> None:
    """In the basic tree both parts hang on word 3; word 2 has another head in the enhanced graph and so lies deeper."""
    rows = ["1/a/DET/3/3:x", "2/b/VERB/3/3:x|4:y", "3/c/NOUN/0/0:root", "4/d/NOUN/3/3:x"]
    path = write(tmp_path / "x.conllu", conllu("1-2/ab/_", *rows))
    assert read_conllu(path, "en").examples[0].tags == ("DET", "NOUN", "NOUN")  # type: ignore[union-attr]


def test_blanked_sentences_are_dropped_and_joiners_removed(tmp_path: Path) -> None:
    blanked = conllu("1/_/NOUN", "2/_/VERB", "3/./PUNCT")
    kept = conllu("1/_/NOUN", "2/110 000/NUM", "3/\u0645\u06cc\u200c\u0631\u0648\u062f/VERB")
    reading = read_conllu(write(tmp_path / "x.conllu", blanked + conllu("1/_/NOUN") + kept), "fa")
    assert reading.skipped == 2
    assert reading.examples[0].words == ("_", "110000", "\u0645\u06cc\u0631\u0648\u062f")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("language", "split", "treebank", "least"),
    [
        ("de", "dev", "UD_German-GSD/de_gsd", 140),
        ("yo", "test", "UD_Yoruba-YTB/yo_ytb", 90),
        ("ko", "dev", "UD_Korean-GSD/ko_gsd", 140),
    ],
)
def test_words_are_those_of_xtreme(data_root: Path, language: str, split: str, treebank: str, least: int) -> None:
    """XTREME's own conversion of an older release: the same sentences fall into the same words."""
    theirs = read_tagged_words(data_root / f"udpos/xtreme/{split}-{language}.tsv").examples
    ours = read_conllu(data_root / f"udpos/{treebank}-ud-{split}.conllu", language).examples
    words = {row.words for row in ours if isinstance(row, Sentence)}
    assert sum(row.words in words for row in theirs if isinstance(row, Sentence)) >= least


def test_fused_tags_are_those_of_xtreme(data_root: Path) -> None:
    """German contractions (im, zum, am ...), whose tag does not depend on the release."""
    path = data_root / "udpos/UD_German-GSD/de_gsd-ud-dev.conllu"
    fused = {line.split("\t")[1] for line in path.read_text(encoding="utf-8").splitlines()
             if line.partition("\t")[0].count("-") == 1 and line[0].isdigit()}  # fmt: skip
    theirs = {row.words: row for row in read_tagged_words(data_root / "udpos/xtreme/dev-de.tsv").examples
              if isinstance(row, Sentence)}  # fmt: skip
    pairs = [
        (word, tag, other)
        for row in read_conllu(path, "de").examples
        if isinstance(row, Sentence) and row.words in theirs
        for word, tag, other in zip(row.words, row.tags, theirs[row.words].tags, strict=True)
        if word in fused
    ]
    assert len(pairs) > 20 and all(tag == other for _, tag, other in pairs)


def test_tatoeba_sorts_english_and_keeps_the_line(tmp_path: Path) -> None:
    foreign = write(tmp_path / "tatoeba.deu-eng.deu", "zwei\neins\ndrei\nEins\n")
    english = write(tmp_path / "tatoeba.deu-eng.eng", "two\none\nthree\none\n")
    assert read_tatoeba(foreign, english).examples == [
        Translation("0", "one", "zwei", 1),
        Translation("1", "one", "eins", 3),
        Translation("2", "three", "drei", 2),
        Translation("3", "two", "Eins", 0),
    ]


def test_texts_and_answers(tmp_path: Path) -> None:
    assert read_texts(write(tmp_path / "t.tsv", "en\ta b\tc\nqaa\td\t\n")).examples == [Text("a b", "c"), Text("d", "")]
    squad = '{"data": [{"paragraphs": [{"context": " ab", "qas": [{"id": "1", "question": " q ", "answers": [%s]}]}]}]}'
    path = write(tmp_path / "s.json", squad % '{"text": "b", "answer_start": 2}')
    assert read_squad(path).examples == [Question("1", "q", " ab", (Answer("b", 2),))]


def test_a_set_of_several_files_is_read_in_order(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{name}.conllu", conllu(f"1/{name}/NOUN")) for name in "ba"]
    words = [row.words[0] for row in read_set("udpos", "dev.de", paths).examples if isinstance(row, Sentence)]
    assert words == ["b", "a"]
