"""The stages by name: each turns the outputs of a run's parents into its own, in the run's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jobs.attempt import Attempt
from jobs.guard import trained_before
from jobs.ranks import Place, meet
from stilts.results import Intermediate, MetricFile, write_metric_file
from stilts.runs import Run, RunFolder, canonical_json, file_digest, read_json, tree_digest, write_json
from stilts.settings import PretrainSettings, TrainingSettings
from stilts.tasks.catalogue import served_targets
from stilts.training.heartbeat import Heartbeat

if TYPE_CHECKING:
    import torch

    from stilts.training.world import World

Facts = dict[str, Any]
Stage = Literal["target", "intermediate"]


@dataclass(frozen=True)
class Work:
    """What a stage has at hand."""

    run: Run
    folder: RunFolder
    attempt: Attempt
    place: Place
    heartbeat: Heartbeat
    needs: dict[str, str]

    @property
    def root(self) -> Path:
        return self.folder.path.parent

    def parent(self, *stages: str) -> RunFolder:
        """The first parent of one of these stages."""
        return next(RunFolder(self.root / name) for name in self.run.parents if name.startswith(stages))

    def prepared(self, task: str, part: str) -> Path:
        """Prepared data of a task's part (train or scored) among everything that this run needs."""
        name = next(name for name in self.run.needs if name.startswith(f"prepare-{task}-{part}-"))
        return RunFolder(self.root / name).data


def run_stage(run: Run, folder: RunFolder, attempt: Attempt, place: Place, needs: dict[str, str]) -> tuple[str, Facts]:
    """Do the work of one run; returns the digest of what it made and facts for its DONE record."""
    work = Work(run, folder, attempt, place, Heartbeat(folder.path, place.rank), needs)
    return STAGES[run.stage](work)


def fetch(work: Work) -> tuple[str, Facts]:
    """Bring data or a base model into the run's folder (or point at files of a data root)."""
    from stilts.data.fetch import fetch_data, fetch_model

    if not work.attempt.first:
        return "", {}

    if work.run.config["kind"] == "model":
        facts = fetch_model(dict(work.run.config), work.folder.model)
        return tree_digest(work.folder.model), facts
    root = work.run.infra.get("data_root")
    manifest = fetch_data(dict(work.run.config), Path(root) if root else None, work.folder.data)
    return str(manifest["digest"]), {key: manifest[key] for key in ("counts", "unlabelled", "absent")}


def prepare(work: Work) -> tuple[str, Facts]:
    """Tokenise once for all runs of this task, tokenizer and length."""
    from stilts.data.prepare import prepare as prepare_data

    if not work.attempt.first:
        return "", {}

    tokenizer = work.parent("pretrain-", "fetch-model-").model
    source = next(
        RunFolder(work.root / name).data
        for name in work.run.parents
        if name.startswith("fetch-") and not name.startswith("fetch-model-")
    )
    facts = prepare_data(dict(work.run.config), source, tokenizer, work.folder.data, work.heartbeat)
    manifest = read_json(work.folder.data / "manifest.json") or {}
    return str(manifest["digest"]), facts


def pretrain(work: Work) -> tuple[str, Facts]:
    """Make the small encoder of `model: scratch`: tokenizer, random weights, optional MLM."""
    from stilts.data.texts import task_texts
    from stilts.model.scratch import pretrain as pretrain_encoder
    from stilts.training.world import close_distributed

    config = PretrainSettings.model_validate(dict(work.run.config)).model_dump(mode="json")
    texts = [text for name in work.run.parents for text in task_texts(RunFolder(work.root / name).data)]
    facts = pretrain_encoder(config, texts, work.folder.model, open_world(work), work.heartbeat, **_layout(work))
    close_distributed()
    return (_model_digest(work.folder) if work.attempt.first else ""), facts


def intermediate(work: Work) -> tuple[str, Facts]:
    """Encoder in, encoder out; then the dev scores of the tasks themselves."""
    facts = _train(work)
    if not work.attempt.first:
        return "", facts
    for task in work.run.config["tasks"]:
        _score(work, task, task, work.folder.model, stage="intermediate")
    return _model_digest(work.folder), facts


def target(work: Work) -> tuple[str, Facts]:
    """Fine-tune on the target's English data, then score every target and language that this training serves."""
    facts = _train(work)
    if not work.attempt.first:
        return "", facts
    (training,) = work.run.config["tasks"]
    for name in served_targets(training, _suite(work)):
        _score(work, name, training, work.folder.model)
    return _score_digest(work.folder), facts


