"""Any set written in a format is read back as it was: generated texts, words, ids, answers and trees."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stilts.data.ccg import read_ccg
from stilts.data.choices import COSMOSQA_HEADER, read_choices
from stilts.data.conllu import read_conllu
from stilts.data.examples import Answer, Choice, Line, Pair, Question, Sentence, Translation
from stilts.data.lines import BYTE_ORDER_MARK
from stilts.data.pairs import read_pairs
from stilts.data.parallel import read_bucc, read_tatoeba
from stilts.data.squad import read_squad
from stilts.data.tagged import read_tagged_words
from stilts.errors import UserError
from stilts.tasks.catalogue import IOB2, NLI, UPOS
from tests.stilts.originals import PAWSX_HEADER, write_file

ROUND = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Characters of real text that a careless reader stumbles over, among any others that no line format can hold.
_CHARACTERS = st.characters(exclude_characters="\t\n\r\0", exclude_categories=["Cs"])
TEXT = st.text(st.one_of(st.sampled_from("ab \"'#:-_|\u2028\x85\u00a0\u200c"), _CHARACTERS), min_size=1, max_size=12)
STRIPPED = TEXT.map(str.strip).filter(bool).filter(lambda text: not text.startswith(BYTE_ORDER_MARK))
WORD = st.text(st.sampled_from("abcÄß中ह\"'#:-_~/\\"), min_size=1, max_size=6)
LABEL = st.sampled_from(NLI)
SENTENCES = st.lists(st.lists(st.tuples(WORD, st.sampled_from(IOB2)), min_size=1, max_size=5), min_size=1, max_size=4)
END = st.sampled_from(["\n", "\r\n"])


def as_rows(sentences: list[list[tuple[str, str]]], prefix: str = "", end: str = "\n") -> str:
    blocks = ("".join(f"{prefix}{word}\t{tag}{end}" for word, tag in sentence) for sentence in sentences)
    return end.join(blocks)


def as_sentences(stem: str, sentences: list[list[tuple[str, str]]]) -> list[Sentence]:
    return [
        Sentence(f"{stem}-{number}", tuple(word for word, _ in rows), tuple(tag for _, tag in rows))
        for number, rows in enumerate(sentences)
    ]


@ROUND
@given(rows=st.lists(st.tuples(STRIPPED, STRIPPED, LABEL), min_size=1, max_size=6))
def test_pairs_written_by_the_csv_module(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    """XTREME's conversion: quoted where there is a quote mark, CR LF at the end of a line."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter="\t").writerows(rows)
    path = write_file(tmp_path / "dev-en.tsv", buffer.getvalue())
    assert read_pairs(path, NLI, "en").examples == [Pair(str(n), *row) for n, row in enumerate(rows)]


@ROUND
@given(rows=st.lists(st.tuples(STRIPPED, STRIPPED, st.sampled_from("01")), min_size=1, max_size=6), end=END)
def test_pairs_in_a_table(tmp_path: Path, rows: list[tuple[str, str, str]], end: str) -> None:
    lines = [f"{number}\t{first}\t{second}\t{label}" for number, (first, second, label) in enumerate(rows)]
    path = write_file(tmp_path / "train.tsv", end.join([PAWSX_HEADER.strip(), *lines, ""]))
    assert read_pairs(path, ("0", "1"), "en").examples == [Pair(str(n), *row) for n, row in enumerate(rows)]


@ROUND
@given(rows=st.lists(st.tuples(STRIPPED, STRIPPED, LABEL), min_size=1, max_size=6), escape=st.booleans())
def test_pairs_in_json_lines(tmp_path: Path, rows: list[tuple[str, str, str]], escape: bool) -> None:
    records = [{"uid": f"u{n}", "context": first, "hypothesis": second, "label": label[0]}
               for n, (first, second, label) in enumerate(rows)]  # fmt: skip
    text = "".join(json.dumps(record, ensure_ascii=escape) + "\n" for record in records)
    path = write_file(tmp_path / "train.jsonl", text)
    assert read_pairs(path, NLI, "en").examples == [Pair(f"u{n}", *row) for n, row in enumerate(rows)]


