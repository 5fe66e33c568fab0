"""The best checkpoint on dev: its points, its scores, its ties; trainings that collapse and start over."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from stilts.data.prepared import Prepared
from stilts.evaluation.score import score_target
from stilts.runs import RunFolder
from stilts.training import selection, train
from stilts.training.checkpoints import CheckpointStore
from stilts.training.heartbeat import Heartbeat
from stilts.training.save import WEIGHTS_FILE
from stilts.training.selection import DevSet, Judge, choose_points, primary_score, take_first
from stilts.training.stopping import StartOver
from stilts.training.train import Collapsed, Sources
from stilts.training.world import World
from tests.stilts.prepared_folders import draw_examples, training_config, write_encoder, write_prepared

CPU = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))
FAMILY_OF = {"mnli": "pair", "hellaswag": "choice", "squad1": "span", "udpos": "tagging"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def data(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A prepared folder of a task of each family; contexts of 60 words come in several windows."""
    folder = tmp_path_factory.mktemp("data")
    sets = {
        family: {"train.en": draw_examples(family, 40), "dev.en": draw_examples(family, 30, seed=1)}
        for family in FAMILY_OF.values()
    }
    return {task: write_prepared(folder / task, f, encoder, sets[f], 24) for task, f in FAMILY_OF.items()}


def run(encoder: Path, data: dict[str, Path], folder: Path, *tasks: str, **changes: Any) -> dict[str, Any]:
    recipes = {task: {"batch_size": 8, "epochs": 2} for task in tasks}
    config = training_config(recipes, **{"learning_rate": 3e-3, "selection": {"points": 5, "examples": 12}, **changes})
    sources = Sources(encoder, {task: data[task] for task in tasks})
    store = CheckpointStore(folder / "checkpoints", "this run", CPU)
    return train.train(config, sources, folder / "model", CPU, Heartbeat(folder), store=store)


@given(st.integers(1, 500), st.integers(1, 20))
def test_points_are_equally_spaced_and_end_with_the_training(updates: int, points: int) -> None:
    chosen = sorted(choose_points(updates, points))
    assert chosen[-1] == updates
    assert len(chosen) == min(points, updates)
    gaps = np.diff([0, *chosen])
    assert gaps.min() >= math.floor(updates / points)
    assert gaps.max() <= math.ceil(updates / points)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"accuracy": 70.0}, 70.0),
        ({"accuracy": 70.0, "f1": 60.0}, 65.0),
        ({"f1": 80.0, "exact_match": 60.0}, 70.0),
        ({"f1": 80.0, "exact_match": 60.0, "HasAns_f1": 1.0, "best_f1_thresh": -3.0}, 70.0),
        ({"f1": 50.0, "accuracy": 90.0}, 50.0),
        ({"f1": 50.0}, 50.0),
    ],
)
def test_primary_scores(metrics: dict[str, float], expected: float) -> None:
    assert primary_score(metrics) == expected


