"""The stages by name: each turns the outputs of a run's parents into its own, in the run's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.guard import trained_before
from jobs.interruption import obey
from jobs.memory import read_budget
from jobs.ranks import meet
from jobs.scoring import score_digest, score_task
from jobs.translation import translate
from jobs.work import Facts, Work
from stilts.runs import ENCODER_STAGES, RunFolder, canonical_json, file_digest, read_json, tree_digest, write_json
from stilts.settings import PretrainSettings, TrainingSettings
from stilts.tasks.catalogue import served_targets
from stilts.training.settings import Layout

if TYPE_CHECKING:
    from stilts.training.checkpoints import CheckpointStore
    from stilts.training.world import World


def run_stage(work: Work) -> tuple[str, Facts]:
    """Do the work of one run; returns the digest of what it made and facts for its DONE record."""
    return STAGES[work.run.stage](work)


def fetch(work: Work) -> tuple[str, Facts]:
    """Bring data or a base model into the run's folder (or point at files of a data root)."""
    from stilts.data.fetch import fetch_data, fetch_model

    if not work.attempt.first:
        return "", {}

    if work.run.config["kind"] == "model":
        facts = fetch_model(dict(work.run.config), work.folder.model, work.commits)
        return tree_digest(work.folder.model), facts
    root = work.run.infra.get("data_root")
    data_root = Path(root) if root else None
    manifest = fetch_data(dict(work.run.config), data_root, work.folder.data, work.commits, work.heartbeat)
    return str(manifest["digest"]), {key: manifest[key] for key in ("counts", "unlabelled", "absent", "sources")}


def prepare(work: Work) -> tuple[str, Facts]:
    """Tokenise once for all runs of this task, tokenizer and length."""
    from stilts.data.prepare import prepare as prepare_data

    if not work.attempt.first:
        return "", {}

    tokenizer = work.parent("pretrain-", "fetch-model-").model
    sources = [
        RunFolder(work.root / name).data
        for name in work.run.parents
        if name.startswith(("fetch-", "translate-")) and not name.startswith("fetch-model-")
    ]
    facts = prepare_data(dict(work.run.config), sources, tokenizer, work.folder.data, work.heartbeat)
    manifest = read_json(work.folder.data / "manifest.json") or {}
    return str(manifest["digest"]), facts


def pretrain(work: Work) -> tuple[str, Facts]:
    """Make the small encoder of `model: scratch`: tokenizer, random weights, optional MLM."""
    from stilts.data.texts import task_texts
    from stilts.model.scratch import pretrain as pretrain_encoder
    from stilts.training.world import close_distributed

    config = PretrainSettings.model_validate(dict(work.run.config)).model_dump(mode="json")
    texts = [text for name in work.run.parents for text in task_texts(RunFolder(work.root / name).data)]
    world = open_world(work)
    store = _checkpoints(work, world)
    facts = pretrain_encoder(config, texts, work.folder.model, world, work.heartbeat, _layout(work), store, work.stop)
    close_distributed()
    if not work.attempt.first:
        return "", facts
    store.clear()
    return _model_digest(work.folder), facts


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
    model = work.parent(*ENCODER_STAGES).model
    layer, sweep = work.run.config.get("layer"), work.run.config.get("sweep", False)
    score_task(work, work.run.config["target"], None, model, layer=layer, sweep=sweep)
    return score_digest(work.folder), {}


STAGES: dict[str, Callable[[Work], tuple[str, Facts]]] = {
    "fetch": fetch,
    "translate": translate,
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
    from stilts.training.train import Sources, train
    from stilts.training.world import close_distributed

    encoder = work.parent(*ENCODER_STAGES).model
    given, own = work.run.config, ("seed", "tasks", "phase", "mask_probability")
    settings = TrainingSettings.model_validate({key: value for key, value in given.items() if key not in own})
    config = settings.model_dump(mode="json") | {key: given[key] for key in own if key in given}
    config["restarts"] = work.run.infra.get("restarts", 0)
    data = {task: work.prepared_run(task, "train").data for task in config["tasks"]}
    sources = Sources(encoder, data, pretrained=work.lineage[-1].path.name.startswith("fetch-"))
    world = open_world(work)
    store = _checkpoints(work, world)
    facts = train(config, sources, work.folder.model, world, work.heartbeat, _layout(work), store, work.stop)
    # Together, before the first rank goes on alone to score: NCCL may hang at exit else.
    close_distributed()
    if work.attempt.first:
        if not facts["resumed"]:  # its seconds are those of several attempts
            facts["startup_s"] = work.attempt.age_s() - facts["seconds"]
        parents = {name: work.needs[name] for name in work.run.parents}
        write_json(work.folder.trained, {"digest": work.run.digest, "parents": parents, "facts": facts})
        store.clear()
        obey(work.stop)
    return dict(facts)


def _layout(work: Work) -> Layout:
    """How the updates are cut into forward passes and sharded: speed and memory, not the result."""
    resources = work.run.infra.get("resources", {})
    names = ("micro_tokens", "zero_stage", "activation_checkpointing", "cuda_graphs")
    given = {name: resources[name] for name in names if resources.get(name) is not None}
    known = [tokens for tokens in (given.get("micro_tokens"), read_budget(work.folder)) if tokens]
    given["micro_tokens"] = min(known, default=None)
    return Layout(**given, deepspeed=work.run.infra.get("deepspeed", {}))


def _checkpoints(work: Work, world: World) -> CheckpointStore:
    """Checkpoints of this very run on these very parents."""
    from stilts.training.checkpoints import CheckpointStore

    parents = {name: work.needs[name] for name in work.run.parents}
    identity = hashlib.sha256(canonical_json([work.run.digest, parents]).encode()).hexdigest()
    minutes = work.run.infra.get("resources", {}).get("checkpoint_min")
    longest = {} if minutes is None else {"longest_interval_s": 60.0 * minutes}
    return CheckpointStore(work.folder.checkpoints, identity, world, **longest)


def _model_digest(folder: RunFolder) -> str:
    """Digest of an encoder's weights and tokenizer: what a child builds on."""
    files = sorted(path for path in folder.model.iterdir() if path.suffix in (".safetensors", ".json"))
    return hashlib.sha256("\n".join(f"{path.name} {file_digest(path)}" for path in files).encode()).hexdigest()
