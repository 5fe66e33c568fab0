"""What a stage has at hand: its run, its folder, its place among the ranks, and what it was built on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jobs.attempt import Attempt
from jobs.ranks import Place
from stilts.runs import ENCODER_STAGES, Run, RunFolder, read_json
from stilts.training.heartbeat import Heartbeat
from stilts.training.stopping import Stop

if TYPE_CHECKING:
    import torch

Facts = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What a stage has at hand."""

    run: Run
    folder: RunFolder
    attempt: Attempt
    place: Place
    heartbeat: Heartbeat
    needs: dict[str, str]
    stop: Stop

    @property
    def root(self) -> Path:
        return self.folder.path.parent

    @property
    def commits(self) -> Path:
        """Where the campaign keeps the commit of each hub repository that it has read."""
        return self.root / "campaign" / "commits"

    def parent(self, *stages: str) -> RunFolder:
        """The first parent of one of these stages."""
        return next(RunFolder(self.root / name) for name in self.run.parents if name.startswith(stages))

    @property
    def lineage(self) -> list[RunFolder]:
        """This run and the encoders that it builds on, back to the pretrained one."""
        folders = [self.folder]
        while folders[-1].path.name.startswith(("intermediate-", "target-", "retrieval-")):
            spec = read_json(folders[-1].spec) or {}
            parent = next(name for name in spec["parents"] if name.startswith(ENCODER_STAGES))
            folders.append(RunFolder(self.root / parent))
        return folders

    def has_prepared(self, task: str, part: str) -> bool:
        """Whether this run was given a task's part: data that is not at hand, and that nobody asked for, is not."""
        return any(name.startswith(f"prepare-{task}-{part}-") for name in self.run.needs)

    def prepared_run(self, task: str, part: str) -> RunFolder:
        """The run that prepared a task's part (train or scored) among everything that this run needs."""
        name = next(name for name in self.run.needs if name.startswith(f"prepare-{task}-{part}-"))
        return RunFolder(self.root / name)

    @property
    def suite(self) -> Literal["xtreme", "toy"]:
        """The suite of the prepared data."""
        name = next(name for name in self.run.needs if name.startswith("prepare-"))
        spec = read_json(RunFolder(self.root / name).spec) or {}
        return "toy" if spec["config"]["suite"] == "toy" else "xtreme"

    @property
    def device(self) -> torch.device:
        """This rank's GPU, or the CPU. A site may show each rank one GPU alone, which is number 0 for all of them."""
        import torch

        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self.place.local_rank % torch.cuda.device_count())