@ROUND
@given(rows=st.lists(st.tuples(STRIPPED, STRIPPED, st.lists(STRIPPED, min_size=4, max_size=4)), min_size=1, max_size=4))
def test_cosmosqa(tmp_path: Path, rows: list[tuple[str, str, list[str]]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COSMOSQA_HEADER)
    writer.writerows([f"c{n}", context, asked, *endings, n % 4] for n, (context, asked, endings) in enumerate(rows))
    path = write_file(tmp_path / "train.csv", buffer.getvalue())
    assert read_choices(path, "cosmosqa").examples == [
        Choice(f"c{n}", f"{context} {asked}", tuple(endings), n % 4)
        for n, (context, asked, endings) in enumerate(rows)
    ]  # fmt: skip


@ROUND
@given(sentences=SENTENCES, end=END, prefix=st.sampled_from(["", "de:"]))
def test_tagged_words(tmp_path: Path, sentences: list[list[tuple[str, str]]], end: str, prefix: str) -> None:
    path = write_file(tmp_path / "dev", as_rows(sentences, prefix, end))
    assert read_tagged_words(path, IOB2, prefix).examples == as_sentences("dev", sentences)
    words = write_file(tmp_path / "test", end.join("".join(word + end for word, _ in rows) for rows in sentences))
    assert read_tagged_words(words, IOB2, labelled=False).examples == [
        Sentence(row.id, row.words, ()) for row in as_sentences("test", sentences)
    ]


@ROUND
@given(sentences=st.lists(st.lists(st.tuples(WORD, st.sampled_from(UPOS)), min_size=2, max_size=5), min_size=1))
def test_conllu(tmp_path: Path, sentences: list[list[tuple[str, str]]]) -> None:
    kept = [rows for rows in sentences if sum(word == "_" for word, _ in rows) < max(1, len(rows) - 1)]
    blocks = ["".join(f"{n}\t{word}\t_\t{tag}\t_\t_\t{n - 1}\tdep\t_\t_\n" for n, (word, tag) in enumerate(rows, 1))
              for rows in kept]  # fmt: skip
    text = "".join(f"# sent_id = dev-{n}\n# text = x\n{block}\n" for n, block in enumerate(blocks))
    path = write_file(tmp_path / "dev.conllu", text or "# none\n")
    if kept:
        assert read_conllu(path, "de").examples == as_sentences("dev", kept)
    else:
        with pytest.raises(UserError, match="no sentence with words"):
            read_conllu(path, "de")


@ROUND
@given(sentences=st.lists(st.lists(st.tuples(WORD, st.sampled_from(["N", r"(S[dcl]\NP)/NP", "."])), min_size=1),
                          min_size=1, max_size=3))  # fmt: skip
def test_derivations(tmp_path: Path, sentences: list[list[tuple[str, str]]]) -> None:
    """Binary trees that lean to the right, in CCGbank's own notation."""

    def tree(rows: list[tuple[str, str]]) -> str:
        word, category = rows[0]
        leaf = f"(<L {category} X X {word} {category}>)"
        return f"(<T N 0 2> {leaf} {tree(rows[1:])} )" if rows[1:] else leaf

    text = "".join(f"ID=wsj-{n} PARSER=GOLD NUMPARSE=1\n{tree(rows)}\n" for n, rows in enumerate(sentences))
    assert read_ccg(write_file(tmp_path / "wsj_0001.auto", text)).examples == as_sentences("wsj", sentences)
    assert read_ccg(write_file(tmp_path / "wsj.tsv", as_rows(sentences))).examples == as_sentences("wsj", sentences)


@ROUND
@given(data=st.data(), contexts=st.lists(TEXT, min_size=1, max_size=4), indent=st.sampled_from([None, 1]))
def test_questions(tmp_path: Path, data: st.DataObject, contexts: list[str], indent: int | None) -> None:
    expected = []
    for number, context in enumerate(contexts):
        start = data.draw(st.integers(0, len(context) - 1))
        text = context[start : data.draw(st.integers(start + 1, len(context)))]
        answers = (Answer(text, start),) * data.draw(st.integers(0, 3))
        expected.append(Question(f"q{number}", data.draw(STRIPPED), context, answers))
    record = {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": row.context, "qas": [
        {"id": row.id, "question": row.question, "is_impossible": not row.answers,
         "answers": [{"text": answer.text, "answer_start": answer.start} for answer in row.answers]}]}]}
        for row in expected]}  # fmt: skip
    path = write_file(tmp_path / "dev.json", json.dumps(record, indent=indent, ensure_ascii=data.draw(st.booleans())))
    assert read_squad(path, version2=True).examples == expected


@ROUND
@given(pairs=st.lists(st.tuples(STRIPPED, STRIPPED), min_size=1, max_size=6), end=END)
def test_parallel_sentences(tmp_path: Path, pairs: list[tuple[str, str]], end: str) -> None:
    """Every query's gold is a line whose English is the query; the mined corpus keeps every sentence in order."""
    foreign, english = (write_file(tmp_path / f"t.{k}", "".join(pair[k] + end for pair in pairs)) for k in (0, 1))
    rows = [row for row in read_tatoeba(foreign, english).examples if isinstance(row, Translation)]
    assert [row.candidate for row in rows] == [first for first, _ in pairs]
    assert [row.query for row in rows] == sorted(second for _, second in pairs)
    assert sorted(row.gold for row in rows if row.gold is not None) == list(range(len(pairs)))
    assert all(row.gold is not None and pairs[row.gold][1] == row.query for row in rows)
    files = [write_file(tmp_path / f"b.{name}", "".join(f"{name}-{n}\t{pair[k]}{end}" for n, pair in enumerate(pairs)))
             for k, name in enumerate(("de", "en"))]  # fmt: skip
    gold = write_file(tmp_path / "b.gold", "".join(f"de-{n}\ten-{n}{end}" for n in range(len(pairs))))
    assert read_bucc([*files, gold]).examples == [
        *(Line(f"de-{n}", first, False, (f"en-{n}",)) for n, (first, _) in enumerate(pairs)),
        *(Line(f"en-{n}", second, True) for n, (_, second) in enumerate(pairs)),
    ]
