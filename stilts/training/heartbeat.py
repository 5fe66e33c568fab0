"""What a run says while it works: `progress.json` and `losses.jsonl` in its folder, written by rank 0."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stilts.runs import write_json

INTERVAL_S = 1.0


class Heartbeat:
    """Writer of the progress of one run; on other ranks than 0 it writes nothing."""

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.active = rank == 0
        self._last = float("-inf")
        self._phase = ""

    @property
    def losses(self) -> Path:
        return self.folder / "losses.jsonl"

    def beat(self, phase: str, step: int, total: int, **facts: Any) -> None:
        """Write `progress.json`, at most once a second; a new phase and its last step are always written."""
        now = time.monotonic()
        if not self.active or (now - self._last < INTERVAL_S and phase == self._phase and step < total):
            return
        self._last, self._phase = now, phase
        write_json(
            self.folder / "progress.json", {"phase": phase, "step": step, "total": total, "time": time.time(), **facts}
        )

    def start_losses(self) -> None:
        """Begin `losses.jsonl` anew: a training that starts over must not append to an earlier attempt's."""
        if self.active:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.losses.write_text("", encoding="utf-8")

    def log_losses(self, rows: Iterable[tuple[int, str, float, float]]) -> None:
        """Append updates (step, task, mean loss, learning rate), one JSON object a line."""
        if self.active:
            lines = [
                json.dumps({"step": step, "task": task, "loss": loss, "lr": rate}) + "\n"
                for step, task, loss, rate in rows
            ]
            with open(self.losses, "a", encoding="utf-8") as file:
                file.write("".join(lines))
