"""Put on PYTHONPATH of a job, this gives `jobs.stages` other stages: they write what the real ones do, without torch.

Everything else of the job is the real thing: script, guard, snapshot, attempt, DONE.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

TOYS = {"jobs.stages": "toy_stages.py", "jobs.libraries": "toy_libraries.py"}


class ToyStages:
    """Finds the toy modules under the names of the real ones."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in TOYS:
            return None
        return importlib.util.spec_from_file_location(name, Path(__file__).with_name(TOYS[name]))


sys.meta_path.insert(0, ToyStages())
