"""Checkpoints: each kind of damage is named, the newest sound one is used, else the training starts from its parent."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stilts.training import checkpoints
from stilts.training.checkpoints import CheckpointStore
from stilts.training.heartbeat import Heartbeat
from stilts.training.save import WEIGHTS_FILE
from stilts.training.settings import LAYOUT
from stilts.training.stopping import MARGIN_S, Interrupted, Request, SaveClock, Stop
from stilts.training.train import Sources, train
from stilts.training.world import World
from tests.stilts.prepared_folders import draw_examples, training_config, write_encoder, write_prepared

CPU = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))
UPDATES = 10


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    encoder = write_encoder(folder / "encoder")
    sets = {"train.en": draw_examples("pair", 40), "dev.en": draw_examples("pair", 20, seed=1)}
    return Sources(encoder, {"mnli": write_prepared(folder / "mnli", "pair", encoder, sets)})


@pytest.fixture(scope="module")
def whole(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the undisturbed training."""
    folder = tmp_path_factory.mktemp("whole")
    run(sources, folder)
    return folder


class StopAfter(Stop):
    """Asked to stop at the end of one update."""

    def __init__(self, update: int) -> None:
        super().__init__()
        self.left = update

    def look(self, reserve_s: float) -> tuple[Request, str]:
        self.left -= 1
        return (Request.STOP, "the test asks for it") if self.left == 0 else (Request.GO_ON, "")


def store(folder: Path, identity: str = "this run", world: World = CPU) -> CheckpointStore:
    return CheckpointStore(folder / "checkpoints", identity, world)


def run(sources: Sources, folder: Path, stop: Stop | None = None, identity: str = "this run") -> dict[str, Any]:
    recipe = {"mnli": {"batch_size": 8, "epochs": 2}}
    config = training_config(recipe, dropout=0.1, selection={"points": 5, "examples": 12})
    beat = Heartbeat(folder)
    return train(config, sources, folder / "model", CPU, beat, LAYOUT, store(folder, identity), stop)


def interrupt(sources: Sources, folder: Path, *updates: int) -> list[Path]:
    """Checkpoints after these updates, newest last; the older ones are kept although a training drops them."""
    kept: list[Path] = []
    for update in updates:
        done = int(kept[-1].name.removeprefix("step-")) if kept else 0
        with pytest.raises(Interrupted, match=f"stopped after update {update} of {UPDATES}, a checkpoint is saved"):
            run(sources, folder, StopAfter(update - done))
        for path in kept:
            shutil.copytree(folder / "kept" / path.name, path)
        (newest,) = set((folder / "checkpoints").iterdir()) - set(kept)
        shutil.copytree(newest, folder / "kept" / newest.name)
        kept.append(newest)
    return kept


def same_model(first: Path, second: Path) -> bool:
    one, two = (load_file(folder / "model" / WEIGHTS_FILE) for folder in (first, second))
    return all(torch.equal(one[key], two[key]) for key in one)


def cut(path: Path) -> None:
    tensors = path / "rank0.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])


def scramble(path: Path) -> None:
    tensors = path / "rank0.safetensors"
    tensors.write_bytes(b"\xff" * tensors.stat().st_size)


def put_a_pickle(path: Path) -> None:
    """A file that would run code if it were unpickled."""

    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return (Path.write_text, (path.parent / "exploded", "boom"))

    tensors = path / "rank0.safetensors"
    code = pickle.dumps(Bomb())
    tensors.write_bytes(code + b"." * (tensors.stat().st_size - len(code)))


