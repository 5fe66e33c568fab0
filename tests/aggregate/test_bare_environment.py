"""A laptop: tables come out the same in an environment that has only what the base dependencies bring."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.aggregate.claims_tree import write_full_study
from tests.support.campaigns import ROOT

ABSENT = ("torch", "transformers", "deepspeed", "datasets", "tokenizers", "safetensors", "pytest")


def list_base() -> set[str]:
    """Names of the distributions that the project's base dependencies need, extras left out."""
    found: set[str] = set()
    waiting = list(distribution("stilts-grid").requires or ())
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting.extend(distribution(name).requires or ())
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment into which the files of those distributions are linked, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    for name in list_base():
        for file in distribution(name).files or ():
            if file.parts[0] == "..":  # programs in bin/
                continue
            link = site / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(file.locate())).absolute())
    return folder / "bin" / "python"


def test_the_environment_is_bare(bare: Path) -> None:
    for name in ABSENT:
        result = subprocess.run([bare, "-c", f"import {name}"], capture_output=True, text=True, check=False)
        assert f"No module named '{name}'" in result.stderr


def test_the_same_tables_come_out_of_it(bare: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_full_study(results)
    for python, out in ((bare, "there"), (Path(sys.executable), "here")):
        command = [
            str(python),
            str(ROOT / "aggregate/tables.py"),
            "--results",
            str(results),
            "--out",
            str(tmp_path / out),
        ]
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300)
    there, here = (
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*") if path.is_file()}
        for out in ("there", "here")
    )
    assert len(here) > 20
    assert there == here
