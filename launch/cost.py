"""What a run costs before it has run: hours from token counts and a stated rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from launch.prepared import Known, PreparedSets
from stilts.runs import Run
from stilts.settings import Sampling, Selection
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TRAININGS, splits, target_languages, task_family

# Assumed real sub-words of one training example (all its sequences). Rough on purpose, not measured on the
# full sets: a choice example is four context-and-ending pairs, a QA example about 1.1 windows of 180.
TOKENS_PER_EXAMPLE = {"pair": 42, "choice": 360, "span": 200, "tagging": 28, "retrieval": 20, "mining": 60, "mlm": 32}

# Sub-words of one sequence, where an example has several.
_TOKENS_PER_SEQUENCE = {**TOKENS_PER_EXAMPLE, "choice": 90, "span": 180}

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
    """Sub-words of a run: what its updates read, by task, and what it only reads forward.

    `updates`: how many there are. `squares`: what the updates read, times the mean length of a sequence: attention
    grows so. `examples` and `sets` are those that are scored at the end.
    """

    training: Mapping[str, float]
    scoring: float = 0.0
    selection: float = 0.0
    updates: float = 0.0
    squares: float = 0.0
    examples: float = 0.0
    sets: int = 0

    @property
    def read(self) -> float:
        """What its updates read."""
        return sum(self.training.values())

    @property
    def trained(self) -> float:
        """What its updates cost, with the choice of the best point between them, in sub-words of training."""
        return self.read + self.selection * FORWARD_SHARE

    @property
    def scored(self) -> float:
        """What scoring costs, in sub-words of training."""
        return self.scoring * FORWARD_SHARE


@dataclass(frozen=True)
class Content:
    """The training set of a task: examples, and mean sub-words of one of them and of one of their sequences."""

    examples: int
    each: float
    sequence: float


def count_tokens(
    run: Run, sizes: Sizes | None = None, known: Known | None = None, updates: float | None = None
) -> Tokens:
    """What a run reads; nothing for stages without a GPU's work.

    `sizes`: training examples of tasks that have not the catalogue's number (text of MLM, translated sets). `known`:
    the prepared sets, which go before all assumptions. `updates`, where it is known how many there were.
    """
    if run.stage == "translate":
        return Tokens({run.config["task"]: translation_tokens(run.config)})
    scored = _scored_sets(run, known or {})
    scoring, examples = (float(sum(column)) for column in zip(*scored, strict=True)) if scored else (0.0, 0.0)
    tokens = Tokens({}, scoring, selection_tokens(run.config, known), 0.0, 0.0, examples, len(scored))
    if not run.config.get("tasks"):
        return tokens
    contents = _contents(run.config, sizes or {}, known or {})
    count = _updates(run.config, contents) if updates is None else updates
    training = _share_out(run.config, contents, count)
    squares = sum(read * contents[task].sequence for task, read in training.items())
    return replace(tokens, training=training, updates=count, squares=squares)


def recount(run: Run, assumed: Tokens, prepared: PreparedSets, updates: float | None = None) -> Tokens:
    """What a run reads, from its prepared sets; as assumed where they are not there, but with examples as long as those
    of a prepared set of the same task and length. `updates`, where it is known how many there were."""
    known = prepared.of(run)
    counted = count_tokens(run, dict.fromkeys(assumed.training, 1), known, updates) if known else assumed
    if run.stage == "translate" or all((task, "train") in known for task in assumed.training):
        return counted
    like = prepared.find_like(run)
    training, squares = dict(assumed.training), 0.0
    for task in training:
        length, one = float(_TOKENS_PER_SEQUENCE[task_family(task)]), like.get(task)
        if one:
            training[task] *= one.tokens / one.examples / TOKENS_PER_EXAMPLE[task_family(task)]
            length = one.tokens / one.sequences
        squares += training[task] * length
    return replace(counted, training=training, updates=assumed.updates, squares=squares)


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
    contents = _contents(config, sizes or {}, {})
    return sum(_share_out(config, contents, _updates(config, contents)).values())


def _share_out(config: Mapping[str, Any], contents: Mapping[str, Content], updates: float) -> dict[str, float]:
    """Real sub-words of so many updates, by task."""
    chances = _chances(config, contents)
    recipes = config["tasks"].items()
    return {task: updates * chances[task] * recipe["batch_size"] * contents[task].each for task, recipe in recipes}


def _contents(config: Mapping[str, Any], sizes: Sizes, known: Known) -> dict[str, Content]:
    """The training sets, cut as the configuration says: counted where they are prepared, else assumed."""
    found: dict[str, Content] = {}
    for task in config["tasks"]:
        family, sets = task_family(task), known.get((task, "train"))
        if sets and sets.train and sets.train.examples:
            one = sets.train
            content = Content(one.examples, one.tokens / one.examples, one.tokens / one.sequences)
        else:
            examples = sizes[task] if task in sizes else (INTERMEDIATES.get(task) or TRAININGS[task]).examples
            content = Content(examples, TOKENS_PER_EXAMPLE[family], _TOKENS_PER_SEQUENCE[family])
        found[task] = replace(content, examples=min(content.examples, config.get("max_examples") or content.examples))
    return found


def _updates(config: Mapping[str, Any], contents: Mapping[str, Content]) -> float:
    """Updates in all: as many as asked for, else epochs x batches of each task, in a mixture up to the cap."""
    if "updates" in config:
        return float(config["updates"])
    recipes = config["tasks"]
    phase = config.get("phase")
    cap = math.inf if phase or len(recipes) == 1 else Sampling(**config.get("sampling", {})).cap
    counted = {
        task: recipe["epochs"] * math.ceil(min(contents[task].examples, cap) / recipe["batch_size"])
        for task, recipe in recipes.items()
        if task == (phase or task)
    }
    return sum(counted.values()) / (1 - config.get("replay", 0.0))


def _chances(config: Mapping[str, Any], contents: Mapping[str, Content]) -> dict[str, float]:
    """How often an update is each task's."""
    if "phase" in config:
        earlier = config["replay"] / (len(contents) - 1)
        return {task: 1 - config["replay"] if task == config["phase"] else earlier for task in contents}
    sampling = Sampling(**config.get("sampling", {}))
    sizes = {task: min(content.examples, sampling.cap) for task, content in contents.items()}
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


