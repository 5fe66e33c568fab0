"""Training an encoder on one or several tasks: stages `intermediate` and `target`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stilts.data.prepared import Prepared
from stilts.errors import UserError
from stilts.model.encoder import load_encoder
from stilts.model.multitask import HeadSpec, Multitask
from stilts.training.examples import TrainingSet
from stilts.training.heartbeat import Heartbeat
from stilts.training.loop import Training, optimise
from stilts.training.masking import build_masking
from stilts.training.mixing import Mixture, Share, weigh
from stilts.training.save import save_model
from stilts.training.settings import Layout, Settings
from stilts.training.world import World, init_distributed

TRAIN_SET = "train.en"


def train(
    config: Mapping[str, Any],
    encoder: Path,
    data: Mapping[str, Path],
    out: Path,
    world: World,
    heartbeat: Heartbeat,
    micro_batch: int = Layout.micro_batch,
    zero_stage: int = Layout.zero_stage,
) -> dict[str, Any]:
    """Fine-tune the encoder in the folder `encoder` and save it, with its fresh heads trained, to `out`.

    `data` has the prepared folder of each of `config["tasks"]`; every rank calls this, the first one writes. Returns
    facts for the run's record: losses, updates, tokens, seconds, pad_share and how it was computed.
    """
    init_distributed(world)
    heartbeat.beat("load", 0, 1)
    training = _set_up(config, encoder, data, Layout(micro_batch, zero_stage))
    weights, facts = optimise(training, world, heartbeat)
    if world.first:
        save_model(weights, training.model.specs, encoder, type(training.model.encoder).__name__, out)
    world.wait()
    return facts | {"examples": {task: len(training_set) for task, training_set in training.sets.items()}}


def _set_up(config: Mapping[str, Any], encoder: Path, data: Mapping[str, Path], layout: Layout) -> Training:
    settings = Settings.of(config)
    # By name: neither draws nor heads may depend on the order in which a configuration lists its tasks.
    folders = {task: Prepared.load(data[task]) for task in sorted(config["tasks"])}
    sets = {task: open_training_set(folder, task, config) for task, folder in folders.items()}
    backbone = load_encoder(encoder, config["attention"], config["dropout"], torch.float32)
    specs = {task: HeadSpec(sets[task].family, len(folders[task].manifest["labels"])) for task in sets}
    model = Multitask(backbone, specs)
    model.initialise_heads(settings.seed)
    return Training(
        model=model,
        plan=plan_mixture(config, sets),
        sets=sets,
        settings=settings,
        layout=layout,
        pad_id=backbone.config.pad_token_id,
        masking=build_masking(encoder, settings.mask_probability) if _masks(specs) else None,
    )


def open_training_set(prepared: Prepared, task: str, config: Mapping[str, Any]) -> TrainingSet:
    """The task's English training examples, cut to `max_examples` and with permuted labels where the configuration
    says so. Both depend on the seed and the task, not on the other tasks."""
    if TRAIN_SET not in prepared.sets:
        raise UserError(f"{task}: the prepared data has no set {TRAIN_SET}; it has: {', '.join(prepared.sets)}")
    training_set = TrainingSet.of(prepared.open(TRAIN_SET))
    if config["max_examples"] is not None:
        training_set = training_set.keep_first(config["max_examples"], config["seed"], task)
    if config["shuffle_labels"]:
        training_set = training_set.shuffle_labels(config["seed"], task)
    return training_set


def plan_mixture(config: Mapping[str, Any], sets: Mapping[str, TrainingSet]) -> Mixture:
    """Which task and examples each update takes."""
    recipes = config["tasks"]
    shares = [
        Share(task, len(training_set), recipes[task]["batch_size"], recipes[task]["epochs"])
        for task, training_set in sets.items()
    ]
    sampling = config["sampling"]
    return Mixture(shares, sampling["cap"], config["seed"], weigh(shares, sampling))


def _masks(specs: Mapping[str, HeadSpec]) -> bool:
    return any(spec.family == "mlm" for spec in specs.values())
