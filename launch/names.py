"""Readable parts of run names: short, and safe in paths, shells and job names."""

from __future__ import annotations

MIXED, IN_TURN = "+", "-then-"


def training_name(mode: str, tasks: tuple[str, ...], mlm: bool = False, translated: bool = False) -> str:
    """What an intermediate training is called: `mnli-then-squad1`, `mnli+squad1+mlm`, `mnli-translated`, `mlm`."""
    if mlm and not tasks:
        return "mlm"
    name = _join_tasks(tasks, MIXED if mode == "multitask" else IN_TURN)
    return f"{name}{'-translated' if translated else ''}{'+mlm' if mlm else ''}"


def _join_tasks(tasks: tuple[str, ...], joiner: str) -> str:
    """A readable name of a set of tasks that stays short: the hash tells two sets of one size apart."""
    name = joiner.join(tasks) or "none"
    return name if len(name) <= 40 else f"{len(tasks)}-tasks{'-in-turn' if joiner == IN_TURN else ''}"


def slug_of(text: str) -> str:
    """A part of a run's name: lower case letters, digits, dots and dashes."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in ".-") else "-" for char in text.lower())
    return kept.strip(".-")[:40] or "x"
