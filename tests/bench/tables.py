"""Time of all tables and figures of a campaign of ten thousand runs, part by part and as users call it.

python tests/bench/tables.py [FOLDER]

The campaign is made in FOLDER (default: a temporary one) unless it is there. It is read twice, as a first and as a
later call of aggregate/tables.py reads it, the system's file cache warm; the tables are made and written once, the
figures as if they had been drawn by then. Last the command itself: a first call without a cache, and a later one.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from aggregate.evidence.claims import CLAIMS  # noqa: E402
from aggregate.processes import Aside  # noqa: E402
from aggregate.scores.metric_files import TICK_NS  # noqa: E402
from aggregate.scores.reading_cache import ReadingCache  # noqa: E402
from aggregate.sheets.claims_sheet import build_claims_sheet  # noqa: E402
from aggregate.sheets.language_sheets import build_language_sheets  # noqa: E402
from aggregate.sheets.main_sheet import build_main_sheet  # noqa: E402
from aggregate.sheets.sheet import Sheet  # noqa: E402
from aggregate.study import Study, read_study  # noqa: E402
from aggregate.tables import BUILDERS, build_xtreme_sheets, write_tables  # noqa: E402
from aggregate.writing.figures import draw_figures  # noqa: E402
from tests.bench import goals  # noqa: E402
from tests.bench.campaign import make_campaign  # noqa: E402

T = TypeVar("T")


class Parts:
    """Seconds of named parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = work()
        self.seconds[name] = time.perf_counter() - start
        return result

    def show(self) -> None:
        for name, seconds in self.seconds.items():
            print(f"  {name:22} {seconds:6.2f} s")
        print(f"  {'together':22} {sum(self.seconds.values()):6.2f} s")


def measure(root: Path, scratch: Path) -> None:
    """Read, make, write: what `tables.main` does, each part by itself. The search for cycles is off there too."""
    gc.disable()
    cache = ReadingCache(root, scratch / "cache")
    first, later = Parts(), Parts()
    first.time("read, first time", lambda: read_study(root, None, cache))
    study = later.time("read, later", lambda: read_study(root, None, cache))
    sheets = make_sheets(study, later)
    figures = later.time("figures", lambda: dict(draw_figures(study)))
    with Aside(lambda: figures) as drawn:
        later.time("write all", lambda: write_tables(scratch / "out", study, sheets, drawn))
    first.show()
    later.show()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(study.scope.rows)} rows, {len(sheets)} tables, {len(figures)} files of figures, {memory:.0f} MiB")


def make_sheets(study: Study, parts: Parts) -> list[Sheet]:
    """Every sheet, after what several of them need."""
    parts.time("main table", lambda: (study.table, study.significance, study.points))
    parts.time("test scores", lambda: study.scored)
    made = [parts.time("claims", lambda: build_claims_sheet(study, CLAIMS))]
    for build in BUILDERS:
        name = build.__name__.removeprefix("build_").removesuffix("_sheet")
        made.append(parts.time(name, lambda build=build: build(study)))  # type: ignore[misc]
    main_sheet = parts.time("main", lambda: build_main_sheet(study.table, study.significance))
    xtreme = parts.time("xtreme", lambda: build_xtreme_sheets(study))
    languages = parts.time("languages", lambda: build_language_sheets(study))
    return [main_sheet, *(sheet for sheet in made if sheet), *xtreme, *languages]


def call(root: Path, scratch: Path) -> float:
    """Seconds of one call of the command, the start of Python included."""
    script = str(ROOT / "aggregate" / "tables.py")
    command = [sys.executable, script, "--results", str(root), "--out", str(scratch / "called")]
    environment = os.environ | {"XDG_CACHE_HOME": str(scratch / "caches")}
    start = time.perf_counter()
    subprocess.run(command, env=environment, capture_output=True, check=True)
    return time.perf_counter() - start


def main(root: Path, scratch: Path) -> None:
    if not root.is_dir():
        runs, files = make_campaign(root)
        print(f"{runs:,} runs, {files:,} metric files; Python {platform.python_version()}, {os.cpu_count()} cores")
        time.sleep(TICK_NS / 1e9)
    measure(root, scratch)
    for name in ("first", "later"):
        goals.compare(f"tables of 10,000 runs, {name} call", call(root, scratch), "s", most=10)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tables-") as made:
        main(Path(sys.argv[1]) if sys.argv[1:] else Path(made, "results"), Path(made))
