"""Claims of a study, read from a YAML file and checked: what is compared with what, and in which direction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stilts.document import Document, Location, read_document, unknown, validate
from stilts.tasks.catalogue import INTERMEDIATES, TARGET_ORDER, TOY_INTERMEDIATES

CLAIMS = Path(__file__).resolve().parents[1] / "claims.yaml"
ALL, AVG, REST = "all", "avg", "rest"

Text = Annotated[str, Field(min_length=1)]
Points = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Published = Annotated[float, Field(allow_inf_nan=False)]


class Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Selector(Checked):
    """Rows of the main table; the head of claims.yaml says what each key means."""

    mode: Literal["none", "single", "multitask", "sequential"]
    tasks: list[str] = Field(default_factory=list)
    mlm: bool = False
    translated: bool = False
    model: Text | None = None
    settings: list[Text] = Field(default_factory=list)

    @field_validator("tasks", mode="before")
    @classmethod
    def _tasks_are_known(cls, value: Any) -> Any:
        legal = {*INTERMEDIATES, *TOY_INTERMEDIATES}
        if value == ALL:
            return [ALL]
        if not isinstance(value, list) or not value:
            raise ValueError("give a list of tasks, or all; leave the key out for rows of any tasks")
        return _check_names(value, "task", legal)


class Base(Checked):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    claim: Text
    published: Published | None = None
    targets: list[str]

    @field_validator("targets", mode="before")
    @classmethod
    def _targets_are_known(cls, value: Any) -> Any:
        if value == AVG:
            return list(TARGET_ORDER)
        if not isinstance(value, list) or not value:
            raise ValueError(f"give {AVG} for the mean of all nine, or a list of targets ({', '.join(TARGET_ORDER)})")
        return _check_names(value, "target", set(TARGET_ORDER))


class Directed(Base):
    expect: Literal["above", "below"] = "above"


class Difference(Directed):
    kind: Literal["difference"]
    rows: Selector
    minus: Selector | None = None
    minus_same: Literal["mlm", "translated"] | None = None
    minus_targets: list[str] = Field(default_factory=list)

    @field_validator("minus_targets", mode="before")
    @classmethod
    def _others_are_known(cls, value: Any) -> Any:
        if value == REST:
            return [REST]
        if not isinstance(value, list) or not value:
            raise ValueError(f"give {REST} for all other targets, or a list of targets ({', '.join(TARGET_ORDER)})")
        return _check_names(value, "target", set(TARGET_ORDER))

    @property
    def other_targets(self) -> list[str]:
        """Those whose mean is taken off; none where nothing is."""
        rest = [target for target in TARGET_ORDER if target not in self.targets]
        return rest if self.minus_targets == [REST] else self.minus_targets


class Best(Base):
    kind: Literal["best"]
    row: Selector
    others: Selector


class Count(Base):
    kind: Literal["count"]
    rows: Selector
    at_least: Share | None = None
    at_most: Share | None = None
    margin: Points = 0.0


class Slope(Directed):
    kind: Literal["slope"]
    regime: Literal["multitask", "sequential"]
    model: Text | None = None
    settings: list[Text] = Field(default_factory=list)


class Curves(Directed):
    kind: Literal["curves"]
    model: Text | None = None
    settings: list[Text] = Field(default_factory=list)


class Xtreme(Directed):
    kind: Literal["xtreme"]
    rows: Selector


Claim = Difference | Best | Count | Slope | Curves | Xtreme
KINDS: dict[str, type[Claim]] = {
    "difference": Difference,
    "best": Best,
    "count": Count,
    "slope": Slope,
    "curves": Curves,
    "xtreme": Xtreme,
}


def _check_names(names: list[Any], what: str, legal: set[str]) -> list[Any]:
    for name in names:
        if name not in legal:
            raise ValueError(unknown(f"{what} {name!r}", str(name), legal))
    if len(set(names)) < len(names):
        raise ValueError(f"a {what} stands twice; name each once")
    return names


def read_claims(path: Path = CLAIMS) -> list[Claim]:
    """The claims of a file, in its order.

    Raises UserError with all problems, each with its line: unreadable YAML, unknown keys, kinds, tasks and targets,
    selectors that can match nothing, names that stand twice.
    """
    document = read_document(path)
    for key in document.value:
        if key != "claims":
            document.say((key,), unknown(f"key '{key}'", key, ["claims"]))
    entries = document.value.get("claims")
    if not isinstance(entries, list):
        document.say(("claims",), "'claims' is missing or no list; give a list of claims, each with a name and a kind")
        entries = []
    claims = [claim for claim in (_read_claim(document, index, entry) for index, entry in enumerate(entries)) if claim]
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str) and first.setdefault(name, index) != index:
            before = document.where(("claims", first[name], "name")).rpartition(":")[2]
            document.say(("claims", index, "name"), f"a second claim '{name}' (first on line {before}); rename one")
    document.check()
    return claims


def _read_claim(document: Document, index: int, entry: Any) -> Claim | None:
    at: Location = ("claims", index)
    if not isinstance(entry, dict):
        document.say(at, f"a claim is a mapping with a name and a kind; this is {entry!r}")
        return None
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        given = f"kind {kind!r}" if "kind" in entry else "kind (none is given)"
        document.say((*at, "kind"), unknown(given, str(kind), KINDS))
        return None
    claim = validate(document, KINDS[kind], entry, at)
    for key, problem in _list_contradictions(claim) if claim else ():
        document.say((*at, key), problem)
    return claim


def _list_contradictions(claim: Claim) -> Iterator[tuple[str, str]]:
    """What no single key shows, with the key where it stands."""
    for key in ("rows", "row", "minus", "others"):
        selector = getattr(claim, key, None)
        if isinstance(selector, Selector):
            yield from ((key, f"'{key}': {problem}") for problem in _list_unmatchable(selector))
    if isinstance(claim, Count) and (claim.at_least is None) == (claim.at_most is None):
        yield "kind", "a count needs one of at_least and at_most: a share of the rows, from 0 to 1"
    if isinstance(claim, Difference):
        if claim.minus and claim.minus_same:
            yield "minus_same", "give minus (other rows) or minus_same (each row's own counterpart), not both"
        if claim.minus_same and getattr(claim.rows, claim.minus_same):
            yield "minus_same", f"the rows have {claim.minus_same} themselves; select them without it"
        both = sorted({*claim.targets} & {*claim.other_targets})
        if both:
            yield "minus_targets", f"{', '.join(both)} stand on both sides; name a target on one"
        if claim.minus_targets and not claim.other_targets:
            yield "minus_targets", "no target is left beside those of 'targets'"


def _list_unmatchable(selector: Selector) -> Iterator[str]:
    """Why no row can be what a selector asks for."""
    if selector.mode == "none" and selector.tasks:
        yield f"mode none has no tasks, given {', '.join(selector.tasks)}"
    if selector.mode == "none" and not selector.mlm:
        yield "mode none is the baseline that every score is taken from; leave it out, or give mlm: true"
    if selector.mode in ("multitask", "sequential") and len(selector.tasks) == 1 and selector.tasks != [ALL]:
        yield f"mode {selector.mode} has several tasks, given {selector.tasks[0]}; a row of one task is mode single"
