"""Time of scoring 1,000 tagged sentences here and in seqeval 0.0.12, in one process, one after the other.

pip install --no-deps --target FOLDER seqeval==0.0.12
python tests/bench/tagging.py FOLDER

Both are given the same input: the predictions as they are stored for us (a pyarrow table), lists of lists of strings
for seqeval. The time to make the lists is not counted.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [*sys.argv[1:2], str(Path(__file__).resolve().parents[2])]

import pyarrow as pa  # noqa: E402

from stilts.tasks import tagging  # noqa: E402
from stilts.tasks.catalogue import UPOS  # noqa: E402
from tests.bench import goals  # noqa: E402

SENTENCES, WORDS, REPEATS = 1000, 20, 15


def draw_table() -> pa.Table:
    """UPOS tags, four in five of them right."""
    rng = random.Random(0)
    tags = [rng.choices(UPOS, k=rng.randint(1, 2 * WORDS)) for _ in range(SENTENCES)]
    guesses = [[tag if rng.random() < 0.8 else rng.choice(UPOS) for tag in row] for row in tags]
    return pa.table({"language": ["en"] * SENTENCES, "tags": tags, "predictions": guesses})


def score(table: pa.Table) -> float:
    return tagging.score(tagging.annotate(table, "udpos"), ("f1",))["f1"]


def measure(work: Callable[[], float]) -> tuple[float, float]:
    """(milliseconds of the fastest of some runs, its result)."""
    times, result = [], 0.0
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times), result


def main() -> None:
    table = draw_table()
    ours, f1 = measure(lambda: score(table))
    print(f"here     {ours:7.2f} ms, f1 {f1:.4f}")
    try:
        from seqeval.metrics.sequence_labeling import f1_score  # type: ignore[import-not-found]
    except ImportError:
        raise SystemExit(f"no seqeval to compare with; {(__doc__ or '').partition(chr(10) * 2)[2]}") from None
    gold, predicted = table["tags"].to_pylist(), table["predictions"].to_pylist()
    theirs, other = measure(lambda: 100 * f1_score(gold, predicted))
    print(f"seqeval  {theirs:7.2f} ms, f1 {other:.4f}")
    goals.compare("tagging scores, time of ours / seqeval", ours / theirs, most=1)
    if abs(f1 - other) > 1e-9:
        raise SystemExit("the two disagree")


if __name__ == "__main__":
    main()
