"""What a run says while it works: `progress.json`, `losses.jsonl` and, if asked for, TensorBoard's event files in its
folder, written by rank 0."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stilts.runs import write_json

if TYPE_CHECKING:
    from stilts.training.events import EventFiles

INTERVAL_S = 1.0

Row = tuple[int, str, float, float]


class Heartbeat:
    """Writer of the progress of one run; on other ranks than 0 it writes nothing. `report_to`: `tensorboard`."""

    def __init__(self, folder: Path, rank: int = 0, report_to: Collection[str] = ()) -> None:
        self.folder = folder
        self.report_to = report_to
        self.events: EventFiles | None = None
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
        if self.active and "tensorboard" in self.report_to:
            from stilts.training.events import EventFiles

            self.events = EventFiles(self.folder / "tensorboard")

    def log_losses(self, rows: Sequence[Row]) -> None:
        """Append updates (step, task, mean loss, learning rate), one JSON object a line."""
        if self.active:
            lines = [
                json.dumps({"step": step, "task": task, "loss": loss, "lr": rate}) + "\n"
                for step, task, loss, rate in rows
            ]
            with open(self.losses, "a", encoding="utf-8") as file:
                file.write("".join(lines))
        if self.events:
            self.events.log_losses(rows)

    def log_dev(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Points on dev; `progress.json` and DONE have them besides."""
        if self.events:
            self.events.log_dev(records)
