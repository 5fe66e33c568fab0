"""The commits that a campaign's downloads stick to.

A name like `main` moves on the hub. What it meant at a campaign's first fetch is recorded in the campaign, and every
later fetch, of whatever job, takes the recorded commit.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from stilts.errors import UserError

COMMIT = re.compile(r"[0-9a-f]{40}")

# How long a half-written record of another process may stay so (file systems without links alone have them).
_PATIENCE_S = 5.0


def hold_commit(folder: Path, repo: str, revision: str, resolve: Callable[[], str], kind: str = "dataset") -> str:
    """The commit (40 hex digits) that `revision` of the hub's `repo` stands for in this campaign.

    The first caller asks `resolve` and records the answer in `folder`; later ones get the record, and `resolve` is not
    called. Of several first callers at once, one wins and all return its commit. `kind`: dataset or model.
    Raises UserError for a record that cannot be read, and whatever `resolve` raises (nothing is recorded then).
    """
    prefix = "" if kind == "dataset" else f"{kind}s--"
    path = folder / f"{prefix}{_flatten(repo)}@{_flatten(revision)}.json"
    if not path.exists():
        commit = resolve()
        assert COMMIT.fullmatch(commit), f"{commit!r} is no commit"
        record = {"kind": kind, "repo": repo, "revision": revision, "commit": commit}
        folder.mkdir(parents=True, exist_ok=True)
        _publish(path, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return _read_commit(path, repo, revision)


def _flatten(name: str) -> str:
    return name.replace("/", "--")


def _publish(path: Path, text: str) -> None:
    """Write a file that appears whole, unless one is there already (no lock: some shared file systems have none)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    temporary.write_text(text, encoding="utf-8")
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:
        _create(path, text)
    finally:
        temporary.unlink()


def _create(path: Path, text: str) -> None:
    """Where the file system has no links: the first to create the file writes it."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        pass


def _read_commit(path: Path, repo: str, revision: str) -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            commit = str(record["commit"])
            if (record["repo"], record["revision"]) == (repo, revision) and COMMIT.fullmatch(commit):
                return commit
            problem = f"it holds {record['repo']} at {record['revision']}, commit {commit!r}"
        except (ValueError, KeyError, TypeError) as error:
            problem = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            raise UserError(
                f"{path}: no record of the commit of {repo} at {revision} ({problem}); remove the file to take "
                "the hub's present commit"
            )
        time.sleep(0.05)
