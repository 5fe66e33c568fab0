"""A small study that is computed once for all tests of the launcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.campaigns import TINY_TOY, Study, merge

LOCAL = ("--executor", "local")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
TOTAL = 15


def make(folder: Path, **changes: Any) -> Study:
    """The made-up study of TOTAL runs, on the local pool."""
    return Study(folder, merge(TINY_TOY, changes), LOCAL, ONE_THREAD)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study from nothing to its end; look, do not touch."""
    study = make(tmp_path_factory.mktemp("finished"))
    output = study.launch().stdout
    assert f"all {TOTAL} runs are done" in output
    return study
