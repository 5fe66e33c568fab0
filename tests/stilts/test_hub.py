"""Sets from a hub: the same examples as from the original files, at commits that stay, and with the network gone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stilts.data.examples import Answer, Line, Pair, Question
from stilts.data.hub import Brought, bring_sets
from stilts.data.hub_rows import read_rows_of_hub
from stilts.data.hub_sets import CONVERTED, hub_sets
from stilts.errors import UserError
from tests.support.hub_originals import Original, list_originals, write_made_files
from tests.support.hub_repositories import SCHEMAS, lay_out, push_repositories
from tests.support.hub_server import HubServer, hub_environment, use_hub

# Ids that the hub has not, or that the slices have in another form.
_OWN_IDS = ("anli", "mnli", "qqp", "xnli", "udpos", "panx")
QQP = {"question1": "How?", "question2": "In what way?", "label": 1, "idx": 0}
HELLASWAG = {"ind": 4, "ctx": "A man", "endings": ["sits.", "falls."], "label": "1"}
ADVICE = "for it under `revisions`, or give the original files as `data_root`"
BRING = (
    "import json, sys; from pathlib import Path; from stilts.data.hub import bring_sets\n"
    "b = bring_sets('qqp', 'train', (), Path(sys.argv[1]), {}, Path(sys.argv[2])); print(json.dumps(b.sources))"
)


@pytest.fixture(scope="module")
def originals(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Original]:
    made = tmp_path_factory.mktemp("made")
    write_made_files(made)
    return list_originals(data_root, made)


@pytest.fixture(scope="module")
def brought(originals: list[Original], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Brought]:
    """Every (task, part) with the languages at hand, fetched from a hub that has them all."""
    server, folder = HubServer(), tmp_path_factory.mktemp("hub")
    push_repositories(server, originals)
    server.start()
    languages: dict[tuple[str, str], list[str]] = {}
    for original in originals:
        languages.setdefault((original.task, original.part), []).append(original.name.partition(".")[2])
    with use_hub(server, folder / "cache"):
        found = {
            (task, part): bring_sets(
                task, part, list(dict.fromkeys(codes)), folder / task / part, {}, folder / "commits"
            )
            for (task, part), codes in languages.items()
        }
    server.stop()
    return found


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """A hub with QQP alone."""
    server = HubServer()
    push_qqp(server, [QQP])
    server.start()
    with use_hub(server, tmp_path / "home" / "hub"):
        yield server
    server.stop()


def push_qqp(server: HubServer, rows: list[dict[str, Any]]) -> str:
    tables = {("qqp", split): rows for split in ("train", "validation")}
    return server.push("nyu-mll/glue", lay_out("nyu-mll/glue", "main", tables))


def bring_qqp(tmp_path: Path, commits: str = "commits") -> Brought:
    return bring_sets("qqp", "train", (), tmp_path / "out", {}, tmp_path / commits)


def compare(task: str, example: Any) -> Any:
    """What must be equal: all but ids that only one side has, and white space at a context's ends."""
    if isinstance(example, Question) and not task.startswith("squad"):
        cut = len(example.context) - len(example.context.lstrip())
        answers = tuple(Answer(answer.text, answer.start - cut) for answer in example.answers)
        example = replace(example, context=example.context.strip(), answers=answers)
        return replace(example, id="") if task == "tydiqa" else example
    return replace(example, id="") if task in _OWN_IDS else example


@pytest.mark.parametrize("number", range(43))
def test_same_examples_as_from_the_original_files(
    number: int, originals: list[Original], brought: dict[tuple[str, str], Brought]
) -> None:
    original = originals[number]
    (path,) = brought[original.task, original.part].found.sets[original.name]
    assert path.name == f"{original.name}.parquet"
    examples = read_rows_of_hub(original.task, original.name, path).examples
    expected = original.read()
    if original.task == "bucc2018":  # the hub has the sentences of gold pairs alone
        named = {name for line in expected for name in (line.partners and (line.id, *line.partners))}
        expected = [line for line in expected if line.id in named]
        expected.sort(key=lambda line: (line.english, line.id))
        examples.sort(key=lambda line: (line.english, line.id) if isinstance(line, Line) else (False, ""))
    assert len(expected) > 0
    assert [compare(original.task, one) for one in examples] == [compare(original.task, one) for one in expected]


def test_all_originals_are_compared(originals: list[Original]) -> None:
    assert len(originals) == 43


