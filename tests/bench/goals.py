"""What the benchmarks are to reach, beside what they reached, in one table: the end of `make bench`.

python tests/bench/goals.py            the table
python tests/bench/goals.py --begin    forget earlier figures
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

FILE = Path(__file__).resolve().parents[2] / ".reports" / "bench.jsonl"


@dataclass(frozen=True)
class Goal:
    """A figure, a ratio where it has no unit, and its limit if it has one; `load`: processes that wanted a core."""

    figure: str
    seen: float
    unit: str
    least: float | None
    most: float | None
    load: float

    @property
    def limit(self) -> str:
        bounds = [f"at {name} {bound:g}" for name, bound in (("least", self.least), ("most", self.most)) if bound]
        return f"{' '.join(bounds)} {self.unit}".strip() if bounds else ""

    @property
    def verdict(self) -> str:
        if not self.limit:
            return ""
        kept = (self.least is None or self.seen >= self.least) and (self.most is None or self.seen <= self.most)
        return "reached" if kept else "MISSED"

    def cells(self) -> tuple[str, ...]:
        return self.figure, f"{self.seen:.3g} {self.unit}".strip(), self.limit, self.verdict, f"{self.load:.1f}"


def compare(figure: str, seen: float, unit: str = "", *, least: float | None = None, most: float | None = None) -> None:
    """Print a figure beside its limit, and keep it for the table."""
    goal = Goal(figure, float(seen), unit, least, most, os.getloadavg()[0])
    print("  ".join(filter(None, goal.cells()[:-1])), flush=True)
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(goal)) + "\n")


def show() -> None:
    """All figures that were kept, in their order."""
    if not FILE.is_file():
        raise SystemExit(f"{FILE}: no figures; `make bench` keeps them")
    goals = [Goal(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]
    header = ("figure", "seen", "to be", "", "load")
    print(tabulate([goal.cells() for goal in goals], header, disable_numparse=True))


if __name__ == "__main__":
    if sys.argv[1:] == ["--begin"]:
        FILE.unlink(missing_ok=True)
    else:
        show()
