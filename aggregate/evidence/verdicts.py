"""Whether a claim holds: a stated rule, and what is missing where it cannot be told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from aggregate.evidence.claims import Best, Claim, Count, Curves, Difference, Slope, Xtreme
from aggregate.evidence.contrasts import (
    WHOLE,
    Contrast,
    contrast_best,
    contrast_count,
    contrast_difference,
    contrast_xtreme,
)
from aggregate.evidence.curve_contrasts import contrast_curves, contrast_slope
from aggregate.evidence.statistics import LEVEL, Estimate, find_t, holm
from aggregate.study import Study

Outcome = Literal["holds", "does not hold", "cannot tell"]
HOLDS: Outcome = "holds"
FAILS: Outcome = "does not hold"
UNTOLD: Outcome = "cannot tell"
MOST_UNITS = 1000  # further than anybody will run


@dataclass(frozen=True)
class Tally:
    """Rows of a count: those that gain, those that do not, and those of which neither can be told."""

    gaining: int
    others: int
    untold: int

    @property
    def rows(self) -> int:
        return self.gaining + self.others + self.untold


@dataclass(frozen=True)
class Judgement:
    """A claim with its numbers. `estimate` is the one that decides, for a count there is a `tally` in its place;
    `deciding` is the rival of a best row that it is of. `missing` says what there is to know: why nothing can be told,
    then what lacks. `adjusted` are p of a best row's contrasts, Holm-adjusted over them."""

    claim: Claim
    contrast: Contrast
    outcome: Outcome
    estimate: Estimate | None = None
    tally: Tally | None = None
    deciding: str = ""
    missing: tuple[str, ...] = ()
    adjusted: Mapping[str, float] | None = None

    @property
    def p(self) -> float | None:
        """Of the test that the claim enters the family of all claims with."""
        if self.adjusted is not None:
            return self.adjusted.get(self.deciding)
        return self.estimate.p if self.estimate else None

    @property
    def has_published(self) -> bool | None:
        """Whether the interval contains the published value; None where either is not there."""
        published, found = self.claim.published, self.estimate
        if published is None or found is None or found.low is None or found.high is None:
            return None
        return found.low <= published <= found.high


def judge_claim(study: Study, claim: Claim) -> Judgement:
    match claim:
        case Difference():
            return judge_direction(claim, contrast_difference(study, claim))
        case Slope():
            return judge_direction(claim, contrast_slope(study, claim))
        case Curves():
            return judge_direction(claim, contrast_curves(study, claim))
        case Xtreme():
            return judge_direction(claim, contrast_xtreme(study, claim))
        case Best():
            return judge_best(claim, contrast_best(study, claim))
        case Count():
            return judge_count(claim, contrast_count(study, claim))


def judge_direction(claim: Difference | Slope | Curves | Xtreme, contrast: Contrast) -> Judgement:
    """Holds where the 95 % interval lies wholly on the claimed side of 0, fails where it reaches nowhere into it."""
    found = contrast.parts[WHOLE]
    outcome = UNTOLD if found is None else judge_interval(found, claim.expect == "above")
    missing = [*explain_interval(found)] if found and outcome == UNTOLD else []
    return Judgement(claim, contrast, outcome, found, missing=(*missing, *contrast.lacking))


def judge_interval(found: Estimate, above: bool) -> Outcome:
    if found.low is None or found.high is None:
        return UNTOLD
    low, high = (found.low, found.high) if above else (-found.high, -found.low)
    return HOLDS if low > 0 else FAILS if high <= 0 else UNTOLD


def explain_interval(found: Estimate) -> Iterator[str]:
    """Why an interval decides nothing, and how many units would."""
    if found.low is None or found.high is None or found.sd is None:
        yield found.reason
        return
    units = count_units(found.mean, found.sd)
    need = f"about {units}" if units else f"more than {MOST_UNITS}"
    width = f"the interval contains 0 and is {found.high - found.low:.1f} wide"
    yield f"{width}: at this mean and sd {need} {found.unit}s would be needed, there are {found.n}"


