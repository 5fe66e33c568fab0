"""CI's judgement of a test run: a skipped or missing test is not a pass."""

from __future__ import annotations

from pathlib import Path

from tests.support.verdict import judge

REPORT = """<testsuites><testsuite>
<testcase classname="tests.slurm.test_a" name="one"/>
<testcase classname="tests.test_b" name="two">{skip}</testcase>
</testsuite></testsuites>"""


def report(folder: Path, skip: str = "") -> Path:
    path = folder / "report.xml"
    path.write_text(REPORT.format(skip=skip))
    return path


def test_a_whole_run_passes(tmp_path: Path) -> None:
    assert judge(report(tmp_path), collected=2) == []


def test_a_skipped_test_fails_but_for_a_missing_gpu(tmp_path: Path) -> None:
    assert judge(report(tmp_path, '<skipped message="needs a GPU"/>'), collected=2) == []
    (problem,) = judge(report(tmp_path, '<skipped message="no Slurm here"/>'), collected=2)
    assert "no Slurm here" in problem


def test_fewer_tests_than_the_suite_has_fail(tmp_path: Path) -> None:
    (problem,) = judge(report(tmp_path), collected=3)
    assert problem == "2 tests ran, the suite has 3"


def test_a_run_without_slurm_fails(tmp_path: Path) -> None:
    path = report(tmp_path)
    path.write_text(path.read_text().replace("tests.slurm.", "tests."))
    assert judge(path, collected=2) == ["no real-Slurm test ran"]
