"""The door of XTREME submissions: score any, or export the predictions of a campaign as some.

python aggregate/submission.py --score PREDICTIONS --labels LABELS --out scores.json
python aggregate/submission.py --results runs --out submission
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from pathlib import Path

if __package__ in (None, ""):
    # Run as a script: the repository root takes the place of this folder, whose module names are too plain.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tabulate import tabulate

from aggregate.scores.columns import CATEGORIES, METRIC_TITLES, TARGET_TITLES
from aggregate.submissions.submission_metrics import METRICS
from aggregate.submissions.submission_score import WHOLE, Scores, TaskScores, score_submission
from stilts.errors import UserError
from stilts.runs import write_json
from stilts.tasks.catalogue import TARGETS

MANUAL = """\
the layout
  One folder a task, one file a language:
  xnli/test-de.tsv      one label a line: contradiction, entailment or neutral
  pawsx/test-de.tsv     one label a line: 0 or 1
  udpos/test-de.tsv     one tag a line, a blank line between sentences
  panx/test-de.tsv      as udpos
  xquad/test-de.json    predictions: {"question id": "text", ...}; labels: SQuAD's JSON
  mlqa/test-de.json     as xquad
  tydiqa/test-fi.json   as xquad
  bucc2018/test-de.tsv  foreign-id TAB English-id, one pair a line
  tatoeba/test-de.tsv   for each English sentence, in their alphabetical order, the line of its translation in the
                        foreign file, counted from 0

--score: a submission against labels
  Figures are those of XTREME's scorer with seqeval 0.0.12, in percent: accuracy for xnli, pawsx and tatoeba; chunk F1
  over bare tags for udpos, entity F1 for panx; SQuAD 1.1's F1 and exact match for xquad and tydiqa, MLQA's own for
  mlqa; F1 on id pairs for bucc2018. A task is the plain mean over its languages, English included, a QA task the mean
  of F1 and exact match, a category the mean of its tasks, the whole the mean of the nine tasks. scores.json has
  all_task, classification, tagging, qa, retrieval, and an object for each task.
  Predictions must be as many as labels, but for QA, where a question without a prediction counts 0, and bucc2018.
  What is missing is named; an average that needs it is null, the rest is scored.

