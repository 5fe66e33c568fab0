"""The translate stage as jobs run it: killed and resumed, stopped, and then prepared, on real slices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stilts.data.examples import Choice, Pair, Question
from stilts.data.fetched import Fetched
from stilts.data.prepared import Prepared
from stilts.runs import Run, RunFolder, write_json
from tests.support.campaigns import ROOT
from tests.support.tiny_seq2seq import build_nllb

pytest.importorskip("torch")
TOY = {"seed": 0, "sizes": {"train": 1500, "dev": 8, "test": 8}}


@dataclass(frozen=True)
class Shelf:
    """A translation model and the folder of what was fetched."""

    root: Path
    model: Path


def start_job(folder: RunFolder, attempt: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "jobs" / "run.py"), "--run", str(folder.path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, "--attempt", attempt], env=environment, cwd="/")


def await_facts(folder: RunFolder, job: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The facts of the DONE record of a job's first attempt."""
    code, done = job.wait(300), folder.read_done()
    assert code == 0 and done, (folder.attempts / "one" / "rank0.log").read_text()
    return dict(done["facts"])


class Campaign:
    """Run folders below one root, each executed as a job would; what is fetched lies on a shelf for all campaigns."""

    def __init__(self, root: Path, shelf: Shelf, data_root: Path | None = None) -> None:
        self.root, self.shelf, self.data_root = root, shelf, data_root
        config = {"kind": "model", "model": str(shelf.model), "revision": "main", "role": "translator"}
        self.model = self.take(Run("fetch", "model-nllb", config))

    def add(self, stage: str, slug: str, config: dict[str, Any], *parents: Run) -> Run:
        run = Run(stage, slug, config, tuple(parent.id for parent in parents))
        write_json(self.folder(run).spec, run.spec())
        return run

    def folder(self, run: Run) -> RunFolder:
        return RunFolder(self.root / run.id)

    def start(self, run: Run, attempt: str = "one") -> subprocess.Popen[bytes]:
        return start_job(self.folder(run), attempt)

    def execute(self, *runs: Run) -> list[dict[str, Any]]:
        """Run them side by side; the facts of their DONE records."""
        jobs = [self.start(run) for run in runs]
        return [await_facts(self.folder(run), job) for run, job in zip(runs, jobs, strict=True)]

    def take(self, run: Run) -> Run:
        """Link a fetch from the shelf, where it is executed once."""
        kept = RunFolder(self.shelf.root / run.id)
        if kept.read_done() is None:
            write_json(kept.spec, run.spec())
            await_facts(kept, start_job(kept, "one"))
        self.root.mkdir(exist_ok=True)
        self.folder(run).path.symlink_to(kept.path)
        return run

    def fetch(self, task: str, **config: Any) -> Run:
        infra = {"data_root": str(self.data_root)} if self.data_root else {}
        config = {"kind": "data", "task": task, "part": "train", **config}
        return self.take(Run("fetch", f"{task}-train", config, infra=infra))

    def translate(self, task: str, source: Run, shard: int, shards: int, language: str = "de") -> Run:
        config: dict[str, Any] = {"kind": "translate", "suite": "xtreme", "task": task, "language": language}
        config |= {"shard": shard, "shards": shards, "beams": 1, "max_length": 12}
        return self.add("translate", f"{task}-{language}-{shard}of{shards}", config, self.model, source)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    return Shelf(folder, build_nllb(folder / "nllb"))


def wait_for_part(folder: RunFolder, process: subprocess.Popen[bytes]) -> list[Path]:
    """The parts that are written, as soon as there is one."""
    until = time.monotonic() + 120
    while not (parts := list(folder.path.glob("parts/*/*.json"))):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    return parts


WAYS: tuple[signal.Signals | str, ...] = (signal.SIGKILL, signal.SIGTERM, "stop")


@pytest.fixture(scope="module")
def interrupted(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[object, Future[RunFolder]]]:
    """Folders of the same translation, by the way in which it was interrupted before it went on; "no" for one that
    nobody disturbed. Two at a time: each is one thread's work."""
    campaigns = {how: Campaign(tmp_path_factory.mktemp("interrupted"), shelf) for how in ("no", *WAYS)}
    runs = {how: c.translate("mnli", c.fetch("mnli", suite="toy", toy=TOY), 1, 1) for how, c in campaigns.items()}
    with ThreadPoolExecutor(2) as pool:
        yield {how: pool.submit(interrupt, campaign, runs[how], how) for how, campaign in campaigns.items()}


