"""Fail where a test run left something out: `python -m tests.support.verdict REPORT` on pytest's JUnit report."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

GPU_REASON = "needs a GPU"


def judge(report: Path, collected: int) -> list[str]:
    """Reasons to reject a run: skipped tests (but for those that need a GPU), or fewer tests than the suite has."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    problems = [
        f"skipped: {case.get('classname')}.{case.get('name')}: {skipped.get('message')}"
        for case in cases
        for skipped in case.findall("skipped")
        if GPU_REASON not in (skipped.get("message") or "")
    ]
    if len(cases) < collected:
        problems.append(f"{len(cases)} tests ran, the suite has {collected}")
    if not any("slurm" in (case.get("classname") or "") for case in cases):
        problems.append("no real-Slurm test ran")
    return problems


def count_tests() -> int:
    """How many tests the suite has, by collecting it."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--no-header"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sum("::" in line for line in listed.splitlines())


if __name__ == "__main__":
    found = judge(Path(sys.argv[1]), count_tests())
    print("\n".join(found) or "every test of the suite ran")
    sys.exit(bool(found))
