"""A training set in memory: which examples there are, how long they are, what their labels say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stilts.data.prepared import PreparedSet
from stilts.tasks.encoding import IGNORED
from stilts.training.randomness import numpy_generator

# Label arrays that stand beside the tokens rather than one a sequence.
TOKEN_LABEL_FAMILIES = ("tagging",)


@dataclass(frozen=True)
class TrainingSet:
    """Training examples: one sequence each, or `width` sequences each in the choice family.

    An example of the span and tagging families is a window: a long context or sentence counts once a window.
    `selected` int64 [examples] maps the plan's example numbers to those of the prepared set.
    """

    family: str
    tokens: np.ndarray
    offsets: np.ndarray
    types: np.ndarray | None
    labels: dict[str, np.ndarray]
    width: int
    selected: np.ndarray

    @classmethod
    def of(cls, prepared: PreparedSet) -> TrainingSet:
        """All examples of a prepared set, labels unchanged."""
        width = prepared.choices if prepared.family == "choice" else 1
        names = {"span": ("starts", "ends"), "mlm": ()}.get(prepared.family, ("labels",))
        return cls(
            family=prepared.family,
            tokens=prepared.tokens,
            offsets=np.asarray(prepared.offsets, dtype=np.int64),
            types=prepared.types,
            labels={name: np.asarray(prepared.arrays[name]) for name in names},
            width=width,
            selected=np.arange((len(prepared.offsets) - 1) // width),
        )

    @classmethod
    def join(cls, sets: Sequence[TrainingSet]) -> TrainingSet:
        """All examples of several sets of one task, set after set."""
        if len(sets) == 1:
            return sets[0]
        starts = np.cumsum([0, *(int(one.offsets[-1]) for one in sets)])
        offsets = [one.offsets[1:] + start for one, start in zip(sets, starts[:-1], strict=True)]
        types = [np.zeros_like(one.tokens, dtype=np.uint8) if one.types is None else one.types for one in sets]
        return replace(
            sets[0],
            tokens=np.concatenate([one.tokens for one in sets]),
            offsets=np.concatenate([[0], *offsets]),
            types=None if all(one.types is None for one in sets) else np.concatenate(types),
            labels={name: np.concatenate([one.labels[name] for one in sets]) for name in sets[0].labels},
            selected=np.arange(sum(len(one) for one in sets)),
        )

    def __len__(self) -> int:
        return len(self.selected)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [examples]: sub-words of the longest sequence of each example."""
        return np.diff(self.offsets).reshape(-1, self.width).max(axis=1)[self.selected]

    def sequences(self, examples: np.ndarray) -> np.ndarray:
        """Sequence numbers of some examples, an example's own side by side: int64 [len(examples) * width]."""
        return (self.selected[examples][:, None] * self.width + np.arange(self.width)).reshape(-1)

    def keep_first(self, count: int, *purpose: Any) -> TrainingSet:
        """The first `count` examples of a seeded shuffle, all of them where there are fewer."""
        order = numpy_generator(*purpose, "subset").permutation(len(self))
        return replace(self, selected=self.selected[order[:count]])

    def shuffle_labels(self, *purpose: Any) -> TrainingSet:
        """The same inputs with the labels of the selected examples permuted among them: a control without signal.

        Tagging permutes over all labelled words. A span moved into a shorter window is cut to that window.
        """
        rng = numpy_generator(*purpose, "labels")
        if self.family in TOKEN_LABEL_FAMILIES:
            return replace(self, labels={"labels": self._shuffle_token_labels(rng)})
        order = self.selected[rng.permutation(len(self))]
        labels = {name: values.copy() for name, values in self.labels.items()}
        for name, values in labels.items():
            values[self.selected] = self.labels[name][order]
        if self.family == "span":
            last = np.diff(self.offsets) - 1
            labels = {name: np.minimum(values, last).astype(values.dtype) for name, values in labels.items()}
        return replace(self, labels=labels)

    def _shuffle_token_labels(self, rng: np.random.Generator) -> np.ndarray:
        labels = self.labels["labels"].copy()
        owner = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        places = np.flatnonzero((labels != IGNORED) & np.isin(owner, self.selected))
        labels[places] = labels[rng.permutation(places)]
        return labels
