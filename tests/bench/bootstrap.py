"""Time and memory of the bootstrap over examples, and of the obvious loop at a smaller size.

python tests/bench/bootstrap.py [FOLDER]

The campaign is made in FOLDER (default: a temporary one): the nine targets in all languages at XTREME's sizes, 36 rows
of three seeds, with the stored columns that the bootstrap reads (its files lack the texts, which it does not read). The
loop draws examples with `random` and adds up one model at a time; it is measured for one model on one set, and compared
by the time of one example of one model in one resample.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from aggregate.evidence.example_samples import PARALLEL, draw_samples, list_files  # noqa: E402
from aggregate.scores.columns import list_columns, released_split  # noqa: E402
from aggregate.scores.expectation import Scope, define_scope, find_expected  # noqa: E402
from aggregate.submissions.example_scores import read_example_scores  # noqa: E402
from stilts.results import RowKey  # noqa: E402
from stilts.tasks.catalogue import INTERMEDIATES, TARGET_ORDER, target_languages, task_family  # noqa: E402
from tests.bench import goals  # noqa: E402

ROWS, SEEDS, RESAMPLES = 36, (1, 2, 3), 1000
SIZES = ROOT / "stilts" / "data" / "split_sizes.csv"
USUAL = 1000  # examples of a set whose count is in no table
LOOP_EXAMPLES, LOOP_RESAMPLES = 2000, 100


def read_sizes() -> dict[tuple[str, str], int]:
    with open(SIZES, encoding="utf-8", newline="") as file:
        return {(line["task"], line["set"]): int(line["examples"] or USUAL) for line in csv.DictReader(file)}


def make_campaign(root: Path) -> None:
    """Rows of none, single tasks and pairs of them."""
    subsets = itertools.chain.from_iterable(itertools.combinations(INTERMEDIATES, size) for size in range(3))
    numbers, sizes, rows = np.random.default_rng(0), read_sizes(), []
    for tasks in itertools.islice(subsets, ROWS):
        runs: dict[str, dict[int, str]] = {}
        for target, seed in itertools.product(TARGET_ORDER, SEEDS):
            run = f"target-{target}-{'-'.join(tasks) or 'none'}-s{seed}"
            write_predictions(root / run, target, sizes, numbers)
            runs.setdefault(target, {})[seed] = run
        rows.append({"mode": ("none", "single", "multitask")[len(tasks)], "tasks": list(tasks), "runs": runs})
    (root / "campaign").mkdir()
    (root / "campaign" / "grid.json").write_text(json.dumps({"expected": {"rows": rows}}))


def write_predictions(run: Path, target: str, sizes: dict[tuple[str, str], int], numbers: np.random.Generator) -> None:
    split = released_split(target, "dev")
    sets = []
    for language in target_languages(target, split, "xtreme"):
        count = sizes.get((target, f"{split}.{language}"), USUAL)
        ids = [f"q{number}" if target in PARALLEL else f"{language}-{number}" for number in range(count)]
        right = numbers.random(count) < 0.7
        match task_family(target):
            case "tagging":
                gold, said = numbers.integers(1, 20, count), numbers.integers(1, 20, count)
                hits = (np.minimum(gold, said) * numbers.random(count)).astype(int)
                columns = {"id": ids, "chunks_right": hits, "chunks_gold": gold, "chunks_predicted": said}
            case "span":
                columns = {"id": ids, "f1": np.where(right, 1.0, numbers.random(count)), "exact_match": right}
            case "mining":
                columns = {"foreign_id": ids, "score": numbers.random(count) + right, "gold": [True] * count}
                columns["threshold"] = np.ones(count)
            case _:
                columns = {"id": ids, "correct": right}
        sets.append(pa.table({"language": [language] * count, **columns}))
    (run / "predictions").mkdir(parents=True)
    pq.write_table(pa.concat_tables(sets), run / "predictions" / f"{target}.{split}.parquet")


def read_scope(root: Path) -> tuple[Scope, list[RowKey]]:
    expected = find_expected(root, None)
    assert expected
    scope = define_scope(expected, None)  # type: ignore[arg-type]  # the plan says all
    return scope, list(scope.rows)


def measure(root: Path) -> None:
    """The bootstrap in this process: seconds, seconds of processor time, sums of one example of one model in one
    resample, peak MiB, as JSON."""
    scope, rows = read_scope(root)
    start, worked = time.perf_counter(), time.process_time()
    samples = draw_samples(root, scope, rows, RESAMPLES)
    seconds = [time.perf_counter() - start, time.process_time() - worked]
    assert not samples.gaps, samples.gaps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([*seconds, count_sums(root, scope, rows), peak]))


def count_sums(root: Path, scope: Scope, rows: list[RowKey]) -> int:
    """Examples x models x metrics x resamples."""
    total = 0
    for target, runs in list_files(scope, rows):
        path = root / runs[0] / "predictions" / f"{target}.{released_split(target, 'dev')}.parquet"
        examples = len(read_example_scores(path, target, scope.languages[target]).ids)
        total += examples * len(runs) * len(list_columns(target)) * RESAMPLES
    return total


def loop() -> float:
    """Seconds of the obvious loop for one example of one model in one resample."""
    dice = random.Random(0)
    correct = [dice.random() < 0.7 for _ in range(LOOP_EXAMPLES)]
    start = time.perf_counter()
    for _ in range(LOOP_RESAMPLES):
        hits = 0
        for _ in range(LOOP_EXAMPLES):
            hits += correct[dice.randrange(LOOP_EXAMPLES)]
    return (time.perf_counter() - start) / LOOP_RESAMPLES / LOOP_EXAMPLES


def compare(root: Path) -> None:
    make_campaign(root)
    command = [sys.executable, __file__, str(root), "measure"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    seconds, worked, sums, memory = found
    print(
        f"{ROWS} rows x {len(SEEDS)} seeds x {len(TARGET_ORDER)} targets, {RESAMPLES} resamples; Python "
        f"{platform.python_version()}, {os.cpu_count()} cores"
    )
    print(f"bootstrap  {seconds:6.1f} s  {worked:6.1f} s of processor time  {memory:5.0f} MiB  {sums:,} sums")
    slow = loop()
    print(f"loop       {1e9 * slow:6.1f} ns each, ours {1e9 * seconds / sums:.3f} ns")
    goals.compare("bootstrap over examples, all rows", seconds, "s", most=60)
    goals.compare("a sum of the bootstrap, time of ours / loop", seconds / sums / slow, most=1)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(Path(sys.argv[1]))
    elif len(sys.argv) == 2:
        compare(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory(prefix="bootstrap-") as made:
            compare(Path(made))
