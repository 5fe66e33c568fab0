"""Stages that compute nothing: an encoder is a folder with a file, a scoring is a metric file of a made-up score.

`campaign/toy.json` of the root may say how long a stage sleeps (`sleep_s`), which runs fail (`fails`, patterns) and
which are real all the same (`real`, patterns). Each execution appends a line to `campaign/executions`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stilts.runs import ENCODER_STAGES, canonical_json, read_json, write_json, write_text

if TYPE_CHECKING:
    from jobs.work import Work


def run_stage(work: Work) -> tuple[str, dict[str, Any]]:
    """As the real one: the digest of what was made, and facts. The score depends on the run and its parents alone."""
    if not work.attempt.first:
        return "", {}
    orders = read_json(work.root / "campaign" / "toy.json") or {}
    _note(work, "begins")
    if any(fnmatchcase(work.run.id, pattern) for pattern in orders.get("real", ())):
        output, facts = _run_real_stage(work)
        _note(work, "ends")
        return output, facts
    work.heartbeat.beat("toy", 0, 1)
    time.sleep(orders.get("sleep_s", 0))
    if any(fnmatchcase(work.run.id, pattern) for pattern in orders.get("fails", ())):
        raise RuntimeError("the test wants this run to fail")
    output = hashlib.sha256(canonical_json([work.run.digest, work.needs]).encode()).hexdigest()
    if work.run.id.startswith(ENCODER_STAGES):
        write_text(work.folder.model / "weights.json", f'"{output}"\n')
    if work.run.stage in ("target", "retrieval"):
        _write_metrics(work, output)
    work.heartbeat.beat("toy", 1, 1)
    _note(work, "ends")
    return output, {"toy": True}


def _run_real_stage(work: Work) -> tuple[str, dict[str, Any]]:
    import jobs

    spec = importlib.util.spec_from_file_location("jobs.real_stages", Path(jobs.__path__[0]) / "stages.py")
    assert spec is not None and spec.loader is not None
    real = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(real)
    found: tuple[str, dict[str, Any]] = real.run_stage(work)
    return found


def _write_metrics(work: Work, output: str) -> None:
    label = work.run.infra["label"]
    target = work.run.config.get("target") or next(iter(work.run.config["tasks"]))
    write_json(
        work.folder.metrics / f"{target}.dev.en.json",
        {
            "schema": "stilts.metrics/1",
            "run": work.run.id,
            "model": label["model"],
            "variant": label["variant"],
            "intermediate": label["intermediate"],
            "stage": work.run.stage,
            "target": target,
            "language": "en",
            "split": "dev",
            "seed": work.run.config.get("seed"),
            "metrics": dict.fromkeys(("accuracy", "f1"), int(output[:6], 16) % 10_000 / 100),
            "examples": 100,
            "provenance": {"output": output},
        },
    )


def _note(work: Work, what: str) -> None:
    line = f"{work.run.id} {work.attempt.id} {what}\n".encode()
    file = os.open(work.root / "campaign" / "executions", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, line)
    os.close(file)
