"""What a campaign holds a moving revision to: the first answer, whoever asked first."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from stilts.data import commits
from stilts.data.commits import hold_commit
from stilts.errors import UserError

FIRST, SECOND = "1" * 40, "2" * 40


def refuse() -> str:
    raise AssertionError("asked although the commit is held")


def test_the_first_answer_stays(tmp_path: Path) -> None:
    assert hold_commit(tmp_path, "a/b", "main", lambda: FIRST) == FIRST
    assert hold_commit(tmp_path, "a/b", "main", refuse) == FIRST
    assert hold_commit(tmp_path, "a/b", "refs/convert/parquet", lambda: SECOND) == SECOND
    assert hold_commit(tmp_path, "a/b", "main", lambda: SECOND, kind="model") == SECOND
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a--b@main.json",
        "a--b@refs--convert--parquet.json",
        "models--a--b@main.json",
    ]


def test_nothing_is_held_where_there_was_no_answer(tmp_path: Path) -> None:
    def fail() -> str:
        raise UserError("no network")

    with pytest.raises(UserError, match="no network"):
        hold_commit(tmp_path / "commits", "a/b", "main", fail)
    assert hold_commit(tmp_path / "commits", "a/b", "main", lambda: SECOND) == SECOND


@pytest.mark.parametrize("has_links", [True, False])
def test_many_at_once_agree(has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object) -> None:
        raise PermissionError("links are not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", no_link)
    together = Barrier(8)

    def answer(number: int) -> Callable[[], str]:
        def resolve() -> str:
            together.wait()
            return str(number) * 40

        return resolve

    with ThreadPoolExecutor(8) as pool:
        held = set(pool.map(lambda number: hold_commit(tmp_path, "a/b", "main", answer(number)), range(8)))
    assert len(held) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a--b@main.json"]


def test_a_damaged_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_PATIENCE_S", 0.1)
    path = tmp_path / "a--b@main.json"
    path.write_text('{"repo": "a/b"')
    with pytest.raises(UserError, match=r"a--b@main\.json: no record of the commit of a/b at main .*remove the file"):
        hold_commit(tmp_path, "a/b", "main", refuse)
    path.write_text('{"kind": "dataset", "repo": "a--b", "revision": "main", "commit": "' + FIRST + '"}')
    with pytest.raises(UserError, match=r"it holds a--b at main"):
        hold_commit(tmp_path, "a/b", "main", refuse)
