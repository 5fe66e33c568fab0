"""Whole trainings on one rank: they learn, repeat themselves, stop at NaN and leave a loadable model."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer

from stilts.data.prepared import Prepared
from stilts.errors import UserError
from stilts.evaluation.score import score_target
from stilts.model.encoder import load_encoder
from stilts.model.multitask import HEADS_FILE, load_head
from stilts.runs import RunFolder
from stilts.training.engine import deepspeed_config
from stilts.training.heartbeat import Heartbeat
from stilts.training.save import WEIGHTS_FILE, save_model
from stilts.training.settings import Layout, Settings
from stilts.training.train import Sources, open_training_set, plan_mixture, train
from stilts.training.world import World
from tests.stilts.prepared_folders import ENCODERS, draw_examples, training_config, write_encoder, write_prepared

# A task of each family that is trained: its metrics are those that are scored.
TASK_OF = {"pair": "mnli", "choice": "hellaswag", "span": "squad1", "tagging": "udpos"}
GOLDEN_LOSSES = [1.09848, 1.10085, 1.11603, 1.06614, 1.09192]
CPU = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def xlmr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("xlmr"))


@pytest.fixture(scope="module")
def pairs(xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    sets = {"train.en": draw_examples("pair", 40), "dev.en": draw_examples("pair", 20, seed=1)}
    return {"pair": write_prepared(tmp_path_factory.mktemp("pairs"), "pair", xlmr, sets)}


def run(config: dict[str, Any], encoder: Path, data: dict[str, Path], folder: Path, **layout: Any) -> dict[str, Any]:
    return train(config, Sources(encoder, data), folder / "model", CPU, Heartbeat(folder), Layout(**layout))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "losses.jsonl").read_text().splitlines()]


def short(**changes: Any) -> dict[str, Any]:
    return training_config({"pair": {"batch_size": 8, "epochs": 1}}, **changes)


@pytest.mark.parametrize("family", TASK_OF)
def test_every_family_learns_and_is_scored(encoder: Path, family: str, tmp_path: Path) -> None:
    sets = {"train.en": draw_examples(family, 120), "dev.en": draw_examples(family, 40, seed=1)}
    data = {family: write_prepared(tmp_path / "data", family, encoder, sets)}
    epochs = 12 if family == "pair" else 5
    config = training_config({family: {"batch_size": 8, "epochs": epochs}}, learning_rate=3e-3)
    facts = run(config, encoder, data, tmp_path, micro_tokens=768)
    assert facts["losses"]["last"] < 0.5 * facts["losses"]["first"]
    folder = RunFolder(tmp_path)
    (score,) = score_target(folder.model, TASK_OF[family], data[family], folder, family, CPU.device)
    assert (score.language, score.split, score.examples) == ("en", "dev", 40)
    assert max(score.metrics.values()) > 80
    assert (folder.predictions / f"{TASK_OF[family]}.dev.parquet").is_file()


def test_the_same_training_twice_is_the_same(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    """With dropout, and whatever random numbers were drawn in between."""
    for name in ("a", "b"):
        run(short(dropout=0.1), xlmr, pairs, tmp_path / name)
        torch.rand(17)
    first, second = (load_file(tmp_path / name / "model" / WEIGHTS_FILE) for name in ("a", "b"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    run(short(dropout=0.1, seed=2), xlmr, pairs, tmp_path / "c")
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")


def test_golden_losses(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    """A change here is a change of results: raise the stage's version in stilts/runs.py."""
    run(short(learning_rate=1e-2), xlmr, pairs, tmp_path)
    assert losses(tmp_path) == pytest.approx(GOLDEN_LOSSES, abs=2e-4)


