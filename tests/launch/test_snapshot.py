"""The code that jobs run: a read-only copy of what stood in the working tree, whatever git knows of it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from launch.snapshot import code_files, take_snapshot
from tests.support.campaigns import ROOT

FILES = {
    "jobs/__init__.py": "",
    "jobs/run.py": "print('run')\n",
    "launch/grid.py": "print('grid')\n",
    "launch/grids/full.yaml": "name: full\n",
    "stilts/data/lexicon.json": "{}\n",
    "stilts/notes.txt": "not code\n",
    "tests/test_x.py": "not carried\n",
    "README.md": "not carried\n",
    ".gitignore": "*.ignored.py\n__pycache__/\n",
    "jobs/local.ignored.py": "secret\n",
    "jobs/__pycache__/run.cpython-311.pyc": "x",
}
CODE = {"jobs/__init__.py", "jobs/run.py", "launch/grid.py", "launch/grids/full.yaml", "stilts/data/lexicon.json"}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def git(source: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", str(source), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The files without git."""
    write(tmp_path / "source", FILES)
    return tmp_path / "source"


@pytest.fixture
def checkout(plain: Path) -> Path:
    """The files in a commit."""
    git(plain, "init")
    git(plain, "add", ".")
    git(plain, "commit", "-m", "all")
    return plain


def contents(folder: Path) -> dict[str, str]:
    own = ("SNAPSHOT.json", "changes.diff")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in own]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def record(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "SNAPSHOT.json").read_text()))


def test_a_clean_checkout(checkout: Path, tmp_path: Path) -> None:
    folder = take_snapshot(tmp_path / "store", checkout)
    assert contents(folder) == {name: FILES[name] for name in CODE}
    assert (record(folder)["commit"], record(folder)["dirty"]) == (git(checkout, "rev-parse", "HEAD"), False)
    assert (folder / "changes.diff").read_text() == ""
    assert folder.name == record(folder)["digest"][:16]


def test_changes_and_new_modules_are_in_it_and_recorded(checkout: Path, tmp_path: Path) -> None:
    write(checkout, {"jobs/run.py": "print('changed')\n", "stilts/new.py": "NEW = 1\n"})
    (checkout / "launch/grid.py").unlink()
    folder = take_snapshot(tmp_path / "store", checkout)
    found = contents(folder)
    assert found["jobs/run.py"] == "print('changed')\n"
    assert found["stilts/new.py"] == "NEW = 1\n"
    assert "launch/grid.py" not in found
    assert "jobs/local.ignored.py" not in found
    assert record(folder)["dirty"] is True
    diff = (folder / "changes.diff").read_text()
    assert "+print('changed')" in diff
    assert "-print('grid')" in diff


def test_staged_changes_are_in_the_diff(checkout: Path, tmp_path: Path) -> None:
    write(checkout, {"jobs/run.py": "print('staged')\n"})
    git(checkout, "add", ".")
    assert "+print('staged')" in (take_snapshot(tmp_path / "store", checkout) / "changes.diff").read_text()


def test_changes_elsewhere_do_not_make_the_code_dirty(checkout: Path, tmp_path: Path) -> None:
    write(checkout, {"README.md": "other\n", "tests/test_y.py": "\n"})
    assert record(take_snapshot(tmp_path / "store", checkout))["dirty"] is False


def test_the_same_content_is_kept_once_and_another_beside_it(checkout: Path, tmp_path: Path) -> None:
    first = take_snapshot(tmp_path / "store", checkout)
    assert take_snapshot(tmp_path / "store", checkout) == first
    write(checkout, {"jobs/run.py": "print('changed')\n"})
    second = take_snapshot(tmp_path / "store", checkout)
    write(checkout, {"jobs/run.py": FILES["jobs/run.py"]})
    assert take_snapshot(tmp_path / "store", checkout) == first
    assert {path.name for path in (tmp_path / "store").iterdir()} == {first.name, second.name}
    assert contents(first)["jobs/run.py"] == FILES["jobs/run.py"]


def test_a_moved_file_is_another_content(checkout: Path, tmp_path: Path) -> None:
    first = take_snapshot(tmp_path / "store", checkout)
    (checkout / "jobs/run.py").rename(checkout / "jobs/runs.py")
    assert take_snapshot(tmp_path / "store", checkout) != first


def test_nobody_edits_it_by_mistake(checkout: Path, tmp_path: Path) -> None:
    folder = take_snapshot(tmp_path / "store", checkout)
    for name in CODE:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o444


def test_before_the_first_commit(plain: Path, tmp_path: Path) -> None:
    git(plain, "init")
    folder = take_snapshot(tmp_path / "store", plain)
    assert contents(folder) == {name: FILES[name] for name in CODE}
    assert (record(folder)["commit"], record(folder)["dirty"]) == (None, True)


def test_without_a_checkout(plain: Path, tmp_path: Path) -> None:
    folder = take_snapshot(tmp_path / "store", plain)
    assert set(contents(folder)) == CODE | {"jobs/local.ignored.py"}
    assert (record(folder)["commit"], record(folder)["dirty"]) == (None, False)


def test_without_git(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = take_snapshot(tmp_path / "store", checkout)
    assert set(contents(folder)) >= CODE
    assert record(folder)["commit"] is None


def test_inside_a_checkout_that_ignores_it(checkout: Path, tmp_path: Path) -> None:
    """An installed copy below another project's `.venv`: git lists nothing there, yet the code is there."""
    write(checkout, {".gitignore": "venv/\n", **{f"venv/lib/{name}": FILES[name] for name in CODE}})
    folder = take_snapshot(tmp_path / "store", checkout / "venv" / "lib")
    assert contents(folder) == {name: FILES[name] for name in CODE}


def test_two_at_once(checkout: Path, tmp_path: Path) -> None:
    write(checkout, {f"jobs/module{number}.py": "x" * 5000 for number in range(200)})
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: take_snapshot(tmp_path / "store", checkout), range(8)))
    assert len(set(folders)) == 1
    assert [path.name for path in (tmp_path / "store").iterdir()] == [folders[0].name]
    assert len(contents(folders[0])) == len(CODE) + 200


def test_this_project_s_own_code_runs_from_its_snapshot(tmp_path: Path) -> None:
    folder = take_snapshot(tmp_path / "store")
    assert {"jobs/run.py", "jobs/warm.py", "stilts/runs.py", "launch/grids/full_matrix.yaml"} <= set(contents(folder))
    assert not [name for name in code_files(ROOT) if "__pycache__" in name or name.startswith("tests/")]
    command = [sys.executable, str(folder / "launch" / "grid.py"), "--grid", "full_matrix", "--dry-run"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "would submit" in result.stdout