def count_units(mean: float, sd: float) -> int | None:
    """The fewest units whose 95 % interval at this mean and sd leaves out 0; None where they are too many."""
    for units in range(2, MOST_UNITS + 1):
        if find_t(LEVEL, units - 1) * sd < abs(mean) * math.sqrt(units):
            return units
    return None


def judge_best(claim: Best, contrast: Contrast) -> Judgement:
    """Holds where every contrast is above 0 with p < 0.05, Holm-adjusted over them; fails where one is below 0 with
    such a p. The one that decides: the least certain where all are above 0, else the surest of those that are not."""
    known = {name: part for name, part in contrast.parts.items() if part is not None}
    family = holm({name: part.p for name, part in known.items()})
    behind = {name: part for name, part in known.items() if part.mean <= 0}
    if not known:
        return Judgement(claim, contrast, UNTOLD, missing=contrast.lacking or ("no other row",), adjusted={})

    def find_p(name: str) -> float:
        return family.adjusted.get(name, 1.0)

    deciding = min(behind, key=find_p) if behind else max(known, key=find_p)
    surely_behind = deciding in behind and deciding in family.survivors
    whole = not contrast.absent and not contrast.unclear and len(known) == len(contrast.parts)
    ahead = not behind and whole and family.survivors == known.keys()
    outcome = FAILS if surely_behind else HOLDS if ahead else UNTOLD
    missing: list[str] = []
    if outcome == UNTOLD:
        unsure = [name for name in known if name not in family.survivors]
        missing += [f"not told apart from {', '.join(unsure)}"] if unsure else []
        missing += [part.reason for part in [known[deciding]] if part.reason]
    missing += contrast.lacking
    return Judgement(
        claim, contrast, outcome, known[deciding], deciding=deciding, missing=tuple(missing), adjusted=family.adjusted
    )


def judge_count(claim: Count, contrast: Contrast) -> Judgement:
    """Holds or fails where the rows that cannot be told, whatever they turn out to be, would not change it."""
    gaining = [name for name, part in contrast.parts.items() if part and part.low is not None and part.low > 0]
    others = [
        name
        for name, part in contrast.parts.items()
        if name not in gaining and part and part.high is not None and is_no_gain(part.high, claim.margin)
    ]
    untold = [name for name in contrast.parts if name not in gaining and name not in others]
    tally = Tally(len(gaining), len(others), len(untold) + len(contrast.absent) + len(contrast.unclear))
    if not contrast.parts:
        return Judgement(claim, contrast, UNTOLD, missing=contrast.lacking)
    lowest, highest = tally.gaining / tally.rows, (tally.gaining + tally.untold) / tally.rows
    if claim.at_least is not None:
        outcome = HOLDS if lowest >= claim.at_least else FAILS if highest < claim.at_least else UNTOLD
    else:
        assert claim.at_most is not None
        outcome = HOLDS if highest <= claim.at_most else FAILS if lowest > claim.at_most else UNTOLD
    missing: list[str] = []
    if outcome == UNTOLD and untold:
        missing.append(f"undecided: {', '.join(untold)}")
        missing += dict.fromkeys(part.reason for name in untold if (part := contrast.parts[name]) and part.reason)
    return Judgement(claim, contrast, outcome, tally=tally, missing=(*missing, *contrast.lacking))


def is_no_gain(high: float, margin: float) -> bool:
    """Whether an interval shows that a row does not gain: it reaches no further than `margin`, by default 0."""
    return high <= margin


def adjust_claims(judgements: list[Judgement]) -> dict[str, float]:
    """Holm-adjusted p by the name of the claim: those with a test are one family."""
    return holm({judgement.claim.name: judgement.p for judgement in judgements}).adjusted
