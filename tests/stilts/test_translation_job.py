"""The translate stage as jobs run it: killed and resumed, stopped, and then prepared, on real slices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
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


class Campaign:
    """Run folders below one root, each executed as a job would."""

    def __init__(self, root: Path, model: Path, data_root: Path | None = None) -> None:
        self.root, self.data_root = root, data_root
        config = {"kind": "model", "model": str(model), "revision": "main", "role": "translator"}
        self.model = self.add("fetch", "model-nllb", config)
        self.execute(self.model)

    def add(self, stage: str, slug: str, config: dict[str, Any], *parents: Run) -> Run:
        infra = {"data_root": str(self.data_root)} if self.data_root and config.get("kind") == "data" else {}
        run = Run(stage, slug, config, tuple(parent.id for parent in parents), infra=infra)
        write_json(self.folder(run).spec, run.spec())
        return run

    def folder(self, run: Run) -> RunFolder:
        return RunFolder(self.root / run.id)

    def start(self, run: Run, attempt: str = "one") -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ROOT / "jobs" / "run.py"), "--run", str(self.root / run.id)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*command, "--attempt", attempt], env=environment, cwd="/")

    def execute(self, run: Run, attempt: str = "one") -> dict[str, Any]:
        """The facts of its DONE record."""
        code = self.start(run, attempt).wait(300)
        log = self.folder(run).attempts / attempt / "rank0.log"
        done = self.folder(run).read_done()
        assert code == 0 and done, log.read_text()
        return dict(done["facts"])

    def fetch(self, task: str, **config: Any) -> Run:
        run = self.add("fetch", f"{task}-train", {"kind": "data", "task": task, "part": "train", **config})
        self.execute(run)
        return run

    def translate(self, task: str, source: Run, shard: int, shards: int, language: str = "de") -> Run:
        config: dict[str, Any] = {"kind": "translate", "suite": "xtreme", "task": task, "language": language}
        config |= {"shard": shard, "shards": shards, "beams": 1, "max_length": 12}
        return self.add("translate", f"{task}-{language}-{shard}of{shards}", config, self.model, source)


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_nllb(tmp_path_factory.mktemp("models") / "nllb")


def wait_for_part(folder: RunFolder, process: subprocess.Popen[bytes]) -> list[Path]:
    """The parts that are written, as soon as there is one."""
    until = time.monotonic() + 120
    while not (parts := list(folder.path.glob("parts/*/*.json"))):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    return parts


@pytest.fixture(scope="module")
def undisturbed(nllb: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Any]]:
    """What a job that nobody disturbs writes, and its facts."""
    campaign = Campaign(tmp_path_factory.mktemp("undisturbed"), nllb)
    run = campaign.translate("mnli", campaign.fetch("mnli", suite="toy", toy=TOY), 1, 1)
    facts = campaign.execute(run)
    return (campaign.folder(run).data / "train.de.jsonl").read_bytes(), facts


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, "stop"])
def test_an_interrupted_job_goes_on_where_it_was(
    nllb: Path, undisturbed: tuple[bytes, dict[str, Any]], tmp_path: Path, how: signal.Signals | str
) -> None:
    campaign = Campaign(tmp_path / "runs", nllb)
    run = campaign.translate("mnli", campaign.fetch("mnli", suite="toy", toy=TOY), 1, 1)
    folder = campaign.folder(run)
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
    done = folder.read_done()
    assert done is not None and not (folder.path / "parts").exists()
    text, facts = undisturbed
    assert (folder.data / "train.de.jsonl").read_bytes() == text
    for key in ("examples", "pieces", "source_tokens", "target_tokens"):
        assert done["facts"][key] == facts[key] > 0
    assert facts["examples"] == 1500
    progress = json.loads(folder.progress.read_text())
    assert (progress["phase"], progress["step"], progress["total"]) == ("translate", 1500, 1500)


@pytest.mark.parametrize("task", ["mnli", "hellaswag", "squad2"])
def test_real_slices_are_translated_and_prepared(nllb: Path, data_root: Path, tmp_path: Path, task: str) -> None:
    campaign = Campaign(tmp_path / "runs", nllb, data_root)
    source = campaign.fetch(task, suite="xtreme")
    english = Fetched.load(campaign.folder(source).data).read("train.en").examples
    shards = [campaign.translate(task, source, shard, 2) for shard in (1, 2)]
    facts = [campaign.execute(run) for run in shards]
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


def test_a_language_that_the_model_lacks_fails_with_its_name(nllb: Path, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "runs", nllb)
    source = campaign.fetch("mnli", suite="toy", toy={**TOY, "sizes": {"train": 8, "dev": 8, "test": 8}})
    run = campaign.translate("mnli", source, 1, 1, "qaa")
    assert campaign.start(run).wait(120) == 1
    outcome = json.loads((campaign.folder(run).attempts / "one" / "outcome.json").read_text())
    assert outcome["state"] == "failed" and "language qaa: the NLLB model" in outcome["reason"]
