"""Output folders: whole or not at all, also where several processes make the same one at once."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from stilts.data.folders import new_folder

ROUNDS = 60


def make_again_and_again(out: Path, texts: list[str]) -> None:
    for number in range(ROUNDS):
        with new_folder(out) as folder:
            for name in ("a", "b"):
                (folder / name).write_text(texts[number % len(texts)])


def write_half(out: Path) -> None:
    with new_folder(out) as folder:
        (folder / "a").write_text("half")
        raise ValueError("stop")


def work_at_once(out: Path, *texts: list[str]) -> list[multiprocessing.Process]:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=make_again_and_again, args=(out, mine)) for mine in texts]
    for worker in workers:
        worker.start()
    return workers  # type: ignore[return-value]


def test_several_that_make_the_same_folder_never_take_it_from_a_reader(tmp_path: Path) -> None:
    out = tmp_path / "data"
    make_again_and_again(out, ["same"])
    workers = work_at_once(out, ["same"], ["same"], ["same"])
    looked = 0
    while any(worker.is_alive() for worker in workers):
        assert [(out / name).read_text() for name in ("a", "b")] == ["same", "same"]
        looked += 1
    assert looked > 10
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_several_with_other_content_leave_one_whole_folder(tmp_path: Path) -> None:
    workers = work_at_once(tmp_path / "data", ["1", "2"], ["2", "1"], ["3"])
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    texts = {(tmp_path / "data" / name).read_text() for name in ("a", "b")}
    assert len(texts) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_damaged_folder_is_replaced_and_a_failure_leaves_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "data"
    make_again_and_again(out, ["whole"])
    (out / "b").unlink()
    make_again_and_again(out, ["whole"])
    assert (out / "b").read_text() == "whole"
    before = time.time()
    with pytest.raises(ValueError, match="stop"):
        write_half(out)
    assert (out / "a").read_text() == "whole" and (out / "a").stat().st_mtime < before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_file_or_a_dangling_link_in_its_place_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "data"
    out.write_text("a file")
    make_again_and_again(out, ["whole"])
    (tmp_path / "data" / "a").unlink()
    out.rename(tmp_path / "other")
    out.symlink_to(tmp_path / "nowhere")
    make_again_and_again(out, ["whole"])
    assert (out / "a").read_text() == "whole" and not out.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "other"]
