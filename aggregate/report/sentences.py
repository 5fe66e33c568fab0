"""The summary: sentences whose every number is computed, and that claim no more than the numbers do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aggregate.evidence.contrasts import WHOLE
from aggregate.evidence.statistics import LEVEL, Estimate
from aggregate.evidence.verdicts import FAILS, HOLDS, UNTOLD
from aggregate.report.coverage import STATES, Coverage
from aggregate.scores.columns import AVERAGE, COLUMNS
from aggregate.sheets.claims_sheet import count_outcomes, shorten, show_p
from aggregate.sheets.main_sheet import note_caveats, note_narrow
from aggregate.sheets.sheet import Sheet, show_interval, show_number
from aggregate.study import Study

VERDICT_WORDS = {HOLDS: "Holds", FAILS: "Does not hold", UNTOLD: "Cannot tell"}
VERDICT_SIGNS = {HOLDS: "✓", FAILS: "✗", UNTOLD: "?"}
STATE_WORDS = {
    "partly": "scored in part",
    "apart": "set apart",
    "running": "running",
    "failed": "failed",
    "cancelled": "cancelled",
    "blocked": "blocked",
    "missing": "missing",
}
UNITS = {"best": "points over the row that decides", "slope": "points per doubling of the number of tasks"}


@dataclass(frozen=True)
class Sentence:
    """`verdict` is that of the claim that it is about, "" for one that states what was counted."""

    text: str
    verdict: str = ""
    claim: str = ""


def summarise(study: Study, coverage: Coverage, sheets: Sequence[Sheet]) -> list[Sentence]:
    """What there is, what its seeds can tell, then the claims in the order of their file."""
    sentences = [*describe_coverage(study, coverage), *describe_limits(study)]
    sentences += [*describe_tests(study), *describe_best(study)]
    claims = next((sheet for sheet in sheets if sheet.name == "claims"), None)
    records = [record for record in claims.records if record["part"] == WHOLE] if claims else []
    return [*sentences, *describe_verdicts(study, records), *map(describe_claim, records)]


def describe_coverage(study: Study, coverage: Coverage) -> Iterator[Sentence]:
    counts = coverage.counts
    every, done = counts.total(), counts["done"]
    what = f"{'score' if every == 1 else 'scores'} (row, target and seed)"
    if not coverage.from_grid:
        yield Sentence(f"No grid says what to expect; {every:,} {what} were found, {done:,} of them complete.")
    elif done == every > 0:
        yield Sentence(f"The study is complete: all {every:,} expected {what} are there.")
    else:
        others = [f"{counts[state.name]} {STATE_WORDS[state.name]}" for state in STATES[1:] if counts[state.name]]
        share = f" ({100 * done / every:.0f} %)" if every else ""
        yield Sentence(
            f"The study is not complete: {done:,} of {every:,} expected {what} are there{share}; {', '.join(others)}."
        )
    yield describe_files(study.collection.files, len(study.table.findings))


def describe_files(files: int, findings: int) -> Sentence:
    read = "1 metric file was read" if files == 1 else f"{files:,} metric files were read"
    if not findings:
        return Sentence(f"{read}; nothing is wrong with {'it' if files == 1 else 'them'}.")
    return Sentence(f"{read}; {findings} {'finding stands' if findings == 1 else 'findings stand'} below.")


def describe_limits(study: Study) -> Iterator[Sentence]:
    """Why numbers cannot be compared with published ones."""
    yield from (Sentence(f"{text}.") for _, text in (*note_narrow(study.table), *note_caveats(study.table)))


def describe_tests(study: Study) -> Iterator[Sentence]:
    """How many differences to the baseline are told from 0, of those that could be tested."""
    family, estimates = study.significance.family, study.significance.estimates
    keys = [(row.key, column.key) for row in study.table.rows if not row.key.is_baseline for column in COLUMNS]
    shown = [estimates[place] for place in keys if place in estimates]
    if not shown:
        yield Sentence("There is no difference to a baseline yet.")
        return
    if not family.adjusted:
        reasons = Counter(one.reason for one in estimates.values() if one.reason)
        why = reasons.most_common(1)[0][0] if reasons else "nothing could be tested"
        yield Sentence(f"No difference to a baseline can be tested ({why}), so no number here has a star.")
        return
    stars = [estimates[place] for place in family.survivors]
    up, down = sum(one.mean > 0 for one in stars), sum(one.mean < 0 for one in stars)
    tested = f"Of {len(family.adjusted):,} differences to a baseline that could be tested (averages included)"
    if not stars:
        yield Sentence(f"{tested} none can be told from 0 (Holm-adjusted p below {LEVEL:g}).")
        return
    yield Sentence(
        f"{tested} {len(stars)} can be told from 0 (Holm-adjusted p below {LEVEL:g}): {up} "
        f"{'gain' if up == 1 else 'gains'} and {down} {'loss' if down == 1 else 'losses'}."
    )


def describe_best(study: Study) -> Iterator[Sentence]:
    """The row with the highest average over all nine targets, as a description: a maximum is a selected number."""
    rows = [row for row in study.table.rows if not row.key.is_baseline and row.average.avg is not None]
    if len(rows) < 2:
        return
    best = max(rows, key=lambda row: (row.average.avg or 0.0, row.name))
    found = study.significance.estimates.get((best.key, AVERAGE))
    value = show_number(best.average.avg, signed=True)
    yield Sentence(
        f"The highest average of {len(rows)} rows is that of {best.name}: {value} points{describe_interval(found)}. "
        "It was picked as the highest, so a new run may well give less."
    )


def describe_interval(found: Estimate | None) -> str:
    if found is None:
        return ""
    if not show_interval(found):
        return f" ({found.reason})"
    return f" (95 % interval {show_interval(found)}, {found.n} {found.unit}s)"


def describe_verdicts(study: Study, records: Sequence[Mapping[str, object]]) -> Iterator[Sentence]:
    if not records:
        return
    counted = count_outcomes([str(record["verdict"]) for record in records])
    toy = " These are toy languages (made up): no verdict says anything about published claims."
    yield Sentence(f"Of {len(records)} claims {counted}.{toy if study.scope.suite == 'toy' else ''}")


def describe_claim(record: Mapping[str, Any]) -> Sentence:
    """The claim, what was measured with its interval, how it stands to the published value, and what is missing."""
    verdict = str(record["verdict"])
    parts = [*describe_measure(record), *describe_published(record)]
    if record["missing"]:
        head = "Missing to tell" if verdict == UNTOLD else "Missing besides"
        parts.append(f"{head}: {shorten(str(record['missing']))}.")
    return Sentence(" ".join(parts), verdict, str(record["text"]))


def describe_measure(record: Mapping[str, Any]) -> Iterator[str]:
    if record["kind"] == "count" and record.get("n"):
        rows = record["n"]
        least, most = round(record["low"] * rows), round(record["high"] * rows)
        yield f"{least} of {rows} rows gain{f', at most {most} may' if most > least else ''}."
    elif record["mean"] is None:
        yield "Nothing could be measured."
    else:
        unit = f"{record['n']} {record['unit']}{'s' if record['n'] > 1 else ''}"
        interval = "no interval"
        if record["low"] is not None and record["high"] is not None:
            low, high = (show_number(record[side], signed=True) for side in ("low", "high"))
            interval = f"95 % interval {low} to {high}"
        told = f", Holm-adjusted p {show_p(record['p_holm'])}" if record["p_holm"] is not None else ""
        what = UNITS.get(str(record["kind"]), "points")
        yield f"Measured {show_number(record['mean'], signed=True)} {what} ({interval}, {unit}{told})."


def describe_published(record: Mapping[str, Any]) -> Iterator[str]:
    if record["published"] is None:
        return
    value = f"Published: {show_number(record['published'], signed=True)}"
    contains = record["interval_has_published"]
    inside = {"yes": ", which the interval contains", "no": ", which the interval does not contain"}
    yield f"{value}{inside.get(str(contains), '')}."
