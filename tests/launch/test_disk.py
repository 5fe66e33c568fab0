"""Room on the disk, by hand; and a campaign that has not enough of it is not started."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from launch import disk
from launch.cluster import Cluster
from launch.disk import DiskNeed, Space, estimate_disk, find_lack, free_space, spell_bytes
from launch.plan import Plan
from tests.launch.conftest import make
from tests.launch.small import plan_of, small
from tests.support.campaigns import TINY_TOY, Study

LARGE = 560 * 10**6
BASE = 278 * 10**6
TOKENIZER = 22 * 10**6


def need_of(plan: Plan, parallel: int = 1000, done: tuple[str, ...] = ()) -> DiskNeed:
    """What runs need whose stage is not `done`."""
    return estimate_disk(plan, {run.id for run in plan.runs.values() if run.stage not in done}, parallel)


DATA = ("fetch", "prepare")


def test_encoders_and_checkpoints_by_hand() -> None:
    """Two mixtures of two seeds, four targets of XLM-R Base: weights are 4 bytes a parameter, a checkpoint is 12 and
    the best weights 4, and one training in ten writes a second checkpoint beside the first."""
    axes = {"intermediate": ["mnli"], "target": ["xnli"], "seed": [1, 2]}
    plan = plan_of(small(axes=axes))
    need = need_of(plan, done=DATA)
    weights, checkpoint = 4 * BASE + TOKENIZER, 16 * BASE
    targets, encoders = 2 * (checkpoint + weights), 2 * checkpoint
    assert need.at_once == 4
    expected = need.kept.bytes + 2 * weights + targets + encoders + (checkpoint + weights)
    assert need.peak.bytes == expected
    assert need.notes == ()


def test_what_stays_are_figures_and_records() -> None:
    """XNLI: 15 languages, dev and test."""
    plan = plan_of(small(axes={"target": ["xnli"]}))
    need = need_of(plan, done=DATA)
    assert need.kept.bytes == disk.RECORD_BYTES + 30 * (disk.METRIC_BYTES + 2000 * disk.PREDICTION_BYTES)
    assert need.kept.files == disk.RECORD_FILES + 30 + 2
    fewer = need_of(plan_of({**small(axes={"target": ["xnli"]}), "languages": ["en", "de"]}), done=DATA)
    assert fewer.kept.files == disk.RECORD_FILES + 4 + 2


def test_fewer_at_once_need_less_and_what_is_done_needs_nothing() -> None:
    plan = plan_of(small(axes={"intermediate": ["none", "each"], "target": "all", "seed": [1, 2, 3]}))
    peaks = [need_of(plan, parallel).peak.bytes for parallel in (1, 10, 1000)]
    assert peaks == sorted(set(peaks))
    kept = {need_of(plan, parallel).kept for parallel in (1, 10, 1000)}
    assert len(kept) == 1
    assert estimate_disk(plan, set(), 10) == DiskNeed(Space(0, 0), Space(0, 0), 0, ())


def test_models_that_are_kept_stay() -> None:
    grid = small(axes={"intermediate": ["mnli"], "target": ["xnli"]})
    plain, keeping = need_of(plan_of(grid)), need_of(plan_of({**grid, "keep": True}))
    assert keeping.kept.bytes - plain.kept.bytes == 2 * (4 * BASE + TOKENIZER)
    assert keeping.kept.files == (plain.kept.files or 0) + 2 * disk.MODEL_FILES


def test_an_unknown_model_is_told() -> None:
    axes = {"model": ["FacebookAI/xlm-roberta-large", "my/model", "/a/xlm-roberta-base/"], "intermediate": ["mnli"]}
    need = need_of(plan_of(small(axes=axes)))
    assert need.notes == ("the size of model my/model is unknown; 560 million parameters are assumed",)


def test_a_model_by_path_is_as_large_as_its_files(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.safetensors").write_bytes(bytes(8000))
    plan = plan_of(small(axes={"model": str(tmp_path / "mine"), "intermediate": ["mnli"]}))
    need = need_of(plan, done=("prepare", "fetch"))
    assert need.notes == ()
    assert need.peak.bytes - need.kept.bytes == 16 * 2000 * 3 + (4 * 2000 + 10**5) * 3


def test_a_model_from_scratch_is_small() -> None:
    plan = plan_of({**small(axes={"model": "scratch", "intermediate": ["mnli"]}), "suite": "toy"})
    assert need_of(plan, done=DATA).peak.bytes < 300 * 10**6


@pytest.mark.parametrize(
    ("change", "more"),
    [
        # text of 2 million sentences fetched and tokenised, at 32 sub-words
        ({"axes": {"mlm": [False, True]}}, 2_000_000 * 32 * (5 + 6)),
        # MNLI in two further languages, translated, and tokenised beside the English one once more
        (
            {
                "axes": {"translated": [False, True]},
                "translation": {"languages": ["de", "ru"], "model": "nllb-200-3.3b"},
            },
            392_702 * 42 * (2 * 5 + 3 * 6) + 3345 * 10**6 * 4 + TOKENIZER,
        ),
    ],
)
def test_text_and_translations_take_room(change: dict[str, Any], more: int) -> None:
    axes = {"intermediate": ["mnli"], "target": ["tatoeba"], **change.pop("axes")}
    grids = [small(axes={**axes, "mlm": [False], "translated": [False]}), small(axes=axes, **change)]
    plain, full = (need_of(plan_of(grid), done=("intermediate", "retrieval")) for grid in grids)
    added = full.kept.bytes - plain.kept.bytes
    assert more <= added <= more + 25 * disk.RECORD_BYTES


def test_the_file_system_of_a_root_that_is_not_there_yet(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    free = free_space(tmp_path / "not" / "yet")
    assert free.bytes == pytest.approx(found.f_bavail * found.f_frsize, rel=0.05)
    assert (free.files is None) == (found.f_files == 0)


def test_too_little_room_is_told_with_what_to_do(tmp_path: Path) -> None:
    free = free_space(tmp_path)
    assert find_lack(DiskNeed(Space(free.bytes // 2, 1), Space(1, 1), 1, ()), tmp_path) is None
    lack = find_lack(DiskNeed(Space(free.bytes * 3, 1), Space(10**6, 1), 1, ()), tmp_path) or ""
    assert re.search(r"needs room for about .*, and has .*Choose a --root with more room", lack)
    assert "array_parallelism" in lack
    assert "1 MB" in lack
    if free.files is not None:
        lack = find_lack(DiskNeed(Space(1, free.files * 3), Space(1, 1), 1, ()), tmp_path) or ""
        assert re.search(r"room for about [0-9,]+ files, and has room for [0-9,]+", lack)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_600, "1 MB"),
        (2_240_000_000, "2.2 GB"),
        (4_300_000_000_000, "4.3 TB"),
    ],
)
def test_bytes_are_spelled_for_people(count: int, text: str) -> None:
    assert spell_bytes(count) == text


def test_a_campaign_without_room_starts_nothing(tmp_path: Path) -> None:
    """Trainings of a million rows of embeddings: more than any disk of a test machine has."""
    grid = {**TINY_TOY, "pretrain": {**TINY_TOY["pretrain"], "vocabulary": 250_000, "hidden": 2**22, "layers": 1}}
    study = Study(tmp_path / "study", grid, options=("--executor", "local"))
    result = study.launch(check=False)
    assert result.returncode == 2
    assert "the file system needs room for about" in result.stderr
    assert "nothing was started" in result.stderr
    assert not list(study.root.glob("*/run.json"))
    shown = study.plan()["disk"]
    assert shown["peak"]["bytes"] > shown["free"]["bytes"]


def test_the_cluster_says_how_many_run_at_once(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", TINY_TOY)
    site = tmp_path / "site.yaml"
    site.write_text("name: site\narray_parallelism: 1\n")
    many = study.plan()["disk"]
    study = Study(tmp_path / "study", TINY_TOY, options=("--cluster", str(site)))
    one = study.plan()["disk"]
    assert (one["trainings_at_once"], many["trainings_at_once"]) == (1, 4)
    assert one["peak"]["bytes"] < many["peak"]["bytes"]
    assert Cluster(name="c").array_parallelism > 4


def test_estimates_are_about_what_a_finished_campaign_has(finished: Study, tmp_path: Path) -> None:
    """Files are counted within a factor of two, and never too few."""
    need = make(tmp_path).plan()["disk"]
    folders = [path for path in finished.root.iterdir() if path.name != "campaign"]
    files = sum(1 + len(list(folder.rglob("*"))) for folder in folders)
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    assert files <= need["peak"]["files"] <= 2 * files
    assert size <= need["peak"]["bytes"]
