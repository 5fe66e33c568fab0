"""Ids that stand several times: legal in some sets, where they are numbered, and refused in all others."""

from __future__ import annotations

from pathlib import Path

import pytest

from stilts.data.examples import Choice, Pair
from stilts.data.readers import read_set
from stilts.errors import UserError
from tests.stilts.originals import COSMOSQA_HEADER, QQP_HEADER, hellaswag, write_file


def test_numbers_of_hellaswag_may_stand_twice(tmp_path: Path) -> None:
    """ActivityNet and WikiHow are numbered separately; only the same texts are a row that stands twice."""
    rows = hellaswag(70) + hellaswag(71) + hellaswag(70, ctx="He") + hellaswag(70, endings=list("abcd"))
    path = write_file(tmp_path / "a.jsonl", rows)
    read = read_set("hellaswag", "dev.en", [path]).examples
    assert [row.id for row in read if isinstance(row, Choice)] == ["70", "71", "70-2", "70-3"]
    write_file(path, rows + hellaswag(71))
    with pytest.raises(UserError, match=r"a.jsonl:5: id '71' stands twice, first at .*a.jsonl:2, with the same texts"):
        read_set("hellaswag", "dev.en", [path])


@pytest.mark.parametrize(
    ("task", "name", "head", "row"),
    [
        ("cosmosqa", "x.csv", COSMOSQA_HEADER, "c,{},q?,w,x,y,z,3\n"),
        ("mnli", "x.tsv", "pairID\tsentence1\tsentence2\tgold_label\n", "c\t{}\tb\tneutral\n"),
        ("qqp", "x.tsv", QQP_HEADER, "c\t1\t2\t{}\tb\t0\n"),
        ("anli", "x.jsonl", "", '{{"pairID": "c", "sentence1": "{}", "sentence2": "b", "gold_label": "neutral"}}\n'),
    ],
)
def test_ids_may_repeat_in_training_sets(tmp_path: Path, task: str, name: str, head: str, row: str) -> None:
    """Rows of other texts are other examples; a set that is scored is strict."""
    path = write_file(tmp_path / name, head + row.format("one") + row.format("two"))
    read = read_set(task, "train.en", [path]).examples
    assert [row.id for row in read if isinstance(row, Pair | Choice)] == ["c", "c-2"]
    with pytest.raises(UserError, match=r"id 'c' stands twice, first at .*; every id stands once"):
        read_set(task, "dev.en", [path])
    write_file(path, head + row.format("one") * 2)
    with pytest.raises(UserError, match=r"id 'c' stands twice, first at .*, with the same texts"):
        read_set(task, "train.en", [path])


def test_a_numbered_id_is_no_other_rows_id(tmp_path: Path) -> None:
    rows = "pairID\tsentence1\tsentence2\tgold_label\n" + "".join(
        f"{name}\t{text}\tb\tneutral\n" for name, text in (("c", "v"), ("c-2", "w"), ("c", "x"), ("c", "y"))
    )
    read = read_set("mnli", "train.en", [write_file(tmp_path / "x.tsv", rows)]).examples
    assert [row.id for row in read if isinstance(row, Pair)] == ["c", "c-2", "c-3", "c-4"]
