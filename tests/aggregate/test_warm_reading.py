"""A reading with a cache says what a reading without one says, whatever has been done to the tree or to the cache."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregate import processes
from aggregate.scores import listing, metric_files, reading_cache
from aggregate.scores.collection import Collection, collect
from aggregate.scores.metric_files import MetricFiles
from aggregate.scores.reading_cache import ReadingCache, open_cache
from aggregate.tables import main
from stilts.runs import write_json
from tests.aggregate.metric_tree import MNLI, make_document, make_metrics, write_row, write_task
from tests.aggregate.random_trees import PLANNED, change_tree, list_files, write_tree

TICK_S = 0.03  # longer than a tick of the clocks of this machine's file systems


@pytest.fixture(autouse=True, scope="module")
def small_caches() -> Iterator[None]:
    """Small trees have a cache too, and files settle soon enough for a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_cache, "LEAST_FILES", 0)
        patch.setattr(metric_files, "TICK_NS", int(TICK_S / 2 * 1e9))
        yield


class Opened:
    """The files that were opened since the last look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        read = MetricFiles._read_one

        def note(files: MetricFiles, path: str, is_marker: bool) -> None:
            self.paths.append(os.path.relpath(path, files.root))
            read(files, path, is_marker)

        monkeypatch.setattr(MetricFiles, "_read_one", note)

    def look(self) -> list[str]:
        paths, self.paths = sorted(self.paths), []
        return paths


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(monkeypatch)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A baseline and a row, settled."""
    results = tmp_path / "results"
    write_task(results, "pawsx", 80.0)
    write_task(results, "pawsx", 82.0, intermediate=MNLI)
    time.sleep(TICK_S)
    return results


@pytest.fixture
def cache(tmp_path: Path, results: Path) -> ReadingCache:
    return ReadingCache(results, tmp_path / "cache")


def settle() -> None:
    time.sleep(TICK_S)


@settings(max_examples=40, deadline=None)
@given(number=st.integers(0, 2**32), steps=st.integers(1, 4))
def test_a_warm_reading_equals_a_cold_one_after_any_changes(number: int, steps: int) -> None:
    numbers = random.Random(number)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "results")
        write_tree(root, numbers, numbers.randrange(60))
        cache = ReadingCache(root, Path(folder, "cache"))
        for _ in range(steps):
            assert collect(root, PLANNED, cache) == collect(root, PLANNED)
            settle()
            assert collect(root, PLANNED, cache) == collect(root, PLANNED)
            for _ in range(numbers.randrange(1, 4)):
                change_tree(root, numbers)
        assert collect(root, PLANNED, cache) == collect(root, PLANNED)


def test_only_what_has_changed_is_opened(results: Path, cache: ReadingCache, opened: Opened) -> None:
    collect(results, {}, cache)
    every = opened.look()
    assert len(every) == 14
    collect(results, {}, cache)
    assert opened.look() == []
    changed = list_files(results)[3]
    changed.write_text(changed.read_text().replace("80.0", "81.0").replace("82.0", "81.0"))
    settle()
    for again in ([str(changed.relative_to(results))], []):
        collect(results, {}, cache)
        assert opened.look() == again


def test_a_file_changed_a_moment_ago_is_opened_again(
    results: Path, cache: ReadingCache, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_files, "TICK_NS", 60_000_000_000)
    collect(results, {}, cache)
    opened.look()
    collect(results, {}, cache)
    assert len(opened.look()) == 14


