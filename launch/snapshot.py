"""The code that jobs run: a read-only copy taken at submission, named by its content, shared by all its jobs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

from stilts.runs import write_json

SOURCE = Path(__file__).resolve().parents[1]
PACKAGES = ("aggregate", "jobs", "launch", "stilts")
SUFFIXES = (".py", ".yaml", ".json", ".csv", ".html")


def take_snapshot(store: Path, source: Path = SOURCE) -> Path:
    """Copy the code as it stands (uncommitted changes and untracked modules too) into `store/<digest>/`.

    The same content is copied once. `SNAPSHOT.json` says commit and whether the tree was dirty, `changes.diff`
    how it differed. Returns the snapshot's folder.
    """
    contents = {path: (source / path).read_bytes() for path in code_files(source)}
    digest = hashlib.sha256()
    for path, content in contents.items():
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    folder = store / digest.hexdigest()[:16]
    if not (folder / "SNAPSHOT.json").exists():
        _write(folder, contents, source, digest.hexdigest())
    _restore(folder, contents)
    return folder


def _restore(folder: Path, contents: dict[str, bytes]) -> None:
    """Put back files that have gone since the copy was made: scratch disks delete what is old, file by file."""
    for name, content in contents.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != len(content):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
            temporary.write_bytes(content)
            temporary.chmod(0o444)
            os.replace(temporary, path)


def code_files(source: Path) -> list[str]:
    """Relative paths of the code: what git tracks or would track, or every source file where there is no git."""
    listed = _git(source, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PACKAGES)
    if not listed:  # no checkout, or a folder that the checkout around it ignores
        paths = [str(path.relative_to(source)) for name in PACKAGES for path in (source / name).rglob("*")]
    else:
        paths = listed.split("\0")
    return sorted({path for path in paths if path.endswith(SUFFIXES) and (source / path).is_file()})


def _write(folder: Path, contents: dict[str, bytes], source: Path, digest: str) -> None:
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    for path, content in contents.items():
        target = temporary / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o444)
    changes = _git(source, "diff", "HEAD", "--", *PACKAGES) or ""
    (temporary / "changes.diff").write_text(changes, encoding="utf-8")
    status = _git(source, "status", "--porcelain", "--", *PACKAGES)
    commit = (_git(source, "rev-parse", "HEAD") or "").strip() or None
    record = {"digest": digest, "commit": commit, "dirty": bool(status), "taken": time.time()}
    write_json(temporary / "SNAPSHOT.json", record)
    try:
        os.rename(temporary, folder)
    except OSError:
        if not (folder / "SNAPSHOT.json").exists():
            raise
        shutil.rmtree(temporary)  # another launcher was faster with the same content


def _git(source: Path, *arguments: str) -> str | None:
    """Output of a git command in `source`; None where git is missing or `source` is no checkout of its own."""
    try:
        result = subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:
        return None
    return result.stdout if result.returncode == 0 else None
