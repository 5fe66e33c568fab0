"""The door: from any tree of metric files to the tables of the study.

python aggregate/tables.py --results runs --out tables
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

if __package__ in (None, ""):
    # Run as a script: the repository root takes the place of this folder, whose module names are too plain.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from aggregate.evidence.claims import CLAIMS
from aggregate.processes import Aside
from aggregate.report.page import build_report
from aggregate.scores.collection import without_garbage_collection
from aggregate.scores.expectation import GRID_IN_RESULTS
from aggregate.scores.reading_cache import open_cache
from aggregate.sheets.choice_sheet import build_choice_sheet
from aggregate.sheets.claims_sheet import build_claims_sheet
from aggregate.sheets.cost_sheet import build_cost_sheet
from aggregate.sheets.intermediate_sheet import build_intermediate_sheet
from aggregate.sheets.language_sheets import build_language_sheets
from aggregate.sheets.layer_sheet import build_layer_sheet
from aggregate.sheets.main_sheet import build_main_sheet, list_details
from aggregate.sheets.regime_sheet import build_tydiqa_sheet
from aggregate.sheets.scaling_sheet import build_scaling_sheet, list_slopes
from aggregate.sheets.sheet import Sheet
from aggregate.sheets.transfer_sheet import build_transfer_sheet
from aggregate.sheets.xtreme_sheet import build_xtreme_sheet
from aggregate.study import Study, read_study
from aggregate.writing.figures import draw_figures
from aggregate.writing.latex import write_latex
from aggregate.writing.plain import format_terminal, list_findings, write_csv, write_markdown
from stilts.errors import UserError
from stilts.runs import write_bytes

MANUAL = f"""\
what it reads
  Every *.json below --results whose "schema" starts with "stilts.metrics/", wherever it lies and whoever
  wrote it; other JSON files are ignored. Not read are folders named "superseded", files over 1 MiB, and
  the attempts, checkpoints, data, model and predictions of a run folder (one with a run.json).
  Of a thousand files and more it keeps what they say in ~/.cache/stilts (or $XDG_CACHE_HOME), and the next time
  opens only those that have changed; --no-cache opens all of them.
  The table shows dev scores (xquad, tydiqa and tatoeba: their one released set). A cell is filled by the
  run that the grid names for it, whatever the labels in its files; without a grid the labels decide.

what it writes (each table as .csv at full precision, .tex and .md; none where the study has nothing for it)
  main             baselines in absolute values, every other row as differences; main.md lists what is wrong
                   with files; main_detail.csv has both sides of each difference and what its seeds say
  claims           each claim of --claims: published, measured, whether it holds, what is missing to tell
  xtreme           test scores: baseline, best models chosen on dev, published rows (your own: published.csv
                   in --results); xtreme_choice: which row was chosen for each target, and by what
  scaling          scores against the number of intermediate tasks, at the points that the scale blocks of the
                   grids in --results mark; without one, all rows with so many tasks; scaling_slopes.csv
  tydiqa           mixtures against sequences of the same tasks
  transfer         single tasks by targets
  intermediate     dev scores of the intermediate tasks themselves
  layers           retrieval by layer, where a sweep has scored them
  cost             hours, tokens, memory and attempts of the runs behind each row, where there is a plan
  bootstrap        with --bootstrap N: the main table with intervals over examples, from the predictions that the
                   plan's runs have stored: about these trained models, not about other seeds
  languages/       per target: every row by language, and means by script, family and pre-training size
  figures/         as .pdf and .svg: scaling curves, the transfer map, dots by language, curves over layers
  report.html      all of it on one page that opens from disk: what the numbers say in sentences, what is there and
                   what is missing, tables to sort and filter, and the runs behind every cell with their logs
  The .tex files are for \\input and need \\usepackage{{booktabs}} and \\usepackage[table]{{xcolor}}.

how to read it
  The first row of a block is its baseline in absolute values; the others are differences to it, paired by
  seed. A task has a score only when all its languages are there. Avg needs all nine tasks. A name shows the
  settings that tell rows of one training apart; those of all rows stand in the notes.
  --   missing, for the reason in the numbered note        †  mean over the complete tasks only
  ‡    mean over fewer languages than XTREME's            *  Holm-adjusted p below 0.05 over the table's tests

exit code
  0 written; 1 written, but --strict and something is missing or wrong; 2 nothing written

examples
  python aggregate/tables.py --results runs --out tables
  python aggregate/tables.py --results runs --out tables --grid runs/{GRID_IN_RESULTS.as_posix()} --strict
  python aggregate/tables.py --results runs --out tables --claims mine.yaml
  python aggregate/tables.py --results runs --out tables --bootstrap 1000
