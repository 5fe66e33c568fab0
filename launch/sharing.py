"""What sharing saves: the trainings of the DAG against those of a product in which every cell trains for itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from launch.plan import Plan
from stilts.runs import Run

TRAINING_STAGES = ("intermediate", "target")
REGIME_ORDER = ("none", "single", "multitask", "sequential")


@dataclass(frozen=True)
class Sharing:
    """`naive`: every row, target and seed trains its whole chain; `planned`: what is trained."""

    naive: int
    planned: int

    @property
    def factor(self) -> float:
        """How many times more trainings there would be without sharing; 1 where nothing is trained."""
        return self.naive / self.planned if self.planned else 1.0


def count_sharing(plan: Plan) -> Sharing:
    """Trainings with and without sharing; making a model from scratch is not counted."""
    lengths: dict[str, int] = {}
    for run in plan.runs.values():
        encoder = lengths.get(run.parents[0], 0) if run.parents else 0
        lengths[run.id] = encoder + (run.stage in TRAINING_STAGES)
    naive = sum(lengths[run_id] for runs in plan.cells.values() for run_id in runs.values())
    return Sharing(naive, sum(run.stage in TRAINING_STAGES for run in plan.runs.values()))


def count_regimes(plan: Plan) -> dict[str, dict[str, int]]:
    """Trainings by regime and stage: none, single, multitask, sequential, each with `-translated` and `+mlm`.

    A training that several rows share counts where it came first: a sequence's first phase is a single one.
    """
    counts = Counter((regime_of(run), run.stage) for run in plan.runs.values() if run.stage in TRAINING_STAGES)
    regimes = sorted({regime for regime, _ in counts}, key=_place)
    return {regime: {stage: counts[regime, stage] for stage in TRAINING_STAGES} for regime in regimes}


def regime_of(run: Run) -> str:
    """The regime in a run's label."""
    made = run.infra["label"]["intermediate"]
    return str(made["mode"]) + ("-translated" if made["translated"] else "") + ("+mlm" if made["mlm"] else "")


def _place(regime: str) -> tuple[bool, bool, int]:
    mode = regime.partition("+")[0].partition("-")[0]
    return "+mlm" in regime, "-translated" in regime, REGIME_ORDER.index(mode)
