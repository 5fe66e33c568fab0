"""Models that are damaged in every way that a download or a hand can damage them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from launch.models import check_model, find_damage, read_size
from stilts.runs import write_json

COMMIT = "a" * 40


def make_model(folder: Path) -> Path:
    """The files that an encoder's folder must have."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"model_type": "xlm-roberta"})
    (folder / "tokenizer.json").write_text("{}")
    save_file({"weight": np.ones((4, 3), np.float32), "bias": np.ones(3, np.float32)}, folder / "model.safetensors")
    return folder


def problems_of(model: str, commits: Path = Path("/nowhere"), **role: str) -> list[str]:
    return check_model({"model": model, "revision": "main", **role}, commits)[0]


def test_a_sound_folder_has_no_problem(tmp_path: Path) -> None:
    assert problems_of(str(make_model(tmp_path / "model"))) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "no config.json that can be read"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "only pickles"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x02}"), "no header of safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "no header of safetensors"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1]),
            "half a file",
        ),
        (
            lambda folder: write_json(
                folder / "model.safetensors.index.json", {"weight_map": {"a": "model-2.safetensors"}}
            ),
            "model-2.safetensors is missing",
        ),
    ],
)
def test_each_damage_has_its_own_words(tmp_path: Path, damage: object, words: str) -> None:
    folder = make_model(tmp_path / "model")
    assert callable(damage)
    damage(folder)
    (problem, *_) = problems_of(str(folder))
    assert words in problem
    assert str(folder) in problem


def test_a_translation_model_may_have_pickles_and_any_tokenizer(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "tokenizer.json").unlink()
    assert problems_of(str(folder), role="translator") == []


def test_a_name_is_looked_up_in_the_cache_at_the_commit_that_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    config = {"model": "org/name", "revision": "main"}
    problems, note = check_model(config, tmp_path / "commits")
    assert problems == []
    assert note
    assert "needs a network" in note
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in problems_of("org/name")[0]

    repository = tmp_path / "hub" / "models--org--name"
    folder = make_model(repository / "snapshots" / COMMIT)
    write_json(tmp_path / "commits" / "models--org--name@main.json", {"commit": COMMIT})
    assert check_model(config, tmp_path / "commits") == ([], None)
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer" in problems_of("org/name", tmp_path / "commits")[0]

    assert "not in the hub's cache" in problems_of("org/name")[0], "the cache does not know what main is"
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    assert "no tokenizer" in problems_of("org/name")[0]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    assert "no such folder" in problems_of(str(tmp_path / "gone"))[0]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=4), st.binary(max_size=60))
def test_the_size_of_a_file_is_what_the_library_writes(shapes: list[tuple[int, int]], noise: bytes) -> None:
    """And no content whatsoever ends in anything but a size or a ValueError."""
    content = save({f"t{number}": np.zeros(shape, np.float16) for number, shape in enumerate(shapes)})
    path = Path("/dev/shm") / "stilts-test-models.safetensors"
    try:
        path.write_bytes(content)
        assert read_size(path) == len(content)
        for other in (noise, len(noise).to_bytes(8, "little") + noise, json.dumps({"a": 1}).encode()):
            path.write_bytes(other)
            with contextlib.suppress(ValueError):
                assert read_size(path) >= 0
    finally:
        path.unlink()


def test_no_folder_has_no_damage(tmp_path: Path) -> None:
    assert list(find_damage(tmp_path / "none")) == []
