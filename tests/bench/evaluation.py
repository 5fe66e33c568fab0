"""Time of predicting one target in all its languages, here and in the loop of the Hugging Face and XTREME examples.

python tests/bench/evaluation.py

The loop, written out below: for each language the checkpoint is loaded, a DataLoader gives batches of 8 in the order of
the file, padded to the maximal length ("fixed", as run_xnli.py, run_qa.py and XTREME's scripts do by default) or to
their longest ("dynamic"). Both sides read the same prepared sets, load the same checkpoint through the same function,
run the same network, and must say the same. What the scripts spend besides (a process and its imports for each
language, their features, lists of logits) is not counted.

Lengths are drawn like those of the real sets, in sub-words of XLM-R. "Operations" is what fixed padding leaves to be
gained: the loop's multiplications over those of the real tokens alone, here and in XLM-R Large.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from operator import itemgetter
from pathlib import Path

os.environ.update(TORCHDYNAMO_DISABLE="1", OMP_NUM_THREADS="1")  # the first as in a job without a GPU
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.utils.data import DataLoader

from stilts.data.prepared import Prepared
from stilts.evaluation.predict import load_model, predict
from stilts.evaluation.stack import Outputs
from stilts.model.encoder import load_encoder
from stilts.model.multitask import HeadSpec, Multitask
from stilts.model.scratch import init_encoder
from stilts.runs import write_json
from stilts.training.save import save_model
from tests.bench import goals
from tests.stilts.prepared_folders import WORDS, build_tokenizer, scratch_config

BATCH, REPEATS, CPU = 8, 4, torch.device("cpu")
# Family, languages, sequences a language, maximal length, (mean, deviation) of the logarithm of a length, classes: of
# premise and hypothesis of XNLI; of question and window of 4,700 XQuAD, 580 MLQA and 610 TyDiQA-GoldP windows in five
# to seven languages, 1.15 sub-words for a word or a mark, two thirds for a Chinese character.
TARGETS = {
    "xnli": ("pair", 15, 40, 128, (3.6, 0.45), 3),
    "xquad": ("span", 11, 16, 384, (5.18, 0.44), 0),
    "mlqa": ("span", 7, 20, 384, (5.2, 0.62), 0),
    "tydiqa": ("span", 9, 24, 384, (4.6, 0.56), 0),
}
# Width and layers here, and of XLM-R Large.
HERE, LARGE = (256, 4), (1024, 24)


def make_model(folder: Path) -> Path:
    """A random XLM-R of 4 layers with both heads: 256 hidden, 4 heads."""
    source = folder / "encoder"
    source.mkdir()
    build_tokenizer([" ".join(WORDS)], "words", 200, source)
    width, layers = HERE
    size = {"layers": layers, "hidden": width, "heads": 4, "feed_forward": 4 * width}
    init_encoder(scratch_config(**size, positions=386), source)
    encoder = load_encoder(source, "sdpa", None, torch.float32)
    specs = {task: HeadSpec(family, labels) for task, (family, *_, labels) in TARGETS.items()}
    network = Multitask(encoder, specs)
    network.initialise_heads(seed=0)
    save_model(dict(network.state_dict()), specs, source, type(encoder).__name__, folder / "model")
    return folder / "model"


def make_sets(folder: Path, task: str) -> Path:
    """Prepared sets of random sequences, as many as the target has languages."""
    family, languages, count, longest, (mean, deviation), labels = TARGETS[task]
    rng = np.random.default_rng(0)
    folder.mkdir()
    names = [f"test.l{number:02}" for number in range(languages)]
    for name in names:
        lengths = np.clip(np.exp(rng.normal(mean, deviation, count)).astype(np.int64), 8, longest)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        tokens = rng.integers(5, 45, offsets[-1]).astype(np.int32)
        save_file({"tokens": tokens, "offsets": offsets}, folder / f"{name}.safetensors")
    manifest = {"family": family, "labels": [str(label) for label in range(labels)], "choices": 1}
    write_json(folder / "manifest.json", manifest | {"sets": {name: {"examples": count} for name in names}})
    return folder


def predict_in_order(model: Path, prepared: Path, task: str, fixed: bool) -> dict[str, Outputs]:
    """The examples' loop."""
    folder, outputs = Prepared.load(prepared), {}
    for name in folder.sets:
        network, pad_id = load_model(model, task)
        one = folder.open(name)
        features = [one.sequence(row).tolist() for row in range(len(one.lengths))]
        collate = partial(pad_batch, pad_id=pad_id, width=TARGETS[task][3] if fixed else None)
        found: dict[str, list[np.ndarray]] = {}
        for batch in DataLoader(features, batch_size=BATCH, collate_fn=collate):  # type: ignore[arg-type]
            with torch.no_grad():
                answers = network(batch)
            real = batch["attention_mask"].numpy() == 1
            for key, values in answers.items():
                rows = values.detach().cpu().numpy()
                found.setdefault(key, []).append(rows[real] if one.family == "span" else rows)
        outputs[name] = {key: np.concatenate(rows) for key, rows in found.items()}
    return outputs


