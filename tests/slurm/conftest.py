"""Studies on the real Slurm that the tests start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.campaigns import Study
from tests.support.slurm_cluster import SlurmCluster

MakeStudy = Callable[..., Study]


@pytest.fixture(scope="module")
def make_study(slurm: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> MakeStudy:
    """Make a study whose commands talk to the test cluster."""

    def make(grid: Mapping[str, Any], cluster: str = "test", **more: Any) -> Study:
        folder: Path = tmp_path_factory.mktemp(str(grid["name"]))
        return Study(folder, grid, ("--cluster", cluster), slurm.env, **more)

    return make
