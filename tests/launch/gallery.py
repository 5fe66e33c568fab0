"""A campaign in which every state occurs, with hostile words in reasons and logs."""

from __future__ import annotations

import time
from pathlib import Path

from launch.plan import Plan
from launch.scene import Scene
from stilts.runs import write_json
from tests.launch.site import Site
from tests.launch.small import finish

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m\u2028 & \"quoted\" 'words' ${x} {{ 7*7 }}"
NOW = 1_800_000_000.0


class Gallery(Site):
    """Of six encoders one is done (its target too), one runs, one waits, one has failed, one is cancelled, one held."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        done, runs, waits, failed, cancelled, _ = self.encoders
        self.baselines = [run_id for run_id in self.plan.runs if run_id.startswith("target-xnli-none")]
        tag = self.submit(*self.encoders[:5], age_s=7200).tag
        for run_id, hours in ((done, 2.0), (self.child(done), 1.0), *((run_id, 0.5) for run_id in self.baselines[:4])):
            folder_of = self.attempt(run_id, "12_0", age_s=4 * 3600, gpus=2)
            ended = time.time() - (4 - hours) * 3600
            write_json(folder_of / "outcome.json", {"state": "done", "reason": "finished", "rank": 0, "ended": ended})
            (folder_of / "rank0.log").write_text("step 1\nfinished\n")
        finish(self.campaign, self.plan, [done, self.child(done), *self.baselines[:4]])
        self.attempt(runs, "12_1", age_s=3600, gpus=1)
        write_json(self.campaign.run(runs).progress, {"phase": "train", "step": 50, "total": 100, "time": time.time()})
        log = self.fail(failed, f"ValueError: {HOSTILE}", "12_3", gpus=1, age_s=1810) / "rank0.log"
        log.write_text(f"step 7 loss 2.5\nTraceback (most recent call last):\nValueError: {HOSTILE}\n")
        self.queue(
            f"12_1|RUNNING|None|{runs}#{tag}",
            f"12_2|PENDING|QOSMaxWallDurationPerJobLimit|{waits}#{tag}",
        )
        self.account(f"12_3|FAILED|1:0|{failed}#{tag}", f"12_4|CANCELLED by 0|0:15|{cancelled}#{tag}")

    @property
    def scene(self) -> Scene:
        return self.look()


def hours_by_hand(site: Site, plan: Plan, run_id: str) -> float:
    """GPU-hours of a finished or failed run as its two files say."""
    import json

    total = 0.0
    for path in site.campaign.run(run_id).attempts.glob("*"):
        begun = json.loads((path / "attempt.json").read_text())
        outcome = path / "outcome.json"
        if outcome.exists():
            total += begun["gpus"] * (json.loads(outcome.read_text())["ended"] - begun["started"]) / 3600
    return total