def pad_batch(rows: list[list[int]], pad_id: int, width: int | None) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask`, as wide as the longest where no width is given."""
    longest = width or max(map(len, rows))
    ids = [row + [pad_id] * (longest - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def measure(ways: Mapping[str, Callable[[], dict[str, Outputs]]]) -> dict[str, tuple[float, dict[str, Outputs]]]:
    """(processor seconds of the fastest of some turns on one thread, what was said) of each way. They take turns, for
    what else the machine does slows whoever is at work."""
    best: dict[str, tuple[float, dict[str, Outputs]]] = {}
    for _, (name, work) in product(range(REPEATS), ways.items()):
        start = time.process_time()
        said = work()
        seconds = time.process_time() - start
        best[name] = min(best.get(name, (seconds, said)), (seconds, said), key=itemgetter(0))
    return best


def differ(one: Mapping[str, Outputs], other: Mapping[str, Outputs]) -> float:
    """The largest difference of two predictions' numbers."""
    return max(float(np.abs(one[name][key] - other[name][key]).max()) for name in one for key in one[name])


def gain(lengths: np.ndarray, longest: int, size: tuple[int, int]) -> float:
    """Operations on sequences padded to `longest` over those on the sequences alone: 24 h^2 for each token and layer,
    4 h for each pair of tokens of a sequence."""
    width, layers = size

    def count(sizes: np.ndarray) -> float:
        return float(layers * (24 * width**2 * sizes + 4 * width * sizes**2).sum())

    return count(np.full(len(lengths), longest, dtype=float)) / count(lengths.astype(float))


def compare(model: Path, prepared: Path, task: str) -> None:
    """Both ways on one target."""
    folder = Prepared.load(prepared)
    names = folder.sets
    lengths = np.concatenate([np.diff(folder.open(name).offsets) for name in names])
    allowed = ", ".join(f"{gain(lengths, TARGETS[task][3], size):.2f}" for size in (HERE, LARGE))
    print(f"{task:6} {lengths.mean():.0f} of {TARGETS[task][3]} tokens; operations {allowed}")
    ways: dict[str, Callable[[], dict[str, Outputs]]] = {
        "here": lambda: predict(model, prepared, names, task, CPU),
        "fixed": partial(predict_in_order, model, prepared, task, True),
        "dynamic": partial(predict_in_order, model, prepared, task, False),
    }
    found = measure(ways)
    seconds, ours = found.pop("here")
    print(f"{task:6} here          {seconds:6.2f} s")
    for padding, (theirs, said) in found.items():
        error = differ(ours, said)
        print(f"{task:6} loop, {padding:7} {theirs:6.2f} s  difference {error:.0e}")
        if error > 1e-4:
            raise SystemExit("the two do not say the same")
        what = f"{task} in all its languages, {padding} loop / ours"
        goals.compare(what, theirs / seconds, least=3 if padding == "fixed" else -np.inf)


def main() -> None:
    torch.set_num_threads(1)
    print(f"predicting a target in all its languages, 4-layer XLM-R, float32, one thread, torch {torch.__version__}")
    with tempfile.TemporaryDirectory(prefix="evaluation-") as made:
        model = make_model(Path(made))
        for task in TARGETS:
            compare(model, make_sets(Path(made) / task, task), task)


if __name__ == "__main__":
    main()
