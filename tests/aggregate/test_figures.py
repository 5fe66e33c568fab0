"""Figures: what they show, in both formats, and the same bytes from the same input."""

from __future__ import annotations

import os
import signal
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from aggregate import processes
from aggregate.study import Study, read_study
from aggregate.tables import main
from aggregate.writing.drawings.languages import draw_languages
from aggregate.writing.drawings.layers import draw_layers
from aggregate.writing.figures import draw_figures
from tests.aggregate.metric_tree import BASELINE, MNLI, write_task
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
    names = ("scaling", "transfer", "languages-xnli")
    assert set(figures) == {f"figures/{name}.{kind}" for name in names for kind in ("pdf", "svg")}
    pages = []
    for name in names:
        (tmp_path / f"{name}.pdf").write_bytes(figures[f"figures/{name}.pdf"])
        pages.append(f"\\includegraphics{{{name}.pdf}}\\clearpage")
    text = "\\documentclass{article}\\usepackage{graphicx}\\begin{document}" + "\n".join(pages) + "\\end{document}"
    (tmp_path / "all.tex").write_text(text)
    command = [latex, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert "(3 pages" in done.stdout, done.stdout[-2000:]


def test_curves_are_named_and_told_apart_without_colour(figures: dict[str, bytes]) -> None:
    found = texts(figures["figures/scaling.svg"])
    assert {"multitask", "sequential", "intermediate tasks", "Avg", "1", "2", "3"} <= set(found)
    assert figures["figures/scaling.svg"].count(b"stroke-dasharray") >= 1


def test_the_heat_map_has_the_numbers_of_the_table(figures: dict[str, bytes]) -> None:
    found = texts(figures["figures/transfer.svg"])
    assert {"mnli", "csqa", "qqp", "+1.0", "+4.0", "+30.0"} <= set(found)


def test_a_study_of_a_baseline_has_its_languages_alone(tmp_path: Path) -> None:
    write_task(tmp_path, "xnli", 70.0)
    assert set(dict(draw_figures(read_study(tmp_path)))) == {
        f"figures/languages-xnli.{kind}" for kind in ("pdf", "svg")
    }


def test_figures_are_written_beside_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregate.tables.draw_figures", draw_figures)
    write_task(tmp_path / "results", "xnli", 70.0)
    assert main(["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 0
    drawn = dict(draw_figures(read_study(tmp_path / "results")))
    assert drawn and all((tmp_path / "out" / name).read_bytes() == content for name, content in drawn.items())


@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: 1 / 0], ids=["killed", "failed"])
def test_where_their_process_dies_figures_are_drawn_all_the_same(
    end: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = os.getpid()

    def draw(study: Study) -> Iterator[tuple[str, bytes]]:
        for number, figure in enumerate(draw_figures(study)):
            if number and os.getpid() != here:
                (tmp_path / "begun").touch()
                end()
            yield figure

    monkeypatch.setattr("aggregate.tables.draw_figures", draw)
    monkeypatch.setattr(processes, "count_cores", lambda: 2)
    write_task(tmp_path / "results", "xnli", 70.0)
    assert main(["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "begun").exists()
    for name, content in draw_figures(read_study(tmp_path / "results")):
        assert (tmp_path / "out" / name).read_bytes() == content


def read_dots(results: Path, name: str) -> list[dict[str, list[float]]]:
    """By panel the x of every dot or line by its label, from the figure before it is written."""
    study = read_study(results)
    (figure,) = (figure for draw in (draw_languages, draw_layers) for found, figure in draw(study) if found == name)
    return [
        {
            str(line.get_label()): np.asarray(line.get_data()[0 if "lang" in name else 1]).tolist()
            for line in panel.lines
        }
        for panel in figure.axes
    ]


def test_dots_are_the_scores_of_each_language(tmp_path: Path) -> None:
    """F1 and EM in panels of their own, large languages above: en, ru, id, fi, ko, ar, bn, te, sw."""
    for seed, shift in ((1, 0.0), (2, 2.0)):
        for number, language in enumerate(["sw", "te", "bn", "ar", "ko", "fi", "id", "ru", "en"]):
            for made, gain in ((BASELINE, 0.0), (MNLI, 5.0)):
                score = 40.0 + number + gain + shift
                write_task(tmp_path, "tydiqa", score, score - 10, [language], intermediate=made, seed=seed)
    f1, exact = read_dots(tmp_path, "languages-tydiqa")
    assert f1["xlm-roberta-large"] == pytest.approx([49.0 - number for number in range(9)])
    assert f1["mnli"] == pytest.approx([54.0 - number for number in range(9)])
    assert exact["mnli"] == pytest.approx([44.0 - number for number in range(9)])


def test_of_many_rows_the_best_of_each_kind_are_shown(tmp_path: Path) -> None:
    tasks = ["anli", "ccg", "cosmosqa", "csqa", "hellaswag", "mnli", "qqp", "squad1"]
    write_task(tmp_path, "pawsx", 50.0)
    for number, task in enumerate(tasks):
        write_task(tmp_path, "pawsx", 60.0 + number, intermediate=MNLI | {"tasks": [task]})
    write_task(tmp_path, "pawsx", 51.0, intermediate=MNLI | {"mlm": True})
    write_task(tmp_path, "pawsx", 52.0, intermediate=MNLI | {"mode": "multitask", "tasks": ["ccg", "mnli"]})
    (panel,) = read_dots(tmp_path, "languages-pawsx")
    shown = [name for name in panel if not name.startswith("_")]
    assert shown == ["xlm-roberta-large", "hellaswag", "mnli", "qqp", "squad1", "ccg+mnli", "mnli (mlm)"]
    svg = dict(draw_figures(read_study(tmp_path)))["figures/languages-pawsx.svg"]
    assert "6 of 10 rows: the best of each kind of training, then the best others" in texts(svg)


def test_layer_curves_are_means_with_intervals_over_seeds(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        for layer in (None, 0, 1, 2):
            for made, gain in ((BASELINE, 0.0), (MNLI, 10.0)):
                score = 20.0 + 5 * (layer or 0) + gain + seed
                write_task(tmp_path, "tatoeba", score, intermediate=made, seed=seed, layer=layer)
    (panel,) = read_dots(tmp_path, "layers")
    assert panel["xlm-roberta-large"] == [22.0, 27.0, 32.0] and panel["mnli"] == [32.0, 37.0, 42.0]
    (figure,) = (figure for _, figure in draw_layers(read_study(tmp_path)))
    band = np.asarray(figure.axes[0].collections[1].get_paths()[0].vertices)
    half = 4.30265 / 3**0.5  # Student's t at 2 degrees of freedom, sd 1
    assert band[:, 1].min() == pytest.approx(32.0 - half, abs=1e-4)
    assert band[:, 1].max() == pytest.approx(42.0 + half, abs=1e-4)
