"""A run that was killed and started again is the undisturbed run: same metrics, predictions, and weights to the bit.

24 kills cover every pair of values of (stage kind, ZeRO stage, signal, moment); `make torture` runs the product.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stilts.runs import RunFolder
from tests.support.faults import MOMENTS, SIGNALS, Fault, Striker
from tests.support.small_runs import KINDS, SmallRuns, make_runs, place

ZERO_STAGES = (0, 1, 2, 3)
KILLS = 24
Case = tuple[str, int, str, str]


def possible_cases() -> list[Case]:
    """The product, but for the dev scores that pre-training does not have."""
    product = itertools.product(KINDS, ZERO_STAGES, SIGNALS, MOMENTS)
    return [case for case in product if (case[0], case[3]) != ("pretrain", "dev")]


def pairs(case: Case) -> set[tuple[int, Any, int, Any]]:
    """Every pair of values of a case, with their places."""
    return {(i, case[i], j, case[j]) for i, j in itertools.combinations(range(len(case)), 2)}


def choose_cases() -> list[Case]:
    """KILLS cases that cover every pair: the best of a seeded sequence of greedy choices."""
    cases, rng = possible_cases(), random.Random(0)
    while True:
        rng.shuffle(cases)
        left, chosen = set().union(*map(pairs, cases)), []
        while left:
            best = max(cases, key=lambda case: len(pairs(case) & left))
            chosen.append(best)
            left -= pairs(best)
        if len(chosen) <= KILLS:
            rest = [case for case in cases if case not in chosen]
            return chosen + rest[: KILLS - len(chosen)]


CASES = possible_cases() if os.environ.get("STILTS_TORTURE") else choose_cases()


def test_the_kills_cover_every_pair() -> None:
    assert len(choose_cases()) == KILLS
    assert set().union(*map(pairs, choose_cases())) == set().union(*map(pairs, possible_cases()))


@dataclass
class Bench:
    """Finished parents, and undisturbed runs by (kind, ZeRO stage)."""

    root: Path
    runs: SmallRuns
    striker: Striker
    undisturbed: dict[tuple[str, int], RunFolder]

    def place(self, kind: str, stage: int, name: str, micro_tokens: int = 150) -> RunFolder:
        """A fresh folder of a run beside links to the finished parents."""
        root = self.root / name
        root.mkdir()
        run = self.runs.kinds[kind]
        for parent in self.runs.before:
            if parent.id != run.id:
                (root / parent.id).symlink_to(self.root / "parents" / parent.id)
        return place(run, root, zero_stage=stage, micro_tokens=micro_tokens, checkpoint_min=0)

    def finish(self, kind: str, stage: int) -> RunFolder:
        """The undisturbed run."""
        if (kind, stage) not in self.undisturbed:
            folder = self.place(kind, stage, f"undisturbed-{kind}-{stage}")
            assert self.striker.attempt(folder.path, "one", ranks_of(stage)) == [0] * ranks_of(stage)
            self.undisturbed[kind, stage] = folder
        return self.undisturbed[kind, stage]


def ranks_of(stage: int) -> int:
    """Stages that cut something run on two ranks."""
    return 2 if stage else 1


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    root, runs, striker = tmp_path_factory.mktemp("interruption"), make_runs(), Striker()
    for run in runs.before:
        folder = place(run, root / "parents", zero_stage=0)
        assert striker.attempt(folder.path, "one") == [0], (folder.attempts / "one" / "rank0.log").read_text()
    yield Bench(root, runs, striker, {})
    striker.close()


def outcome(folder: RunFolder, attempt: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder.attempts / attempt / "outcome.json").read_text())
    return record


def results(folder: RunFolder) -> dict[str, Any]:
    """Everything that a run is for: weights, predictions, figures, losses, dev scores."""
    done = folder.read_done()
    assert done is not None
    files = [*folder.model.rglob("*"), *folder.predictions.rglob("*"), folder.path / "losses.jsonl"]
    found: dict[str, Any] = {str(p.relative_to(folder.path)): p.read_bytes() for p in files if p.is_file()}
    for path in folder.metrics.glob("*.json"):
        record = json.loads(path.read_text())
        found[path.name] = {key: record[key] for key in ("metrics", "examples", "target", "language", "split")}
    facts = done["facts"]
    return found | {"output": done["output"], "dev": facts["dev"], "chosen": facts["chosen"], "tokens": facts["tokens"]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_a_killed_run_ends_as_the_undisturbed_one(bench: Bench, case: Case) -> None:
    kind, stage, signal, moment = case
    undisturbed, ranks = bench.finish(kind, stage), ranks_of(stage)
    folder = bench.place(kind, stage, "-".join(map(str, case)))
    count = {"first": 1, "backward": 11, "between": 9, "dev": 3, "write": 5}[moment]
    # A rank that scores dev is struck first; else the last one, so that the others have to be told.
    struck = ranks - 1 if moment != "dev" else 0
    codes = bench.striker.attempt(folder.path, "one", ranks, Fault(signal, moment, count, struck))
    if signal == "KILL":
        assert codes[struck] == -9
        assert folder.read_done() is None
    else:
        assert codes == [143] * ranks
        assert outcome(folder, "one")["state"] == "cancelled"
        assert "a checkpoint is saved" in outcome(folder, "one")["reason"]
    assert bench.striker.attempt(folder.path, "two", ranks) == [0] * ranks
    log = (folder.attempts / "two" / "rank0.log").read_text()
    started_over = signal == "KILL" and moment == "first"
    assert ("goes on from the checkpoint" in log) != started_over
    found, expected = results(folder), results(undisturbed)
    assert found.keys() == expected.keys()
    assert [key for key in expected if found[key] != expected[key]] == []
    assert not folder.checkpoints.exists()


@pytest.mark.parametrize("signal", ["USR2", "TERM"])
def test_a_signal_in_the_last_update_stops_before_scoring(bench: Bench, signal: str) -> None:
    undisturbed, folder = bench.finish("target", 1), bench.place("target", 1, f"last-{signal}")
    codes = bench.striker.attempt(folder.path, "one", 2, Fault(signal, "dev", 4))
    assert codes[0] == 143
    assert folder.trained.exists()
    assert not folder.metrics.exists()
    assert bench.striker.attempt(folder.path, "two", 2) == [0, 0]
    assert results(folder) == results(undisturbed)


@pytest.mark.parametrize("stage", [0, 1])
def test_a_gpu_without_memory_goes_on_with_half_the_micro_batch(bench: Bench, stage: int) -> None:
    folder, ranks = bench.place("target", stage, f"memory-{stage}", micro_tokens=1100), ranks_of(stage)
    for attempt, most, count in (("one", 1100, 7), ("two", 550, 5)):
        codes = bench.striker.attempt(folder.path, attempt, ranks, Fault("MEMORY", "backward", count))
        assert codes[0] == 76
        reason = outcome(folder, attempt)["reason"]
        assert reason == f"the GPU's memory does not hold micro-batches of {most} tokens; goes on with half as many"
    assert bench.striker.attempt(folder.path, "three", ranks) == [0] * ranks
    done = folder.read_done()
    assert done is not None
    assert done["facts"]["layout"]["micro_tokens"] == 275
    assert len(done["facts"]["resumed"]) == 2
    record = json.loads((folder.path / "memory.json").read_text())
    assert [entry["micro_tokens"] for entry in record["history"]] == [1100, 550]


def test_a_model_too_large_for_a_gpu_is_a_failure(bench: Bench) -> None:
    folder = bench.place("target", 0, "too-large", micro_tokens=300)
    assert bench.striker.attempt(folder.path, "one", 1, Fault("MEMORY", "backward", 2)) == [1]
    assert "300 tokens; use a larger GPU" in outcome(folder, "one")["reason"]
