"""Figures: what they show, in both formats, and the same bytes from the same input."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from aggregate.study import read_study
from aggregate.writing.figures import draw_figures
from tests.aggregate.metric_tree import write_task
from tests.aggregate.scale_tree import SCORES, keep, places, resolved, write_scores

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    results = tmp_path_factory.mktemp("results")
    for name, score in SCORES.items():
        write_scores(results, name, score)
    keep(results, resolved(places()))
    found = dict(draw_figures(read_study(results)))
    again = dict(draw_figures(read_study(results)))
    assert found == again, "not the same bytes"
    return found


def texts(svg: bytes) -> list[str]:
    return ["".join(element.itertext()).strip() for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_figure_is_there_in_both_formats(figures: dict[str, bytes], tmp_path: Path, latex: str) -> None:
    """As LaTeX includes them."""
    assert set(figures) == {f"figures/{name}.{kind}" for name in ("scaling", "transfer") for kind in ("pdf", "svg")}
    pages = []
    for name in ("scaling", "transfer"):
        (tmp_path / f"{name}.pdf").write_bytes(figures[f"figures/{name}.pdf"])
        pages.append(f"\\includegraphics{{{name}.pdf}}\\clearpage")
    text = "\\documentclass{article}\\usepackage{graphicx}\\begin{document}" + "\n".join(pages) + "\\end{document}"
    (tmp_path / "all.tex").write_text(text)
    command = [latex, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert "(2 pages" in done.stdout, done.stdout[-2000:]


def test_curves_are_named_and_told_apart_without_colour(figures: dict[str, bytes]) -> None:
    found = texts(figures["figures/scaling.svg"])
    assert {"multitask", "sequential", "intermediate tasks", "Avg", "1", "2", "3"} <= set(found)
    assert figures["figures/scaling.svg"].count(b"stroke-dasharray") >= 1


def test_the_heat_map_has_the_numbers_of_the_table(figures: dict[str, bytes]) -> None:
    found = texts(figures["figures/transfer.svg"])
    assert {"mnli", "csqa", "qqp", "+1.0", "+4.0", "+30.0"} <= set(found)


def test_a_study_without_points_or_single_tasks_has_no_figures(tmp_path: Path) -> None:
    write_task(tmp_path, "xnli", 70.0)
    assert dict(draw_figures(read_study(tmp_path))) == {}
