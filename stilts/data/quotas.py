"""How many sentences each language gives to a multilingual corpus, and which."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

Item = TypeVar("Item")


def weigh_languages(sizes: Mapping[str, int], exponent: float) -> dict[str, float]:
    """Probability of each language: q_l proportional to p_l^exponent with p_l = n_l / sum of all n
    (Conneau & Lample 2019, section 3.1). 1 keeps the proportions, 0 makes all languages equal."""
    total = sum(sizes.values())
    weights = {language: (size / total) ** exponent for language, size in sizes.items()}
    return {language: weight / sum(weights.values()) for language, weight in weights.items()}


def share_out(shares: Mapping[str, float], wanted: int, limits: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers in the proportion of `shares` that add up to `wanted`, none above its limit.

    What a language with a limit cannot give is shared out among the others by the same proportion; where all together
    have less than `wanted`, each gives what it has. A language without a limit has any number. What is lost by rounding
    down goes to the largest remainders.
    """
    fixed: dict[str, int] = {}
    while True:
        free = {language: share for language, share in shares.items() if language not in fixed}
        rest, total = wanted - sum(fixed.values()), sum(free.values())
        exact = {language: rest * share / total if total else 0.0 for language, share in free.items()}
        full = {language: limits[language] for language in free if exact[language] >= limits.get(language, math.inf)}
        if not full:
            break
        fixed |= full
    quotas = {language: math.floor(number) for language, number in exact.items()}
    missing = rest - sum(quotas.values()) if total else 0
    for language in sorted(quotas, key=lambda name: (quotas[name] - exact[name], name))[:missing]:
        quotas[language] += 1
    return {language: fixed.get(language, quotas.get(language, 0)) for language in shares}


def draw(items: Iterable[Item], available: int, count: int, *purpose: int | str) -> Iterator[Item]:
    """`count` of the `available` first items, every choice as likely as any other, in their order.

    Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S): one pass, nothing is kept.
    The choice is a function of `purpose` and the two numbers alone: Python keeps the numbers of `Random.random` for a
    given seed from version to version. Yields fewer where there are fewer items.
    """
    rng = random.Random("/".join(map(str, purpose)))
    for left, item in zip(range(available, 0, -1), items, strict=False):
        if count == 0:
            return
        if count == left or rng.random() * left < count:
            count -= 1
            yield item