def rewrite(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        record = json.loads((path / "COMPLETE").read_text())
        (path / "COMPLETE").write_text(json.dumps(record | changes))

    return change


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated shard": (cut, "rank0.safetensors is cut: "),
    "missing rank": (lambda path: (path / "rank0.safetensors").unlink(), "rank0.safetensors is missing"),
    "missing best point": (lambda path: (path / "best.safetensors").unlink(), "best.safetensors is missing"),
    "no tensors": (scramble, "rank0.safetensors is no safetensors file"),
    "pickle": (put_a_pickle, "rank0.safetensors is no safetensors file"),
    "wrong world size": (rewrite(world_size=2), "it was written by 2 ranks, and this attempt has 1"),
    "other configuration": (rewrite(identity="that run"), "it belongs to another configuration, or to other parents"),
    "other DeepSpeed": (rewrite(deepspeed="0.1"), "it was written by DeepSpeed 0.1, this is 0."),
    "unfinished": (lambda path: (path / "COMPLETE").unlink(), "it was not finished (COMPLETE is missing)"),
    "half a marker": (lambda path: (path / "COMPLETE").write_text('{"schema": '), "its COMPLETE cannot be read"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_checkpoint_is_named_and_the_one_before_it_is_used(
    sources: Sources, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    older, newer = interrupt(sources, tmp_path, 5, 8)
    damage, words = FAULTS[fault]
    damage(newer)
    capsys.readouterr()
    facts = run(sources, tmp_path)
    told = capsys.readouterr().out
    assert f"checkpoint {newer.name} is not used: {words}" in told
    assert f"goes on from the checkpoint {older.name}" in told
    assert facts["resumed"] == [5]
    assert same_model(tmp_path, whole)
    assert not (tmp_path / "exploded").exists()
    assert not (newer.parent / "exploded").exists()


def test_without_a_sound_checkpoint_it_starts_from_the_parent(
    sources: Sources, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (only,) = interrupt(sources, tmp_path, 6)
    cut(only)
    capsys.readouterr()
    assert run(sources, tmp_path)["resumed"] == []
    assert "no checkpoint can be used: the training starts from its parent" in capsys.readouterr().out
    assert same_model(tmp_path, whole)


def test_a_training_may_be_stopped_again_and_again(sources: Sources, whole: Path, tmp_path: Path) -> None:
    interrupt(sources, tmp_path, 1, 2, 7)
    shutil.rmtree(tmp_path / "kept")
    facts = run(sources, tmp_path)
    assert facts["resumed"] == [1, 2, 7]
    assert same_model(tmp_path, whole)
    assert (tmp_path / "losses.jsonl").read_text() == (whole / "losses.jsonl").read_text()


class Later(Stop):
    """Tells when the training has come to the end of its fourth update."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.reached = 0, threading.Event()

    def look(self, reserve_s: float) -> tuple[Request, str]:
        self.calls += 1
        if self.calls == 4:
            self.reached.set()
        return Request.GO_ON, ""


def test_a_training_goes_on_while_a_checkpoint_is_written(
    sources: Sources, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, went_on, write = Later(), [], checkpoints.write_tensors

    def write_later(path: Path, *rest: Any) -> None:
        went_on.append(stop.reached.wait(20))
        write(path, *rest)

    monkeypatch.setattr(SaveClock, "due", lambda clock: stop.calls == 1)
    monkeypatch.setattr(checkpoints, "write_tensors", write_later)
    monkeypatch.setattr(CheckpointStore, "clear", lambda store: None)
    run(sources, tmp_path, stop)
    assert went_on == [True]
    (kept,) = (tmp_path / "checkpoints").iterdir()
    assert (kept.name, (kept / "COMPLETE").exists()) == ("step-00000001", True)
    assert same_model(tmp_path, whole)


def test_only_the_newest_checkpoint_stays(sources: Sources, tmp_path: Path) -> None:
    for update in (3, 2):
        with pytest.raises(Interrupted):
            run(sources, tmp_path, StopAfter(update))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]


def test_a_full_disk_leaves_the_checkpoint_before_it(
    sources: Sources, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Interrupted):
        run(sources, tmp_path, StopAfter(4))

    def fill(path: Path, *_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "write_tensors", fill)
        with pytest.raises(Interrupted, match=r"no checkpoint: rank0.safetensors: .*No space left on device"):
            run(sources, tmp_path, StopAfter(2))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]
    assert run(sources, tmp_path)["resumed"] == [4]
    assert same_model(tmp_path, whole)


def test_a_full_disk_does_not_end_a_training(
    sources: Sources, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(SaveClock, "due", lambda clock: True)
    monkeypatch.setattr(checkpoints, "write_tensors", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    run(sources, tmp_path)
    assert "no checkpoint after update 3: rank0.safetensors" in capsys.readouterr().out
    assert same_model(tmp_path, whole)


def test_a_file_and_the_clock_stop_a_training(tmp_path: Path) -> None:
    stop = Stop(tmp_path / "stop", deadline=time.time() + 100)
    assert stop.look(50)[0] == Request.GO_ON
    assert stop.look(150) == (Request.STOP_AND_RETURN, "100 s are left of the time limit")
    (tmp_path / "stop").touch()
    stop._looked = float("-inf")
    assert stop.look(50) == (Request.STOP, "the file stop asks for it")
    stop.ask("stopped by SIGUSR2", returns=True)
    stop.ask("stopped by SIGTERM", returns=False)
    assert stop.look(0) == (Request.STOP_AND_RETURN, "stopped by SIGUSR2")


@pytest.mark.parametrize(
    ("cost_s", "interval_s"), [(0.1, 60), (2, 100), (10, 500), (24, 1200), (60, 1200), (300, 1200)]
)
def test_checkpoints_cost_two_percent_and_come_every_twenty_minutes(cost_s: float, interval_s: float) -> None:
    clock = SaveClock(cost_s=0.0)
    clock.saved(cost_s)
    assert clock.interval_s == pytest.approx(interval_s)
    assert clock.reserve_s == pytest.approx(1.5 * cost_s + MARGIN_S)
    assert not clock.due()
    clock._last -= interval_s
    assert clock.due()
