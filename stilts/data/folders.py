"""Output folders that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stilts.runs import tree_digest


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place (and that of an older one) when the block ends well.

    No lock: of two that make the same folder at once, the second finds what it has made itself and leaves it alone, so
    that nobody who reads it sees it vanish.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    token = f"{os.getpid()}.{uuid.uuid4().hex[:8]}"
    temporary, old = (out.with_name(f".{out.name}.{kind}.{token}") for kind in ("new", "old"))
    temporary.mkdir()
    try:
        yield temporary
        while not _take_place(temporary, out, old):
            pass  # another one was faster: look at what it has put there
    finally:
        _remove(temporary)
        _remove(old)


def _take_place(temporary: Path, out: Path, old: Path) -> bool:
    """False where another process has put its folder there in between."""
    try:
        if out.is_dir() and not out.is_symlink() and tree_digest(out) == tree_digest(temporary):
            return True
        if os.path.lexists(out):
            _remove(old)
            os.replace(out, old)
        os.replace(temporary, out)
    except FileNotFoundError:
        if not temporary.exists():
            raise
        return False  # somebody moves the old folder at this moment
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _remove(path: Path) -> None:
    """A folder with all in it, or whatever else stands there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