"""


MAX_TOLD = 100  # findings on the terminal

BUILDERS: tuple[Callable[[Study], Sheet | None], ...] = (
    build_scaling_sheet,
    build_tydiqa_sheet,
    build_transfer_sheet,
    build_intermediate_sheet,
    build_layer_sheet,
    build_cost_sheet,
)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="aggregate/tables.py",
        description="Write the tables of the study from a tree of metric files, complete or not.",
        epilog=MANUAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--results", type=Path, required=True, metavar="DIR", help="folder with metric files, any depth"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the tables; made if absent")
    parser.add_argument(
        "--grid",
        type=Path,
        metavar="FILE",
        help="the grid (its YAML, or the resolved JSON) that says what to expect; default: "
        f"{GRID_IN_RESULTS.as_posix()} below --results if it is there, else everything in the suite",
    )
    parser.add_argument(
        "--claims",
        type=Path,
        default=CLAIMS,
        metavar="FILE",
        help="the claims to check, in place of aggregate/claims.yaml, whose head says how they are written",
    )
    parser.add_argument("--no-cache", action="store_true", help="read every file anew, unchanged ones too")
    parser.add_argument(
        "--bootstrap",
        type=int,
        metavar="N",
        help="write the table bootstrap too, from N resamples (1000) of the examples in stored predictions",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if anything is missing or wrong")
    return parser.parse_args(arguments)


def build_sheets(study: Study, claims: Path = CLAIMS, resamples: int | None = None) -> list[Sheet]:
    """Every table that the study has something for, the main table first; `bootstrap` where resamples are asked for.
    Raises UserError where claims are wrong, or where there is nothing to resample from."""
    judged = build_claims_sheet(study, claims)
    made = [sheet for build in BUILDERS if (sheet := build(study)) is not None]
    main_sheet = build_main_sheet(study.table, study.significance)
    first = [main_sheet, *([judged] if judged else []), *build_xtreme_sheets(study)]
    if resamples is not None:
        from aggregate.sheets.bootstrap_sheet import build_bootstrap_sheet  # with pyarrow, half a second

        made.append(build_bootstrap_sheet(study, resamples))
    return [*first, *made, *build_language_sheets(study)]


def build_xtreme_sheets(study: Study) -> list[Sheet]:
    """Test scores and the choice behind them; none where no row has a score of any target."""
    return [build_xtreme_sheet(study), build_choice_sheet(study)] if study.scored.has_scores else []


def begin_figures(study: Study) -> Aside[dict[str, bytes]]:
    """The figures' files by name, drawn while the tables are made."""
    _ = study.table, study.significance, study.points  # what both start from is computed once
    return Aside(lambda: dict(draw_figures(study)))


def write_tables(out: Path, study: Study, sheets: Sequence[Sheet], figures: Aside[dict[str, bytes]]) -> list[Path]:
    """Write every file whole or not at all; the paths written."""
    findings = list_findings(study.table.findings, study.collection.files)
    texts: dict[str, str] = {}
    for sheet in sheets:
        texts[f"{sheet.name}.csv"] = write_csv(sheet.records)
        digest = sheet.join_digests(study.digest)
        texts[f"{sheet.name}.tex"] = write_latex(sheet, digest)
        texts[f"{sheet.name}.md"] = write_markdown(sheet, digest, findings if sheet.name == "main" else ())
    texts["main_detail.csv"] = write_csv(list(list_details(study.table, study.significance)))
    if slopes := list(list_slopes(study)):
        texts["scaling_slopes.csv"] = write_csv(slopes)
    contents = {name: text.encode() for name, text in texts.items()}
    draw = cache(figures.finish)
    report = build_report(study, sheets, draw, out)
    contents |= {**draw(), "report.html": report}
    for name, content in contents.items():
        try:
            write_bytes(out / name, content)
        except OSError as error:
            raise UserError(f"--out {out}: {name} cannot be written: {error.strerror}") from None
    return [out / name for name in contents]


@without_garbage_collection()
def main(arguments: list[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without † must not cost the table
    options = parse_arguments(arguments)
    try:
        study = read_study(options.results, options.grid, None if options.no_cache else open_cache(options.results))
        with begin_figures(study) as figures:
            sheets = build_sheets(study, options.claims, options.bootstrap)
            written = write_tables(options.out, study, sheets, figures)
    except UserError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2
    print(format_terminal(sheets[0], shutil.get_terminal_size((100, 24)).columns))
    print("\nwrote " + "\n      ".join(str(path) for path in written))
    table = study.table
    for finding in table.findings[:MAX_TOLD]:
        print(f"finding: {finding}", file=sys.stderr)
    if len(table.findings) > MAX_TOLD:
        rest = len(table.findings) - MAX_TOLD
        print(f"and {rest:,} findings more, all of them in {options.out / 'main.md'}", file=sys.stderr)
    if table.incomplete:
        print(f"{len(table.incomplete)} expected cells are missing or lack seeds: see the notes", file=sys.stderr)
    return 1 if options.strict and (table.incomplete or table.findings) else 0


if __name__ == "__main__":
    sys.exit(main())