def retrieval(work: Work) -> tuple[str, Facts]:
    """Score an encoder without training it."""
    if not work.attempt.first:
        return "", {}
    model = work.parent("intermediate-", "pretrain-", "fetch-model-").model
    _score(work, work.run.config["target"], None, model, layer=work.run.config.get("layer"))
    return _score_digest(work.folder), {}


STAGES: dict[str, Callable[[Work], tuple[str, Facts]]] = {
    "fetch": fetch,
    "prepare": prepare,
    "pretrain": pretrain,
    "intermediate": intermediate,
    "target": target,
    "retrieval": retrieval,
}


def open_world(work: Work) -> World:
    """This process's place among the ranks, with torch.distributed ready for all of them."""
    from stilts.training.world import World, init_distributed

    place = work.place
    world = World(place.rank, place.local_rank, place.size, _device(place))
    init_distributed(world, meet(place, work.attempt.path))
    return world


def _device(place: Place) -> torch.device:
    """This rank's GPU, or the CPU. A site may show each rank one GPU alone, which is number 0 for all of them."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", place.local_rank % torch.cuda.device_count())


def _train(work: Work) -> Facts:
    """Train unless an earlier attempt did; TRAINED separates training from scoring."""
    finished = trained_before(work.run, work.folder, work.needs)
    if finished is not None:
        return finished
    from stilts.training.train import train
    from stilts.training.world import close_distributed

    config = TrainingSettings.model_validate(
        {key: value for key, value in work.run.config.items() if key not in ("seed", "tasks")}
    ).model_dump(mode="json")
    config.update(seed=work.run.config["seed"], tasks=work.run.config["tasks"])
    encoder = work.parent("intermediate-", "pretrain-", "fetch-model-").model
    data = {task: work.prepared(task, "train") for task in config["tasks"]}
    facts = train(config, encoder, data, work.folder.model, open_world(work), work.heartbeat, **_layout(work))
    # Together, before the first rank goes on alone to score: NCCL may hang at exit else.
    close_distributed()
    if work.attempt.first:
        parents = {name: work.needs[name] for name in work.run.parents}
        write_json(work.folder.trained, {"digest": work.run.digest, "parents": parents, "facts": facts})
    return dict(facts)


def _layout(work: Work) -> dict[str, int]:
    """How the updates are cut into forward passes and sharded: speed and memory, not the result."""
    resources = work.run.infra.get("resources", {})
    return {key: resources[key] for key in ("micro_batch", "zero_stage") if key in resources}


def _score(
    work: Work, name: str, head: str | None, model: Path, stage: Stage = "target", layer: int | None = None
) -> None:
    """Score one target (or an intermediate task's dev set): predictions first, metric files from them."""
    from stilts.evaluation.score import score_target

    work.heartbeat.beat(f"score {name}", 0, 1)
    data = work.prepared(name, "train" if stage == "intermediate" else "scored")
    scores = score_target(model, name, data, work.folder, head, _device(work.place), layer)
    label = work.run.infra["label"]
    for language, split, metrics, examples in scores:
        metric = MetricFile(
            run=work.run.id,
            model=label["model"],
            variant=label["variant"],
            suite=_suite(work),
            stage=stage,
            intermediate=Intermediate(**label["intermediate"]),
            target=name,
            language=language,
            split="dev" if split == "dev" else "test",
            seed=work.run.config.get("seed"),
            layer=layer,
            metrics=metrics,
            examples=examples,
            provenance={
                "digest": work.run.digest,
                "recipe": label["recipe"],
                "attempt": work.attempt.id,
                "parents": list(work.run.parents),
            },
        )
        write_metric_file(work.folder.metrics / f"{name}.{split}.{language}.json", metric)
    work.heartbeat.beat(f"score {name}", 1, 1)


def _suite(work: Work) -> Literal["xtreme", "toy"]:
    """The suite of the prepared data."""
    name = next(name for name in work.run.needs if name.startswith("prepare-"))
    spec = read_json(RunFolder(work.root / name).spec) or {}
    return "toy" if spec["config"]["suite"] == "toy" else "xtreme"


def _model_digest(folder: RunFolder) -> str:
    """Digest of an encoder's weights and tokenizer: what a child builds on."""
    files = sorted(path for path in folder.model.iterdir() if path.suffix in (".safetensors", ".json"))
    return hashlib.sha256("\n".join(f"{path.name} {file_digest(path)}" for path in files).encode()).hexdigest()


def _score_digest(folder: RunFolder) -> str:
    """Digest of all figures of a run, without the provenance beside them."""
    figures = []
    for path in sorted(folder.metrics.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        figures.append([record[key] for key in ("target", "language", "split", "metrics")])
    return hashlib.sha256(canonical_json(figures).encode()).hexdigest()
