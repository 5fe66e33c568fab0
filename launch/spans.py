"""Estimates with their uncertainty: low, about, high."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Hours, or seconds: at least, about, at most."""

    low: float
    expected: float
    high: float

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def times(self, factor: float) -> Span:
        """All three of them, that many times."""
        return Span(self.low * factor, self.expected * factor, self.high * factor)

    @classmethod
    def around(cls, value: float, factor: float) -> Span:
        """From a `factor`-th of a value to `factor` times it."""
        return cls(value / factor, value, value * factor)


NOTHING = Span(0.0, 0.0, 0.0)
