"""Studies for the tests of claims: one language a target, constructed gains, and claim files."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
import yaml

from aggregate.tables import main
from tests.aggregate.metric_tree import LANGUAGES, ONE_SET, write_task

NINE = ["anli", "ccg", "cosmosqa", "csqa", "hellaswag", "mnli", "qqp", "squad1", "squad2"]
TARGETS = tuple(LANGUAGES)
FIRST = {target: languages[0] for target, languages in LANGUAGES.items()}
BASE = 40.0

# Two-sided 5 % points of Student's t, typed in from a table, by n.
T = {2: 12.70620, 3: 4.30265, 4: 3.18245, 5: 2.77645}

Gains = dict[str, Mapping[int, float]]  # by target and seed


def made(mode: str, *tasks: str, mlm: bool = False, translated: bool = False) -> dict[str, Any]:
    return {"mode": mode, "tasks": list(tasks), "mlm": mlm, "translated": translated}


def write_gains(results: Path, intermediate: dict[str, Any], gains: Gains, **changes: Any) -> None:
    """Scores of a row whose baseline is BASE everywhere; F1 one point above, EM one below."""
    for target, by_seed in gains.items():
        for seed, gain in by_seed.items():
            apart = 1.0 if target in ("xquad", "mlqa", "tydiqa") else 0.0
            value, exact = BASE + gain + apart, BASE + gain - apart
            assert 0 <= exact <= value <= 100, "no score; its file would be left out"
            only = [FIRST[target]]
            write_task(results, target, value, exact, only, intermediate=intermediate, seed=seed, **changes)


def same(gains: Mapping[int, float] | Sequence[float], targets: Iterable[str] = TARGETS) -> Gains:
    """The same gains on all targets, by seed from 1."""
    by_seed = gains if isinstance(gains, Mapping) else dict(enumerate(gains, 1))
    return dict.fromkeys(targets, by_seed)


def vary(rng: random.Random, centre: float, spread: float = 0.4, seeds: int = 3, **means: float) -> Gains:
    """Gains around `centre`, for single targets around their own, different at every target and seed."""
    return {
        target: {seed: means.get(target, centre) + rng.uniform(-spread, spread) for seed in range(1, seeds + 1)}
        for target in TARGETS
    }


def keep_grid(results: Path, rows: Sequence[dict[str, Any]], test: bool = False, **expected: Any) -> None:
    """A resolved grid that asks for one language of each target on dev (its one released set), and on `test`."""
    splits = {target: ["test"] if target in ONE_SET else ["dev", "test"][: 1 + test] for target in TARGETS}
    targets = {target: {split: [FIRST[target]] for split in own} for target, own in splits.items()}
    path = results / "campaign" / "grid.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"expected": {"targets": targets, "rows": list(rows), **expected}}))


def check_claims(results: Path, claims: Path | None = None) -> dict[str, dict[str, str]]:
    """Lines of claims.csv by claim; those of parts by `claim/part`."""
    out = results.parent / "out"
    options = ["--claims", str(claims)] if claims else []
    assert main(["--results", str(results), "--out", str(out), *options]) == 0
    with open(out / "claims.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    return {"/".join(part for part in (line["claim"], line["part"]) if part): line for line in lines}


def write_claims(path: Path, *claims: Mapping[str, Any]) -> Path:
    """A claim file; what a claim does not say is filled in. Names are claim-0, claim-1 and so on."""
    defaults = {"claim": "It is so.", "targets": "avg"}
    filled = [{"name": f"claim-{number}", **defaults, **claim} for number, claim in enumerate(claims)]
    path.write_text(yaml.safe_dump({"claims": filled}))
    return path


def tell(results: Path, **claim: Any) -> tuple[str, str]:
    """Verdict on a claim, and what is missing."""
    line = check_claims(results, write_claims(results.parent / "mine.yaml", claim))["claim-0"]
    return line["verdict"], line["missing"]


def check(results: Path, **claim: Any) -> dict[str, str]:
    """The line of one claim; those of its parts stand under `parts`."""
    return check_parts(results, **claim)["it"]


def check_parts(results: Path, **claim: Any) -> dict[str, dict[str, str]]:
    path = results.parent / "mine.yaml"
    path.write_text(yaml.safe_dump({"claims": [{"name": "it", "claim": "It is so.", "targets": "avg", **claim}]}))
    return check_claims(results, path)


def assert_estimate(line: dict[str, str], values: Sequence[float], unit: str = "seed") -> None:
    half = T[len(values)] * stdev(values) / math.sqrt(len(values))
    found = [float(line[name]) for name in ("mean", "sd", "low", "high")]
    wanted = [mean(values), stdev(values), mean(values) - half, mean(values) + half]
    assert found == pytest.approx(wanted, abs=1e-4)
    assert (line["n"], line["unit"]) == (str(len(values)), unit)


def write_full_study(results: Path, draws: int = 3) -> None:
    """Everything that the shipped claims are about, with three seeds, by a seeded generator."""
    rng = random.Random(7)
    none, nine = made("none"), made("multitask", *NINE)
    write_gains(results, none, same([0.0, 0.0, 0.0]))
    rows, points = [none], []
    strong = {"squad1": 8.2, "mnli": 7.5, "hellaswag": 3.0}
    for task in NINE:
        average, tydiqa = strong.get(task, 4.0), 4.0 if task in strong else 0.1
        for changed, loss in ((False, 0.0), (True, 2.0)):
            row = made("single", task, mlm=changed)
            more = {"bucc2018": 9.0 + average, "tatoeba": 20.0 + average, "xnli": -0.7, "tydiqa": tydiqa + average}
            means = {target: value - loss for target, value in more.items()}
            write_gains(results, row, vary(rng, average - 5.0 - loss, 0.4, 3, **means))
            rows.append(row)
    for task in ("mnli", "squad1", "hellaswag"):
        row = made("single", task, translated=True)
        write_gains(results, row, vary(rng, strong[task], 6.0), variant="translation.languages=de,ru,sw")
        rows.append(row | {"variant": "translation.languages=de,ru,sw"})
    write_gains(results, made("multitask", *NINE, mlm=True), vary(rng, 6.0))
    rows.append(made("multitask", *NINE, mlm=True))
    for draw in range(1, draws + 1):
        order = rng.sample(NINE, len(NINE))
        for count in (1, 3, 9):
            for regime in ("multitask", "sequential"):
                own = sorted(order[:count]) if regime == "multitask" else order[:count]
                row = made(regime if count > 1 else "single", *own)
                if row not in rows:
                    gain = 8.9 if row == nine else 5.0 + count / 3 + (regime == "multitask") * 0.6
                    write_gains(results, row, vary(rng, gain))
                    rows.append(row)
                mark = {"count": count, "draw": draw, "regime": regime, "order": 1, "row": rows.index(row)}
                points.append(mark)
    keep_grid(results, rows, scale={"pool": NINE, "seed": 0, "points": points})
