"""What a run is: its identity, its folder, and the marker that says it is done. Light: shared by all rooms.

A study is a DAG of runs. A run's name is `<stage>-<slug>-<8 hex>`, the digits being the head of a SHA-256
over what changes the RESULT: stage and its version, the canonical scientific configuration, the names of the
parents. Where and how it runs (partition, memory, ranks, micro-batch, log interval) is not in the hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

SPEC_SCHEMA = "stilts.run/1"
DONE_SCHEMA = "stilts.done/1"

# Raised whenever the same configuration would give another result than before; tests/stilts/test_golden.py guards it.
STAGE_VERSIONS = {
    "fetch": 1,
    "translate": 1,
    "pretrain": 1,
    "prepare": 1,
    "intermediate": 2,
    "target": 2,
    "retrieval": 1,
}

# A folder with a file of this name holds trainings in small, which no table reads.
PILOT_MARKER = "PILOT"

# Names of runs that make an encoder begin so.
ENCODER_STAGES = ("intermediate-", "pretrain-", "fetch-model-")


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:
    """The one spelling of a value: sorted keys, no blanks, no NaN; 1.0 and 1 stay different on purpose."""
    return _CANONICAL.encode(value)


@dataclass(frozen=True, eq=False)
class Run:
    """One node of the study's DAG.

    `parents` are runs whose outputs enter the result and are hashed. `scores` are prepared evaluation sets:
    the run waits for them and scores them, but a training does not change with them, so they are not hashed.
    """

    stage: str
    slug: str
    config: Mapping[str, Any]
    parents: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    infra: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Full SHA-256 of the run's identity."""
        identity = {
            "stage": self.stage,
            "version": STAGE_VERSIONS[self.stage],
            "config": self.config,
            "parents": sorted(self.parents),
        }
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()

    @cached_property
    def id(self) -> str:
        return f"{self.stage}-{self.slug}-{self.digest[:8]}"

    @property
    def needs(self) -> tuple[str, ...]:
        """Every run that must be done before this one starts."""
        return (*self.parents, *self.scores)

    def spec(self) -> dict[str, Any]:
        """The JSON that stands in the run's folder and is all that a job reads."""
        return {
            "schema": SPEC_SCHEMA,
            "id": self.id,
            "stage": self.stage,
            "version": STAGE_VERSIONS[self.stage],
            "digest": self.digest,
            "config": dict(self.config),
            "parents": list(self.parents),
            "scores": list(self.scores),
            "infra": dict(self.infra),
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Run:
        """The run of a specification; a digest that does not fit the content is refused."""
        run = cls(
            stage=spec["stage"],
            slug=spec["id"].removeprefix(spec["stage"] + "-").rsplit("-", 1)[0],
            config=spec["config"],
            parents=tuple(spec["parents"]),
            scores=tuple(spec["scores"]),
            infra=spec["infra"],
        )
        if run.digest != spec["digest"] or run.id != spec["id"]:
            raise ValueError(
                f"{spec['id']}: the specification does not match its digest (stage version {spec['version']}, this "
                f"code has {STAGE_VERSIONS[run.stage]}); run the grid command again to write it anew"
            )
        return run


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps everything: `<root>/<run id>/`."""

    path: Path

    @property
    def spec(self) -> Path:
        return self.path / "run.json"

    @property
    def done(self) -> Path:
        return self.path / "DONE"

    @property
    def trained(self) -> Path:
        """Marker of a finished training whose scoring may still be missing."""
        return self.path / "TRAINED"

    @property
    def progress(self) -> Path:
        """Heartbeat: stage phase, step, total, loss, time."""
        return self.path / "progress.json"

    @property
    def checkpoints(self) -> Path:
        """State of a training that has not finished."""
        return self.path / "checkpoints"

    @property
    def attempts(self) -> Path:
        return self.path / "attempts"

    @property
    def data(self) -> Path:
        """Output of fetch and prepare."""
        return self.path / "data"

    @property
    def model(self) -> Path:
        """Encoder weights as safetensors, configuration and tokenizer: `from_pretrained` loads it."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    def read_done(self) -> dict[str, Any] | None:
        """The DONE record, or None where it is absent or not ours (half a file counts as absent)."""
        record = read_json(self.done)
        return record if record and record.get("schema") == DONE_SCHEMA else None


def done_record(run: Run, output: str, needs: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """What DONE says: this run's digest, its `output` digest and the output digest of each run it was built on."""
    return {"schema": DONE_SCHEMA, "run": run.id, "digest": run.digest, "output": output, "needs": dict(needs), **more}


def is_output_of(output: str | None, done: Mapping[str, Any]) -> bool:
    """Whether a finished run (its DONE record) has or had this output.

    An encoder whose weights were removed and then trained again may come out with another digest, on a GPU at least;
    what had been built on the weights before holds as much as what is built on the new ones.
    """
    earlier = done.get("earlier")
    return output == done.get("output") or (isinstance(earlier, list) and output in earlier)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None where there is no file or no whole object in it."""
    try:
        with open(path, "rb", buffering=0) as file:  # tens of thousands of small files, some commands read
            value = json.loads(file.read().decode())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no JSON, no UTF-8, no name of a file
        return None
    return value if isinstance(value, dict) else None


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or none: a temporary name in the same folder, flushed, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """`write_text` of readable JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def remove_folder(path: Path) -> None:
    """Delete a folder, if it is there; under another name first, so that half of it is never taken for the whole."""
    aside = path.with_name(f".{path.name}.removed")
    shutil.rmtree(aside, ignore_errors=True)
    if path.is_dir():
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def file_digest(path: Path) -> str:
    """SHA-256 of one file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(folder: Path) -> str:
    """SHA-256 over names and contents of every file below `folder`, whatever the order on disk."""
    lines = (f"{path.relative_to(folder)} {file_digest(path)}" for path in walk_files(folder))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def walk_files(folder: Path) -> Iterator[Path]:
    """Every file below `folder`, sorted by path."""
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))
