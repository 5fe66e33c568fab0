"""Training an encoder on one or several tasks: stages `intermediate` and `target`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from stilts.data.prepared import Prepared
from stilts.errors import UserError
from stilts.model.encoder import load_encoder
from stilts.model.heads import MaskedTokenHead
from stilts.model.lm_head import load_lm_head
from stilts.model.multitask import HeadSpec, Multitask
from stilts.runs import read_json, write_json
from stilts.tasks.catalogue import MLM
from stilts.training.checkpoints import CheckpointStore
from stilts.training.examples import TrainingSet
from stilts.training.heartbeat import Heartbeat
from stilts.training.loop import Training, optimise
from stilts.training.masking import build_masking
from stilts.training.mixing import Mixture, Share, weigh
from stilts.training.randomness import derive_seed
from stilts.training.save import save_model
from stilts.training.selection import Judge
from stilts.training.settings import LAYOUT, Layout, Settings
from stilts.training.stopping import StartOver, Stop
from stilts.training.world import World, init_distributed

# A small training set may well end at chance; a collapse is told of large ones (Phang et al. train PAWS-X on 49,401).
COLLAPSE_EXAMPLES = 5_000


@dataclass(frozen=True)
class Sources:
    """What a training starts from: the folder of an encoder, the prepared folder of each task, and whether the encoder
    comes from a published model rather than from `model: scratch`."""

    encoder: Path
    data: Mapping[str, Path]
    pretrained: bool = True


class Collapsed(Exception):
    """A training ended at chance on dev."""


def train(
    config: Mapping[str, Any],
    sources: Sources,
    out: Path,
    world: World,
    heartbeat: Heartbeat,
    layout: Layout = LAYOUT,
    store: CheckpointStore | None = None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Fine-tune an encoder and save it, with its fresh heads trained, to `out`.

    Every rank calls this, the first one writes. Returns facts for the run's record: losses, updates, tokens, seconds,
    pad_share, dev scores, the seed that was used and how it was computed. A training that collapses (`collapse: stop`)
    raises StartOver, at most `restarts` times, and the next call takes the next seed; then Collapsed. Raises what
    `optimise` raises.
    """
    init_distributed(world)
    heartbeat.beat("load", 0, 1)
    restarts = _Restarts(heartbeat.folder / "restarts.json", config, world, store)
    # Which examples there are stays with the seed that was asked for; heads, order and dropout take the next one.
    seeds = {"seed": restarts.seed, "data_seed": config["seed"]}
    training = _set_up({**config, **seeds}, sources, _resumed_layout(store, layout))
    weights, facts = optimise(training, world, heartbeat, store, stop)
    collapsed = _find_collapse(config, training) if sources.pretrained else []
    if world.agree(int(world.first and bool(collapsed))):
        restarts.start_over(collapsed)
    if world.first:
        save_model(weights, training.model.specs, sources.encoder, type(training.model.encoder).__name__, out)
    world.wait()
    counts = {task: len(training_set) for task, training_set in training.sets.items()}
    return facts | {"examples": counts, "seed_used": restarts.seed, "collapsed": collapsed}


