"""TensorBoard event files of a training: the curves of `losses.jsonl` and of the points on dev."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stilts.errors import UserError


class EventFiles:
    """Writer of event files in a folder.

    An attempt writes the curves from their beginning and marks everything before as outdated, so that what an
    interrupted attempt had written beyond its last checkpoint shows nowhere.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                f"report_to: tensorboard needs the package tensorboard ({error}); pip install tensorboard, or leave "
                "report_to out"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=0)

    def log_losses(self, rows: Iterable[tuple[int, str, float, float]]) -> None:
        """Updates (step, task, mean loss, learning rate): the loss of all together and of each task."""
        for step, task, loss, rate in rows:
            self._writer.add_scalar("train/loss", loss, step + 1)
            self._writer.add_scalar("train/learning_rate", rate, step + 1)
            self._writer.add_scalar(f"loss/{task}", loss, step + 1)
        self._writer.flush()

    def log_dev(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Points on dev (see `stilts.training.selection`): the score that decides, and every metric of every task."""
        for record in records:
            self._writer.add_scalar("dev/score", record["score"], record["update"])
            for task, metrics in record["tasks"].items():
                for name, value in metrics.items():
                    self._writer.add_scalar(f"dev_{task}/{name}", value, record["update"])
        self._writer.flush()
