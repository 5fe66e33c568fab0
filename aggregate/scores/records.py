"""Fields of the records in run folders, which nobody has checked: what is not of its kind counts as absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def take_mapping(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def take_names(record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = record.get(key)
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def take_number(record: Mapping[str, Any], key: str) -> float | None:
    value = record.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def take_count(record: Mapping[str, Any], key: str, default: int = 0) -> int:
    """A whole number from 0 up; `default` where there is none."""
    value = record.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default