class _Restarts:
    """Which seed a training uses: the one asked for, and after each collapse one derived from it.

    The record stands in the run's folder, so that an interrupted run goes on with the seed that it had reached.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], world: World, store: CheckpointStore | None) -> None:
        self.path, self.config, self.world, self.store = path, config, world, store
        record = (read_json(path) or {}) if world.first and store else {}
        mine = record.get("collapsed", []) if store and record.get("identity") == store.identity else []
        self.collapsed: list[str] = mine
        self.count = world.agree(len(mine))

    @property
    def seed(self) -> int:
        asked = int(self.config["seed"])
        return derive_seed(asked, "restart", self.count) % 2**31 if self.count else asked

    def start_over(self, collapsed: Sequence[str]) -> None:
        """Raises StartOver, or Collapsed where no restart is left; a warning where that is all that is asked for."""
        told = f"seed {self.seed}: at chance on dev: {', '.join(collapsed)}"
        if self.config["collapse"] == "warn":
            print(f"warning: {told}", flush=True)
            return
        if self.count == self.config["restarts"]:
            raise Collapsed(
                f"{told}, after {self.count + 1} attempts; set restarts: {self.count + 2} in the grid to try further "
                "seeds, a smaller learning_rate, or collapse: warn to keep such a result"
            )
        self.collapsed, self.count = [*self.collapsed, told], self.count + 1
        if self.world.first:
            if self.store:
                self.store.clear()  # first: the next seed must not go on from this one's checkpoint
            identity = self.store.identity if self.store else ""
            write_json(self.path, {"identity": identity, "collapsed": self.collapsed})
        self.world.wait()
        raise StartOver(f"{told}; starts over with seed {self.seed}")


def _find_collapse(config: Mapping[str, Any], training: Training) -> list[str]:
    """Tasks at chance, where that is not to be expected: all tasks are, on training sets of a fair size."""
    found = training.judge.find_collapsed() if config["collapse"] != "off" else []
    large = all(len(training.sets[dev.task]) >= COLLAPSE_EXAMPLES for dev in training.judge.sets)
    everything = len(found) == len(training.judge.sets)
    return found if found and large and everything else []


def _resumed_layout(store: CheckpointStore | None, layout: Layout) -> Layout:
    """The micro-batches of the attempt that this one continues, because other ones would draw other dropout; smaller
    ones where this attempt was given less."""
    checkpoint = store.newest if store else None
    if checkpoint is None:
        return layout
    kept = checkpoint.record["facts"]["layout"]
    most = min(kept["micro_tokens"], layout.micro_tokens or kept["micro_tokens"])
    # DeepSpeed's own keys may lay its buffers out in another order.
    same = {name: kept[name] for name in ("zero_stage", "deepspeed")}
    return replace(layout, micro_tokens=most, packed=kept.get("packed", False), **same)


def _set_up(config: Mapping[str, Any], sources: Sources, layout: Layout) -> Training:
    settings = Settings.of(config)
    # By name: neither draws nor heads may depend on the order in which a configuration lists its tasks.
    folders = {task: Prepared.load(sources.data[task]) for task in sorted(config["tasks"])}
    sets = {task: open_training_set(folder, task, config) for task, folder in folders.items()}
    backbone = load_encoder(sources.encoder, config["attention"], config["dropout"], torch.float32)
    specs = {task: HeadSpec(sets[task].family, len(folders[task].manifest["labels"])) for task in sets}
    model = Multitask(backbone, specs)
    model.initialise_heads(settings.seed)
    if MLM in specs:
        head = model.head(MLM)
        assert isinstance(head, MaskedTokenHead), "the head of masked language modelling"
        load_lm_head(sources.encoder, head)  # a fresh one would spoil the encoder while it learns
    mixture = plan_mixture(config, sets)
    selection = config["selection"]
    return Training(
        model=model,
        plan=mixture,
        sets=sets,
        settings=settings,
        layout=layout,
        pad_id=backbone.config.pad_token_id,
        masking=build_masking(sources.encoder, settings.mask_probability) if _masks(specs) else None,
        judge=Judge.open(folders, mixture.updates, selection["points"], selection["examples"]),
    )


def open_training_set(prepared: Prepared, task: str, config: Mapping[str, Any]) -> TrainingSet:
    """The task's training examples, in English and whatever other languages were prepared, cut to `max_examples` and
    with permuted labels where the configuration says so. Both depend on the seed and the task, not on other tasks."""
    names = sorted(name for name in prepared.sets if name.startswith("train."))
    seed = config.get("data_seed", config["seed"])
    if not names:
        raise UserError(f"{task}: the prepared data has no training set; it has: {', '.join(prepared.sets)}")
    training_set = TrainingSet.join([TrainingSet.of(prepared.open(name)) for name in names])
    if config["max_examples"] is not None:
        training_set = training_set.keep_first(config["max_examples"], seed, task)
    if config["shuffle_labels"]:
        training_set = training_set.shuffle_labels(seed, task)
    return training_set


def plan_mixture(config: Mapping[str, Any], sets: Mapping[str, TrainingSet]) -> Mixture:
    """Which task and examples each update takes."""
    recipes = config["tasks"]
    shares = [
        Share(
            task, len(training_set), recipes[task]["batch_size"], recipes[task].get("epochs", 1), _order(config, task)
        )
        for task, training_set in sets.items()
    ]
    sampling = config["sampling"]
    if config["replay"]:
        return _plan_replay(config, shares)
    return Mixture(shares, sampling["cap"], config["seed"], weigh(shares, sampling), config["updates"])


def _order(config: Mapping[str, Any], task: str) -> str:
    """What the order of a task's examples depends on beside the seed: in every phase of a sequence the text, and the
    examples of earlier tasks that are replayed, come in another order."""
    if task == MLM:
        return "+".join(sorted(other for other in config["tasks"] if other != MLM))
    return str(config["phase"]) if config["replay"] and task != config["phase"] else ""


def _plan_replay(config: Mapping[str, Any], shares: Sequence[Share]) -> Mixture:
    """A later phase of a sequence: a `replay` share of its updates goes to the tasks before it, in equal parts, beside
    the updates that the phase's own task has without them."""
    replay, cap = config["replay"], config["sampling"]["cap"]
    own = next(share for share in shares if share.task == config["phase"])
    earlier = len(shares) - 1
    weights = [1 - replay if share is own else replay / earlier for share in shares]
    updates = config["updates"] or round(own.updates(own.examples) / (1 - replay))
    return Mixture(shares, cap, config["seed"], weights, updates)


def _masks(specs: Mapping[str, HeadSpec]) -> bool:
    return any(spec.family == "mlm" for spec in specs.values())
