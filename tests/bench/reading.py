"""Time and memory of reading 100,000 metric files, against a bare loop that reads each file and parses it with orjson.

python tests/bench/reading.py [FOLDER]

The files are made in FOLDER (default: a temporary one), a launcher's tree of run folders. Three readings take turns,
each in a process of its own, the system's file cache warm for all. The bare loop checks nothing and keeps nothing. The
cold one validates every file, checks that its run stands, merges the scores, and writes its cache; the warm one does
the same from that cache, after 100 files have been changed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from aggregate.scores.collection import collect  # noqa: E402
from aggregate.scores.metric_files import TICK_NS  # noqa: E402
from aggregate.scores.reading_cache import ReadingCache  # noqa: E402
from stilts.tasks.catalogue import INTERMEDIATES, TARGET_METRICS, TARGET_ORDER, splits, target_languages  # noqa: E402
from tests.bench import goals  # noqa: E402

FILES, CHANGED, SEEDS, REPEATS = 100_000, 100, (1, 2, 3), 3
READINGS = ("bare", "cold", "warm")


def make_tree(root: Path) -> int:
    """Rows of every subset of the intermediate tasks, smallest first, until there are enough files."""
    count = 0
    for tasks, seed, target in _list_runs():
        name = f"target-{target}-{'+'.join(tasks) or 'none'}-s{seed}"
        digest = hashlib.sha256(name.encode()).hexdigest()
        run = root / f"{name[:60]}-{digest[:8]}"
        (run / "metrics").mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({"id": run.name}))
        (run / "DONE").write_text(json.dumps({"run": run.name, "output": "x", "needs": {"prepare-a-1": "x"}}))
        for number, (split, language) in enumerate(_list_sets(target)):
            document = _document(run.name, tasks, seed, target, split, language, number, digest)
            (run / "metrics" / f"{target}.{split}.{language}.json").write_text(json.dumps(document, indent=1))
            count += 1
        if count >= FILES:
            return count
    raise AssertionError("there are more subsets")


def _list_runs() -> Iterator[tuple[tuple[str, ...], int, str]]:
    for size in range(len(INTERMEDIATES) + 1):
        yield from itertools.product(itertools.combinations(INTERMEDIATES, size), SEEDS, TARGET_ORDER)


def _list_sets(target: str) -> Iterator[tuple[str, str]]:
    for split in splits(target):
        for language in target_languages(target, split, "xtreme"):
            yield split, language


def _document(
    run: str, tasks: tuple[str, ...], seed: int, target: str, split: str, language: str, number: int, digest: str
) -> dict[str, object]:
    mode = "none" if not tasks else "single" if len(tasks) == 1 else "multitask"
    score = int(digest[:6], 16) % 6000 / 100 + number / 10
    return {
        "schema": "stilts.metrics/1",
        "run": run,
        "model": "xlm-roberta-large",
        "variant": "",
        "suite": "xtreme",
        "stage": "target",
        "intermediate": {"mode": mode, "tasks": list(tasks), "mlm": False, "translated": False},
        "target": target,
        "language": language,
        "split": split,
        "seed": seed,
        "layer": None,
        "draw": None,
        "metrics": dict.fromkeys(TARGET_METRICS[target], score),
        "examples": 1000,
        "provenance": {
            "digest": digest,
            "recipe": hashlib.sha256("+".join(tasks).encode()).hexdigest()[:8],
            "attempt": "100.0",
            "data": {"digest": digest},
        },
    }


def read_bare(root: Path) -> int:
    count = 0
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".json"):
                with open(os.path.join(folder, name), "rb") as file:
                    orjson.loads(file.read())
                count += 1
    return count


def change_files(root: Path, turn: int) -> None:
    """Give every file of some runs another score, as jobs do that score a run again."""
    paths = (path for folder in sorted(root.iterdir()) for path in sorted((folder / "metrics").iterdir()))
    for path in itertools.islice(paths, turn * CHANGED, (turn + 1) * CHANGED):
        document = json.loads(path.read_bytes())
        document["metrics"] = {name: value / 2 for name, value in document["metrics"].items()}
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(document, indent=1))
        aside.replace(path)


def measure(root: Path, folder: Path, which: str) -> None:
    """One reading in this process: seconds, files, peak memory in MiB, as JSON."""
    cache = ReadingCache(root, folder)
    if which == "cold":
        cache.path.unlink(missing_ok=True)
    start = time.perf_counter()
    count = read_bare(root) if which == "bare" else collect(root, {}, cache).files
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def compare(root: Path, cache: Path) -> None:
    print(f"{make_tree(root):,} metric files; Python {platform.python_version()}, {os.cpu_count()} cores")
    time.sleep(TICK_NS / 1e9)  # files of this moment would be read again
    found: dict[str, list[list[float]]] = {which: [] for which in READINGS}
    for turn, which in itertools.product(range(REPEATS), READINGS):
        if which == "warm":
            change_files(root, turn)
        command = [sys.executable, __file__, str(root), str(cache), which]
        found[which].append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    best = {which: min(runs) for which, runs in found.items()}
    for which, (seconds, count, memory) in best.items():
        print(f"{which}  {seconds:6.2f} s  {int(count):,} files  {memory:5.0f} MiB")
    goals.compare("100,000 files, cold / bare loop", best["cold"][0] / best["bare"][0], most=2)
    goals.compare("100,000 files, cold / warm", best["cold"][0] / best["warm"][0], least=10)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    else:
        with tempfile.TemporaryDirectory(prefix="reading-") as made:
            compare(Path(*sys.argv[1:]) if sys.argv[1:] else Path(made, "results"), Path(made, "cache"))
