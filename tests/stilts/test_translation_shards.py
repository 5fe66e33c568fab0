"""Shards, parts and going on after a stop: the same bytes whatever happened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stilts.data.examples import Answer, Choice, Example, Pair, Question
from stilts.data.fetched import Fetched
from stilts.data.readers import read_set
from stilts.data.translated import find_family
from stilts.errors import UserError
from stilts.translation.shards import cut_parts, join_parts, take_shard, translate_parts
from stilts.translation.translator import Translator
from tests.support.tiny_seq2seq import TEXT, build_nllb

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch = pytest.importorskip("torch")
LABELS = ("contradiction", "entailment", "neutral")


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_nllb(tmp_path_factory.mktemp("models") / "nllb")


def make_pairs(count: int) -> list[Example]:
    return [Pair(f"p{n}", TEXT[n % 4], f"{TEXT[n % 3]} {n}", LABELS[n % 3]) for n in range(count)]


def make_choices(count: int) -> list[Example]:
    return [Choice(str(n), TEXT[n % 4], (f"ending {n}", "", TEXT[n % 3]), n % 3) for n in range(count)]


def make_questions(count: int) -> list[Example]:
    contexts = [" ".join(TEXT[n % 4 :]) for n in range(count)]
    questions = list[Example]()
    for n in range(count):
        context = contexts[n // 3]
        answers = (Answer("river", context.index("river")),) if "river" in context and n % 4 else ()
        questions.append(Question(f"q{n}", f"Who is number {n}?", context, answers))
    return questions


EXAMPLES = {"mnli": make_pairs, "hellaswag": make_choices, "squad2": make_questions}


class Job:
    """The work on one shard, as `jobs/translation.py` does it, with parts of five examples."""

    def __init__(self, model: Path, folder: Path, task: str, shard: int = 1, shards: int = 1, size: int = 5) -> None:
        self.folder, self.task, self.shard, self.shards = folder, task, shard, shards
        self.parts = take_shard(cut_parts(EXAMPLES[task](23), size), shard, shards)
        self.loads = 0
        self.beats: list[tuple[int, int]] = []
        self._model = model

    def load(self) -> Translator:
        self.loads += 1
        return Translator(self._model, "de", torch.device("cpu"), max_length=24)

    def run(self, stop_at: int | None = None) -> Path:
        """The written set; `stop_at`: raise KeyboardInterrupt when so many examples are done."""

        def beat(done: int, total: int) -> None:
            self.beats.append((done, total))
            if stop_at is not None and done >= stop_at:
                raise KeyboardInterrupt

        translate_parts(self.parts, self.load, self.folder / "parts", beat)
        manifest = {"suite": "xtreme", "task": self.task, "part": "train", "shard": self.shard, "shards": self.shards}
        self.manifest = join_parts(self.folder / "parts", len(self.parts), self.folder / "data", "train.de", manifest)
        return self.folder / "data" / "train.de.jsonl"


@pytest.mark.parametrize("task", EXAMPLES)
def test_a_translated_set_reads_back_with_its_labels(nllb: Path, tmp_path: Path, task: str) -> None:
    job = Job(nllb, tmp_path, task)
    path = job.run()
    fetched = Fetched.load(tmp_path / "data")
    assert fetched.sets == ("train.de",) and fetched.is_labelled("train.de")
    read = fetched.read("train.de")
    assert read.examples == read_set(task, "train.de", [path]).examples
    sources = {example.id: example for example in EXAMPLES[task](23)}  # type: ignore[union-attr]
    counts = job.manifest["translation"]["answers"]
    assert len(read.examples) == 23 - counts.get("dropped", 0) == job.manifest["counts"]["train.de"]["examples"]
    assert job.manifest["counts"]["train.de"]["skipped"] == counts.get("dropped", 0)
    for example in read.examples:
        match example, sources[example.id]:  # type: ignore[union-attr]
            case (Pair() as found, Pair() as source):
                assert found.label == source.label and found.text != source.text
            case (Choice() as found, Choice() as source):
                assert found.label == source.label and len(found.endings) == 3 and found.endings[1] == ""
            case (Question() as found, Question() as source):
                assert bool(found.answers) == bool(source.answers) and found.question != source.question
            case _:
                raise AssertionError
    if task == "squad2":
        assert sum(counts.values()) == 23
        assert counts["unanswerable"] == sum(not q.answers for q in sources.values() if isinstance(q, Question)) > 0


@pytest.mark.parametrize("task", EXAMPLES)
def test_shards_together_are_what_one_job_writes(nllb: Path, tmp_path: Path, task: str) -> None:
    whole = Job(nllb, tmp_path / "whole", task)
    text = whole.run().read_bytes()
    for shards in (2, 3, 9):  # with nine some have nothing to do
        jobs = [Job(nllb, tmp_path / f"{n}of{shards}", task, n, shards) for n in range(1, shards + 1)]
        assert b"".join(job.run().read_bytes() for job in jobs) == text
        for key in ("answers", "usage"):
            totals = whole.manifest["translation"][key]
            assert all(sum(job.manifest["translation"][key].get(k, 0) for job in jobs) == totals[k] for k in totals)


@pytest.mark.parametrize("task", EXAMPLES)
@pytest.mark.parametrize("stop_at", [0, 3, 12, 23])
def test_a_stopped_job_goes_on_and_writes_the_same(nllb: Path, tmp_path: Path, task: str, stop_at: int) -> None:
    whole = Job(nllb, tmp_path / "whole", task)
    text = whole.run().read_bytes()
    first = Job(nllb, tmp_path / "stopped", task)
    with pytest.raises(KeyboardInterrupt):
        first.run(stop_at)
    parts = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "stopped" / "parts").glob("*")}
    assert not (tmp_path / "stopped" / "data").exists()
    assert all(name.endswith(".json") for name in parts)
    again = Job(nllb, tmp_path / "stopped", task)
    assert again.run().read_bytes() == text
    assert again.loads == (0 if stop_at == 23 else 1)
    assert all((tmp_path / "stopped" / "parts" / name).stat().st_mtime_ns == time for name, time in parts.items())
    assert again.beats[0][0] >= sum(len(part) for part in again.parts[: len(parts)])
    assert again.beats[-1] == (23, 23) and again.beats == sorted(again.beats)
    for key in ("answers", "usage"):
        assert again.manifest["translation"][key] == whole.manifest["translation"][key]


def test_half_a_part_is_computed_again(nllb: Path, tmp_path: Path) -> None:
    text = Job(nllb, tmp_path, "mnli").run().read_bytes()
    (tmp_path / "parts" / "00002.json").write_text('{"rows": ["')
    job = Job(nllb, tmp_path, "mnli")
    assert job.run().read_bytes() == text and job.loads == 1


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 9), st.integers(1, 12))
def test_parts_and_shards_hold_everything_once_and_contexts_whole(numbers: list[int], size: int, shards: int) -> None:
    questions: Sequence[Any] = [Question(str(n), "?", f"context {c}", ()) for n, c in enumerate(numbers)]
    parts = cut_parts(questions, size)
    taken = [part for shard in range(1, shards + 1) for part in take_shard(parts, shard, shards)]
    assert [example for part in taken for example in part] == list(questions)
    assert all(part for part in parts)
    for first, second in pairwise(parts):
        assert first[-1].context != second[0].context  # type: ignore[union-attr]
        assert len(first) >= size
    counts = [len(take_shard(parts, shard, shards)) for shard in range(1, shards + 1)]
    assert max(counts) - min(counts) <= 1


def test_words_with_labels_cannot_be_translated() -> None:
    assert [find_family(task) for task in ("anli", "csqa", "squad1")] == ["pair", "choice", "span"]
    with pytest.raises(UserError, match=r"ccg: cannot be translated: .* labels belong to single words.* Leave it out"):
        find_family("ccg")
