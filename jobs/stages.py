"""The stages by name: each turns the outputs of a run's parents into its own, in the run's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.attempt import Attempt
from jobs.guard import trained_before
from jobs.ranks import Place, meet
from jobs.scoring import score_digest, score_task
from jobs.work import Facts, Work
from stilts.runs import Run, RunFolder, file_digest, read_json, tree_digest, write_json
from stilts.settings import PretrainSettings, TrainingSettings
from stilts.tasks.catalogue import served_targets
from stilts.training.heartbeat import Heartbeat

if TYPE_CHECKING:
    from stilts.training.world import World


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
        facts = fetch_model(dict(work.run.config), work.folder.model, work.commits)
        return tree_digest(work.folder.model), facts
    root = work.run.infra.get("data_root")
    manifest = fetch_data(dict(work.run.config), Path(root) if root else None, work.folder.data, work.commits)
    return str(manifest["digest"]), {key: manifest[key] for key in ("counts", "unlabelled", "absent", "sources")}


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
        score_task(work, task, task, work.folder.model, stage="intermediate")
    return _model_digest(work.folder), facts


def target(work: Work) -> tuple[str, Facts]:
    """Fine-tune on the target's English data, then score every target and language that this training serves."""
    facts = _train(work)
    if not work.attempt.first:
        return "", facts
    (training,) = work.run.config["tasks"]
    for name in served_targets(training, work.suite):
        if work.has_prepared(name, "scored"):
            score_task(work, name, training, work.folder.model)
    return score_digest(work.folder), facts


def retrieval(work: Work) -> tuple[str, Facts]:
    """Score an encoder without training it."""
    if not work.attempt.first:
        return "", {}
    model = work.parent("intermediate-", "pretrain-", "fetch-model-").model
    layer, sweep = work.run.config.get("layer"), work.run.config.get("sweep", False)
    score_task(work, work.run.config["target"], None, model, layer=layer, sweep=sweep)
    return score_digest(work.folder), {}


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
    world = World(place.rank, place.local_rank, place.size, work.device)
    init_distributed(world, meet(place, work.attempt.path))
    return world


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
    data = {task: work.prepared_run(task, "train").data for task in config["tasks"]}
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


def _model_digest(folder: RunFolder) -> str:
    """Digest of an encoder's weights and tokenizer: what a child builds on."""
    files = sorted(path for path in folder.model.iterdir() if path.suffix in (".safetensors", ".json"))
    return hashlib.sha256("\n".join(f"{path.name} {file_digest(path)}" for path in files).encode()).hexdigest()
