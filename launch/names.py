"""Readable parts of run names: short, and safe in paths, shells and job names."""

from __future__ import annotations


def joiner_of(mode: str) -> str:
    """What stands between the tasks of a mixture, or of a sequence."""
    return "+" if mode == "multitask" else "-then-"


def name_of(tasks: tuple[str, ...], joiner: str) -> str:
    """A readable name of a set of tasks that stays short: the hash tells two sets of one size apart."""
    name = joiner.join(tasks) or "none"
    return name if len(name) <= 40 else f"{len(tasks)}-tasks{'-in-turn' if joiner != '+' else ''}"


def slug_of(text: str) -> str:
    """A part of a run's name: lower case letters, digits, dots and dashes."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in ".-") else "-" for char in text.lower())
    return kept.strip(".-")[:40] or "x"
