"""Work in other processes comes to what it comes to here, whatever happens to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from aggregate import processes
from aggregate.processes import Aside, share

LARGE = 1 << 20  # bytes, more than a pipe holds


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "count_cores", lambda: 3)


def elsewhere(act: Callable[[], Any]) -> Callable[[], tuple[int, bytes]]:
    """Work that does something more in another process than this one."""
    here = os.getpid()

    def work() -> tuple[int, bytes]:
        if os.getpid() != here:
            act()
        return os.getpid(), bytes(LARGE)

    return work


def test_an_outcome_comes_from_another_process() -> None:
    with Aside(elsewhere(lambda: None)) as aside:
        pid, content = aside.finish()
    assert pid != os.getpid() and content == bytes(LARGE)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_where_the_other_process_dies_or_fails_the_work_is_done_here(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise KeyError("elsewhere alone")

    for act in (fail, lambda: os._exit(0), lambda: os.kill(os.getpid(), signal.SIGKILL)):
        with Aside(elsewhere(act)) as aside:
            assert aside.finish() == (os.getpid(), bytes(LARGE))
    assert capfd.readouterr().err == ""


def test_a_process_that_dies_while_it_answers_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_half(work: Callable[[], Any], inlet: Any) -> None:
        os.write(inlet.fileno(), (1000).to_bytes(4, "big") + b"half")

    monkeypatch.setattr(processes, "_answer", answer_half)
    with Aside(os.getpid) as aside:
        assert aside.finish() == os.getpid()


def test_where_no_process_can_be_forked_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        with Aside(os.getpid) as aside:
            assert aside.finish() == os.getpid()
    monkeypatch.setattr(processes, "count_cores", lambda: 1)
    with Aside(os.getpid) as aside:
        assert aside.finish() == os.getpid()


def test_what_is_wrong_with_the_work_is_told_here() -> None:
    def work() -> None:
        raise ValueError("wrong")

    with Aside(work) as aside, pytest.raises(ValueError, match="wrong"):
        aside.finish()


def test_work_that_nobody_waits_for_any_more_ends() -> None:
    with Aside(signal.pause) as aside:
        process = aside._process
        assert process is not None and process.is_alive()
    assert process.exitcode == -signal.SIGKILL


def test_every_item_is_in_one_share(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(own: Sequence[int]) -> tuple[int, list[int]]:
        return os.getpid(), list(own)

    assert share(work, range(10)) == [(os.getpid(), list(range(10)))]
    monkeypatch.setattr(processes, "LEAST_ITEMS", 5)
    found = share(work, range(10))
    assert [own for _, own in found] == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert len({pid for pid, _ in found}) == 3