def test_micro_batches_do_not_change_the_result(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    for micro_tokens in (60, 4096):
        run(short(adam_eps=1e-3), xlmr, pairs, tmp_path / str(micro_tokens), micro_tokens=micro_tokens)
    small, large = (load_file(tmp_path / name / "model" / WEIGHTS_FILE) for name in ("60", "4096"))
    for key, values in large.items():
        torch.testing.assert_close(small[key], values, rtol=0, atol=1e-5)


def test_gradients_are_clipped_once_by_their_norm(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    """With an epsilon far above the gradient Adam's step is proportional to it, so clipping to a tenth of the norm
    makes the one step ten times smaller."""
    start = load_file(xlmr / WEIGHTS_FILE)
    moved = {}
    for name, limit in (("loose", 1e9), ("tight", 1e-4)):
        recipe = {"pair": {"batch_size": 40, "epochs": 1}}
        config = training_config(recipe, max_grad_norm=limit, adam_eps=1e4, weight_decay=0.0, learning_rate=1e4)
        run(config, xlmr, pairs, tmp_path / name, micro_tokens=768)
        end = load_file(tmp_path / name / "model" / WEIGHTS_FILE)
        heads = load_file(tmp_path / name / "model" / HEADS_FILE)
        moved[name] = torch.cat([(end[key] - start[key]).flatten() for key in start])
        assert heads
    assert moved["loose"].norm() > 10 * moved["tight"].norm()
    assert torch.nn.functional.cosine_similarity(moved["loose"], moved["tight"], dim=0) > 0.99
    assert float(moved["tight"].norm()) <= 1.01e-4


def test_weight_decay_spares_biases_and_norms(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    """With an epsilon that stops Adam only the decay moves weights."""
    run(short(adam_eps=1e12, weight_decay=0.5, warmup_ratio=0.0), xlmr, pairs, tmp_path)
    start, end = load_file(xlmr / WEIGHTS_FILE), load_file(tmp_path / "model" / WEIGHTS_FILE)
    for key, values in start.items():
        expected = values * (1 - 0.5 * 1e-3 * 0.6) ** 5 if values.ndim > 1 else values
        torch.testing.assert_close(end[key], expected, rtol=2e-4, atol=1e-7)


def test_the_saved_encoder_is_loaded_by_transformers(encoder: Path, tmp_path: Path) -> None:
    data = {"tagging": write_prepared(tmp_path / "data", "tagging", encoder, {"train.en": draw_examples("tagging", 8)})}
    recipe = {"tagging": {"batch_size": 4, "epochs": 1}}
    run(training_config(recipe, dropout=0.3), encoder, data, tmp_path)
    saved = tmp_path / "model"
    tokenizer = AutoTokenizer.from_pretrained(saved)
    inputs = tokenizer("ba de gi", return_tensors="pt")
    assert (
        inputs["input_ids"][0].tolist() == Tokenizer.from_file(str(encoder / "tokenizer.json")).encode("ba de gi").ids
    )
    theirs, ours = AutoModel.from_pretrained(saved), load_encoder(saved, "sdpa", None, torch.float32)
    with torch.inference_mode():
        hidden = theirs(**inputs).last_hidden_state
        assert torch.equal(hidden, ours(**inputs).last_hidden_state)
        assert not torch.equal(hidden, AutoModel.from_pretrained(encoder)(**inputs).last_hidden_state)
    assert theirs.dtype == torch.float32
    assert theirs.config.hidden_dropout_prob != 0.3
    with pytest.raises(UserError, match="no head for squad; there are: tagging"):
        load_head(saved, "squad", ours)


def test_a_nan_stops_the_training(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    broken = write_encoder(tmp_path / "broken")
    weights = load_file(broken / WEIGHTS_FILE)
    weights["encoder.layer.0.output.dense.bias"][0] = float("nan")
    save_file(weights, broken / WEIGHTS_FILE, metadata={"format": "pt"})
    with pytest.raises(FloatingPointError, match=r"update 1 of 5 \(pair\): the loss is nan; lower learning_rate"):
        run(short(), broken, pairs, tmp_path)
    assert not (tmp_path / "model").exists()


def test_weights_that_are_not_finite_are_not_saved(xlmr: Path, tmp_path: Path) -> None:
    """The last step may break what no loss shows any more."""
    weights = {"encoder.a": torch.zeros(3), "encoder.b": torch.tensor([1.0, float("inf")])}
    with pytest.raises(FloatingPointError, match=r"weights are not finite: encoder\.b"):
        save_model(weights, {}, xlmr, "XLMRobertaModel", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_shuffled_labels_teach_nothing(xlmr: Path, tmp_path: Path) -> None:
    sets = {"train.en": draw_examples("choice", 120), "dev.en": draw_examples("choice", 60, seed=1)}
    data = {"choice": write_prepared(tmp_path / "data", "choice", xlmr, sets)}
    accuracy = {}
    for shuffled in (False, True):
        folder = RunFolder(tmp_path / str(shuffled))
        recipe = {"choice": {"batch_size": 8, "epochs": 4}}
        run(training_config(recipe, learning_rate=3e-3, shuffle_labels=shuffled), xlmr, data, folder.path)
        (score,) = score_target(folder.model, "csqa", data["choice"], folder, "choice", CPU.device)
        accuracy[shuffled] = score.metrics["accuracy"]
    assert accuracy[False] > 85
    assert accuracy[True] < 65


def test_max_examples(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    facts = run(short(max_examples=17), xlmr, pairs, tmp_path)
    assert facts["examples"] == {"pair": 17}
    assert facts["updates"] == 3


def test_facts_and_progress(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "losses.jsonl").write_text('{"of": "an earlier attempt"}\n')
    facts = run(short(), xlmr, pairs, tmp_path, micro_tokens=192)
    rows = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [(row["step"], row["task"]) for row in rows] == [(step, "pair") for step in range(5)]
    assert facts["losses"] == {"first": rows[0]["loss"], "last": rows[-1]["loss"]}
    assert facts["updates"] == 5
    real = len(Prepared.load(pairs["pair"]).open("train.en").tokens)
    assert facts["tokens"] == real
    assert 0 < facts["pad_share"] < 0.5
    assert facts["layout"]["micro_tokens"] == 192
    assert (facts["layout"]["zero_stage"], facts["layout"]["world_size"]) == (1, 1)
    progress = json.loads((tmp_path / "progress.json").read_text())
    assert (progress["phase"], progress["step"], progress["total"]) == ("train", 5, 5)


def test_a_task_order_changes_nothing(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    data = pairs | {"span": write_prepared(tmp_path / "span", "span", xlmr, {"train.en": draw_examples("span", 20)})}
    for order in (("pair", "span"), ("span", "pair")):
        config = training_config({task: {"batch_size": 8, "epochs": 1} for task in order})
        run(config, xlmr, data, tmp_path / order[0])
    assert losses(tmp_path / "pair") == losses(tmp_path / "span")


def test_wrong_layouts_are_refused(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="use zero_stage: 1"):
        run(short(precision="bf16"), xlmr, pairs, tmp_path, zero_stage=0)
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        run(short(precision="fp16"), xlmr, pairs, tmp_path)
    with pytest.raises(UserError, match="zero_stage: 4 is unknown"):
        run(short(), xlmr, pairs, tmp_path, zero_stage=4)
    with pytest.raises(UserError, match=r"config\.json is missing"):
        run(short(), tmp_path, pairs, tmp_path)


def test_activation_checkpointing_changes_nothing_but_memory(
    xlmr: Path, pairs: dict[str, Path], tmp_path: Path
) -> None:
    for name, wanted in (("plain", False), ("recomputed", True)):
        run(short(dropout=0.1), xlmr, pairs, tmp_path / name, activation_checkpointing=wanted)
    assert losses(tmp_path / "plain") == losses(tmp_path / "recomputed")
    plain, recomputed = (load_file(tmp_path / name / "model" / WEIGHTS_FILE) for name in ("plain", "recomputed"))
    assert all(torch.equal(plain[key], recomputed[key]) for key in plain)


def test_a_raw_deepspeed_block_is_laid_over_ours() -> None:
    settings = Settings(seed=1, learning_rate=1e-3, deepspeed={"zero_optimization": {"zero_hpz_partition_size": 2}})
    layout = Layout(zero_stage=2, deepspeed={"zero_optimization": {"overlap_comm": False}, "dump_state": True})
    config = deepspeed_config(settings, layout)
    assert config["zero_optimization"]["stage"] == 2
    assert config["zero_optimization"]["zero_hpz_partition_size"] == 2
    assert config["zero_optimization"]["overlap_comm"] is False
    assert config["dump_state"] is True
    assert config["train_micro_batch_size_per_gpu"] == 1


def test_so_many_updates_take_the_place_of_epochs(xlmr: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    assert run(short(updates=7), xlmr, pairs, tmp_path)["updates"] == 7
    rates = [json.loads(line)["lr"] for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert rates[0] == max(rates), "warm-up and decay are those of seven updates"
    assert rates[-1] == pytest.approx(1e-3 / 6)


def test_replay_gives_a_share_of_a_phase_to_the_tasks_before_it(xlmr: Path, tmp_path: Path) -> None:
    """The phase's own task keeps its updates; the others share the rest evenly."""
    sets = {"train.en": draw_examples("pair", 400)}
    data = {task: write_prepared(tmp_path / task, "pair", xlmr, sets) for task in ("mnli", "qqp", "anli")}
    tasks = {task: {"batch_size": 2, "epochs": 10} for task in data}
    config = training_config(tasks, replay=0.2, phase="qqp")
    loaded = {task: open_training_set(Prepared.load(data[task]), task, config) for task in sorted(tasks)}
    mixture = plan_mixture(config, loaded)
    assert mixture.updates == 2500
    drawn = Counter(mixture.task_of(update) for update in range(mixture.updates))
    assert drawn["qqp"] == pytest.approx(2000, abs=100)
    assert drawn["mnli"] == pytest.approx(250, abs=60)
    assert drawn["anli"] == pytest.approx(250, abs=60)


def test_all_training_sets_of_a_folder_are_one(xlmr: Path, tmp_path: Path) -> None:
    """Translated examples stand behind or before the English ones, by the names of their sets."""
    sets = {name: draw_examples("span", 6, seed) for seed, name in enumerate(("train.en", "train.de"))}
    folder = Prepared.load(write_prepared(tmp_path, "span", xlmr, sets, 24))
    joined = open_training_set(folder, "squad1", training_config({}))
    parts = [folder.open(name) for name in ("train.de", "train.en")]
    assert [joined.tokens[a:b].tolist() for a, b in itertools.pairwise(joined.offsets)] == [
        part.sequence(i).tolist() for part in parts for i in range(len(part.lengths))
    ]
    assert joined.labels["starts"].tolist() == [int(start) for part in parts for start in part.arrays["starts"]]
    assert len(joined) == len(joined.lengths) == sum(len(part.lengths) for part in parts)
