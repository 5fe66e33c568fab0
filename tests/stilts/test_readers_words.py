"""Tagged words in their original formats: treebanks, PAN-X, CCG, and XTREME's conversions."""

from __future__ import annotations

from pathlib import Path

import pytest

from stilts.data.ccg import read_ccg
from stilts.data.conllu import read_conllu
from stilts.data.examples import Sentence
from stilts.data.readers import read_set
from stilts.data.tagged import read_tagged_words
from stilts.errors import UserError
from stilts.tasks.catalogue import IOB2, UPOS
from tests.stilts.originals import CCG_ROWS, DERIVATION, write_file


def conllu(*rows: str) -> str:
    """CoNLL-U of one sentence from rows `number/form/tag[/head[/enhanced]]`."""
    lines = []
    for row in rows:
        number, form, tag, head, enhanced = [*row.split("/"), "_", "_"][:5]
        lines.append("\t".join([number, form, "_", tag, "_", "_", head, "_", enhanced, "_"]))
    return "\n".join(lines) + "\n\n"


def test_multi_word_tokens_take_their_fused_form(tmp_path: Path) -> None:
    """Tag of the part nearest to the root; of equally near ones, by precedence: AUX before PART, ADP before DET."""
    text = conllu("1-2/don't/_", "1/do/AUX/3", "2/n't/PART/3", "3/go/VERB/0", "4-5/zum/_", "4/zu/ADP/6", "5/dem/DET/6",
                  "6/Haus/NOUN/3", "7-8/daselo/_", "7/da/DET/3", "8/selo/PRON/7", "8.1/ghost/VERB/3")  # fmt: skip
    (sentence,) = read_conllu(write_file(tmp_path / "x.conllu", "# sent_id = s1\n" + text), "en").examples
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
    path = write_file(tmp_path / "x.conllu", conllu(f"1-{len(parts)}/xx/_", *rows))
    assert read_conllu(path, language).examples[0] == Sentence("x-0", ("xx",), (tag,))


def test_enhanced_heads_count_as_ancestors(tmp_path: Path) -> None:
    """In the basic tree both parts hang on word 3; word 2 has another head in the enhanced graph and so lies deeper."""
    rows = ["1/a/DET/3/3:x", "2/b/VERB/3/3:x|4:y", "3/c/NOUN/0/0:root", "4/d/NOUN/3/3:x"]
    path = write_file(tmp_path / "x.conllu", conllu("1-2/ab/_", *rows))
    assert read_conllu(path, "en").examples[0].tags == ("DET", "NOUN", "NOUN")  # type: ignore[union-attr]


def test_blanked_sentences_are_dropped_and_joiners_removed(tmp_path: Path) -> None:
    blanked = conllu("1/_/NOUN", "2/_/VERB", "3/./PUNCT")
    kept = conllu("1/_/NOUN", "2/110 000/NUM", "3/\u0645\u06cc\u200c\u0631\u0648\u062f/VERB")
    reading = read_conllu(write_file(tmp_path / "x.conllu", blanked + conllu("1/_/NOUN") + kept), "fa")
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
    theirs = read_tagged_words(data_root / f"udpos/xtreme/{split}-{language}.tsv", UPOS).examples
    ours = read_conllu(data_root / f"udpos/{treebank}-ud-{split}.conllu", language).examples
    words = {row.words for row in ours if isinstance(row, Sentence)}
    assert sum(row.words in words for row in theirs if isinstance(row, Sentence)) >= least


def test_fused_tags_are_those_of_xtreme(data_root: Path) -> None:
    """German contractions (im, zum, am ...), whose tag does not depend on the release."""
    path = data_root / "udpos/UD_German-GSD/de_gsd-ud-dev.conllu"
    fused = {line.split("\t")[1] for line in path.read_text(encoding="utf-8").splitlines()
             if line.partition("\t")[0].count("-") == 1 and line[0].isdigit()}  # fmt: skip
    theirs = {row.words: row for row in read_tagged_words(data_root / "udpos/xtreme/dev-de.tsv", UPOS).examples
              if isinstance(row, Sentence)}  # fmt: skip
    pairs = [
        (word, tag, other)
        for row in read_conllu(path, "de").examples
        if isinstance(row, Sentence) and row.words in theirs
        for word, tag, other in zip(row.words, row.tags, theirs[row.words].tags, strict=True)
        if word in fused
    ]
    assert len(pairs) > 20 and all(tag == other for _, tag, other in pairs)


def test_a_set_of_several_files_is_read_in_order(tmp_path: Path) -> None:
    paths = [write_file(tmp_path / f"{name}.conllu", conllu(f"1/{name}/NOUN")) for name in "ba"]
    words = [row.words[0] for row in read_set("udpos", "dev.de", paths).examples if isinstance(row, Sentence)]
    assert words == ["b", "a"]


def test_several_treebanks_number_their_own_sentences(tmp_path: Path) -> None:
    text = "# sent_id = s1\n" + conllu("1/x/NOUN")
    paths = [write_file(tmp_path / f"de_{name}-ud-dev.conllu", text) for name in ("gsd", "hdt")]
    assert [row.id for row in read_set("udpos", "dev.de", paths).examples] == [  # type: ignore[union-attr]
        "de_gsd-ud-dev:s1", "de_hdt-ud-dev:s1"]  # fmt: skip


