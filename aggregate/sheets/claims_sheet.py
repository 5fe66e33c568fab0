"""The claims as a sheet: each with its published value, what was measured, and the verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aggregate.evidence.claims import CLAIMS, read_claims
from aggregate.evidence.contrasts import WHOLE
from aggregate.evidence.statistics import LEVEL, Estimate
from aggregate.evidence.verdicts import FAILS, HOLDS, UNTOLD, Judgement, adjust_claims, judge_claim
from aggregate.sheets.main_sheet import note_caveats, note_narrow
from aggregate.sheets.sheet import (
    MISSING,
    NARROW,
    Sheet,
    ShownBlock,
    ShownCell,
    ShownRow,
    list_figures,
    show_interval,
    show_number,
    show_p,
)
from aggregate.study import Study

HEADINGS = (
    ("published", "points"),
    ("measured", "points"),
    ("interval", "95 %"),
    ("over", "units"),
    ("p", "Holm"),
    ("verdict", ""),
    ("what is missing", "and what to know"),
)
NAME_WIDTH, TEXT_WIDTHS = 5.0, (0.0, 0.0, 0.0, 0.0, 0.0, 1.3, 6.0)  # cm
LONGEST_TEXT = 230  # characters; the whole text is in the CSV
OUTCOMES = {HOLDS: ("holds", "hold"), FAILS: ("does not hold", "do not hold"), UNTOLD: ("cannot be told",) * 2}
RULES = (
    "A directed claim holds where the 95 % interval over the units lies wholly on the claimed side of 0 (above, "
    "unless the claim says below); it does not hold where the interval lies wholly on the other side, 0 included; else "
    "it cannot be told",
    "A row is the best where it is above every other one, Holm-adjusted over these contrasts at p < 0.05; shown is the "
    "contrast that decides, with its own interval, unadjusted",
    "A count has no test: measured are the rows whose interval lies above 0, unadjusted, and the interval says to how "
    "many those that are undecided could raise them",
)
DRAWS = (
    "Draws are of one pool and share trainings, the whole pool as a mixture among them, and their seeds: their "
    "interval is about other draws from this pool"
)


def build_claims_sheet(study: Study, claims: Path = CLAIMS) -> Sheet | None:
    """One row for each claim of a file; None where it has none. Raises UserError as `read_claims` does."""
    found = read_claims(claims)
    if not found:
        return None
    judgements = [judge_claim(study, claim) for claim in found]
    adjusted = adjust_claims(judgements)
    rows = tuple(show_claim(study, judgement, adjusted) for judgement in judgements)
    digest = hashlib.sha256(claims.read_bytes()).hexdigest()
    rules = [*RULES, *([DRAWS] if is_over_draws(judgements) else []), f"Claims: {claims.name}, sha256 {digest[:16]}"]
    notes = (*(("", rule) for rule in rules), *note_narrow(study.table), *note_caveats(study.table))
    return Sheet(
        name="claims",
        title="Claims",
        caption=write_caption(study, judgements, adjusted),
        headings=HEADINGS,
        blocks=(ShownBlock("Claims", rows),),
        notes=notes,
        records=tuple(record for judgement in judgements for record in list_records(judgement, adjusted)),
        name_width=NAME_WIDTH,
        text_widths=TEXT_WIDTHS,
    )


def show_claim(study: Study, judgement: Judgement, adjusted: Mapping[str, float]) -> ShownRow:
    claim = judgement.claim
    p = adjusted.get(claim.name)
    narrow = any(study.scope.is_narrow(target) for target in claim.targets if target in study.scope.languages)
    measured, interval, units = show_measured(judgement)
    marks = (NARROW,) * (narrow and measured != MISSING)
    cells = (
        ShownCell(show_number(claim.published, signed=True)),
        ShownCell(measured, marks),
        ShownCell(interval),
        ShownCell(units),
        ShownCell(show_p(p), ("*",) * (p is not None and p < LEVEL)),
        ShownCell(judgement.outcome),
        ShownCell(shorten("; ".join(list_remarks(judgement)))),
    )
    return ShownRow(claim.claim, cells)


def show_measured(judgement: Judgement) -> tuple[str, str, str]:
    """The value, its interval, and the units that it is over."""
    found, tally = judgement.estimate, judgement.tally
    if tally is not None:
        return str(tally.gaining), f"{tally.gaining} to {tally.gaining + tally.untold}", f"{tally.rows} rows"
    if found is None:
        return MISSING, MISSING, MISSING
    interval = show_interval(found) or MISSING
    return show_number(found.mean, signed=True), interval, f"{found.n} {found.unit}{'s' if found.n > 1 else ''}"


def shorten(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT].rsplit(' ', 1)[0].rstrip(',.;:')} ... (claims.csv)"


def list_remarks(judgement: Judgement) -> Iterator[str]:
    """What is missing to tell, then what to know of what was measured."""
    if judgement.deciding:
        yield f"the contrast that decides is with {judgement.deciding}"
    yield from judgement.missing
    found, published = judgement.estimate, judgement.claim.published
    if judgement.has_published is not None and found and published is not None:
        side = "above" if found.mean > published else "below"
        yield f"the interval {'contains' if judgement.has_published else f'lies {side}'} the published value"


def write_caption(study: Study, judgements: Sequence[Judgement], adjusted: Mapping[str, float]) -> str:
    counts = count_outcomes([judgement.outcome for judgement in judgements])
    toy = "Toy languages (made up, not XTREME): no verdict says anything about published claims. "
    family = (
        f"p is Holm-adjusted over the {len(adjusted)} claims with a test, * where p < {LEVEL:g}: what stays of the "
        "verdicts, which are of each claim by itself, if all claims are taken together."
        if adjusted
        else "No claim could be tested, so there is no p."
    )
    return (
        f"Claims and what this study says about them: {counts}. {toy if study.scope.suite == 'toy' else ''}Numbers are "
        "gains over the baseline in points, paired by seed, from development scores in percent, as means over the "
        f"targets and rows that the claim names. {family}"
    )


def count_outcomes(outcomes: Sequence[str]) -> str:
    """`4 hold, 1 does not hold, 2 cannot be told`."""
    numbers = [(outcomes.count(outcome), told) for outcome, told in OUTCOMES.items()]
    return ", ".join(f"{number} {one if number == 1 else several}" for number, (one, several) in numbers)


def is_over_draws(judgements: Sequence[Judgement]) -> bool:
    return any(judgement.estimate is not None and judgement.estimate.unit == "draw" for judgement in judgements)


def list_records(judgement: Judgement, adjusted: Mapping[str, float]) -> Iterator[dict[str, object]]:
    """A line for the claim, then one for each row that a best or count is made from (`part`).

    Of a count `mean` and `low` are the share of rows that gain, `high` the share that might; the p of a part is that of
    its own t test, `p_holm` of a best row's parts is adjusted over them.
    """
    claim, tally = judgement.claim, judgement.tally
    head = {"claim": claim.name, "kind": claim.kind, "text": claim.claim, "part": WHOLE}
    numbers = list_numbers(judgement.estimate)
    if tally is not None:
        share, most = tally.gaining / tally.rows, (tally.gaining + tally.untold) / tally.rows
        numbers |= {"mean": share, "n": tally.rows, "unit": "row", "low": share, "high": most}
    contains = {None: None, True: "yes", False: "no"}[judgement.has_published]
    yield {
        **head,
        "targets": " ".join(claim.targets),
        **numbers,
        "p": judgement.p,
        "p_holm": adjusted.get(claim.name),
        "published": claim.published,
        "interval_has_published": contains,
        "verdict": judgement.outcome,
        "missing": "; ".join(judgement.missing),
        "rows": "; ".join(dict.fromkeys(judgement.contrast.rows)),
    }
    within = judgement.adjusted or {}
    for name, part in judgement.contrast.parts.items():
        if name != WHOLE:
            yield {**head, "part": name, **list_numbers(part), "p_holm": within.get(name)}


def list_numbers(found: Estimate | None) -> dict[str, object]:
    return list_figures(found, "mean", "sd", "n", "unit", "low", "high", "p")
