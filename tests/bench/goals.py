"""What the benchmarks are to reach, beside what they reached, in one table: the end of `make bench`.

python tests/bench/goals.py            the table; exit code 1 where a limit is missed
python tests/bench/goals.py --begin    forget earlier figures
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from math import inf, isfinite
from pathlib import Path

from tabulate import tabulate

FILE = Path(__file__).resolve().parents[2] / ".reports" / "bench.jsonl"


@dataclass(frozen=True)
class Goal:
    """A figure, a ratio where it has no unit, and its limit if it has one; `load`: processes that wanted a core."""

    figure: str
    seen: float
    unit: str
    least: float
    most: float
    load: float

    @property
    def missed(self) -> bool:
        return not self.least <= self.seen <= self.most

    @property
    def limit(self) -> str:
        bounds = {"least": self.least, "most": self.most}
        told = [f"at {name} {bound:g} {self.unit}".strip() for name, bound in bounds.items() if isfinite(bound)]
        return ", ".join(told)

    def cells(self) -> tuple[str, ...]:
        verdict = "MISSED" if self.missed else "reached" if self.limit else ""
        return self.figure, f"{self.seen:.3g} {self.unit}".strip(), self.limit, verdict, f"{self.load:.1f}"


def compare(figure: str, seen: float, unit: str = "", *, least: float = -inf, most: float = inf) -> None:
    """Print a figure beside its limit, and keep it for the table."""
    goal = Goal(figure, float(seen), unit, least, most, os.getloadavg()[0])
    print("  ".join(filter(None, goal.cells()[:-1])), flush=True)
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(goal)) + "\n")


def show() -> int:
    """Print all figures that were kept, in their order. Returns 1 where a limit is missed."""
    if not FILE.is_file():
        raise SystemExit(f"{FILE}: no figures; `make bench` keeps them")
    goals = [Goal(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]
    header = ("figure", "seen", "to be", "", "load")
    print(tabulate([goal.cells() for goal in goals], header, disable_numparse=True))
    return int(any(goal.missed for goal in goals))


if __name__ == "__main__":
    if sys.argv[1:] == ["--begin"]:
        FILE.unlink(missing_ok=True)
    else:
        sys.exit(show())
