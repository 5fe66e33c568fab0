"""Where data comes from, through the commands that users give: damaged files, and a hub that is there once."""

from __future__ import annotations

import json
from pathlib import Path

from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TRAININGS
from tests.stilts.originals import ORIGINALS, write_originals
from tests.support.campaigns import Study
from tests.support.hub_originals import list_originals, write_made_files
from tests.support.hub_repositories import push_repositories
from tests.support.hub_server import HubServer, hub_environment
from tests.support.tiny_bert import build_bert


def test_every_damaged_set_is_named_with_its_line_and_nothing_half_written_stays(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for task, part in ORIGINALS:
        write_originals(root, task, part)
        damaged = root / sorted(ORIGINALS[task, part])[-1]
        damaged.write_bytes(damaged.read_bytes().replace(b"\n", b"\n\xff", 1).replace(b"{", b"{\xff", 1))
    grid = {
        "name": "damaged",
        "data_root": str(root),
        "languages": {"all": ["de"], "tydiqa": ["ru"]},
        "axes": {"model": "scratch", "intermediate": ["none", "each"], "target": "all", "seed": [1]},
        "pretrain": {"text": ["mnli"]},
    }
    study = Study(tmp_path / "study", grid, ("--executor", "local"))
    told = study.launch("--prepare-only", check=False)
    assert told.returncode == 1
    fetches = {run_id: run for run_id, run in study.status().items() if run["stage"] == "fetch"}
    assert len(fetches) == len(ORIGINALS) == len(INTERMEDIATES) + len(TRAININGS) + len(TARGETS)
    for run_id, run in fetches.items():
        assert run["state"] == "failed"
        assert "not UTF-8" in run["reason"] and str(root) in run["reason"]
        assert run["reason"].split(": not UTF-8")[0].rsplit(":", 1)[1].isdecimal()
        assert run_id in told.stdout
        assert not [path.name for path in (study.root / run_id).iterdir() if "data" in path.name]


def test_what_came_from_the_hub_is_used_with_the_network_gone(data_root: Path, tmp_path: Path) -> None:
    build_bert(data_root, tmp_path / "tiny-bert")
    write_made_files(tmp_path / "made")
    hub = HubServer()
    push_repositories(hub, list_originals(data_root, tmp_path / "made"))
    files = {path.name: path.read_bytes() for path in (tmp_path / "tiny-bert").iterdir()}
    commit = hub.push("someone/tiny-bert", files, kind="model")
    hub.start()
    training = {"precision": "fp32", "learning_rate": 1e-3, "epochs": 1, "max_length": 64, "max_examples": 32}
    grid = {
        "name": "hub",
        "languages": {"pawsx": ["de"], "bucc2018": ["zh"]},
        "axes": {
            "model": "someone/tiny-bert",
            "intermediate": ["csqa"],
            "target": ["pawsx", "bucc2018"],
            "seed": [1],
        },
        "intermediate": training,
        "target": training,
        "retrieval": {"max_length": 64},
    }
    study = Study(tmp_path / "study", grid, ("--executor", "local"), hub_environment(hub, tmp_path / "home"))
    study.launch("--prepare-only")
    hub.stop()
    study.launch()
    assert set(study.states().values()) == {"done"}
    held = {path.name: json.loads(path.read_text())["commit"] for path in (study.root / "campaign/commits").iterdir()}
    assert held["models--someone--tiny-bert@main.json"] == commit
    assert {"google--xtreme@main.json", "tau--commonsense_qa@main.json"} < set(held)
    report = (study.root / "campaign" / "data.md").read_text()
    assert f"tau/commonsense_qa@{held['tau--commonsense_qa@main.json']}" in report
    assert "ANOTHER, EASIER TASK" in report
    study.tables(tmp_path / "tables")
    note = "BUCC is not comparable with published numbers: read from the hub, which has gold pairs alone"
    assert note in (tmp_path / "tables" / "main.md").read_text()
