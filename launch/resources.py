"""Resource classes: what a run asks of the cluster, chosen by rules on its stage and task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, field_validator

from stilts.document import unknown
from stilts.errors import UserError
from stilts.runs import STAGE_VERSIONS
from stilts.settings import Count, Positive, Settings
from stilts.tasks.catalogue import INTERMEDIATES, MLM, TARGETS, TEXT, TRAININGS

# Text that becomes part of one line of a job script: no line break may begin another one.
Line = Annotated[str, Field(pattern=r"^[^\n\r\x00]*$")]

# Their work is one rank's: several would only wait.
ONE_RANK_STAGES = ("fetch", "translate", "prepare", "retrieval")


class Resources(Settings):
    """One resource class, for each node: `ranks` Slurm tasks with `cpus` cores each, and `gpus` (one for each rank).

    `micro_tokens`: tokens, pads included, in one forward pass of a rank; None: as many as the memory holds.
    `checkpoint_min`: the longest time between two checkpoints, in minutes; None: as the jobs have it.
    `exclude`: nodes that failed this run before, as sbatch names them; no rule sets it.
    `pack`: runs in one job, `at_once` of them at a time, `runs_per_gpu` on one GPU; the rest is for each run, but
    `timeout_min`, which is the job's.
    """

    nodes: Count = 1
    gpus: Annotated[int, Field(ge=0, strict=True)] = 0
    ranks: Count | None = None
    cpus: Count = 2
    mem_gb: Count = 8
    timeout_min: Count = 60
    partition: Line | None = None
    qos: Line | None = None
    constraint: Line | None = None
    exclude: Line | None = None
    micro_tokens: Count | None = None
    zero_stage: Annotated[int, Field(ge=0, le=3, strict=True)] = 1
    activation_checkpointing: bool = False
    cuda_graphs: bool = True
    checkpoint_min: Positive | None = None
    pack: Count | None = None
    at_once: Count | None = None
    runs_per_gpu: Count | None = None

    @property
    def runs_at_once(self) -> int:
        """Runs of a pack that are at work at once: as asked, else as many as share a GPU."""
        return self.at_once or self.runs_per_gpu or 1

    @property
    def pack_size(self) -> int:
        """Runs in one job, at most."""
        return self.pack or self.runs_at_once

    @property
    def ranks_per_node(self) -> int:
        """Slurm tasks on each node: as asked, else one for each GPU, else one."""
        return self.ranks or max(1, self.gpus)


class Match(Settings):
    """Which runs a rule is for: lists mean "one of"; nothing given means every run."""

    stage: list[str] = Field(default_factory=list)
    task: list[str] = Field(default_factory=list)

    @field_validator("stage", "task", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("stage")
    @classmethod
    def _stages_exist(cls, stages: list[str]) -> list[str]:
        return _known("stage", stages, STAGE_VERSIONS)

    @field_validator("task")
    @classmethod
    def _tasks_exist(cls, tasks: list[str]) -> list[str]:
        return _known("task", tasks, [*INTERMEDIATES, *TRAININGS, *TARGETS, TEXT, MLM, "model", "scratch"])

    def fits(self, stage: str, tasks: Iterable[str]) -> bool:
        """True where the stage is named (or none is) and any of the run's tasks is named (or none is)."""
        return (not self.stage or stage in self.stage) and (not self.task or bool(set(tasks) & set(self.task)))


def _known(kind: str, names: list[str], legal: Iterable[str]) -> list[str]:
    wrong = [name for name in names if name not in legal]
    if wrong:
        raise ValueError("; ".join(unknown(f"{kind} '{name}'", name, legal) for name in wrong))
    return names


class ResourceRule(Settings):
    """A rule sets some fields for the runs it matches; later rules overrule earlier ones."""

    match: Match = Match()
    nodes: Count | None = None
    gpus: Annotated[int, Field(ge=0, strict=True)] | None = None
    ranks: Count | None = None
    cpus: Count | None = None
    mem_gb: Count | None = None
    timeout_min: Count | None = None
    partition: Line | None = None
    qos: Line | None = None
    constraint: Line | None = None
    micro_tokens: Count | None = None
    zero_stage: Annotated[int, Field(ge=0, le=3, strict=True)] | None = None
    activation_checkpointing: bool | None = None
    cuda_graphs: bool | None = None
    checkpoint_min: Positive | None = None
    pack: Count | None = None
    at_once: Count | None = None
    runs_per_gpu: Count | None = None


def choose_resources(rules: Iterable[ResourceRule], stage: str, tasks: Iterable[str]) -> Resources:
    """The resource class of a run: the defaults, overruled by each matching rule in turn."""
    tasks = tuple(tasks)
    chosen: dict[str, Any] = {}
    for rule in rules:
        if rule.match.fits(stage, tasks):
            chosen.update(rule.model_dump(exclude={"match"}, exclude_none=True))
    resources = Resources(**chosen)
    _check_pack(f"resources of {stage} {' '.join(tasks)}", resources, stage in ONE_RANK_STAGES)
    if stage in ONE_RANK_STAGES and resources.nodes * resources.ranks_per_node > 1:
        return resources.model_copy(update={"nodes": 1, "ranks": 1, "gpus": min(1, resources.gpus)})
    if 0 < resources.gpus < resources.ranks_per_node:
        raise UserError(
            f"resources of {stage} {' '.join(tasks)}: {resources.ranks} ranks on a node with {resources.gpus} GPUs; "
            "every rank needs a GPU of its own, so give at least as many `gpus` as `ranks`"
        )
    return resources


def _check_pack(what: str, resources: Resources, one_rank: bool) -> None:
    """Packs are of small runs: one process each, and a GPU is shared by those that need no more than one."""
    if resources.pack_size == 1:
        return
    problems = []
    if not one_rank and resources.nodes * resources.ranks_per_node > 1:
        problems.append("a run of several ranks cannot be packed; give it `nodes: 1, ranks: 1` or leave `pack` out")
    if (resources.runs_per_gpu or 1) > 1 and resources.gpus != 1:
        problems.append(f"runs_per_gpu: {resources.runs_per_gpu} with gpus: {resources.gpus}; give it `gpus: 1`")
    if resources.gpus > 1 and not one_rank:
        problems.append(f"gpus: {resources.gpus} for one packed run; `gpus` is for each run, give it at most 1")
    if resources.pack_size < resources.runs_at_once:
        problems.append(
            f"pack: {resources.pack} is less than the {resources.runs_at_once} runs that are to be at work at once; "
            "raise it, or leave it out"
        )
    if problems:
        raise UserError([f"{what}: {problem}" for problem in problems])