--results: a campaign as submissions
  From <run>/predictions/*.parquet of finished runs, no GPU. --out is the submission itself where one row and seed are
  chosen, else it holds one folder for each. manifest.json in a submission says which run gave each file, and what
  is missing: there was no prediction for it, or one that --score would refuse, such as a label that the task does not
  have. A run without a seed (retrieval of the pretrained encoder) serves every seed. Sets whose
  labels are kept back are exported as others are.

Both need pyarrow and numpy.

exit code
  0 written, even where parts are missing; 2 nothing written

examples
  python aggregate/submission.py --score submission --labels labels --out scores.json
  python aggregate/submission.py --results runs --out submissions
  python aggregate/submission.py --results runs --out submission --row mnli --seed 1
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="aggregate/submission.py",
        description="Score an XTREME submission, or export the predictions of a campaign as submissions.",
        epilog=MANUAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    door = parser.add_mutually_exclusive_group(required=True)
    door.add_argument("--score", type=Path, metavar="DIR", help="score the submission in this folder; needs --labels")
    door.add_argument("--results", type=Path, metavar="DIR", help="export from the runs of this campaign root")
    parser.add_argument("--labels", type=Path, metavar="DIR", help="with --score: folder of labels in the same layout")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="--score: the JSON file; --results: the folder to make"
    )
    export = parser.add_argument_group("with --results")
    export.add_argument("--split", choices=("dev", "test"), help="the sets to export; default: test")
    export.add_argument("--grid", type=Path, metavar="FILE", help="default: the resolved grid in the campaign root")
    export.add_argument("--row", metavar="TEXT", help="only rows of the tables whose name is, or else contains, TEXT")
    export.add_argument("--seed", type=int, metavar="N", help="only this seed")
    options = parser.parse_args(arguments)
    strangers = ("split", "grid", "row", "seed") if options.score else ("labels",)
    for name in strangers:
        if getattr(options, name) is not None:
            parser.error(f"--{name} belongs to {'--results' if options.score else '--score'}")
    if options.score and not options.labels:
        parser.error("--score needs --labels, a folder of labels in the same layout")
    return options


def score(options: argparse.Namespace) -> int:
    if options.out.is_dir():
        raise UserError(f"--out {options.out}: a folder; name the JSON file to write")
    scores = score_submission(options.score, options.labels)
    try:
        write_json(options.out, scores.document())
    except OSError as error:
        raise UserError(f"--out {options.out}: cannot be written: {error.strerror}") from None
    print(format_scores(scores, shutil.get_terminal_size((100, 24)).columns))
    print(f"\nwrote {options.out}")
    for note in scores.notes:
        print(f"note: {note}", file=sys.stderr)
    for gap in scores.missing:
        print(f"missing: {gap}", file=sys.stderr)
    empty = [name for name, value in scores.averages().items() if value is None]
    if empty:
        print(f"no figure for want of these: {', '.join(empty)}", file=sys.stderr)
    return 0


def format_scores(scores: Scores, width: int) -> str:
    """Tasks below each other in their categories, then the averages, then each task's languages."""
    averages = scores.averages()
    headers = ["", "score", *METRIC_TITLES.values(), "languages"]
    body: list[list[str]] = []
    for category, tasks in CATEGORIES.items():
        body += [list_task(scores.tasks[task]) for task in tasks]
        body.append([f"= {category}", show(averages[category]), *("" for _ in headers[2:])])
    body.append(["= all nine tasks", show(averages[WHOLE]), *("" for _ in headers[2:])])
    align = ("left", *("right" for _ in headers[1:]))
    table = tabulate(body, headers, "simple", disable_numparse=True, colalign=align)
    wrapper = textwrap.TextWrapper(width, subsequent_indent="    ")
    lines = [wrapper.fill(list_languages(task)) for task in scores.tasks.values() if task.figures]
    return "\n".join([table, "", *lines])


def list_task(task: TaskScores) -> list[str]:
    metrics = METRICS[TARGETS[task.task].family]
    means = [show(task.mean(metric)) if metric in metrics else "" for metric in METRIC_TITLES]
    return [
        TARGET_TITLES[task.task],
        show(task.score),
        *means,
        f"{len(task.figures)}/{len(TARGETS[task.task].languages)}",
    ]


def list_languages(task: TaskScores) -> str:
    """`XQuAD F1/EM: ar 50.0/50.0, de ...`."""
    metrics = [metric for metric in METRIC_TITLES if metric in METRICS[TARGETS[task.task].family]]
    titles = "/".join(METRIC_TITLES[metric] for metric in metrics)
    figures = [
        f"{language} {'/'.join(show(values[metric]) for metric in metrics)}"
        for language, values in task.figures.items()
    ]
    return f"{TARGET_TITLES[task.task]} {titles}: {', '.join(figures)}"


def show(value: float | None) -> str:
    return "--" if value is None else f"{value:.1f}"


def export(options: argparse.Namespace) -> int:
    # Here, because the task families need more libraries than scoring does.
    from aggregate.submissions.submission_export import export_submissions

    exported = export_submissions(
        options.results, options.out, options.split or "test", options.grid, options.row, options.seed
    )
    for submission in exported:
        if submission.files:
            print(f"wrote {submission.folder}: {submission}: {len(submission.files)} files")
        else:
            print(f"nothing to write for {submission}", file=sys.stderr)
        for gap in submission.missing:
            print(f"missing in {submission}: {gap}", file=sys.stderr)
    return 0


def main(arguments: list[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without some letter must not cost the scores
    options = parse_arguments(arguments)
    try:
        return score(options) if options.score else export(options)
    except UserError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
