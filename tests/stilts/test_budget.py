"""Micro-batches as large as the memory holds: tried before the first update, and without a trace in the result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from stilts.training.budget import CPU_TOKENS, FIRST_TOKENS, MOST_TOKENS, choose_longest, read_node_bytes
from stilts.training.heartbeat import Heartbeat
from stilts.training.save import WEIGHTS_FILE
from stilts.training.settings import Layout
from stilts.training.train import Sources, train
from stilts.training.world import World
from tests.stilts.prepared_folders import draw_examples, training_config, write_encoder, write_prepared
from tests.support.ranks import train_on_ranks

CPU = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))
PLENTY_MIB = 64 * 1024
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Two tasks with updates of a few thousand tokens."""
    folder = tmp_path_factory.mktemp("sources")
    encoder = write_encoder(folder / "encoder")
    families = {"pair": 600, "span": 60}
    data = {
        family: write_prepared(folder / family, family, encoder, {"train.en": draw_examples(family, count)})
        for family, count in families.items()
    }
    return Sources(encoder, data)


def run(sources: Sources, folder: Path, device: World = CPU, **layout: Any) -> dict[str, Any]:
    return train(_config(sources), sources, folder / "model", device, Heartbeat(folder), Layout(**layout))


def _config(sources: Sources) -> dict[str, Any]:
    tasks = {task: {"batch_size": 300, "epochs": 1} for task in sources.data}
    return training_config(tasks, dropout=0.1, learning_rate=1e-2)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / WEIGHTS_FILE)


@pytest.mark.parametrize("stage", range(4))
def test_a_trial_leaves_no_trace(
    sources: Sources, tmp_path: Path, stage: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights are those of a run that was told the number, to the last bit."""
    monkeypatch.setenv("SLURM_MEM_PER_NODE", str(PLENTY_MIB))
    found = run(sources, tmp_path / "found", zero_stage=stage)["layout"]["micro_tokens"]
    assert found == CPU_TOKENS
    assert f"micro-batches of {found} tokens: " in capsys.readouterr().out
    run(sources, tmp_path / "told", zero_stage=stage, micro_tokens=found)
    assert capsys.readouterr().out == ""
    one, other = weights(tmp_path / "found"), weights(tmp_path / "told")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_ranks_agree(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under stage 3 every pass is a collective."""
    monkeypatch.setenv("SLURM_MEM_PER_NODE", str(PLENTY_MIB))
    sizes = {"found": None, "1024": 1024, "2048": 2048, "4096": 4096}
    train_on_ranks([_job(sources, tmp_path / name, tokens) for name, tokens in sizes.items()], 2, tmp_path)
    found = weights(tmp_path / "found")
    same = [
        name for name in sizes if all(torch.equal(found[key], value) for key, value in weights(tmp_path / name).items())
    ]
    assert len(same) == 2  # itself and one of the others: under dropout each size has a result of its own


def _job(sources: Sources, folder: Path, micro_tokens: int | None) -> dict[str, Any]:
    return {
        "config": _config(sources),
        "encoder": sources.encoder,
        "data": {task: str(path) for task, path in sources.data.items()},
        "out": folder / "model",
        "run": folder,
        "layout": {"micro_tokens": micro_tokens, "zero_stage": 3},
    }


def test_little_memory_gives_small_micro_batches(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than this process has already."""
    taken_mib = int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024
    monkeypatch.setenv("SLURM_MEM_PER_NODE", str(taken_mib))
    assert run(sources, tmp_path)["layout"]["micro_tokens"] == FIRST_TOKENS


def test_without_a_limit_nothing_is_tried(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"):
        monkeypatch.delenv(name, raising=False)
    assert run(sources, tmp_path)["layout"]["micro_tokens"] == CPU_TOKENS
    assert capsys.readouterr().out == ""


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=30),
    width=st.integers(1, 4),
    batch_size=st.integers(1, 40),
    tokens=st.integers(1, 2000),
)
def test_a_trial_takes_the_longest_examples(lengths: list[int], width: int, batch_size: int, tokens: int) -> None:
    chosen = choose_longest(np.array(lengths), width, batch_size, tokens)
    rest = np.delete(np.array(lengths), chosen)
    assert 1 <= len(chosen) <= batch_size and len(set(chosen.tolist())) == len(chosen)
    assert not len(rest) or rest.max() <= min(lengths[index] for index in chosen)
    full = len(chosen) in (batch_size, len(lengths))
    assert full or tokens <= len(chosen) * width * max(lengths) < tokens + width * max(lengths)


@pytest.mark.parametrize(
    ("environment", "mib"),
    [
        ({"SLURM_MEM_PER_NODE": "1500", "SLURM_CPUS_ON_NODE": "4"}, 1500),
        ({"SLURM_MEM_PER_CPU": "200", "SLURM_CPUS_ON_NODE": "4"}, 800),
        ({"SLURM_MEM_PER_CPU": "200"}, 200),
        ({}, 0),
    ],
)
def test_the_memory_of_a_job_is_read(environment: dict[str, str], mib: int) -> None:
    assert read_node_bytes(environment) == mib * 2**20


@GPU
def test_on_a_gpu_the_largest_update_is_tried(sources: Sources, tmp_path: Path) -> None:
    found = run(sources, tmp_path, World.single(), zero_stage=1)["layout"]["micro_tokens"]
    assert FIRST_TOKENS <= found <= MOST_TOKENS and math.log2(found).is_integer()
