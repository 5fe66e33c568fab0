"""Fixtures shared by the tests, and the line at the end that says how many real-Slurm tests ran."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import system
from tests.support.browser import Pages, start_browser
from tests.support.slurm_cluster import SlurmCluster

# A test that uses one of these fixtures, directly or through another, gets the marker of the same row.
MARKERS = {
    "slurm_machine": ("slurm", "runs jobs on a real Slurm that the tests start on this machine"),
    "latex": ("latex", "compiles with pdflatex"),
    "chromium": ("browser", "clicks through a page in a headless Chromium"),
}


def pytest_configure(config: pytest.Config) -> None:
    for marker, meaning in MARKERS.values():
        config.addinivalue_line("markers", f"{marker}: {meaning}")


@pytest.hookimpl(tryfirst=True)  # before pytest itself selects by -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, (marker, _) in MARKERS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for group in terminalreporter.stats.values() for report in group]
    slurm = [report for report in reports if isinstance(report, pytest.TestReport) and "slurm" in report.keywords]
    ran = {report.nodeid for report in slurm if report.when == "call" and not report.skipped}
    skipped = {report.nodeid for report in slurm if report.skipped}
    terminalreporter.write_line(f"real-Slurm tests: {len(ran)} ran, {len(skipped)} skipped")


def require(refusal: str | None, packages: tuple[str, ...]) -> None:
    """Skip with the refusal, if there is one; else install what is missing, and skip if that cannot be done."""
    if refusal:
        pytest.skip(refusal)
    try:
        system.ensure_packages(*packages)
    except system.InstallError as error:
        pytest.skip(str(error))


def find_program(name: str, refusal: str | None, packages: tuple[str, ...]) -> str:
    """Path of a program, which is installed with its packages where it is missing."""
    if not shutil.which(name):
        require(refusal, packages)
    found = shutil.which(name)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def slurm_machine() -> None:
    """Leave to start a `SlurmCluster` here, with its packages installed; for tests that need one of their own."""
    require(system.slurm_refusal(), system.SLURM_PACKAGES)


@pytest.fixture(scope="session")
def slurm(slurm_machine: None) -> Iterator[SlurmCluster]:
    """The running four-node cluster that all tests share."""
    cluster = SlurmCluster().start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def latex() -> str:
    """Path of pdflatex."""
    return find_program("pdflatex", system.latex_refusal(), system.LATEX_PACKAGES)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium."""
    return find_program("chromium", system.chromium_refusal(), system.CHROMIUM_PACKAGES)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Pages]:
    """A headless Chromium for the tests of one module; they use `pages`."""
    with start_browser(chromium) as pages:
        yield pages


@pytest.fixture
def pages(browser: Pages) -> Iterator[Pages]:
    """Opens pages for one test, which fails at its end if one of them complained or asked for anything but files."""
    yield browser
    complaints, requests = list(browser.complaints), list(browser.requests)
    browser.close()
    assert (complaints, requests) == ([], [])


@pytest.fixture(scope="session")
def data_root(pytestconfig: pytest.Config) -> Path:
    """Folder of small real data slices: $STILTS_DATA, or shared/data beside the checkout."""
    root = Path(os.environ.get("STILTS_DATA") or pytestconfig.rootpath.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no data slices in {root}; name their folder in STILTS_DATA")
    return root
