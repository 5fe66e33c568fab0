"""`--gc` and the rule about target models: what may go, goes; what is needed again, is made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.campaigns import TINY_TOY, Study, merge

GRID = merge(
    TINY_TOY,
    {
        "name": "cleaning",
        "toy": {"sizes": {"train": 32, "dev": 12, "test": 12}},
        "intermediate": {"selection": {"points": 1, "examples": 10}, "epochs": 1},
        "target": {"selection": {"points": 1, "examples": 10}, "epochs": 1},
        "resources": [{"cpus": 1}],  # another number of threads adds up in another order
    },
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study(tmp_path_factory.mktemp("cleaning"), GRID, ("--executor", "local"))
    study.launch()
    return study


def models(study: Study) -> set[str]:
    """Stages whose weights are on disk."""
    return {path.parent.name.split("-")[0] for path in study.root.glob("*/model")}


def test_weights_go_when_nothing_needs_them_and_come_back_when_something_does(study: Study) -> None:
    assert models(study) == {"pretrain", "intermediate"}, "a target's model is deleted when it is scored"
    metrics = {path: path.read_bytes() for path in study.root.glob("[rt]*/metrics/*.json")}
    told = study.launch("--gc").stdout
    encoder = study.find("intermediate-mnli-")
    assert f"{encoder}/model" in told
    assert models(study) == {"pretrain"}
    assert set(study.states().values()) == {"done"}
    assert "nothing to submit" in study.launch().stdout
    assert "0 folders" in study.launch("--gc").stdout

    before = json.loads((study.root / encoder / "DONE").read_text())["output"]
    more = Study(
        study.folder, {**GRID, "axes": {**GRID["axes"], "target": ["xnli", "tatoeba", "udpos"]}}, study.options
    )
    wanted = more.plan()
    assert encoder in wanted["submits"]
    reasons = {run["id"]: run["reason"] for run in wanted["runs"]}
    assert "its weights have been removed, and target-udpos-mnli-s1" in reasons[encoder]
    more.launch()
    assert set(more.states().values()) == {"done"}
    assert json.loads((study.root / encoder / "DONE").read_text())["output"] == before
    assert metrics == {path: path.read_bytes() for path in metrics}, "the children found the very weights they know"


def test_keep_keeps_everything(tmp_path: Path) -> None:
    study = Study(
        tmp_path, {**GRID, "keep": True, "axes": {**GRID["axes"], "target": ["xnli"]}}, ("--executor", "local")
    )
    study.launch()
    assert models(study) == {"pretrain", "intermediate", "target"}
    assert "0 folders" in study.launch("--gc").stdout
    assert models(study) == {"pretrain", "intermediate", "target"}
