"""The training loop: the same for masked language modelling, intermediate tasks and targets, on CPU and GPU."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from stilts.model.multitask import Multitask
from stilts.training.batches import Masking, Update, assemble
from stilts.training.budget import find_micro_tokens
from stilts.training.checkpoints import CheckpointStore, Writing
from stilts.training.engine import Updater, build_engine, full_weights
from stilts.training.engine_state import count_bytes, find_misfit, read_state, restore_state
from stilts.training.examples import TrainingSet
from stilts.training.heartbeat import Heartbeat
from stilts.training.losses import LossLog
from stilts.training.mixing import Plan
from stilts.training.passes import open_passes
from stilts.training.randomness import numpy_generator, seed_torch
from stilts.training.schedule import learning_rate
from stilts.training.selection import Judge
from stilts.training.settings import Layout, Settings
from stilts.training.stopping import LONGEST_INTERVAL_S, Interrupted, OutOfMemory, Request, SaveClock, Stop
from stilts.training.world import World

# What a checkpoint is assumed to cost before the first was measured.
_ASSUMED_BYTES_PER_S = 100e6


@dataclass(frozen=True)
class Training:
    """Everything a training consists of, before it starts."""

    model: Multitask
    plan: Plan
    sets: Mapping[str, TrainingSet]
    settings: Settings
    layout: Layout
    pad_id: int
    masking: Masking | None = None
    judge: Judge = field(default_factory=Judge)

    def update(self, step: int) -> Update:
        """All sequences of an update: a pure function of the seed and `step`."""
        task, examples = self.plan.batch(step)
        rng = numpy_generator(self.settings.seed, "mask", step)
        return assemble(task, self.sets[task], examples, self.pad_id, self.masking, rng)

    def rate(self, step: int) -> float:
        """The learning rate of an update."""
        return learning_rate(step, self.plan.updates, self.settings.learning_rate, self.settings.warmup_ratio)


def optimise(
    training: Training,
    world: World,
    heartbeat: Heartbeat,
    store: CheckpointStore | None = None,
    stop: Stop | None = None,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Run all updates, from the newest checkpoint in `store` if there is one.

    Returns the weights of the best point on dev, else the last ones (whole, fp32, on the first rank; empty elsewhere),
    and the facts. Raises FloatingPointError when a loss is not finite, at the latest 10 updates after it happened,
    Interrupted, with a checkpoint saved, when `stop` is asked to, and OutOfMemory.
    """
    return _Loop(training, world, heartbeat, store, stop or Stop()).run()


