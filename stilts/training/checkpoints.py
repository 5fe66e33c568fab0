"""Checkpoints of a running training: one safetensors file for each rank, a JSON marker last. Nothing is unpickled.

The files are written by a thread while the training goes on. `<run>/checkpoints/step-00000120/` holds
`rank<r>.safetensors`, `best.safetensors` where a best point was met already, and `COMPLETE`, which is written when
every file is on disk, with their sizes and all that is not a tensor.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from stilts.runs import read_json, write_json
from stilts.training.save import write_tensors
from stilts.training.stopping import LONGEST_INTERVAL_S
from stilts.training.world import World

SCHEMA = "stilts.checkpoint/1"
BEST_FILE = "best.safetensors"
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint that may be used."""

    path: Path
    step: int
    record: Mapping[str, Any]

    def tensors(self, rank: int) -> Tensors:
        """What the rank wrote."""
        return load_file(self.path / _rank_file(rank))

    def best(self) -> Tensors:
        """The weights of the best point so far, whole."""
        return load_file(self.path / BEST_FILE)


@dataclass
class Writing:
    """A checkpoint whose files are being written. `problem`: why one cannot be; `seconds`: how long it took so far."""

    path: Path
    step: int
    facts: Mapping[str, Any]
    files: Mapping[str, Tensors]
    problem: str | None
    seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._write, name="checkpoint")
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether this rank still writes."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Until this rank has written its files."""
        self._thread.join()

    def _write(self) -> None:
        for name, tensors in self.files.items():
            self.problem = self.problem or _write_file(self.path / name, tensors)
        self.files = {}  # their memory is free from here on
        self.seconds = time.monotonic() - self._began


@dataclass
class CheckpointStore:
    """The checkpoints of one run. `identity` says which run on which parents they belong to; the ranks of `world`
    call `newest`, `begin` and `finish` together."""

    folder: Path
    identity: str
    world: World
    longest_interval_s: float = LONGEST_INTERVAL_S
    writing: Writing | None = None

    @cached_property
    def newest(self) -> Checkpoint | None:
        """The newest complete checkpoint that was there at the first call, of this identity and world (a collective);
        the log names every other one and why it is not used."""
        found = next(self._usable(), None) if self.world.first else None
        step = self.world.agree(found.step + 1 if found else 0) - 1
        if step < 0:
            if self.world.first and self.folder.exists():
                print("no checkpoint can be used: the training starts from its parent", flush=True)
            return None
        if found is None:
            path = self.folder / _step_folder(step)
            os.listdir(self.folder)  # makes NFS look again
            found = Checkpoint(path, step, read_json(path / "COMPLETE") or {})
        if self.world.first:
            print(f"goes on from the checkpoint {found.path.name}", flush=True)
        return found

    def begin(self, step: int, tensors: Tensors, best: Tensors | None, facts: Mapping[str, Any]) -> None:
        """Start to write the checkpoint of `step`, of which nothing may change any more (a collective).

        `best` and `facts` are those of the first rank. It counts once `finish` was called.
        """
        assert self.writing is None, "one at a time"
        path = self.folder / _step_folder(step)
        files = {_rank_file(self.world.rank): tensors}
        if best is not None and self.world.first:
            files[BEST_FILE] = best
        self.writing = Writing(path, step, facts, files, self._prepare(path))

    def finish(self) -> str | None:
        """Wait for the checkpoint that was begun, complete it and drop older ones (a collective). Returns why it
        failed, None if not."""
        writing, self.writing = self.writing, None
        assert writing is not None, "begun before"
        writing.wait()
        if self.world.agree(int(writing.problem is not None)):
            if self.world.first:
                shutil.rmtree(writing.path, ignore_errors=True)
            return writing.problem or "another rank could not write its part"
        problem = self._complete(writing) if self.world.first else None
        return "COMPLETE cannot be written" if self.world.agree(int(problem is not None)) else None

    def clear(self) -> None:
        """Remove all: the training is finished (or starts anew)."""
        self.__dict__.pop("newest", None)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _usable(self) -> Iterator[Checkpoint]:
        for path in sorted(self.folder.glob("step-*"), reverse=True):
            record = read_json(path / "COMPLETE")
            if problem := self._find_fault(path, record):
                print(f"checkpoint {path.name} is not used: {problem}", flush=True)
            elif record is not None:
                yield Checkpoint(path, int(record["step"]), record)

    def _find_fault(self, path: Path, record: Mapping[str, Any] | None) -> str | None:
        """Why a checkpoint cannot be used; None where it can."""
        if not (path / "COMPLETE").exists():
            return "it was not finished (COMPLETE is missing)"
        if record is None or record.get("schema") != SCHEMA:
            return "its COMPLETE cannot be read"
        if record["identity"] != self.identity:
            return "it belongs to another configuration, or to other parents"
        if record["world_size"] != self.world.size:
            return f"it was written by {record['world_size']} ranks, and this attempt has {self.world.size}"
        if record["deepspeed"] != metadata.version("deepspeed"):
            return f"it was written by DeepSpeed {record['deepspeed']}, this is {metadata.version('deepspeed')}"
        return next((fault for name, size in record["files"].items() if (fault := _fault(path / name, size))), None)

    def _prepare(self, path: Path) -> str | None:
        problem = None
        if self.world.first:
            try:
                if path.exists():
                    shutil.rmtree(path)  # an earlier attempt was killed while it wrote this one
                path.mkdir(parents=True)
            except OSError as error:
                problem = str(error)
        return "its folder cannot be made" if self.world.agree(int(problem is not None)) else problem

    def _complete(self, writing: Writing) -> str | None:
        path, facts = writing.path, dict(writing.facts)
        files = {file.name: file.stat().st_size for file in sorted(path.iterdir())}
        record: dict[str, Any] = {"schema": SCHEMA, "identity": self.identity, "step": writing.step}
        record |= {"world_size": self.world.size, "deepspeed": metadata.version("deepspeed")}
        try:
            write_json(path / "COMPLETE", {**record, "files": files, "time": time.time(), "facts": facts})
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)
            return str(error)
        for other in self.folder.glob("step-*"):
            if other != path:
                with contextlib.suppress(OSError):
                    (other / "COMPLETE").unlink(missing_ok=True)  # first: half a folder must not look complete
                shutil.rmtree(other, ignore_errors=True)
        return None


def _write_file(path: Path, tensors: Tensors) -> str | None:
    """Why it failed, None if not."""
    try:
        os.listdir(path.parent)
        write_tensors(path, tensors, {"format": "pt"})
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    except Exception as error:  # in a thread nobody else would hear of it
        return f"{path.name}: {error}"
    return None


def _fault(path: Path, size: int) -> str | None:
    if not path.exists():
        return f"{path.name} is missing"
    if path.stat().st_size != size:
        return f"{path.name} is cut: {path.stat().st_size} of {size} bytes"
    try:
        with safe_open(path, framework="pt"):
            return None
    except SafetensorError as error:
        return f"{path.name} is no safetensors file ({error})"


def _rank_file(rank: int) -> str:
    return f"rank{rank}.safetensors"


def _step_folder(step: int) -> str:
    return f"step-{step:08d}"
