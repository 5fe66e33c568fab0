"""Work for the other cores of this machine, done by forks of this process: they have all that it has read.

No outcome depends on them. Where no process can be forked, or one dies or fails, its work is done here.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

MAX_PROCESSES = 8
LEAST_ITEMS = 500  # of so many on it is worth while to share them


class Aside(Generic[R]):
    """Work that has begun in another process, whose outcome comes back pickled; killed with the block that it is
    begun in."""

    def __init__(self, work: Callable[[], R]) -> None:
        self._work = work
        self._process: BaseProcess | None = None
        # Elsewhere than on Linux the system's own libraries do not survive a fork.
        if sys.platform == "linux" and count_cores() > 1:
            with contextlib.suppress(OSError):
                self._start()

    def _start(self) -> None:
        self._pipe, inlet = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_answer, args=(self._work, inlet), daemon=True)
        with inlet:  # closed here, so that the pipe ends with the process
            process.start()
        self._process = process

    def finish(self) -> R:
        """The outcome, from there or, if need be, from here. Raises what the work raises."""
        if self._process is not None:
            with contextlib.suppress(EOFError, OSError, pickle.PickleError):
                outcome: R = self._pipe.recv()
                return outcome
        return self._work()

    def __enter__(self) -> Aside[R]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()


def _answer(work: Callable[[], Any], inlet: Connection) -> None:
    with contextlib.suppress(BaseException):  # it is tried again where somebody can be told what is wrong
        inlet.send(work())


def share(work: Callable[[Sequence[T]], R], items: Sequence[T]) -> list[R]:
    """What `work` makes of the items, each core's share by itself: of n cores the first takes every n-th item from the
    first on, the next from the second on. Few items are all in one share."""
    count = count_cores() if len(items) >= LEAST_ITEMS else 1
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(Aside(partial(work, items[start::count]))) for start in range(1, count)]
        return [work(items[::count]), *(other.finish() for other in others)]


def count_cores() -> int:
    """Cores that this process may use, at most MAX_PROCESSES."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_PROCESSES, cores)
