"""Time of finding the 4 nearest neighbours of both sides of a corpus, here and in faiss, on the same cores.

pip install --no-deps --target FOLDER faiss-cpu
python tests/bench/mining.py FOLDER

The vectors are random ones around common centres, with translations: pairs that are nearer to each other than to all
others. faiss searches its exact index of inner products (IndexFlatIP) once a direction. It is given unit vectors, ours
is not: the time to make them is counted here, not there. The OpenBLAS that its wheel brings (0.3.15) does not know
processors made since 2021; it is told to use its kernels for AVX-512 where this one has that, which makes it five times
faster. Each runs in a process of its own (two libraries' idle threads would get into each other's way), by turns; the
best time counts.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

sys.path[:0] = [*sys.argv[1:2], str(Path(__file__).resolve().parents[2])]

import numpy as np  # noqa: E402

from stilts.evaluation.neighbours import Neighbours, match_sides  # noqa: E402
from stilts.tasks.mining import NEIGHBOURS  # noqa: E402
from tests.bench import goals  # noqa: E402

FOREIGN, ENGLISH, SIZE, REPEATS = 8_000, 20_000, 1024, 3


def draw_corpus() -> tuple[np.ndarray, np.ndarray]:
    """Float32 [FOREIGN, SIZE] and [ENGLISH, SIZE]; a quarter of the first are translations of the second."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, SIZE)).astype(np.float32)
    sides = [
        2 * centres[rng.integers(200, size=count)] + rng.normal(size=(count, SIZE)).astype(np.float32)
        for count in (FOREIGN, ENGLISH)
    ]
    shared = FOREIGN // 4
    sides[0][:shared] = sides[1][:shared] + 0.3 * rng.normal(size=(shared, SIZE)).astype(np.float32)
    return sides[0], sides[1]


def search_with_faiss(first: np.ndarray, second: np.ndarray) -> list[Neighbours]:
    """Each side's neighbours in the other (indices, inner products) from unit vectors."""
    import faiss  # type: ignore[import-not-found]

    found = []
    for queries, candidates in ((first, second), (second, first)):
        index = faiss.IndexFlatIP(SIZE)
        index.add(candidates)
        products, places = index.search(queries, NEIGHBOURS)
        found.append((places, products))
    return found


def measure(which: str, out: Path) -> None:
    """One search both ways in this process: what was found, the seconds, and the memory that it took in MiB."""
    first, second = draw_corpus()
    if which == "faiss":
        import faiss  # noqa: F401

        first, second = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (first, second))
    else:
        import torch  # noqa: F401
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    forth, back = search_with_faiss(first, second) if which == "faiss" else match_sides(first, second, NEIGHBOURS)
    seconds = time.perf_counter() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    np.savez(out, facts=[seconds, memory], forth=forth[0], back=back[0], cosines=np.concatenate([forth[1], back[1]]))


def main(faiss: str) -> None:
    threads = str(len(os.sched_getaffinity(0)))
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    if "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        environment["OPENBLAS_CORETYPE"] = "SkylakeX"
    found: dict[str, list[dict[str, np.ndarray]]] = {"here": [], "faiss": []}
    with tempfile.TemporaryDirectory() as folder:
        for number, which in product(range(REPEATS), found):
            out = Path(folder) / f"{which}.{number}.npz"
            command = [sys.executable, __file__, faiss, which, str(out)]
            subprocess.run(command, env=environment, check=True)
            found[which].append(dict(np.load(out)))
    print(f"{FOREIGN:,} x {ENGLISH:,} x {SIZE}, {NEIGHBOURS} neighbours both ways, {threads} threads")
    best = {which: min(runs, key=lambda run: run["facts"][0]) for which, runs in found.items()}
    for which, run in best.items():
        print(f"{which:6} {run['facts'][0]:6.2f} s")
    ours, theirs = best["here"], best["faiss"]
    print(f"memory here beside the vectors: {ours['facts'][1]:.0f} MiB")
    goals.compare("mining both ways, time of ours / faiss", ours["facts"][0] / theirs["facts"][0], most=1)
    same = np.concatenate([(ours[side] == theirs[side]).ravel() for side in ("forth", "back")]).mean()
    print(f"same neighbours: {100 * same:.4f} %")
    if np.abs(ours["cosines"] - theirs["cosines"]).max() > 1e-5:
        raise SystemExit("the two disagree by more than faiss rounds")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(sys.argv[2], Path(sys.argv[3]))
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        raise SystemExit(f"no faiss to compare with; {(__doc__ or '').partition(chr(10) * 2)[2]}")