def test_a_treebank_without_its_words_is_left_out_whole(tmp_path: Path) -> None:
    """English ESL, Arabic NYUAD, Japanese BCCWJ: the text is licensed, every word is "_"."""
    blank = write_file(tmp_path / "en_esl-ud-train.conllu", conllu("1/_/NOUN", "2/_/VERB"))
    whole = write_file(tmp_path / "en_ewt-ud-train.conllu", conllu("1/x/NOUN"))
    reading = read_set("udpos", "train.en", [blank, whole])
    assert (len(reading.examples), reading.skipped) == (1, 1)


def test_a_word_of_which_nothing_remains_keeps_its_place(tmp_path: Path) -> None:
    """XTREME writes `TAB tag` for it."""
    rows = conllu("1/x/NOUN", "2/\u200c/PUNCT")
    original = read_conllu(write_file(tmp_path / "a.conllu", rows), "fa").examples[0]
    assert original == Sentence("a-0", ("x", ""), ("NOUN", "PUNCT"))
    converted = read_tagged_words(write_file(tmp_path / "a.tsv", "x\tNOUN\n\tPUNCT\n"), UPOS).examples[0]
    assert converted == original


@pytest.mark.parametrize(
    ("language", "count", "split"), [("en", 1000, "train"), ("en", 150, "dev"), ("yo", 100, "dev")]
)
def test_panx_of_xtreme(data_root: Path, language: str, count: int, split: str) -> None:
    rows = read_set("panx", f"{split}.{language}", [data_root / f"panx/xtreme/{split}-{language}.tsv"]).examples
    assert len(rows) == count
    assert all(isinstance(row, Sentence) and len(row.words) == len(row.tags) > 0 for row in rows)


def test_panx_without_tags(data_root: Path) -> None:
    rows = read_set("panx", "test.de", [data_root / "panx/xtreme/test-de.tsv"], labelled=False).examples
    assert len(rows) == 50 and all(isinstance(row, Sentence) and row.words and row.tags == () for row in rows)


def test_dummy_tags_are_not_read(tmp_path: Path) -> None:
    path = write_file(tmp_path / "test", "de:Haus\tO\nde:rot\tO\n\n" * 20)
    rows = read_set("panx", "test.de", [path], labelled=False).examples
    assert len(rows) == 20 and rows[0] == Sentence("test-0", ("Haus", "rot"), ())
    with pytest.raises(UserError, match=r"test:2: 1 tab-separated columns, 2 are needed"):
        read_set("panx", "test.de", [write_file(path, "de:Haus\tO\nde:rot\n")], labelled=False)


def test_panx_prefixes_are_cut_once(data_root: Path, tmp_path: Path) -> None:
    """One sentence each in the original layout; in a converted file a colon is text."""
    for language, words in (("de", ("Anton", "Wilhelm", "von")), ("sw", ()), ("zh", ())):
        (row,) = read_set("panx", f"dev.{language}", [data_root / f"panx/panx_dataset_fixture/{language}/dev"]).examples
        assert isinstance(row, Sentence) and row.words[: len(words)] == words
        assert not any(word.startswith(f"{language}:") for word in row.words)
    (row,) = read_set("panx", "dev.de", [write_file(tmp_path / "dev", "de:de:\tO\nde::\tO\n")]).examples
    assert isinstance(row, Sentence) and row.words == ("de:", ":")
    (row,) = read_set("panx", "dev.de", [write_file(tmp_path / "dev-de.tsv", "de:x\tO\n")]).examples
    assert isinstance(row, Sentence) and row.words == ("de:x",)


def test_blank_lines_in_a_row_end_one_sentence(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.tsv", "\n\r\na\tO\r\n\r\n\r\n \nb\tB-PER\n\n\n")
    assert [row.words for row in read_tagged_words(path, IOB2).examples if isinstance(row, Sentence)] == [
        ("a",),
        ("b",),
    ]


def test_the_three_formats_of_ccg(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "ccg_standin_pmb/4.0.0/en/gold"
    assert [len(read_ccg(folder / f"{name}.conll").examples) for name in ("train", "dev")] == [1500, 200]
    first = read_ccg(folder / "train.conll").examples[0]
    assert isinstance(first, Sentence) and first.words == ("A", "girl", "is", "styling", "her", "hair")
    assert first.tags[2:4] == (r"(s:dcl\np)/(s:ng\np)", r"(s:ng\np)/np")
    derived = Sentence("wsj_0001.1", ("It", "rains"), ("NP", r"S[dcl]\NP"))
    assert read_ccg(write_file(tmp_path / "wsj_0001.auto", DERIVATION)).examples == [derived]
    rows = read_ccg(write_file(tmp_path / "train.tsv", CCG_ROWS)).examples
    assert rows == [Sentence("train-0", derived.words, derived.tags), Sentence("train-1", ("Stop",), ("S[b]",))]


def test_a_hash_can_be_a_word(tmp_path: Path) -> None:
    rows = "### made\n# raw sent = # 1\n#\t#\tx\tx\tn\tx\t[]\n1\t1\tx\tx\tn\\n\tx\t[]\n"
    assert read_ccg(write_file(tmp_path / "a.conll", rows)).examples == [Sentence("a-0", ("#", "1"), ("n", r"n\n"))]


@pytest.mark.parametrize(("name", "row"), [("a.conll", "a\ta\t_\t_\t{}\t_\t_\n"), ("a.tsv", "a\t{}\n")])
def test_every_word_needs_a_category(tmp_path: Path, name: str, row: str) -> None:
    path = write_file(tmp_path / name, row.format("NP") + row.format(" "))
    with pytest.raises(UserError, match=rf"{name}:2: tag '' of 'a' is not one of a category"):
        read_ccg(path)
