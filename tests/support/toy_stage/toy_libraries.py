"""Stages that compute nothing import nothing; a real one among them imports what it needs when it needs it."""

from __future__ import annotations

from collections import defaultdict

LIBRARIES: dict[str, tuple[str, ...]] = defaultdict(tuple)


def import_libraries(*modules: str) -> None:
    """The real one would import torch, which takes longer than all that a toy stage does."""
