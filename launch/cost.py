"""What a run costs before it has run: hours from token counts and a stated rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stilts.runs import Run
from stilts.settings import Sampling, Selection
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TRAININGS, splits, target_languages, task_family

# Assumed real sub-words of one training example (all its sequences). Rough on purpose, not measured on the
# full sets: a choice example is four context-and-ending pairs, a QA example about 1.1 windows of 180.
TOKENS_PER_EXAMPLE = {"pair": 42, "choice": 360, "span": 200, "tagging": 28, "retrieval": 20, "mining": 60, "mlm": 32}

# A scored example costs a forward pass only: a third of a training step (forward and backward).
FORWARD_SHARE = 1 / 3
# A translation reads as much as it writes, and writes one sub-word after the other in every beam, which keeps a GPU
# about as long as training on it. Assumed, not measured; the model's own size is not counted at all.
_WRITTEN_SHARE = 1.0
SCORED_EXAMPLES = 2000  # assumed examples of one language and split
STARTUP_HOURS = 3 / 60

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Tokens:
    """Assumed sub-words of a run: what its updates read, by task, and what it only reads forward."""

    training: Mapping[str, float]
    scoring: float = 0.0
    selection: float = 0.0

    @property
    def trained(self) -> float:
        """What its updates cost, with the choice of the best point between them, in sub-words of training."""
        return sum(self.training.values()) + self.selection * FORWARD_SHARE

    @property
    def scored(self) -> float:
        """What scoring costs, in sub-words of training."""
        return self.scoring * FORWARD_SHARE


def count_tokens(run: Run, sizes: Sizes | None = None) -> Tokens:
    """What a run reads; nothing for stages without a GPU's work.

    `sizes`: training examples of tasks that have not the catalogue's number (text of MLM, translated sets).
    """
    if run.stage == "translate":
        return Tokens({run.config["task"]: translation_tokens(run.config)})
    return Tokens(task_tokens(run.config, sizes), scoring_tokens(run), selection_tokens(run.config))


def estimate_hours(run: Run, tokens_per_second: float, sizes: Sizes | None = None) -> float:
    """Hours on one GPU at `tokens_per_second` real sub-words in training; 0 for stages without a GPU's work.

    Counts what the updates read in assumed sub-words, and a third of the price for what is scored, on dev too.
    """
    return stated_hours(count_tokens(run, sizes), tokens_per_second)


def stated_hours(tokens: Tokens, tokens_per_second: float) -> float:
    """Hours on one GPU at a stated rate; 0 where nothing is read."""
    total = tokens.trained + tokens.scored
    return STARTUP_HOURS + total / tokens_per_second / 3600 if total else 0.0


def training_tokens(config: Mapping[str, Any], sizes: Sizes | None = None) -> float:
    """Real sub-words that the updates of a training read, those of a mixture as they are drawn on average."""
    return sum(task_tokens(config, sizes).values())


def task_tokens(
    config: Mapping[str, Any], sizes: Sizes | None = None, updates: float | None = None
) -> dict[str, float]:
    """`training_tokens` by task; `updates` where it is known how many there were."""
    recipes = config.get("tasks", {})
    if not recipes:
        return {}
    examples = {task: _examples(task, config, sizes or {}) for task in recipes}
    chances = _chances(config, examples)
    count = _updates(config, examples) if updates is None else updates
    return {
        task: count * chances[task] * recipe["batch_size"] * TOKENS_PER_EXAMPLE[task_family(task)]
        for task, recipe in recipes.items()
    }


def _examples(task: str, config: Mapping[str, Any], sizes: Sizes) -> int:
    examples = sizes[task] if task in sizes else (INTERMEDIATES.get(task) or TRAININGS[task]).examples
    return min(examples, config.get("max_examples") or examples)


def _updates(config: Mapping[str, Any], examples: Sizes) -> float:
    """Updates in all: as many as asked for, else epochs x batches of each task, in a mixture up to the cap."""
    if "updates" in config:
        return float(config["updates"])
    recipes = config["tasks"]
    phase = config.get("phase")
    cap = math.inf if phase or len(recipes) == 1 else Sampling(**config.get("sampling", {})).cap
    counted = {
        task: recipe["epochs"] * math.ceil(min(examples[task], cap) / recipe["batch_size"])
        for task, recipe in recipes.items()
        if task == (phase or task)
    }
    return sum(counted.values()) / (1 - config.get("replay", 0.0))


def _chances(config: Mapping[str, Any], examples: Sizes) -> dict[str, float]:
    """How often an update is each task's."""
    if "phase" in config:
        earlier = config["replay"] / (len(examples) - 1)
        return {task: 1 - config["replay"] if task == config["phase"] else earlier for task in examples}
    sampling = Sampling(**config.get("sampling", {}))
    sizes = {task: min(count, sampling.cap) for task, count in examples.items()}
    match sampling.rule:
        case "uniform":
            weights = dict.fromkeys(sizes, 1.0)
        case "temperature":
            weights = {task: size ** (1 / sampling.temperature) for task, size in sizes.items()}
        case "weights":
            weights = dict(sampling.weights)
        case _:
            weights = {task: float(size) for task, size in sizes.items()}
    return {task: weights[task] / sum(weights.values()) for task in sizes}


def selection_tokens(config: Mapping[str, Any]) -> float:
    """Real sub-words that choosing the best point reads on dev."""
    selection = Selection(**config.get("selection", {}))
    families = [task_family(task) for task in config.get("tasks", {})]
    tokens = sum(TOKENS_PER_EXAMPLE[family] for family in families if family != "mlm")
    return float(selection.points * selection.examples * tokens)


def translation_tokens(config: Mapping[str, Any]) -> float:
    """What one shard of a translation costs, in sub-words of training: one forward pass, and writing in every beam."""
    tokens = INTERMEDIATES[config["task"]].examples * TOKENS_PER_EXAMPLE[task_family(config["task"])]
    return tokens / config["shards"] * (FORWARD_SHARE + config["beams"] * _WRITTEN_SHARE)


def scoring_tokens(run: Run) -> float:
    """Real sub-words that a run's scoring reads, at an assumed 2,000 examples a language and split."""
    if run.stage == "retrieval":
        names = [run.config["target"]]
    elif run.stage == "target":
        names = [target for name in run.config["tasks"] for target in TRAININGS[name].serves]
    else:
        return 0.0
    cells = [(name, len(target_languages(name, split))) for name in names for split in splits(name)]
    return sum(count * SCORED_EXAMPLES * TOKENS_PER_EXAMPLE[TARGETS[name].family] for name, count in cells)
