"""The table of the claims: p over all of them, published values, the shipped claims, LaTeX."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.aggregate.claims_tree import (
    NINE,
    check_claims,
    made,
    same,
    write_claims,
    write_full_study,
    write_gains,
)
from tests.aggregate.metric_tree import TOY, write_task
from tests.aggregate.test_output import compile_latex

ONE = {"mode": "single", "tasks": ["mnli"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


FAR = [3.0, 3.2, 2.9]


def test_holm_is_over_the_claims_with_a_test(results: Path, path: Path) -> None:
    write_gains(results, made("single", "mnli"), same([3.0, 3.9, 2.9, 3.5]))
    write_gains(results, made("single", "qqp"), same([1.0, -0.5, 2.0, 1.0]))
    claims: list[dict[str, Any]] = [
        {"kind": "difference", "rows": ONE},
        {"kind": "difference", "rows": {"mode": "single", "tasks": ["qqp"]}},
        {"kind": "difference", "rows": {"mode": "single", "tasks": ["csqa"]}},
        {"kind": "count", "rows": {"mode": "single"}, "at_least": 0.5},
    ]
    lines = check_claims(results, write_claims(path, *claims))
    low, high = float(lines["claim-0"]["p"]), float(lines["claim-1"]["p"])
    assert low < high
    assert float(lines["claim-0"]["p_holm"]) == pytest.approx(2 * low)
    assert float(lines["claim-1"]["p_holm"]) == pytest.approx(max(2 * low, high))
    assert [lines[f"claim-{number}"]["p_holm"] for number in (2, 3)] == ["", ""]
    told = (results.parent / "out" / "claims.md").read_text()
    assert "Holm-adjusted over the 2 claims with a test" in told
    assert "2 hold, 0 do not hold, 2 cannot be told" in told
    starred = [line for line in told.splitlines() if line.startswith("| It is so.") and re.search(r"\d\* \|", line)]
    assert len(starred) == 1


@pytest.mark.parametrize(
    ("published", "contains", "told"),
    [
        (3.0, "yes", "the interval contains the published value"),
        (2.0, "no", "the interval lies above the published value"),
        (4.0, "no", "the interval lies below the published value"),
    ],
)
def test_whether_the_interval_has_the_published_value(
    results: Path, published: float, contains: str, told: str
) -> None:
    write_gains(results, made("single", "mnli"), same(FAR))
    path = write_claims(results.parent / "mine.yaml", {"kind": "difference", "rows": ONE, "published": published})
    line = check_claims(results, path)["claim-0"]
    assert (line["published"], line["interval_has_published"]) == (str(published), contains)
    assert told in (results.parent / "out" / "claims.md").read_text()


def test_the_shipped_claims_on_next_to_nothing(tmp_path: Path) -> None:
    results = tmp_path / "runs"
    write_task(results, "xnli", 50.0)
    lines = check_claims(results)
    assert {line["verdict"] for line in lines.values()} == {"cannot tell"}
    assert all(line["missing"] and not line["mean"] and not line["p"] for line in lines.values())
    assert lines["mnli-helps"]["missing"] == "no row mnli"
    assert "No claim could be tested" in (tmp_path / "out" / "claims.md").read_text()


def test_the_shipped_claims_on_a_whole_study(tmp_path: Path, latex: str) -> None:
    """The study is made so: squad1 +8.2 and hellaswag +3 on average, the mixture better than all, and so on."""
    results = tmp_path / "runs"
    write_full_study(results)
    lines = {name: line for name, line in check_claims(results).items() if "/" not in name}
    verdicts = {name: line["verdict"] for name, line in lines.items()}
    untold = {name for name, verdict in verdicts.items() if verdict == "cannot tell"}
    assert untold == {"best-models", "english-beats-translated"}
    assert "does not hold" not in verdicts.values()
    contains = {name: line["interval_has_published"] for name, line in lines.items() if line["published"]}
    assert (contains["squad1-helps"], contains["hellaswag-helps"]) == ("yes", "no")
    assert lines["more-mixed-tasks-help"]["unit"] == lines["mixtures-beat-sequences-on-tydiqa"]["unit"] == "draw"
    assert lines["tydiqa-gains-from-many"]["n"] == "9"
    out = tmp_path / "out"
    (out / "main.tex").write_text((out / "claims.tex").read_text())
    log = compile_latex(latex, out)
    assert "Float too large" not in log and "Overfull" not in log


def test_latex_of_long_claims_with_awkward_settings(results: Path, path: Path, latex: str) -> None:
    """More than a page of them, each with a different and long list of what is missing."""
    setting = "intermediate.some_quite_long_setting_of_a_stage.with_parts={0:.2%} & more_$_of_#_it"
    claims = [
        {
            "claim": f"Claim {number}: {'a rather long sentence with 100 % of <it> & more, ' * 3}",
            "kind": "difference",
            "rows": {"mode": "sequential", "tasks": NINE[number % 5 :], "settings": [setting]},
            "minus": {"mode": "sequential", "tasks": NINE[:-1], "settings": [setting]},
        }
        for number in range(30)
    ]
    check_claims(results, write_claims(path, *claims))
    out = results.parent / "out"
    (out / "main.tex").write_text((out / "claims.tex").read_text())
    log = compile_latex(latex, out)
    assert "Float too large" not in log and "Overfull" not in log
    text = (out / "claims.tex").read_text()
    assert text.count("\\begin{table}") == text.count("\\end{table}") > 1
    assert text.count("cannot tell") >= 30 and "(claims.csv)" in text
    lines = [line for line in (out / "claims.md").read_text().splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1 and len(lines) == 32


def test_bytes_are_the_same_again(results: Path) -> None:
    write_gains(results, made("single", "mnli"), same(FAR))
    texts = []
    for _ in range(2):
        check_claims(results)
        texts.append([(results.parent / "out" / f"claims.{suffix}").read_bytes() for suffix in ("csv", "tex", "md")])
    assert texts[0] == texts[1]


def test_toy_languages_say_nothing_about_published_claims(tmp_path: Path, path: Path) -> None:
    results = tmp_path / "runs"
    for seed, gain in enumerate(FAR, 1):
        for target in TOY:
            write_task(results, target, 50.0, suite="toy", seed=seed)
            write_task(results, target, 50.0 + gain, suite="toy", seed=seed, intermediate=made("single", "mnli"))
    claims = [{"kind": "difference", "rows": ONE}, {"kind": "difference", "rows": ONE, "targets": ["xnli"]}]
    lines = check_claims(results, write_claims(path, *claims))
    assert (lines["claim-0"]["verdict"], lines["claim-1"]["verdict"]) == ("cannot tell", "holds")
    assert "not a target of suite toy" in lines["claim-0"]["missing"]
    assert "no verdict says anything about published claims" in (tmp_path / "out" / "claims.md").read_text()
