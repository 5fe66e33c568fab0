"""Whether the scores in a run's folder count: not those of an unfinished run, nor those built on what has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.scores.listing import DONE, SPEC
from aggregate.scores.readings import MARKER, SCORE, STRANGE, Readings
from stilts.runs import is_output_of, read_json


def stands(run: Path) -> bool:
    """Whether the scores in a run's folder count: they do not while it has no DONE, nor after a run that it was built
    on was computed again with another output. A folder that is no run of a launcher (no run.json) always stands."""
    return not (run / SPEC).is_file() or _holds(read_json(run / DONE), lambda need: read_json(run.parent / need / DONE))


def _holds(done: Mapping[str, Any] | None, read_parent: Callable[[str], Mapping[str, Any] | None]) -> bool:
    """Whether a run is done and its parents have the outputs that it was built on; one that is not there may have."""
    if done is None:
        return False
    needs = done.get("needs", {})
    if not isinstance(needs, dict):  # what it was built on cannot be known
        return False
    parents = {need: read_parent(need) for need in needs}
    return all(parent is None or is_output_of(needs[need], parent) for need, parent in parents.items())


def find_standing(root: str, readings: Readings) -> NDArray[np.bool_]:
    """Of each file whether the run stands in whose folder of scores it lies; False of what is no score."""
    kind = readings.columns.kind
    scores = np.flatnonzero((kind == SCORE) | (kind == STRANGE))
    standing = np.zeros(len(kind), np.bool_)
    if len(scores):
        runs = _ListedRuns(root, readings)
        folders, inverse = np.unique(readings.folder_of(scores), return_inverse=True)
        verdicts = [runs.stands(readings.folders[number][0]) for number in folders.tolist()]
        standing[scores] = np.array(verdicts, np.bool_)[inverse]
    return standing


class _ListedRuns:
    """The runs of a tree by what was read of it, so that no DONE is read twice; those outside it by their own files."""

    def __init__(self, root: str, readings: Readings) -> None:
        self.root, self.readings = root, readings
        self.numbers = {folder: number for number, (folder, _) in enumerate(readings.folders)}
        markers = np.flatnonzero(readings.columns.kind == MARKER)
        folders = readings.folder_of(markers).tolist()
        texts = readings.columns.text[markers].tolist()
        self.facts = {readings.folders[number][0]: text for number, text in zip(folders, texts, strict=True)}
        self.read_done = cache(self._read_done)  # a campaign's runs share their parents

    def stands(self, scores: str) -> bool:
        """Whether the run stands whose folder holds this folder of scores."""
        run, slash, _ = scores.rpartition("/")
        if not slash:
            return stands(Path(self.root, scores).parent)  # the root is the run itself, or its folder of scores
        if not self._has_spec(run):
            return True
        campaign, slash, _ = run.rpartition("/")
        return _holds(self.read_done(run), lambda need: self.read_done(f"{campaign}{slash}{need}"))

    def _has_spec(self, run: str) -> bool:
        """A folder without any file that a listing names has no run.json either."""
        if run not in self.numbers:
            return False
        number = self.numbers[run]
        names = self.readings.folders[number][1].split("/")
        if SPEC not in names:
            return False
        size = self.readings.columns.signature[int(self.readings.starts[number]) + names.index(SPEC), 0]
        return bool(size >= 0) or Path(self.root, run, SPEC).is_file()

    def _read_done(self, run: str) -> dict[str, Any] | None:
        if run in self.facts:
            facts: dict[str, Any] | None = json.loads(self.readings.tables.texts.values[self.facts[run]])
            return facts
        return None if run in self.numbers else read_json(Path(self.root, run, DONE))
