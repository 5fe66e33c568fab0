"""Five thousand damaged grid files: each is a plan, or a clean message."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from launch.cluster import load_cluster
from launch.plan import make_plan
from launch.spec import load_grid
from stilts.errors import UserError
from tests.launch.mutations import YAML, mutate

GRIDS = (
    """\
name: plain
data_root: /nowhere
axes:
  model: xlm-roberta-base
  intermediate: [none, mnli, [mnli, squad1]]
  regime: [multitask, sequential]
  target: [xnli, tatoeba]
  seed: [1, 2]
exclude:
  - {intermediate: [mnli], target: [tatoeba]}
include:
  - {intermediate: [qqp], target: [xquad], seed: [1]}
resources:
  - {match: {stage: intermediate, task: mnli}, timeout_min: 1440, mem_gb: 64}
intermediate:
  precision: bf16
  epochs: 2
  tasks: {mnli: {epochs: 1, learning_rate: 1.0e-5}}
languages: {xnli: [en, de], tatoeba: [de]}
keep: true
""",
    """\
name: zipped
suite: toy
axes:
  model: scratch
  intermediate: [none, each]
  target: [xnli, xquad]
  mlm: [false, true]
  seed: [3]
zip:
  - {target.epochs: [1, 2], target.batch_size: [8, 16]}
toy:
  sizes: {train: 64, dev: 40, test: 40}
pretrain: {steps: 100, layers: 2, hidden: 32, feed_forward: 64, heads: 2}
retrieval:
  sweep: true
report_to: tensorboard
target: {collapse: warn, restarts: 1}
""",
    """\
name: scaled
hub: all
axes:
  model: FacebookAI/xlm-roberta-large
  target: [xnli]
  translated: [false, true]
  seed: [1]
scale:
  counts: [1, 2]
  draws: 2
  orders: 1
  budget: {fixed_steps: 5000}
translation:
  languages: [de, sw]
  model: facebook/nllb-200-distilled-600M
""",
)
COUNT = 5000


@pytest.mark.parametrize("number", range(len(GRIDS)))
def test_the_grids_are_sound_before_they_are_damaged(number: int, tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(GRIDS[number])
    assert make_plan(load_grid(path), load_cluster(None)).runs


def test_five_thousand_damaged_grids(tmp_path: Path) -> None:
    """Whatever is not refused is a plan whose runs stand behind their parents under their own names."""
    rng, path, cluster = random.Random(6), tmp_path / "grid.yaml", load_cluster(None)
    outcomes: Counter[str] = Counter()
    for number in range(COUNT):
        text = mutate(GRIDS[number % len(GRIDS)], rng, YAML)
        path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
        try:
            plan = make_plan(load_grid(path), cluster)
        except UserError as refusal:
            outcomes["refused"] += 1
            for problem in refusal.problems:
                assert problem.strip() and "Traceback" not in problem, (number, text, problem)
                assert len(problem) < 10_000, (number, text, problem)
            continue
        except Exception as error:
            raise AssertionError(f"grid {number} ends in {type(error).__name__}: {error}\n{text!r}") from error
        outcomes["planned"] += 1
        seen: set[str] = set()
        for run_id, run in plan.runs.items():
            assert run_id == run.id and seen.issuperset(run.needs), (number, text)
            seen.add(run_id)
    assert outcomes["refused"] > 1500 and outcomes["planned"] > 300, outcomes
