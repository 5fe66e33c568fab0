"""What is known of XTREME's languages, and the groups that a target's languages fall into."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

FACTS = Path(__file__).with_name("languages.csv")  # says where each column comes from

# GiB of pre-training text: powers of ten, for the sizes span three of them.
SIZES = ((1.0, "<1 GiB"), (10.0, "1-10 GiB"), (100.0, "10-100 GiB"), (float("inf"), ">100 GiB"))


class Language(NamedTuple):
    code: str
    name: str
    script: str
    family: str
    cc100_gib: float

    @property
    def size(self) -> str:
        """The class of its pre-training text; a language without any is in the smallest."""
        return next(name for limit, name in SIZES if self.cc100_gib < limit)


class Group(NamedTuple):
    """Languages whose scores are averaged: `kind` is all, language (one of them), script, family or size."""

    kind: str
    name: str
    languages: tuple[str, ...]


@cache
def read_facts() -> dict[str, Language]:
    """The languages by code. Lines that begin with # say where a column comes from."""
    with open(FACTS, encoding="utf-8", newline="") as file:
        lines = csv.DictReader(line for line in file if not line.startswith("#"))
        return {
            line["code"]: Language(line["code"], line["name"], line["script"], line["family"], float(line["cc100_gib"]))
            for line in lines
        }


def list_groups(languages: tuple[str, ...], suite: str) -> list[Group]:
    """All languages, each one, then every script, family and size class that has several but not all of them.

    The made-up languages of suite toy have none of these.
    """
    groups = [Group("all", "Mean", languages), *(Group("language", code, (code,)) for code in languages)]
    if suite == "toy":
        return groups
    facts = [read_facts()[code] for code in languages]
    sizes = [name for _, name in SIZES]
    groups += _divide("script", facts, lambda language: language.script)
    groups += _divide("family", facts, lambda language: language.family)
    groups += sorted(_divide("size", facts, lambda language: language.size), key=lambda group: sizes.index(group.name))
    return groups


def _divide(kind: str, facts: Iterable[Language], read: Callable[[Language], str]) -> Iterator[Group]:
    """Groups by what `read` says, sorted by name. One language alone has its own figure already, all have the mean."""
    members: dict[str, list[str]] = {}
    count = 0
    for language in facts:
        count += 1
        members.setdefault(read(language), []).append(language.code)
    for name, codes in sorted(members.items()):
        if 1 < len(codes) < count:
            yield Group(kind, name, tuple(codes))
