"""Time of the quickstart here against an earlier commit, and its main table against that one's.

python tests/bench/quickstart.py --against COMMIT

Each takes about four minutes on two cores, alone on the machine. The earlier commit is checked out into a temporary
folder and runs in this environment; without the history nothing is measured. Beside the seconds: where they went, from
the runs' own records.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import goals  # noqa: E402


def run_quickstart(code: Path, out: Path) -> float:
    """Both commands of `make quickstart`; returns their seconds."""
    start = time.monotonic()
    grid = ("launch/grid.py", "--grid", "quickstart.yaml", "--executor", "local", "--root", str(out / "runs"))
    tables = ("aggregate/tables.py", "--results", str(out / "runs"), "--out", str(out / "tables"))
    for command in (grid, tables):
        subprocess.run([sys.executable, *command], cwd=code, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def sum_stages(runs: Path) -> dict[str, tuple[int, float, float]]:
    """Of each stage: runs, the seconds of their processes, and those of their updates."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in runs.glob("*/attempts/*/outcome.json"):
        begun = json.loads((path.parent / "attempt.json").read_text(encoding="utf-8"))["started"]
        ended = json.loads(path.read_text(encoding="utf-8"))["ended"]
        facts = json.loads((path.parents[2] / "DONE").read_text(encoding="utf-8"))["facts"]
        found[path.parents[2].name.partition("-")[0]].append((ended - begun, facts.get("seconds", 0.0)))
    return {stage: (len(rows), *(sum(column) for column in zip(*rows, strict=True))) for stage, rows in found.items()}


def report(name: str, seconds: float, out: Path) -> None:
    print(f"{name}: {seconds:.1f} s")
    for stage, (count, whole, training) in sum_stages(out / "runs").items():
        print(f"  {stage:13} {count:3} runs  {whole:6.1f} s, of them updates {training:6.1f} s")


def compare_tables(ours: Path, theirs: Path) -> None:
    """How far the two main tables are apart: 0 where no rounding has changed."""
    tables = [list(csv.DictReader((out / "tables" / "main.csv").open(encoding="utf-8"))) for out in (ours, theirs)]
    worst = (0.0, "nowhere")
    for mine, other in zip(*tables, strict=True):
        for column in mine:
            if column != "row" and mine[column] and other[column]:
                worst = max(worst, (abs(float(mine[column]) - float(other[column])), f"{mine['row']}, {column}"))
    print(f"largest difference in the main table: {worst[0]:.4f} ({worst[1]})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, help="the earlier commit")
    commit = parser.parse_args().against
    if subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", f"{commit}^{{commit}}"], check=False).returncode:
        print(f"the quickstart: left out (there is no commit {commit} here)")
        return
    with tempfile.TemporaryDirectory(prefix="quickstart-") as made:
        before, ours, theirs = (Path(made) / name for name in ("code", "ours", "theirs"))
        before.mkdir()
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(before)], input=archive, check=True)
        earlier = run_quickstart(before, theirs)
        report(commit, earlier, theirs)
        now = run_quickstart(ROOT, ours)
        report("here", now, ours)
        goals.compare(f"quickstart, time at {commit} / here", earlier / now, least=1.5)
        compare_tables(ours, theirs)


if __name__ == "__main__":
    main()