def interrupt(campaign: Campaign, run: Run, how: signal.Signals | str) -> RunFolder:
    """Interrupt a translation when a part is written, and let it go on: that part stays as it is until the end."""
    folder = campaign.folder(run)
    if how == "no":
        campaign.execute(run)
        return folder
    process = campaign.start(run)
    kept = {path: path.stat().st_mtime_ns for path in wait_for_part(folder, process)}
    if isinstance(how, str):
        (folder.path / how).touch()
    else:
        process.send_signal(how)
    assert process.wait(60) != 0
    assert folder.read_done() is None
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    again = campaign.start(run, "two")
    while again.poll() is None:
        present = [path for path in kept if path.exists()]
        assert all(path.stat().st_mtime_ns == kept[path] for path in present)
        time.sleep(0.02)
    return folder


@pytest.mark.parametrize("how", WAYS)
def test_an_interrupted_job_goes_on_where_it_was(
    interrupted: dict[object, Future[RunFolder]], how: signal.Signals | str
) -> None:
    folder, undisturbed = interrupted[how].result(), interrupted["no"].result()
    done, expected = folder.read_done(), undisturbed.read_done()
    assert done is not None and not (folder.path / "parts").exists()
    assert expected is not None
    text = (undisturbed.data / "train.de.jsonl").read_bytes()
    assert (folder.data / "train.de.jsonl").read_bytes() == text
    facts = expected["facts"]
    for key in ("examples", "pieces", "source_tokens", "target_tokens"):
        assert done["facts"][key] == facts[key] > 0
    assert facts["examples"] == 1500
    progress = json.loads(folder.progress.read_text())
    assert (progress["phase"], progress["step"], progress["total"]) == ("translate", 1500, 1500)


@pytest.mark.parametrize("task", ["mnli", "hellaswag", "squad2"])
def test_real_slices_are_translated_and_prepared(shelf: Shelf, data_root: Path, tmp_path: Path, task: str) -> None:
    campaign = Campaign(tmp_path / "runs", shelf, data_root)
    source = campaign.fetch(task, suite="xtreme")
    english = Fetched.load(campaign.folder(source).data).read("train.en").examples
    shards = [campaign.translate(task, source, shard, 2) for shard in (1, 2)]
    facts = campaign.execute(*shards)
    assert sum(one["examples"] for one in facts) == len(english)
    config = {"suite": "xtreme", "task": task, "part": "train", "max_length": 256, "translated": ["de"]}
    if task == "squad2":
        config["stride"] = 64
    prepared_run = campaign.add("prepare", f"{task}-train-translated", config, campaign.model, source, *shards)
    campaign.execute(prepared_run)
    prepared = Prepared.load(campaign.folder(prepared_run).data)
    assert set(prepared.sets) == {"train.en", "dev.en", "train.de"}
    found = [e for run in shards for e in Fetched.load(campaign.folder(run).data).read("train.de").examples]
    assert len(prepared.open("train.de")) == len(found) > 0
    kept = {example.id: example for example in found}  # type: ignore[union-attr]
    for original in english:
        match original, kept.get(original.id):  # type: ignore[union-attr]
            case (Pair() as one, Pair() as other):
                assert one.label == other.label
            case (Choice() as one, Choice() as other):
                assert (one.label, len(one.endings)) == (other.label, len(other.endings))
            case (Question() as one, Question() as other):
                assert bool(one.answers) == bool(other.answers)
                for answer in other.answers:
                    assert other.context[answer.start : answer.start + len(answer.text)] == answer.text != ""
            case (Question(), None):
                pass
            case _:
                raise AssertionError(original)
    if task == "squad2":
        answers = {key: sum(one["answers"][key] for one in facts) for key in facts[0]["answers"]}
        assert sum(answers.values()) == len(english) and len(found) == len(english) - answers["dropped"]
        assert answers["unanswerable"] == sum(isinstance(e, Question) and not e.answers for e in english)


def test_a_language_that_the_model_lacks_fails_with_its_name(shelf: Shelf, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "runs", shelf)
    source = campaign.fetch("mnli", suite="toy", toy={**TOY, "sizes": {"train": 8, "dev": 8, "test": 8}})
    run = campaign.translate("mnli", source, 1, 1, "qaa")
    assert campaign.start(run).wait(120) == 1
    outcome = json.loads((campaign.folder(run).attempts / "one" / "outcome.json").read_text())
    assert outcome["state"] == "failed" and "language qaa: the NLLB model" in outcome["reason"]
