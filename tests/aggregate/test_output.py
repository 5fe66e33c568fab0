"""What is written and printed: bytes, LaTeX that compiles, the terminal, the command itself."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aggregate.tables import main
from aggregate.writing.figures import draw_figures
from tests.aggregate.metric_tree import LANGUAGES, MNLI, read_table, write_row, write_task

ROOT = Path(__file__).resolve().parents[2]
FILES = ("main.csv", "main_detail.csv", "main.tex", "main.md")
XTREME = [f"{name}.{kind}" for name in ("xtreme", "xtreme_choice") for kind in ("csv", "tex", "md")]


def write_study(results: Path) -> None:
    """Every kind of cell: complete, partial, conflicting, awkward names."""
    write_row(results, 60.0)
    write_row(results, 61.26, intermediate=MNLI)
    write_row(results, 58.0, without=["xnli", "panx"], intermediate=MNLI | {"mlm": True})
    kept = [language for language in LANGUAGES["xnli"] if language != "sw"]
    write_task(results, "xnli", 58.0, languages=kept, intermediate=MNLI | {"mlm": True})
    tasks = ["anli", "ccg", "cosmosqa", "csqa", "hellaswag", "mnli", "qqp", "squad1", "squad2"]
    write_row(results, 62.0, intermediate=MNLI | {"mode": "multitask", "tasks": tasks})
    write_row(results, 62.5, intermediate=MNLI | {"mode": "sequential", "tasks": ["mnli", "squad1"]})
    awkward = 'lr=5e-6 {50%} & a_b #1 ~ ^ \\x $y <é> | 中 * `q` "w"'
    write_row(results, 40.0, variant=awkward)
    write_row(results, 41.0, variant=awkward, intermediate=MNLI)
    write_task(results, "bucc2018", 10.0, intermediate=MNLI)


def run_main(results: Path, out: Path, *options: str) -> int:
    return main(["--results", str(results), "--out", str(out), *options])


def test_bytes_do_not_depend_on_where_files_lie_or_in_which_order(tmp_path: Path) -> None:
    write_row(tmp_path / "results", 60.1)
    write_row(tmp_path / "results", 61.7, intermediate=MNLI)
    paths = list((tmp_path / "results").rglob("*.json"))
    random.Random(5).shuffle(paths)
    for index, path in enumerate(paths):
        copy = tmp_path / "moved" / f"{index % 7}" / f"{index}.json"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for name in ("results", "moved"):
        assert run_main(tmp_path / name, tmp_path / f"{name}-out") == 0
    for name in FILES:
        assert (tmp_path / "results-out" / name).read_bytes() == (tmp_path / "moved-out" / name).read_bytes()


def test_digest_of_the_inputs_heads_the_outputs_and_changes_with_them(tmp_path: Path) -> None:
    def read_digests() -> set[str]:
        assert run_main(tmp_path / "results", tmp_path / "out") == 0
        heads = [(tmp_path / "out" / name).read_text().splitlines()[0] for name in ("main.tex", "main.md")]
        assert heads[0].startswith("% ") and heads[1].startswith("<!-- ")
        return {re.findall(r"sha256 ([0-9a-f]{64})\b", head)[0] for head in heads}

    write_task(tmp_path / "results", "xnli", 50.0)
    first = read_digests()
    assert len(first) == 1 and read_digests() == first
    write_task(tmp_path / "results", "pawsx", 50.0)
    second = read_digests()
    assert second != first
    (tmp_path / "results" / "campaign").mkdir()
    (tmp_path / "results" / "campaign" / "grid.json").write_text(json.dumps({"expected": {"seeds": [1]}}))
    assert read_digests() != second


def test_nothing_is_left_but_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregate.tables.draw_figures", draw_figures)
    write_study(tmp_path / "results")
    run_main(tmp_path / "results", tmp_path / "deep" / "out")
    sheets = {f"{name}.{kind}" for name in ("claims", "scaling", "transfer") for kind in ("csv", "md", "tex")}
    written = {path.name for path in (tmp_path / "deep" / "out").iterdir()}
    assert written == {*FILES, *sheets, "scaling_slopes.csv", "figures", "languages", "report.html", *XTREME}


def test_out_that_is_a_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_task(tmp_path / "results", "xnli", 50.0)
    (tmp_path / "out").write_text("mine")
    assert run_main(tmp_path / "results", tmp_path / "out") == 2
    assert "error: --out" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def compile_latex(latex: str, folder: Path, name: str = "main") -> str:
    """Compile a document that inputs a table; the log."""
    preamble = "\\documentclass{article}\n\\usepackage{booktabs}\n\\usepackage[table]{xcolor}\n"
    body = f"\\begin{{document}}\n\\input{{{name}.tex}}\n\\end{{document}}\n"
    (folder / "document.tex").write_text(preamble + body)
    command = [latex, "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (folder / "document.pdf").stat().st_size > 1000
    return done.stdout


def test_latex_compiles_with_booktabs_alone(tmp_path: Path, latex: str) -> None:
    write_study(tmp_path / "results")
    run_main(tmp_path / "results", tmp_path / "out")
    log = compile_latex(latex, tmp_path / "out")
    assert "Float too large" not in log
    assert "Overfull" not in log
    text = (tmp_path / "out" / "main.tex").read_text()
    assert r"lr=5e-6 \{50\%\} \& a\_b \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}x \$y" in text
    assert "[U+4E2D]" in text
    assert r"mnli \textgreater{} squad1" in text
    assert text.count("\\toprule") == text.count("\\bottomrule") == text.count("\\begin{table}") == 1


def test_long_table_goes_on_in_a_second_one(tmp_path: Path, latex: str) -> None:
    """With names of two lines and a different gap in every row, so that the notes are many as well."""
    for model in ("xlm-roberta-large", "small"):
        write_task(tmp_path / "results", "xnli", 50.0, model=model)
        for index in range(30):
            tasks = [f"first-task-{index:02}", f"second-task-{index:02}"]
            intermediate = MNLI | {"mode": "sequential", "tasks": tasks}
            languages = [
                language for place, language in enumerate(LANGUAGES["xnli"]) if place not in (index, index - 14)
            ]
            write_task(tmp_path / "results", "xnli", 51.0, languages=languages, intermediate=intermediate, model=model)
    run_main(tmp_path / "results", tmp_path / "out")
    log = compile_latex(latex, tmp_path / "out")
    assert "Float too large" not in log and "Overfull" not in log
    text = (tmp_path / "out" / "main.tex").read_text()
    assert text.count("\\begin{table}") == text.count("\\end{table}") >= 3
    assert "small, continued" in text
    for index in range(30):
        assert text.count(f"second-task-{index:02}") == 2
    assert len(read_table(tmp_path / "out")) == 62


def test_markdown_tables_are_rectangular(tmp_path: Path) -> None:
    write_study(tmp_path / "results")
    run_main(tmp_path / "results", tmp_path / "out")
    lines = [line for line in (tmp_path / "out" / "main.md").read_text().splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert len(lines) == len(read_table(tmp_path / "out")) + 2 * 2


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_printed_table_fits_the_terminal(
    tmp_path: Path, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    write_study(tmp_path / "results")
    run_main(tmp_path / "results", tmp_path / "out")
    table, paths = capsys.readouterr().out.split("\nwrote ")
    assert max(map(len, table.splitlines())) <= columns
    for heading in ("XNLI", "PAWS-X", "POS", "NER", "XQuAD", "MLQA", "TyDiQA", "BUCC", "Tatoeba", "Avg", "Partial"):
        assert heading in table
    assert "missing: sw" in table and "-- [" in table
    assert all(name in paths for name in FILES)


def test_command_runs_from_anywhere_piped_and_without_heavy_libraries(tmp_path: Path) -> None:
    write_study(tmp_path / "results")
    script = (
        "import runpy, sys; sys.argv = sys.argv[1:]; sys.path[0] = sys.argv[0].rsplit('/', 1)[0]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'torch', 'transformers', 'datasets', 'deepspeed', 'submitit'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    door = str(ROOT / "aggregate" / "tables.py")
    options = ["--results", "results", "--out", "out", "--strict"]
    command = [sys.executable, "-c", script, door, *options]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1, done.stderr
    assert "xlm-roberta-large" in done.stdout and "out/main.csv" in done.stdout
    assert "finding: " in done.stderr and "Traceback" not in done.stderr
    plain = subprocess.run([sys.executable, door, *options[:4]], cwd=tmp_path, capture_output=True, timeout=180)
    assert plain.returncode == 0, plain.stderr


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for word in ("--results", "--strict", "main_detail.csv", "exit code", "examples", "stilts.metrics/"):
        assert word in text
