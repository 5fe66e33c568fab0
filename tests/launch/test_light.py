"""The rooms: what runs on a login node imports no heavy library, and no room imports one that it must not."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.campaigns import ROOT

HEAVY = {"torch", "transformers", "datasets", "deepspeed", "tokenizers", "safetensors", "accelerate"}
LIGHT_OF_STILTS = [
    "stilts",
    "stilts.document",
    "stilts.errors",
    "stilts.failures",
    "stilts.runs",
    "stilts.results",
    "stilts.settings",
    "stilts.turns",
    "stilts.tasks.catalogue",
    "stilts.data.files",
    "stilts.data.hub_sets",
    "stilts.data.lines",
    "stilts.data.pickles",
    "stilts.data.releases",
    "stilts.data.toy.write",
    "stilts.evaluation.answers",
    "stilts.evaluation.chunks",
    "stilts.evaluation.metrics",
    "stilts.tasks.columns",
    "stilts.tasks.families",
]
# Runs a script as `python SCRIPT ...` does; its last line on stderr tells what was imported, or tried to be.
WITNESS = """
import json, runpy, sys
tried = set()
class Witness:
    def find_spec(self, name, path=None, target=None):
        tried.add(name.partition(".")[0])
sys.meta_path.insert(0, Witness())
sys.argv = sys.argv[1:]
try:
    if sys.argv[0].endswith(".py"):
        sys.path[0] = ""
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        for name in sys.argv:
            __import__(name)
finally:
    roots = {name.partition(".")[0] for name in sys.modules}
    print(json.dumps(sorted(tried | roots)), file=sys.stderr)
"""


def imported_by(*arguments: str, folder: Path) -> set[str]:
    """Top-level packages that a command imports or tries to import."""
    command = [sys.executable, "-c", WITNESS, *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["launch/grid.py", "--grid", "full_matrix.yaml", "--dry-run"],
        ["launch/grid.py", "--grid", "full_matrix.yaml", "--dry-run", "--json"],
        ["launch/grid.py", "--grid", "quickstart", "--dry-run", "--executor", "local"],
        ["launch/status.py", "--grid", "full_matrix.yaml"],
        ["launch/status.py", "--grid", "full_matrix.yaml", "--json"],
        ["aggregate/tables.py", "--help"],
    ],
    ids=" ".join,
)
def test_no_heavy_library_on_a_login_node(arguments: list[str], tmp_path: Path) -> None:
    found = imported_by(str(ROOT / arguments[0]), *arguments[1:], folder=tmp_path)
    assert "stilts" in found
    assert not found & HEAVY
    assert not list(tmp_path.iterdir())


def test_the_witness_sees_a_heavy_import(tmp_path: Path) -> None:
    script = tmp_path / "heavy.py"
    script.write_text("try:\n    import safetensors.numpy\nexcept ImportError:\n    pass\n")
    assert "safetensors" in imported_by(str(script), folder=tmp_path)


def test_the_light_modules_of_stilts_are_light(tmp_path: Path) -> None:
    assert not imported_by(*LIGHT_OF_STILTS, folder=ROOT) & HEAVY


def test_tables_from_the_command_line_are_light(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    arguments = ["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]
    command = [sys.executable, "-c", WITNESS, str(ROOT / "aggregate/tables.py"), *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert not set(json.loads(result.stderr.splitlines()[-1])) & (HEAVY | {"submitit"})


FORBIDDEN = {
    "launch": {"jobs", "aggregate", "torch", "transformers", "datasets", "deepspeed"},
    "jobs": {"launch", "aggregate", "submitit"},
    "stilts": {"launch", "jobs", "aggregate", "submitit"},
    "aggregate": {"launch", "jobs", "submitit", "torch", "transformers", "datasets", "deepspeed"},
}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_source_imports_what_its_room_must_not(room: str) -> None:
    sources = sorted((ROOT / room).rglob("*.py"))
    assert len(sources) > 3
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources
        for name, line in imports_of(path)
        if name.partition(".")[0] in FORBIDDEN[room]
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ["launch", "aggregate"])
def test_login_rooms_import_only_the_light_modules_of_stilts(room: str) -> None:
    found = {name for path in (ROOT / room).rglob("*.py") for name, _ in imports_of(path) if name.startswith("stilts")}
    assert found
    assert found <= set(LIGHT_OF_STILTS)


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Modules that a source imports anywhere, functions included, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield node.module or "", node.lineno
