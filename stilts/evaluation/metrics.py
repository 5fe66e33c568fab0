"""Percentages from counts: the last step of every metric."""

from __future__ import annotations


def share(right: float, total: float) -> float:
    """`right` of `total` in percent."""
    return 100 * right / total


def f1_score(right: float, gold: float, predicted: float) -> float:
    """F1 in percent of `right` hits among `gold` and `predicted` items; 0 where there are none of either."""
    return 100 * 2 * right / (gold + predicted) if gold + predicted else 0.0
