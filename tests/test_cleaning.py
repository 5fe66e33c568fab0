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


def test_an_encoder_that_comes_back_leaves_its_other_children_alone(study: Study) -> None:
    """Runs after the test above: the encoder is there again. A child that must be scored anew needs it, the others
    do not, even if it comes out otherwise, as on another GPU; and a child that is stale is a child that waits."""
    study.launch("--gc")
    target, encoder = study.find("target-xnli-mnli-"), study.find("intermediate-mnli-")
    digest = json.loads((study.root / encoder / "DONE").read_text())["output"]
    of_another_gpu = "0" * len(digest)
    for path in study.root.glob("*/DONE"):
        path.write_text(path.read_text().replace(digest, of_another_gpu))
    others = {path: path.read_bytes() for path in study.root.glob("[rt]*/DONE") if path.parent.name != target}
    assert sum(of_another_gpu.encode() in content for content in others.values()) >= 2
    done = study.root / target / "DONE"
    record = json.loads(done.read_text())
    record["needs"] = {need: output + ("x" if "scored" in need else "") for need, output in record["needs"].items()}
    done.write_text(json.dumps(record))
    assert set(study.plan()["submits"]) == {encoder, target}
    study.launch()
    assert set(study.states().values()) == {"done"}
    made = json.loads((study.root / encoder / "DONE").read_text())
    assert (made["output"], made["earlier"]) == (digest, [of_another_gpu])
    assert json.loads(done.read_text())["needs"][encoder] == digest
    assert others == {path: path.read_bytes() for path in others}
    assert "nothing to submit" in study.launch().stdout


def test_another_grid_of_the_folder_that_is_not_submitted_yet_keeps_its_encoder(study: Study, tmp_path: Path) -> None:
    """Runs after the test above, which leaves the encoder's weights."""
    other = Study(tmp_path, {**GRID, "name": "waiting", "axes": {**GRID["axes"], "target": ["xquad"]}})
    options = ("--grid", str(other.path), "--root", str(study.root), "--prepare-only")
    other.run(other.command("launch/grid.py", *options))
    assert not list(study.root.glob("target-squad*-*"))
    assert "0 folders" in study.launch("--gc").stdout
    assert "intermediate" in models(study)
    (study.root / "campaign" / "grids" / "waiting.json").unlink()


def test_another_grid_of_the_folder_may_keep_what_this_one_would_remove(study: Study, tmp_path: Path) -> None:
    other = Study(tmp_path, {**GRID, "name": "keeper", "keep": True}, ("--executor", "local"))
    options = ("--grid", str(other.path), "--root", str(study.root), "--executor", "local")
    other.run(other.command("launch/grid.py", *options))
    assert "0 folders" in study.launch("--gc").stdout


def test_keep_keeps_everything(tmp_path: Path) -> None:
    study = Study(
        tmp_path, {**GRID, "keep": True, "axes": {**GRID["axes"], "target": ["xnli"]}}, ("--executor", "local")
    )
    study.launch()
    assert models(study) == {"pretrain", "intermediate", "target"}
    assert "0 folders" in study.launch("--gc").stdout
    assert models(study) == {"pretrain", "intermediate", "target"}
