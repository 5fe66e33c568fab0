"""The claims file: what is shipped, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from aggregate.evidence.claims import CLAIMS, KINDS, read_claims
from aggregate.tables import main
from stilts.errors import UserError

ONE = {"mode": "single", "tasks": ["mnli"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def refuse(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(UserError) as refusal:
        read_claims(path)
    return [problem.replace(str(path), "FILE") for problem in refusal.value.problems]


def test_the_shipped_claims_are_those_of_the_paper_and_the_question() -> None:
    claims = {claim.name: claim for claim in read_claims()}
    published = {name: claim.published for name, claim in claims.items() if claim.published is not None}
    assert published == {
        "squad1-helps": 8.2,
        "squad2-helps": 8.2,
        "mnli-helps": 7.5,
        "hellaswag-helps": 7.0,
        "multitask-helps": 8.7,
        "best-models": 5.4,
    }
    assert {claim.kind for claim in claims.values()} == set(KINDS)


def test_the_head_of_the_shipped_file_documents_every_kind_and_key() -> None:
    head = CLAIMS.read_text().partition("\nclaims:")[0]
    assert all(line.startswith("#") or not line for line in head.splitlines())
    for kind, model in KINDS.items():
        assert re.search(rf"^# {kind} ", head, re.MULTILINE)
        for key in model.model_fields:
            assert re.search(rf"\b{key}\b", head), key


def test_all_mistakes_are_told_at_once_with_their_lines(path: Path) -> None:
    text = """claims:
  - name: first
    claim: It is so.
    kind: diference
    targets: avg
  - name: second
    claim: It is so.
    kind: difference
    rows: {mode: single, tasks: [mnlii]}
    targets: [xnly]
    expects: above
  - name: second
    claim: It is so.
    kind: count
    rows: {mode: multi}
    targets: avg
    at_least: 1.5
  - just text
claim: []
"""
    problems = refuse(path, text)
    wanted = [
        "FILE:4: unknown kind 'diference'; legal: best, count, curves, difference, slope, xtreme; did you mean",
        "FILE:9: 'rows.tasks' is ['mnlii']: unknown task 'mnlii'; legal: anli, ccg,",
        "FILE:10: 'targets' is ['xnly']: unknown target 'xnly'; legal: bucc2018, mlqa,",
        "FILE:11: unknown key 'expects'; legal: ",
        "FILE:12: a second claim 'second' (first on line 6); rename one",
        "FILE:15: unknown 'multi' for 'mode'; legal: multitask, none, sequential, single; did you mean 'multitask'?",
        "FILE:17: 'at_least' is 1.5: input should be less than or equal to 1",
        "FILE:18: a claim is a mapping with a name and a kind; this is 'just text'",
        "FILE:19: unknown key 'claim'; legal: claims; did you mean 'claims'?",
    ]
    assert len(problems) == len(wanted)
    for problem, start in zip(problems, wanted, strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        ("kind: difference", "key 'rows' is missing; it is required here"),
        ("rows: {mode: single}", "unknown kind (none is given); legal: best, count"),
        ("kind: difference, rows: {mode: none}", "'rows': mode none is the baseline that every score is taken from"),
        ("kind: difference, rows: {mode: none, tasks: [mnli], mlm: true}", "mode none has no tasks, given mnli"),
        ("kind: difference, rows: {mode: multitask, tasks: [mnli]}", "a row of one task is mode single"),
        ("kind: difference, rows: {mode: single, tasks: [mnli, mnli]}", "a task stands twice; name each once"),
        ("kind: difference, rows: {mode: single, tasks: []}", "give a list of tasks, or all"),
        ("kind: best, row: {mode: none}, others: {mode: single}", "'row': mode none is the baseline"),
        (
            "kind: difference, rows: {mode: single}, minus: {mode: multitask}, minus_same: mlm",
            "give minus (other rows) or minus_same (each row's own counterpart), not both",
        ),
        ("kind: difference, rows: {mode: single, mlm: true}, minus_same: mlm", "the rows have mlm themselves"),
        ("kind: difference, rows: {mode: single}, minus_targets: [xnli]", "xnli stand on both sides"),
        ("kind: difference, rows: {mode: single}, minus_targets: rest", "no target is left beside those of 'targets'"),
        ("kind: count, rows: {mode: single}", "a count needs one of at_least and at_most"),
        ("kind: count, rows: {mode: single}, at_least: 0.5, at_most: 0.5", "a count needs one of at_least and at_most"),
        ("kind: count, rows: {mode: single}, at_least: 0.5, margin: -1", "'margin' is -1"),
        ("kind: slope, regime: both", "unknown 'both' for 'regime'; legal: multitask, sequential"),
        ("kind: curves, expect: more", "unknown 'more' for 'expect'; legal: above, below"),
        ("kind: curves, published: .nan", "'published' is nan: input should be a finite number"),
        ("kind: curves, name: Upper Case", "'name' is 'Upper Case'"),
        ("kind: curves, targets: mean", "give avg for the mean of all nine, or a list of targets"),
    ],
)
def test_mistakes_are_refused_by_name(path: Path, claim: str, problem: str) -> None:
    defaults = {"name": "it", "claim": "It is so.", "targets": "avg"}
    own = yaml.safe_load(f"{{{claim}}}")
    [found] = refuse(path, yaml.safe_dump({"claims": [{**defaults, **own}]}))
    assert re.match(r"FILE:\d+: ", found) and problem in found


@pytest.mark.parametrize("text", ["", "claims: yes\n", "claims:\n"])
def test_a_file_without_a_list_is_refused(path: Path, text: str) -> None:
    assert refuse(path, text) == [
        "FILE:1: 'claims' is missing or no list; give a list of claims, each with a name and a kind"
    ]


def test_a_missing_or_wrong_file_ends_the_command(
    results: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--results", str(results), "--out", str(results.parent / "out"), "--claims", str(path)]
    assert main(options) == 2
    assert f"error: {path}: cannot be read" in capsys.readouterr().err
    path.write_text("claims: [{name: a, kind: b}]")
    assert main(options) == 2
    assert f"error: {path}:1: unknown kind 'b'" in capsys.readouterr().err
    assert not (results.parent / "out").exists()


def test_a_file_without_claims_makes_no_table(results: Path, path: Path) -> None:
    path.write_text("claims: []\n")
    out = results.parent / "out"
    assert main(["--results", str(results), "--out", str(out), "--claims", str(path)]) == 0
    assert not list(out.glob("claims.*"))
