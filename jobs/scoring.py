"""Scoring inside a job: predictions first, then one metric file a language and split, each with its origin."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jobs.work import Work
from stilts.data.hub_sets import NOT_COMPARABLE
from stilts.results import Intermediate, MetricFile, write_metric_file
from stilts.runs import RunFolder, canonical_json, read_json

if TYPE_CHECKING:
    from stilts.evaluation.score import Score

Stage = Literal["target", "intermediate"]


def score_task(
    work: Work,
    name: str,
    head: str | None,
    model: Path,
    stage: Stage = "target",
    layer: int | None = None,
    sweep: bool = False,
) -> None:
    """Score one target (or an intermediate task's dev set): predictions first, metric files from them."""
    from stilts.evaluation.score import score_target

    work.heartbeat.beat(f"score {name}", 0, 1)
    prepared = work.prepared_run(name, "train" if stage == "intermediate" else "scored")
    caveat = "; ".join(filter(None, (_caveat(work, name, prepared), _restart_note(work))))
    for score in score_target(model, name, prepared.data, work.folder, head, work.device, layer, sweep):
        provenance: dict[str, Any] = {
            "digest": work.run.digest,
            "recipe": work.run.infra["label"]["recipe"],
            "attempt": work.attempt.id,
            "parents": list(work.run.parents),
            "data": {"run": prepared.path.name, "digest": work.needs[prepared.path.name]},
        }
        provenance |= {"layer": score.used_layer} if score.used_layer is not None else {}
        provenance |= {"caveat": caveat} if caveat else {}
        _write_metric(work, name, stage, score, provenance)
    work.heartbeat.beat(f"score {name}", 1, 1)


def _write_metric(work: Work, name: str, stage: Stage, score: Score, provenance: dict[str, Any]) -> None:
    label = work.run.infra["label"]
    metric = MetricFile(
        run=work.run.id,
        model=label["model"],
        variant=label["variant"],
        suite=work.suite,
        stage=stage,
        intermediate=Intermediate(**label["intermediate"]),
        target=name,
        language=score.language,
        split="dev" if score.split == "dev" else "test",
        seed=work.run.config.get("seed"),
        layer=score.layer,
        draw=label.get("draw"),
        metrics=score.metrics,
        examples=score.examples,
        provenance=provenance,
    )
    swept = "" if score.layer is None or score.layer == work.run.config.get("layer") else f".layer{score.layer}"
    write_metric_file(work.folder.metrics / f"{name}.{score.split}.{score.language}{swept}.json", metric)


def _caveat(work: Work, name: str, prepared: RunFolder) -> str | None:
    """Why a score is not comparable with published ones, where its data is such that it cannot be."""
    spec = read_json(prepared.spec) or {}
    for parent in spec["parents"]:
        config = (read_json(RunFolder(work.root / parent).spec) or {"config": {}})["config"]
        if config.get("source") == "hub":
            return NOT_COMPARABLE.get(name)
    return None


def _restart_note(work: Work) -> str:
    """That a training, this one or one that it builds on, collapsed and was started over with another seed than the
    one that its row names."""
    notes = []
    for folder in work.lineage:
        facts = (read_json(folder.trained) or {}).get("facts", {})
        asked, used = (read_json(folder.spec) or {})["config"].get("seed"), facts.get("seed_used")
        if used is not None and used != asked:
            notes.append(f"{folder.path.name} collapsed with seed {asked} and was trained with seed {used}")
    return "; ".join(notes)


def score_digest(folder: RunFolder) -> str:
    """Digest of all figures of a run, without the provenance beside them."""
    figures = []
    for path in sorted(folder.metrics.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        figures.append([record[key] for key in ("target", "language", "split", "layer", "metrics")])
    return hashlib.sha256(canonical_json(figures).encode()).hexdigest()