def selection_tokens(config: Mapping[str, Any], known: Known | None = None) -> float:
    """Real sub-words that choosing the best point reads on dev."""
    selection = Selection(**config.get("selection", {}))
    tokens = 0.0
    for task in config.get("tasks", {}):
        sets = (known or {}).get((task, "train"))
        if sets and sets.dev:
            tokens += sets.dev.tokens * min(1.0, selection.examples / max(1, sets.dev.examples))
        elif task_family(task) != "mlm":
            tokens += selection.examples * TOKENS_PER_EXAMPLE[task_family(task)]
    return selection.points * tokens


def translation_tokens(config: Mapping[str, Any]) -> float:
    """What one shard of a translation costs, in sub-words of training: one forward pass, and writing in every beam."""
    tokens = INTERMEDIATES[config["task"]].examples * TOKENS_PER_EXAMPLE[task_family(config["task"])]
    return tokens / config["shards"] * (FORWARD_SHARE + config["beams"] * _WRITTEN_SHARE)


def scoring_tokens(run: Run, known: Known | None = None) -> float:
    """Real sub-words that a run's scoring reads, at an assumed 2,000 examples a language and split where the sets are
    not `known`. Of an intermediate task's own dev sets nothing is assumed."""
    return sum(tokens for tokens, _ in _scored_sets(run, known or {}))


def _scored_sets(run: Run, known: Known) -> list[tuple[float, float]]:
    """(sub-words, examples) of every set that a run scores."""
    match run.stage:
        case "retrieval":
            wanted = [(run.config["target"], "scored")]
        case "target":
            wanted = [(target, "scored") for name in run.config["tasks"] for target in TRAININGS[name].serves]
        case "intermediate":
            wanted = [(task, "train") for task in run.config["tasks"] if (task, "train") in known]
        case _:
            wanted = []
    found: list[tuple[float, float]] = []
    for name, part in wanted:
        sets = known.get((name, part))
        if sets and (sets.scored or part == "train"):
            found += [(float(one.tokens), float(one.examples)) for one in sets.scored]
        elif not run.needs or any(need.startswith(f"prepare-{name}-{part}-") for need in run.needs):
            count = sum(len(target_languages(name, split)) for split in splits(name))
            found += [
                (float(SCORED_EXAMPLES * TOKENS_PER_EXAMPLE[TARGETS[name].family]), float(SCORED_EXAMPLES))
            ] * count
    return found