def test_pairs_without_a_gold_label_are_left_out_and_counted(brought: dict[tuple[str, str], Brought]) -> None:
    (path,) = brought["anli", "train"].found.sets["train.en"]
    reading = read_rows_of_hub("anli", "train.en", path)
    assert reading.skipped == 1
    assert pq.read_table(path)["part"].to_pylist().count("snli") == 5
    names = [example.id for example in reading.examples if isinstance(example, Pair)]
    assert len(set(names)) == len(reading.examples)


def test_tydiqa_is_trained_on_english_alone(brought: dict[tuple[str, str], Brought], originals: list[Original]) -> None:
    whole = brought["tydiqa", "train"]
    (path,) = whole.found.sets["train.en"]
    assert {name.partition("-")[0] for name in pq.read_table(path)["id"].to_pylist()} == {"english"}
    assert whole.sources[0]["rows"] == 600
    with pytest.raises(UserError, match=r"test\.fi\.parquet:row 1: question 'finnish.*begin with 'english-'"):
        read_rows_of_hub("tydiqa", "train.en", brought["tydiqa", "scored"].found.sets["test.fi"][0])


def test_sources_say_what_was_asked_for_and_what_came(brought: dict[tuple[str, str], Brought]) -> None:
    sources = brought["hellaswag", "train"].sources
    assert [(s["repo"], s["config"], s["split"], s["revision"], s["rows"]) for s in sources] == [
        ("Rowan/hellaswag", "default", "train", CONVERTED, 800),
        ("Rowan/hellaswag", "default", "validation", CONVERTED, 200),
    ]
    assert all(len(source["commit"]) == 40 for source in sources)
    assert [source["repo"] for source in brought["anli", "train"].sources[:5]] == [
        *["facebook/anli"] * 3,
        "nyu-mll/glue",
        "stanfordnlp/snli",
    ]


def test_the_commit_is_held_when_the_hub_moves_on(hub: HubServer, tmp_path: Path) -> None:
    first = bring_qqp(tmp_path).sources[0]
    data = (tmp_path / "out/train.en.parquet").read_bytes()
    moved = push_qqp(hub, [QQP, {**QQP, "question1": "Why?"}])
    again = bring_qqp(tmp_path).sources[0]
    assert again == first and (tmp_path / "out/train.en.parquet").read_bytes() == data
    record = json.loads((tmp_path / "commits/nyu-mll--glue@main.json").read_text())
    assert record == {"kind": "dataset", "repo": "nyu-mll/glue", "revision": "main", "commit": first["commit"]}
    other = bring_qqp(tmp_path, commits="another campaign").sources[0]
    assert (other["commit"], other["rows"]) == (moved, 2) != (first["commit"], 1)


def test_a_revision_by_repository(hub: HubServer, tmp_path: Path) -> None:
    before = hub.heads["dataset", "nyu-mll/glue"]["main"]
    push_qqp(hub, [QQP, QQP])
    revisions = {"nyu-mll/glue": before, "another/repository": "main"}
    source = bring_sets("qqp", "train", (), tmp_path / "out", revisions, tmp_path / "commits").sources[0]
    assert (source["revision"], source["commit"], source["rows"]) == (before, before, 1)


def test_what_is_held_and_cached_needs_no_network(hub: HubServer, tmp_path: Path) -> None:
    first = bring_qqp(tmp_path)
    hub.requests.clear()
    assert bring_qqp(tmp_path).sources == first.sources
    assert hub.requests == []
    hub.stop()
    assert bring_qqp(tmp_path).sources == first.sources
    # Another campaign, without network: the newest commit of that name in the cache, and it is recorded.
    assert bring_qqp(tmp_path, commits="another campaign").sources == first.sources
    hub.start()
    push_qqp(hub, [QQP, QQP])
    assert bring_qqp(tmp_path, commits="another campaign").sources == first.sources


