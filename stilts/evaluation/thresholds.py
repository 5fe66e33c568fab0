"""Thresholds that are chosen on the gold labels of a set: SQuAD 2.0's for the empty answer, BUCC's for pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def find_null_threshold(
    scores: np.ndarray, null_odds: np.ndarray, answerable: np.ndarray, answered: np.ndarray
) -> tuple[float, float]:
    """(best mean score in percent, its threshold), by the official SQuAD 2.0 script (find_best_thresh).

    All [N]: `scores` of the non-empty answers from 0 to 1, `null_odds` (score of the empty answer less theirs), whether
    the question has an answer, whether the prediction is any text. An answer stands whose odds are at most the
    threshold. As in the script, the search starts from no answer at all (threshold 0) and of equal odds may take a few.
    """
    order = np.argsort(null_odds, kind="stable")
    change = np.where(answerable, scores, -answered.astype(np.float64))[order]
    empty = int(np.count_nonzero(~answerable))
    # One after the other from the left, as the script adds them: another order may round another way.
    totals = np.cumsum(np.concatenate([[float(empty)], change]))
    best = int(totals.argmax())
    return 100 * float(totals[best]) / len(scores), float(null_odds[order[best - 1]]) if best else 0.0


def apply_null_threshold(
    scores: np.ndarray, null_odds: np.ndarray, answerable: np.ndarray, threshold: float
) -> np.ndarray:
    """The scores when every answer whose odds exceed the threshold is empty."""
    return np.where(null_odds > threshold, (~answerable).astype(np.float64), scores)


def find_pair_threshold(scores: Sequence[float], right: Sequence[bool], gold: int) -> float:
    """The score from which on pairs are taken for translations, best for F1 (LASER's bucc_optimize).

    `scores` of mined pairs, highest first, whether each is right, number of gold pairs. It lies half-way to the next
    pair; after the last pair, where the script fails, it is that pair's score. 0 where no pair is right.
    """
    best, threshold, hits = 0.0, 0.0, 0
    for place, hit in enumerate(right):
        hits += hit
        # Precision and recall first, as the script has it: another order may round another way and part equals.
        precision, recall = hits / (place + 1), hits / max(gold, 1)
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        if f1 > best:
            best = f1
            threshold = (scores[place] + scores[min(place + 1, len(scores) - 1)]) / 2
    return threshold
