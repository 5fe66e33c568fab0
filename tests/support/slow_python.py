"""Python for jobs of tests: runs a script with a pause between two updates of every training.

`python slow_python.py PAUSE_S RELEASED -u SCRIPT ARGUMENTS`. A test that interrupts a training needs one that lasts,
and a pause costs the machine nothing. There are no more pauses once the file RELEASED is there.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path


def main() -> None:
    pause_s, released, script = float(sys.argv[1]), Path(sys.argv[2]), sys.argv[4]
    sys.path.insert(0, str(Path(script).parents[1]))
    from stilts.training.stopping import Request, Stop

    original = Stop.look

    def look(stop: Stop, reserve_s: float) -> tuple[Request, str]:
        # In short pieces, so that the length of a pause does not depend on signals.
        end = time.monotonic() + pause_s
        while time.monotonic() < end and not released.exists():
            time.sleep(0.05)
        return original(stop, reserve_s)

    setattr(Stop, "look", look)  # noqa: B010
    sys.argv = sys.argv[4:]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