@pytest.mark.parametrize("task", FAMILY_OF)
@pytest.mark.parametrize("count", [1, 7, 30, 500])
def test_the_first_examples_come_with_all_their_sequences(data: dict[str, Path], task: str, count: int) -> None:
    """As if the set had been prepared from these examples alone."""
    folder = Prepared.load(data[task])
    cut = take_first(folder.open("dev.en"), count)
    whole = folder.open("dev.en")
    owners = whole.arrays.get("example", np.arange(len(whole.lengths)) // whole.choices)
    rows = np.flatnonzero(owners < count)
    assert len(cut) == min(count, 30)
    sequences = [cut.sequence(i).tolist() for i in range(len(cut.lengths))]
    assert sequences == [whole.sequence(int(i)).tolist() for i in rows]
    for name, values in cut.arrays.items():
        assert np.array_equal(values, whole.arrays[name][: len(values)])
        assert len(values) in (len(cut), len(cut.lengths), len(cut.tokens))


def test_the_saved_model_is_the_best_point(encoder: Path, data: dict[str, Path], tmp_path: Path) -> None:
    """Scored again from disk on the same examples it has the score on record, and no point has a better one."""
    facts = run(encoder, data, tmp_path, "mnli", learning_rate=1e-2)
    assert [record["update"] for record in facts["dev"]] == [2, 4, 6, 8, 10]
    best = max(record["score"] for record in facts["dev"])
    first_best = next(record for record in facts["dev"] if record["score"] == best)
    assert facts["chosen"] == first_best
    sets = {"train.en": draw_examples("pair", 4), "dev.en": draw_examples("pair", 30, seed=1)[:12]}
    again = write_prepared(tmp_path / "again", "pair", encoder, sets, 24)
    (score,) = score_target(tmp_path / "model", "mnli", again, RunFolder(tmp_path), "mnli", CPU.device)
    assert score.metrics["accuracy"] == pytest.approx(best)


def test_of_equal_points_the_earlier_is_kept(encoder: Path, data: dict[str, Path], tmp_path: Path) -> None:
    """At a rate that changes no prediction all points are equal: the weights are those after the first of them."""
    facts = run(encoder, data, tmp_path / "ten", "mnli", learning_rate=1e-9)
    assert len({record["score"] for record in facts["dev"]}) == 1
    assert facts["chosen"]["update"] == 2
    last = run(encoder, data, tmp_path / "last", "mnli", learning_rate=1e-9, selection={"points": 0, "examples": 1})
    assert last["chosen"] is None
    one, other = (load_file(tmp_path / name / "model" / WEIGHTS_FILE) for name in ("ten", "last"))
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_several_tasks_count_by_the_mean_of_their_primary_scores(
    encoder: Path, data: dict[str, Path], tmp_path: Path
) -> None:
    facts = run(encoder, data, tmp_path, "mnli", "squad1", "hellaswag")
    for record in facts["dev"]:
        assert set(record["tasks"]) == {"mnli", "squad1", "hellaswag"}
        squad = fmean((record["tasks"]["squad1"]["f1"], record["tasks"]["squad1"]["exact_match"]))
        expected = fmean((record["tasks"]["mnli"]["accuracy"], record["tasks"]["hellaswag"]["accuracy"], squad))
        assert record["score"] == pytest.approx(expected)


def test_judging_changes_no_update(encoder: Path, data: dict[str, Path], tmp_path: Path) -> None:
    run(encoder, data, tmp_path / "judged", "mnli", "squad1", dropout=0.1)
    run(encoder, data, tmp_path / "not", "mnli", "squad1", dropout=0.1, selection={"points": 0, "examples": 1})
    assert (tmp_path / "judged" / "losses.jsonl").read_text() == (tmp_path / "not" / "losses.jsonl").read_text()


def test_a_target_training_is_judged_by_its_own_metric(encoder: Path, data: dict[str, Path]) -> None:
    """`squad` serves XQuAD and MLQA and is tuned on SQuAD 1.1."""
    judge = Judge.open({"squad": Prepared.load(data["squad1"])}, 10, 5, 12)
    assert [dev.task for dev in judge.sets] == ["squad"]
    assert judge.points == {2, 4, 6, 8, 10}


def test_chance_is_the_most_frequent_label(data: dict[str, Path]) -> None:
    dev = DevSet.open(Prepared.load(data["mnli"]), "mnli", 30)
    counts = np.bincount(dev.prepared.arrays["labels"])
    assert dev.chance == pytest.approx(100 * counts.max() / 30)
    assert DevSet.open(Prepared.load(data["squad1"]), "squad1", 30).chance == 5.0


@pytest.fixture
def collapsing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Trainings are large enough to be told of; the first two that are judged look as if they had collapsed."""
    monkeypatch.setattr(train, "COLLAPSE_EXAMPLES", 10)
    seeds: list[int] = []

    def find(judge: Judge) -> list[str]:
        seeds.append(len(seeds))
        return ["mnli 33.0 (chance 33.0)"] if len(seeds) <= 2 else []

    monkeypatch.setattr(selection.Judge, "find_collapsed", find)
    return seeds


def test_a_model_that_cannot_learn_is_a_collapse(
    encoder: Path, data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "COLLAPSE_EXAMPLES", 10)
    with pytest.raises(Collapsed, match=r"seed 1: at chance on dev: mnli .*, after 1 attempts; set restarts: 2"):
        run(encoder, data, tmp_path, "mnli", learning_rate=1e-9)
    assert run(encoder, data, tmp_path, "mnli", learning_rate=1e-9, collapse="off")["collapsed"] == []
    facts = run(encoder, data, tmp_path, "mnli", learning_rate=1e-9, collapse="warn")
    assert facts["collapsed"][0].startswith("mnli ")


def test_small_sets_and_models_from_scratch_are_not_told_of(
    encoder: Path, data: dict[str, Path], tmp_path: Path
) -> None:
    assert run(encoder, data, tmp_path, "mnli", learning_rate=1e-9)["collapsed"] == []


def test_a_collapse_starts_over_with_the_next_seed(
    encoder: Path, data: dict[str, Path], tmp_path: Path, collapsing: list[int]
) -> None:
    for _ in range(2):
        with pytest.raises(StartOver, match=r"at chance on dev: mnli 33.0 .*; starts over with seed"):
            run(encoder, data, tmp_path, "mnli", restarts=3)
    facts = run(encoder, data, tmp_path, "mnli", restarts=3)
    assert len(collapsing) == 3
    record = json.loads((tmp_path / "restarts.json").read_text())
    assert record["collapsed"][0].startswith("seed 1: at chance on dev: mnli")
    assert len(record["collapsed"]) == 2
    assert facts["seed_used"] not in (1, *[int(t.split(":")[0].removeprefix("seed ")) for t in record["collapsed"]])
    expected = training_config({"mnli": {"batch_size": 8, "epochs": 2}}, learning_rate=3e-3, seed=facts["seed_used"])
    expected["selection"] = {"points": 5, "examples": 12}
    sources = Sources(encoder, {"mnli": data["mnli"]})
    train.train(expected, sources, tmp_path / "same" / "model", CPU, Heartbeat(tmp_path / "same"))
    one, other = (load_file(folder / "model" / WEIGHTS_FILE) for folder in (tmp_path, tmp_path / "same"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    again = run(encoder, data, tmp_path, "mnli", restarts=3)
    assert again["seed_used"] == facts["seed_used"], "an attempt that starts again keeps the seed it had reached"
