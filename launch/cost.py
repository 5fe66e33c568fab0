"""What a run costs before it has run: hours from token counts and a stated rate."""

from __future__ import annotations

import math
from typing import Any

from stilts.runs import Run
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TRAININGS, splits, target_languages

# Assumed real sub-words of one training example (all its sequences). Rough on purpose, not measured on the
# full sets: a choice example is four context-and-ending pairs, a QA example about 1.1 windows of 180.
TOKENS_PER_EXAMPLE = {"pair": 42, "choice": 360, "span": 200, "tagging": 28, "retrieval": 20, "mining": 60, "mlm": 32}

# A scored example costs a forward pass only: a third of a training step (forward and backward).
_FORWARD_SHARE = 1 / 3
_SCORED_EXAMPLES = 2000  # assumed examples of one language and split
_STARTUP_HOURS = 3 / 60


def estimate_hours(run: Run, tokens_per_second: float) -> float:
    """Hours on one GPU at `tokens_per_second` real sub-words in training; 0 for stages without a GPU's work.

    Counts training examples x epochs x assumed sub-words, and a third of the price for what is scored.
    """
    tokens = training_tokens(run.config) + scoring_tokens(run) * _FORWARD_SHARE
    return _STARTUP_HOURS + tokens / tokens_per_second / 3600 if tokens else 0.0


def training_tokens(config: Any) -> float:
    """Real sub-words that a training reads over all epochs; of a mixture, what its updates read in all."""
    total = 0.0
    several = len(config.get("tasks", ())) > 1
    for name, recipe in config.get("tasks", {}).items():
        task = INTERMEDIATES.get(name) or TRAININGS[name]
        examples = min(task.examples, config.get("max_examples") or task.examples)
        if several:
            examples = min(examples, config.get("sampling", {}).get("cap", 131_072))
        updates = recipe["epochs"] * math.ceil(examples / recipe["batch_size"])
        total += updates * recipe["batch_size"] * TOKENS_PER_EXAMPLE[task.family]
    return total


def scoring_tokens(run: Run) -> float:
    """Real sub-words that a run's scoring reads, at an assumed 2,000 examples a language and split."""
    if run.stage == "retrieval":
        names = [run.config["target"]]
    elif run.stage == "target":
        names = [target for name in run.config["tasks"] for target in TRAININGS[name].serves]
    else:
        return 0.0
    cells = [(name, len(target_languages(name, split))) for name in names for split in splits(name)]
    return sum(count * _SCORED_EXAMPLES * TOKENS_PER_EXAMPLE[TARGETS[name].family] for name, count in cells)
