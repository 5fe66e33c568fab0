"""Damage to texts, repeatable: what editors, disks, networks and people do to a file or to a command's output."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

# No digits: a grid that asks for ten million runs is no damage, and planning it takes its time.
CHARACTERS = "\t\n\r \x00\x1b\x7f:,-#&*!|>'\"%@`{}[]()?~\\/=<+_.$\ufeff\u2028\u00e9\U0001f600abcXYZ"
VALUES = (
    *("null ~ true false .nan .inf -.inf -1 0 1e999 1e-5 '' [] {} [[]] [[[1]]] {a: {b: c}} *x &x !!set".split()),
    *("2026-11-26 !!python/object:os.system 'a\\nb' \"\\0\" | > - ? 0x1F 0o17 1_000 <<".split()),
    *("[none] all each none mnli [mnli, mnli] [mnli, squad1] multitask toy xtreme 1.5 true".split(" ")),
    "x" * 5000,
    "[" * 60,
    "'$(reboot)'",
    '"; rm -rf / #"',
    "\N{RIGHT-TO-LEFT OVERRIDE}evil",
)

Mutation = Callable[[str, random.Random], str]


def cut(text: str, rng: random.Random) -> str:
    """The end is missing."""
    return text[: rng.randrange(len(text) + 1)]


def drop(text: str, rng: random.Random) -> str:
    """Some characters are missing."""
    start = rng.randrange(len(text) + 1)
    return text[:start] + text[start + rng.randrange(1, 12) :]


def insert(text: str, rng: random.Random) -> str:
    """Characters that do not belong there."""
    place = rng.randrange(len(text) + 1)
    return text[:place] + "".join(rng.choice(CHARACTERS) for _ in range(rng.randrange(1, 4))) + text[place:]


def change(text: str, rng: random.Random) -> str:
    """One character is another one."""
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(CHARACTERS) + text[place + 1 :]


def repeat_line(text: str, rng: random.Random) -> str:
    """A line stands there twice, perhaps somewhere else."""
    return _move(text, rng, keep=True)


def move_line(text: str, rng: random.Random) -> str:
    """A line stands somewhere else."""
    return _move(text, rng, keep=False)


def drop_line(text: str, rng: random.Random) -> str:
    """A line is missing."""
    lines = text.split("\n")
    del lines[rng.randrange(len(lines))]
    return "\n".join(lines)


def indent(text: str, rng: random.Random) -> str:
    """A line stands further in or out."""
    lines = text.split("\n")
    place = rng.randrange(len(lines))
    lines[place] = rng.choice(["  ", "    ", "\t", " "]) + lines[place] if rng.random() < 0.6 else lines[place].lstrip()
    return "\n".join(lines)


def other_value(text: str, rng: random.Random) -> str:
    """What stands behind a colon is something else."""
    lines = text.split("\n")
    places = [place for place, line in enumerate(lines) if ":" in line]
    if places:
        place = rng.choice(places)
        lines[place] = lines[place].partition(":")[0] + ": " + rng.choice(VALUES)
    return "\n".join(lines)


def _move(text: str, rng: random.Random, keep: bool) -> str:
    lines = text.split("\n")
    place = rng.randrange(len(lines))
    line = lines[place] if keep else lines.pop(place)
    lines.insert(rng.randrange(len(lines) + 1), line)
    return "\n".join(lines)


ANY: Sequence[Mutation] = (cut, drop, insert, change, repeat_line, move_line, drop_line)
YAML: Sequence[Mutation] = (*ANY, indent, other_value, other_value, other_value)


def mutate(text: str, rng: random.Random, mutations: Sequence[Mutation]) -> str:
    """The text with one to three kinds of damage."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = rng.choice(mutations)(text, rng)
    return text
