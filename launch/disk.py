"""How much room a campaign needs, in bytes and in files, and how much its file system has."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from launch.cost import TOKENS_PER_EXAMPLE
from launch.names import slug_of
from launch.plan import Plan
from stilts.runs import Run
from stilts.settings import PretrainSettings
from stilts.tasks.catalogue import (
    INTERMEDIATES,
    MLM,
    TARGETS,
    TEXT,
    TRAININGS,
    served_targets,
    splits,
    target_languages,
    task_family,
)

# Parameters of models by the last part of their names, in millions (their model cards).
PARAMETERS_M = {
    "xlm-roberta-large": 560,
    "xlm-roberta-base": 278,
    "xlm-roberta-xl": 3480,
    "bert-base-multilingual-cased": 178,
    "mdeberta-v3-base": 279,
    "infoxlm-large": 560,
    "infoxlm-base": 278,
    "nllb-200-distilled-600m": 615,
    "nllb-200-distilled-1.3b": 1370,
    "nllb-200-1.3b": 1370,
    "nllb-200-3.3b": 3345,
    "m2m100-418m": 484,
    "m2m100-1.2b": 1239,
}
UNKNOWN_M = 560  # taken for XLM-R Large
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")  # of a model given by path

# Bytes a parameter: float32 weights, and what a checkpoint holds of it (weights and the two moments of AdamW) beside
# the best weights so far.
WEIGHTS, CHECKPOINT, BEST = 4, 12, 4
# A new checkpoint is written beside the old one. Checkpoints take 2 % of a training's time, so one in ten trainings
# that write at once is on the safe side.
WRITING_SHARE = 0.1

TOKENIZER_BYTES = 22 * 10**6  # XLM-R's tokenizer.json and SentencePiece model
# Measured on finished runs, rounded up: token ids, offsets and labels; raw text; a prediction; logs and records.
PREPARED_BYTES_PER_TOKEN, TEXT_BYTES_PER_TOKEN = 6, 5
PREDICTION_BYTES, PREDICTED_EXAMPLES = 100, 2000
RECORD_BYTES = 200_000
METRIC_BYTES = 4096  # one block
# Files and folders of a run without its figures: 14 records and folders, and 4 more for each of two attempts.
RECORD_FILES, MODEL_FILES, CHECKPOINT_FILES = 22, 7, 6


@dataclass(frozen=True)
class Space:
    """Room on a file system. `files`: None where it does not count them."""

    bytes: int
    files: int | None


@dataclass(frozen=True)
class DiskNeed:
    """What unfinished runs will write. `peak` has their encoders and `at_once` trainings at work, `kept` what is left
    when encoders are removed; `notes` say what could not be known."""

    peak: Space
    kept: Space
    at_once: int
    notes: tuple[str, ...]

    def describe(self, free: Space) -> str:
        """One or two sentences for people."""
        told = f"disk: about {spell_bytes(self.peak.bytes)} and {self.peak.files:,} files at most"
        told += f" (encoders of all rows, {self.at_once} trainings at once)" if self.at_once else ""
        told += f"; {spell_bytes(self.kept.bytes)} and {self.kept.files:,} files when encoders are removed. "
        files = "" if free.files is None else f" and {free.files:,} files"
        return f"{told}The file system has room for {spell_bytes(free.bytes)}{files}"


@dataclass(frozen=True)
class _Footprint:
    """Bytes and files of one run: what stays, what only its children need, what only its training needs."""

    kept: int
    files: int
    encoder: int = 0
    working: int = 0


def estimate_disk(plan: Plan, unfinished: Collection[str], parallel: int) -> DiskNeed:
    """What the unfinished runs of a plan will write, `parallel` trainings at once.

    Rough: sizes of models by their names (or files), of data by the catalogue's counts. An interrupted training keeps
    its checkpoint while it waits, so many of them together need more than this.
    """
    models: dict[str, float] = {}
    unknown: set[str] = set()
    footprints = []
    for run in plan.runs.values():
        models[run.id] = _parameters(run, models, unknown)
        if run.id in unfinished:
            footprints.append(_measure(run, models[run.id], plan))
    working = sorted((found.working for found in footprints if found.working), reverse=True)
    at_once = min(parallel, len(working))
    writing = max(1, round(at_once * WRITING_SHARE))
    kept = Space(sum(found.kept for found in footprints), sum(found.files for found in footprints))
    encoders = [found.encoder for found in footprints if found.encoder]
    peak_bytes = kept.bytes + sum(encoders) + sum(working[:at_once]) + sum(working[:writing])
    peak_files = (kept.files or 0) + len(encoders) * MODEL_FILES + at_once * CHECKPOINT_FILES
    notes = tuple(
        f"the size of model {name} is unknown; {UNKNOWN_M} million parameters are assumed" for name in sorted(unknown)
    )
    return DiskNeed(Space(peak_bytes, peak_files), kept, at_once, notes)


def _parameters(run: Run, models: dict[str, float], unknown: set[str]) -> float:
    """Parameters of the model that a run brings, makes or starts from."""
    if run.config.get("kind") == "model":
        model = run.config["model"]
        files = [path for pattern in WEIGHT_FILES for path in Path(model).glob(pattern)]
        if files:
            return sum(path.stat().st_size for path in files) / WEIGHTS
        name = slug_of(model.rstrip("/").rsplit("/", 1)[-1]).replace("_", "-")
        if name not in PARAMETERS_M:
            unknown.add(model)
        return PARAMETERS_M.get(name, UNKNOWN_M) * 1e6
    if run.stage == "pretrain":
        return _scratch_parameters(PretrainSettings(**run.config))
    return models[run.parents[0]] if run.parents else 0.0


def _scratch_parameters(settings: PretrainSettings) -> float:
    embeddings = (settings.vocabulary + settings.positions) * settings.hidden
    layer = 4 * settings.hidden**2 + 2 * settings.hidden * settings.feed_forward
    return float(embeddings + settings.layers * layer)


def _measure(run: Run, parameters: float, plan: Plan) -> _Footprint:
    weights = int(WEIGHTS * parameters) + TOKENIZER_BYTES if parameters > 1e8 else int(WEIGHTS * parameters) + 10**5
    working = int((CHECKPOINT + BEST) * parameters)
    match run.stage:
        case "fetch" if run.config["kind"] == "model":
            return _Footprint(weights + RECORD_BYTES, RECORD_FILES + MODEL_FILES)
        case "fetch" | "translate" | "prepare":
            return _measure_data(run, plan)
        case "pretrain":
            return _Footprint(weights + RECORD_BYTES, RECORD_FILES + MODEL_FILES, working=working)
    cells, tables = _count_figures(run, plan)
    kept = RECORD_BYTES + cells * (METRIC_BYTES + PREDICTION_BYTES * PREDICTED_EXAMPLES)
    files = RECORD_FILES + cells + tables
    if run.stage == "intermediate":
        encoder = 0 if plan.grid.keep else weights
        kept, files = (kept + weights, files + MODEL_FILES) if plan.grid.keep else (kept, files)
        return _Footprint(kept, files, encoder=encoder, working=working)
    if run.stage == "target":
        # Its model is written beside its last checkpoint, and removed when it has been scored unless it is to be kept.
        kept, files = (kept + weights, files + MODEL_FILES) if plan.grid.keep else (kept, files)
        return _Footprint(kept, files, working=working + (0 if plan.grid.keep else weights))
    return _Footprint(kept, files)


def _count_figures(run: Run, plan: Plan) -> tuple[int, int]:
    """Metric files and prediction files of a run."""
    if run.stage == "intermediate":
        tasks = [task for task in run.config["tasks"] if task != MLM]
        return len(tasks), len(tasks)
    if run.stage == "retrieval":
        targets: tuple[str, ...] = (run.config["target"],)
    else:
        targets = tuple(name for task in run.config["tasks"] for name in served_targets(task, plan.grid.suite))
    sets = [(name, split) for name in targets for split in splits(name)]
    return sum(len(_languages(name, split, plan)) for name, split in sets), len(sets)


def _languages(target: str, split: str, plan: Plan) -> list[str]:
    asked = plan.grid.languages_of(target)
    found = target_languages(target, split, plan.grid.suite)
    return [language for language in found if asked is None or language in asked]


def _measure_data(run: Run, plan: Plan) -> _Footprint:
    """Files of data; what is read from a data root stays there."""
    config, task = run.config, run.config["task"]
    tokens, sets = _count_tokens(run, plan)
    if run.stage == "prepare":
        copies = 1 + len(config.get("translated", ()))
        return _Footprint(RECORD_BYTES + tokens * copies * PREPARED_BYTES_PER_TOKEN, RECORD_FILES + 2 * sets + copies)
    if run.stage == "translate":
        return _Footprint(RECORD_BYTES + tokens // config["shards"] * TEXT_BYTES_PER_TOKEN, RECORD_FILES + 3)
    written = config.get("source") == "hub" or plan.grid.suite == "toy" or task == MLM
    return _Footprint(RECORD_BYTES + tokens * TEXT_BYTES_PER_TOKEN * written, RECORD_FILES + sets * written)


def _count_tokens(run: Run, plan: Plan) -> tuple[int, int]:
    """Assumed sub-words of a (task, part), and its number of sets."""
    task, part = run.config["task"], run.config["part"] if run.stage != "translate" else "train"
    if plan.grid.suite == "toy":
        return 500_000, 8  # thousands of short sentences
    per_example = TOKENS_PER_EXAMPLE[task_family(task)]
    if part == "scored":
        cells = sum(len(_languages(task, split, plan)) for split in splits(task))
        return cells * PREDICTED_EXAMPLES * TOKENS_PER_EXAMPLE[TARGETS[task].family], cells
    if task == MLM:
        return plan.grid.mlm.sentences * per_example, 1
    if task == TEXT:
        return 500_000, 1
    return (INTERMEDIATES.get(task) or TRAININGS[task]).examples * per_example, 2


def free_space(root: Path) -> Space:
    """What the file system of a campaign's root has for this user. Quotas are not seen."""
    folder = root
    while not folder.exists():
        folder = folder.parent
    found = os.statvfs(folder)
    # A file system without a table of files (btrfs, many network ones) says 0 of 0.
    return Space(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def find_lack(need: DiskNeed, root: Path) -> str | None:
    """What a file system lacks of the room that a campaign will need, and what to do; None where it has it."""
    free = free_space(root)
    lacks = []
    if need.peak.bytes > free.bytes:
        lacks.append(f"about {spell_bytes(need.peak.bytes)}, and has {spell_bytes(free.bytes)}")
    if free.files is not None and (need.peak.files or 0) > free.files:
        lacks.append(f"about {need.peak.files:,} files, and has room for {free.files:,}")
    if not lacks:
        return None
    return (
        f"--root {root}: the file system needs room for {' and for '.join(lacks)}. Choose a --root with more room, let "
        "fewer trainings run at once (array_parallelism of the cluster file, --workers), or run a part of the grid "
        f"first (fewer seeds or rows); --dry-run counts again. Without encoders that is {spell_bytes(need.kept.bytes)}"
    )


def spell_bytes(count: int) -> str:
    """`3.2 TB`, in powers of 1000."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit in ("B", "kB", "MB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