def test_a_commit_of_which_the_cache_has_a_part(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library asks five times, with some seconds in between.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    tables = {("qqp", split): [QQP] for split in ("train", "validation")}
    mnli = [{"premise": "a", "hypothesis": "b", "label": 0}]
    more = {("mnli", "train"): mnli, ("mnli", "validation_matched"): mnli}
    hub.push("nyu-mll/glue", lay_out("nyu-mll/glue", "main", {**tables, **more}))
    bring_qqp(tmp_path)
    hub.stop()
    with pytest.raises(
        UserError, match=r"nyu-mll/glue at main: the hub did not give it and the cache does not have all"
    ):
        bring_sets("mnli", "train", (), tmp_path / "mnli", {}, tmp_path / "commits")
    hub.start()
    bring_sets("mnli", "train", (), tmp_path / "mnli", {}, tmp_path / "commits")
    assert (tmp_path / "mnli/dev.en.parquet").exists()


def test_two_processes_at_once_agree(hub: HubServer, tmp_path: Path) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", BRING, str(tmp_path / name), str(tmp_path / "commits")]
        environment = hub_environment(hub, tmp_path / name / "home")
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    processes = [start("one"), start("two")]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] and "it/s" not in outputs[0][1]
    assert [path.name for path in (tmp_path / "commits").iterdir()] == ["nyu-mll--glue@main.json"]
    hub.stop()
    again = subprocess.run(
        [sys.executable, "-c", BRING, str(tmp_path / "one"), str(tmp_path / "commits")],
        env=hub_environment(hub, tmp_path / "one" / "home"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert again.stdout == outputs[0][0], again.stderr


def test_everything_that_is_missing_is_named_at_once(hub: HubServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError) as caught:
        bring_sets("anli", "train", (), out, {"nyu-mll/glue": "main"}, tmp_path / "commits")
    absent = "not on the hub; log in if it is private (`hf auth login`), or give the original files as `data_root`"
    assert caught.value.problems == [
        f"dataset facebook/anli: {absent}",
        f"dataset nyu-mll/glue at main: no configuration mnli; there are qqp; name {CONVERTED} or a commit {ADVICE}",
        f"dataset stanfordnlp/snli: {absent}",
    ]
    assert not out.exists()


def test_a_missing_split_revision_and_network(hub: HubServer, tmp_path: Path) -> None:
    hub.push("nyu-mll/glue", lay_out("nyu-mll/glue", "main", {("qqp", "train"): [QQP]}))
    with pytest.raises(UserError, match=r"configuration qqp has no files of a split validation; its splits are train"):
        bring_qqp(tmp_path, commits="a")
    with pytest.raises(UserError, match=r"nyu-mll/glue: no revision v9; give a branch, tag or commit"):
        bring_sets("qqp", "train", (), tmp_path / "out", {"nyu-mll/glue": "v9"}, tmp_path / "b")
    hub.push("Rowan/hellaswag", lay_out("Rowan/hellaswag", CONVERTED, {("default", "train"): [HELLASWAG]}), CONVERTED)
    with pytest.raises(UserError, match=r"at refs/convert/parquet: configuration default has no files of a split val"):
        bring_sets("hellaswag", "train", (), tmp_path / "out", {}, tmp_path / "c")
    hub.stop()
    with pytest.raises(UserError, match=r"dataset rajpurkar/squad at main: the hub did not give it .*`data_root`"):
        bring_sets("squad1", "train", (), tmp_path / "out", {}, tmp_path / "d")
    assert not (tmp_path / "out").exists() and not (tmp_path / "d").exists()


def test_a_damaged_file_changes_nothing(hub: HubServer, tmp_path: Path) -> None:
    bring_qqp(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    files = lay_out("nyu-mll/glue", "main", {("qqp", split): [QQP, QQP] for split in ("train", "validation")})
    hub.push("nyu-mll/glue", {**files, "qqp/validation-00000-of-00001.parquet": b"PAR1 and no more"})
    with pytest.raises(
        UserError, match=r"nyu-mll/glue, commit \w+, qqp, validation: cannot be loaded .*; remove .*glue"
    ):
        bring_qqp(tmp_path, commits="later")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_set_without_labels_is_named(hub: HubServer, tmp_path: Path) -> None:
    hidden = [{**QQP, "label": -1}, {**QQP, "label": -1}]
    tables = {("qqp", "train"): [QQP], ("qqp", "validation"): hidden}
    hub.push("nyu-mll/glue", lay_out("nyu-mll/glue", "main", tables))
    found = bring_qqp(tmp_path).found
    assert found.unlabelled == ["dev.en"]
    examples = read_rows_of_hub("qqp", "dev.en", found.sets["dev.en"][0]).examples
    assert [example.label for example in examples if isinstance(example, Pair)] == [None, None]


def test_ccg_is_not_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ccg: not on the hub .*Linguistic Data Consortium.*`data_root`"):
        bring_sets("ccg", "train", (), tmp_path / "out", {}, tmp_path / "commits")


def test_every_set_has_a_known_schema() -> None:
    tasks = [(task, "train") for task in "anli mnli qqp squad1 squad2 hellaswag cosmosqa csqa".split()]
    tasks += [(task, "train") for task in "xnli pawsx udpos panx squad tydiqa".split()]
    tasks += [(task, "scored") for task in "xnli pawsx udpos panx xquad mlqa tydiqa bucc2018 tatoeba".split()]
    for hub_set in (one for task in tasks for one in hub_sets(*task)):
        assert any(f"{hub_set.repo} {hub_set.config}".startswith(key) for key in SCHEMAS), hub_set