class _Loop:
    """One attempt at a training's updates."""

    def __init__(
        self, training: Training, world: World, heartbeat: Heartbeat, store: CheckpointStore | None, stop: Stop
    ) -> None:
        self.training, self.world, self.heartbeat, self.store, self.stop = training, world, heartbeat, store, stop
        self.updates = training.plan.updates
        self.judge = training.judge
        self.engine = build_engine(training.model, training.settings, training.layout, world)
        self.engine.train()
        self.updater = Updater(self.engine, world)
        self.passes = open_passes(training, self.engine, self.updater, world)
        self.log = LossLog(world, heartbeat, self.updates)
        longest_s = store.longest_interval_s if store else LONGEST_INTERVAL_S
        self.clock = SaveClock(count_bytes(self.engine) / _ASSUMED_BYTES_PER_S, longest_s)
        self.resumed: list[int] = []
        self.before_s = 0.0

    def run(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        first = self._resume()
        self.micro_tokens = find_micro_tokens(self.training, self.passes, self.world)
        self.started = time.monotonic()
        with self.stop.watch():
            for step in range(first, self.updates):
                try:
                    self._take_update(step)
                except torch.OutOfMemoryError as error:
                    raise OutOfMemory(self.micro_tokens) from error
                if step in (0, self.updates - 1):
                    self.log.flush()
                if step == 0:
                    self.log.tally.first_update_seconds = self.seconds
                known = len(self.judge.history)
                self.judge.consider(step + 1, self.engine, self.world, self.training.pad_id)
                self.heartbeat.log_dev(self.judge.history[known:])
                self._beat(step + 1)
                if step + 1 < self.updates:
                    self._pause(step + 1)
            if self._writing:
                self._end_save()
        self.log.tally.seconds = self.seconds
        weights = full_weights(self.engine) if self.judge.best is None else self.judge.best
        return weights, self.log.tally.facts() | self._describe()

    @property
    def seconds(self) -> float:
        """Seconds of training in all attempts whose work is kept."""
        return self.before_s + time.monotonic() - self.started

    def _resume(self) -> int:
        """Go back to the newest checkpoint; returns the number of updates that are done."""
        checkpoint = self.store.newest if self.store else None
        if checkpoint is None:
            self.log.start([])
            return 0
        facts = checkpoint.record["facts"]
        tensors = checkpoint.tensors(self.world.rank)
        losses = tensors.pop("losses").tolist()
        problem = find_misfit(self.engine, tensors)
        if self.world.agree(int(problem is not None)):
            if self.world.first:
                told = problem or "its tensors do not fit the model of another rank"
                print(f"{checkpoint.path.name} is not used: {told}; the training starts from its parent", flush=True)
            self.log.start([])
            return 0
        restore_state(self.engine, tensors, facts["engine"])
        self.judge.history[:] = facts["dev"]
        if facts["has_best"]:
            self.judge.best = checkpoint.best() if self.world.first else {}
        plan, rate = self.training.plan, self.training.rate
        self.log.start([(step, plan.task_of(step), loss, rate(step)) for step, loss in enumerate(losses)])
        self.log.tally.restore(facts["tally"])
        self.heartbeat.log_dev(self.judge.history)
        self.before_s, self.resumed = facts["seconds"], [*facts["resumed"], checkpoint.step]
        return checkpoint.step

    def _take_update(self, step: int) -> None:
        settings, world = self.training.settings, self.world
        update = self.training.update(step)
        pieces = update.divide(self.passes.limits(self.micro_tokens), world.size)
        mine = pieces[world.rank]
        total = torch.zeros((), device=world.device)
        for index, piece in enumerate(mine):
            # Dropout becomes a function of the position in the training, so that a resumed run repeats itself.
            seed_torch(settings.seed, "dropout", step, index, world.rank)
            total += self.passes.run(update, piece, last=index == len(mine) - 1)
        rate = self.training.rate(step)
        self.updater.step(rate)
        self.log.tally.count(update.real_tokens, self.passes.count_tokens(update, pieces))
        self.log.add(step, update.task, rate, total / max(update.terms, 1))

    def _pause(self, done: int) -> None:
        """Between two updates: stop or save where any rank asks for it."""
        if self._writing and not self.world.agree(int(self._writing.busy)):
            self._end_save()
        # One that is being written has to be finished before the last one begins.
        reserve_s = self.clock.reserve_s + (self.clock.cost_s if self._writing else 0.0)
        request, reason = self.stop.look(reserve_s)
        if request == Request.GO_ON and self.store and self.world.first and self.clock.due():
            request = Request.SAVE
        agreed = Request(self.world.agree(request))
        if agreed == Request.GO_ON:
            return
        if self.store:
            self._begin_save(self.store, done)
        if agreed >= Request.STOP:
            problem = self._end_save() if self.store else "there is no folder for one"
            kept = f"no checkpoint: {problem}" if problem else "a checkpoint is saved"
            told = (
                f"{reason or 'another rank was asked to stop'}; stopped after update {done} of {self.updates}, {kept}"
            )
            raise Interrupted(told, returns=agreed == Request.STOP_AND_RETURN)

    @property
    def _writing(self) -> Writing | None:
        return self.store.writing if self.store else None

    def _begin_save(self, store: CheckpointStore, done: int) -> None:
        """Copy what a checkpoint needs, and let it be written while the training goes on."""
        if self._writing:
            self._end_save()
        started = time.monotonic()
        self.log.flush()
        tensors, engine = read_state(self.engine)
        facts = {
            "engine": engine,
            "dev": list(self.judge.history),
            "has_best": self.judge.best is not None,
            "tally": self.log.tally.state(),
            "seconds": self.seconds,
            "resumed": self.resumed,
            "layout": self._layout,
        }
        tensors["losses"] = torch.tensor(self.log.tally.losses, dtype=torch.float64)
        store.begin(done, tensors, self.judge.best, facts)
        self.copy_s = time.monotonic() - started

    def _end_save(self) -> str | None:
        """Complete the checkpoint that was begun; returns why it failed, None if not."""
        assert self.store and self._writing, "begun before"
        writing = self._writing
        problem = self.store.finish()
        self.clock.saved(self.copy_s + writing.seconds)
        if problem and self.world.first:
            print(f"no checkpoint after update {writing.step}: {problem}", flush=True)
        return problem

    @property
    def _layout(self) -> dict[str, Any]:
        return asdict(replace(self.training.layout, micro_tokens=self.micro_tokens, packed=self.passes.packed))

    def _beat(self, done: int) -> None:
        facts: dict[str, Any] = dict(self.log.latest)
        if self.judge.history:
            facts["dev"] = self.judge.history[-1]["score"]
        left = self.seconds / done * (self.updates - done)
        self.heartbeat.beat("train", done, self.updates, left_s=round(left, 1), **facts)

    def _describe(self) -> dict[str, Any]:
        """How it was computed: two runs that differ here differ in speed, and as two seeds would where there is
        dropout."""
        world, cuda = self.world, self.world.device.type == "cuda"
        return {
            "layout": self._layout | {"world_size": world.size},
            "precision": self.training.settings.precision,
            "attention": self.passes.attention,
            "graphs": self.passes.graphs,
            "device": torch.cuda.get_device_name(world.device) if cuda else "cpu",
            "peak_memory_gb": _measure_memory(world),
            "resumed": self.resumed,
            "dev": self.judge.history,
            "chosen": self.judge.chosen,
        }


def _measure_memory(world: World) -> float:
    """The most memory that was in use: of this rank's GPU, or of its process (since it began)."""
    if world.device.type == "cuda":
        return torch.cuda.max_memory_allocated(world.device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