def test_a_change_that_hides_its_time_is_seen(results: Path, cache: ReadingCache) -> None:
    before = collect(results, {}, cache)
    path = list_files(results)[0]
    status = path.stat()
    path.write_text(path.read_text().replace("80.0", "81.0").replace("82.0", "81.0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert collect(results, {}, cache) == collect(results, {}) != before


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_torn_cache_is_as_good_as_none(results: Path, cache: ReadingCache, share: float) -> None:
    expected = collect(results, {}, cache)
    content = cache.path.read_bytes()
    cache.path.write_bytes(content[: int(len(content) * share)])
    assert cache.load() is None
    assert collect(results, {}, cache) == expected
    assert cache.load() is not None


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_cache_changes_nothing(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results")
        write_task(results, "pawsx", 80.0)
        cache = ReadingCache(results, Path(folder, "cache"))
        settle()
        expected = collect(results, {}, cache)
        content = bytearray(cache.path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        cache.path.write_bytes(content)
        assert collect(results, {}, cache) == expected


def test_caches_of_other_code_of_other_results_and_of_other_users_are_not_used(
    results: Path, cache: ReadingCache, opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    collect(results, {}, cache)
    moved = tmp_path / "moved"
    shutil.copytree(results, moved)
    other = ReadingCache(moved, tmp_path / "cache")
    shutil.copy(cache.path, other.path)
    assert other.load() is None
    with monkeypatch.context() as patch:
        patch.setattr(reading_cache, "version", lambda: "another")
        assert cache.load() is None
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: 12345)
        assert cache.load() is None
    assert cache.load() is not None


def test_nothing_is_written_among_the_results(results: Path, cache: ReadingCache) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in results.rglob("*"))
    collect(results, {}, cache)
    assert sorted((path, path.stat().st_mtime_ns) for path in results.rglob("*")) == before


def test_where_no_cache_can_be_written_every_reading_is_cold(results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = ReadingCache(results, tmp_path / "file")
    assert collect(results, {}, cache) == collect(results, {}, cache) == collect(results, {})


def test_many_at_once_leave_one_whole_cache(results: Path, cache: ReadingCache) -> None:
    expected = collect(results, {})

    def read(number: int) -> Collection:
        if number % 3 == 0:
            cache.path.unlink(missing_ok=True)
        return collect(results, {}, cache)

    with ThreadPoolExecutor(8) as pool:
        assert all(one == expected for one in pool.map(read, range(40)))
    collect(results, {}, cache)
    assert [path.name for path in cache.path.parent.iterdir()] == [cache.path.name]


def test_caches_that_nobody_uses_are_removed(results: Path, cache: ReadingCache) -> None:
    old = cache.path.parent / "0123456789abcdef.npz"
    old.parent.mkdir()
    old.write_bytes(b"")
    os.utime(old, (time.time(), time.time() - 100 * 86400))
    collect(results, {}, cache)
    assert not old.exists()


def test_what_changed_files_leave_behind_does_not_grow(results: Path, cache: ReadingCache) -> None:
    paths = list_files(results)
    for value in range(10):
        for path in paths:
            path.write_text(json.dumps(json.loads(path.read_text()) | {"metrics": {"accuracy": float(value)}}))
        settle()
        assert collect(results, {}, cache) == collect(results, {})
    known = cache.load()
    assert known is None or len(known.columns.values) <= 2 * len(paths)


def test_a_doubtful_run_is_judged_by_the_markers_of_today(results: Path, cache: ReadingCache) -> None:
    run = results / "target-x"
    write_json(run / "metrics" / "de.json", make_document("xnli", "de", make_metrics("xnli", 50.0)))
    settle()
    standing = collect(results, {}, cache)
    write_json(run / "run.json", {"id": "target-x"})
    assert collect(results, {}, cache).files == standing.files - 1
    write_json(run / "DONE", {"output": "x", "needs": {"encoder": "one"}})
    assert collect(results, {}, cache).files == standing.files
    write_json(results / "encoder" / "DONE", {"output": "two"})
    assert collect(results, {}, cache).files == standing.files - 1
    write_json(results / "encoder" / "DONE", {"output": "two", "earlier": ["one"]})
    assert collect(results, {}, cache).files == standing.files


def write_odd_tree(root: Path) -> None:
    write_tree(root, random.Random(3), 50)
    for name in ("target-a.b", "target", "target-a0"):  # sorted otherwise than the paths of what they hold
        write_json(root / name / "metrics" / "de.json", make_document("xnli", "de", make_metrics("xnli", 50.0)))
    (root / "target-a.b" / "broken.json").write_text("{")
    (root / "target" / "metrics" / "strange.json").write_text(json.dumps(make_document("xnli", "xx", {"loss": 0.5})))
    os.mkdir(os.fsencode(root) + b"/\xff")
    os.symlink("nowhere", os.fsencode(root) + b"/\xff/\xfe.json")
    (root / "loop.json").symlink_to("loop.json")
    (root / "linked").symlink_to(root / "loose")
    (root / "superseded").mkdir()
    (root / "superseded" / "a.json").write_text("{}")


def test_a_listing_is_complete(tmp_path: Path) -> None:
    write_odd_tree(tmp_path)
    found = listing.list_tree(str(tmp_path), signed=True)
    assert len(found.signatures) == listing.FIELDS * sum(names.count("/") + 1 for _, names in found.folders)
    assert not any("superseded" in folder or "linked" in folder for folder, _ in found.folders)
    alone = listing.list_below(str(tmp_path), listing.list_top(str(tmp_path))[1])
    assert found.folders[1:] == alone.folders


def test_what_a_run_holds_beside_its_metrics_is_not_looked_at(tmp_path: Path) -> None:
    """Folders of the same names count where they are no run's."""
    for place in ("run", "loose"):
        for part in ("attempts/1.0", "checkpoints/step-1", "data", "metrics", "model", "predictions"):
            write_json(tmp_path / place / part / "a.json", {})
    write_json(tmp_path / "run" / "run.json", {})
    found = [folder for folder, _ in listing.list_tree(str(tmp_path)).folders]
    assert [folder for folder in found if folder.startswith("run")] == ["run", "run/metrics"]
    assert len([folder for folder in found if folder.startswith("loose/")]) == 6


@pytest.mark.parametrize("count", [2, 3, 8])
def test_what_several_processes_list_and_read_is_the_same(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    write_odd_tree(results)
    listed, read = listing.list_tree(str(results), signed=True), collect(results, PLANNED)
    assert read.sets and len({finding.reason for finding in read.findings}) > 3
    monkeypatch.setattr(processes, "LEAST_ITEMS", 1)
    monkeypatch.setattr(processes, "count_cores", lambda: count)
    settle()
    cache = ReadingCache(results, tmp_path / "cache")
    assert listing.list_tree(str(results), signed=True) == listed
    assert collect(results, PLANNED, cache) == read
    assert collect(results, PLANNED, cache) == read


def test_the_door_keeps_a_cache_and_leaves_it_aside_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    results = tmp_path / "results"
    write_row(results, 50.0)
    settle()

    def tabulate(*options: str) -> int:
        assert main(["--results", str(results), "--out", str(tmp_path / "out"), *options]) == 0
        return len(opened.look())

    counts = [tabulate("--no-cache"), tabulate(), tabulate(), tabulate("--no-cache")]
    assert counts[0] > 100
    assert counts == [counts[0], counts[0], 0, counts[0]]
    cache = open_cache(results)
    assert cache is not None
    assert cache.path.is_file() and cache.path.parent == tmp_path / "cache" / "stilts"
