"""The bootstrap over examples for all runs behind a study's main table at once.

The examples of each set are drawn with replacement, as many as there are, and every run is scored on the same draws: a
difference of two runs is one on the same examples. Sets that are translations of each other (one id, one question) are
drawn together, for their errors go together, and a mean over languages would look too sure if each drew for itself; all
other sets draw for themselves. The draws follow from the ids alone, so no other row or run changes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregate.evidence.bootstrap import Array, resample_ratios
from aggregate.scores.columns import list_columns, released_split
from aggregate.scores.expectation import Scope
from aggregate.submissions.example_scores import ExampleScores, read_example_scores
from stilts.errors import UserError
from stilts.results import RowKey
from stilts.runs import RunFolder
from stilts.tasks.catalogue import TARGET_ORDER, task_family, training_of

PARALLEL = ("xnli", "pawsx", "xquad", "mlqa")  # mlqa: a question stands in some of its languages
RUNS_AT_ONCE = 128  # of one target, in memory: 0.3 GB for XTREME's largest dev sets, those of panx

Places = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]


@dataclass
class Samples:
    """`drawn` [resamples] and `whole` are the scores in percent, on each resample and on the examples as they are, by
    run and column key; `gaps` say why a run has none of a target. `digest` is over all that was read."""

    drawn: dict[tuple[str, str], Array] = field(default_factory=dict)
    whole: dict[tuple[str, str], float] = field(default_factory=dict)
    gaps: dict[tuple[str, str], str] = field(default_factory=dict)
    digest: Any = field(default_factory=hashlib.sha256)


@dataclass(frozen=True)
class Group:
    """Sets that are drawn together: `members` are the rows of each language, and which of the `units` each row is."""

    draws: str
    units: int
    members: dict[str, tuple[Places, Places]]


class Frame:
    """The examples of one target, in the order that the sums of all its runs are brought into."""

    def __init__(self, target: str, languages: Sequence[str], known: Sequence[ExampleScores]) -> None:
        """From the first run alone, all others having the same examples; of mined pairs, which each run has its own of,
        from all."""
        self.mined = task_family(target) == "mining"
        self.first = known[0]
        names = zip(self.first.languages.to_pylist(), self.first.ids.to_pylist(), strict=True)
        keys = sorted({key for one in known for key in list_keys(one)}) if self.mined else list(names)
        self.places = {key: place for place, key in enumerate(keys)}
        self.size = len(keys)
        rows: dict[str, list[int]] = {language: [] for language in languages}
        for place, (language, _) in enumerate(keys):
            rows[language].append(place)
        together = [tuple(languages)] if target in PARALLEL else [(language,) for language in languages]
        self.groups = [make_group(target, group, rows, keys) for group in together]

    def arrange(self, scores: ExampleScores) -> Numbers:
        """The sums of a run in the order of the frame. Raises UserError where it has other examples."""
        if not self.mined and scores.ids.equals(self.first.ids) and scores.languages.equals(self.first.languages):
            return scores.sums
        places = [self.places.get(key, -1) for key in list_keys(scores)]
        # Ids that stand twice can be told apart by their order alone.
        if not self.mined and sorted(places) != list(range(self.size)):
            raise UserError("stored predictions of other examples than the first row's")
        arranged = np.zeros((self.size, scores.sums.shape[1]), scores.sums.dtype)
        np.add.at(arranged, places, scores.sums)
        return arranged


def list_keys(scores: ExampleScores) -> Iterator[tuple[str, str]]:
    return zip(scores.languages.to_pylist(), scores.ids.to_pylist(), strict=True)


def make_group(
    target: str, languages: Sequence[str], rows: dict[str, list[int]], keys: Sequence[tuple[str, str]]
) -> Group:
    if len(languages) > 1:
        ids = sorted({keys[row][1] for language in languages for row in rows[language]})
        numbers = {name: number for number, name in enumerate(ids)}
        units = {language: [numbers[keys[row][1]] for row in rows[language]] for language in languages}
    else:
        (language,) = languages
        ids = [keys[row][1] for row in rows[language]]
        units = {language: list(range(len(ids)))}
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    members = {one: (np.array(rows[one], np.int64), np.array(units[one], np.int64)) for one in languages}
    return Group(f"{target} {' '.join(languages)} {digest}", len(ids), members)


def find_runs(scope: Scope, row: RowKey, target: str) -> dict[int | None, str]:
    """The run behind each seed of a row's target as the plan names it: that of the target itself, else of another one
    with the same training."""
    named = scope.runs.get(row, {})
    training = training_of(target)
    alike = [other for other in named if training and training_of(other) == training]
    return next((named[other] for other in (target, *alike) if other in named), {})


def draw_samples(
    results: Path, scope: Scope, rows: Sequence[RowKey], resamples: int, advance: Callable[[], None] = lambda: None
) -> Samples:
    """Samples of all runs of these rows, first rows first. `advance` is called `count_steps` times."""
    samples = Samples()
    for target, runs in list_files(scope, rows):
        source = Source(results, scope, target, samples, advance)
        for block in cut_blocks(target, runs):
            sums = source.read(block)
            source.sample(sums, resamples)
    return samples


def count_steps(scope: Scope, rows: Sequence[RowKey]) -> int:
    """Files to read, and sets to draw from."""
    return sum(
        len(runs) + len(scope.languages[target]) * len(list(cut_blocks(target, runs)))
        for target, runs in list_files(scope, rows)
    )


def cut_blocks(target: str, runs: Sequence[str]) -> Iterator[Sequence[str]]:
    """Pairs of all runs have to be known before any is drawn; they are few."""
    size = len(runs) if task_family(target) == "mining" else RUNS_AT_ONCE
    return (runs[start : start + size] for start in range(0, len(runs), size))


def list_files(scope: Scope, rows: Sequence[RowKey]) -> Iterator[tuple[str, list[str]]]:
    """Targets with the runs that have a file of each, in the order of the rows."""
    for target in TARGET_ORDER:
        if target in scope.languages:
            runs = (run for row in rows for run in find_runs(scope, row, target).values())
            if found := list(dict.fromkeys(runs)):
                yield target, found


@dataclass
class Source:
    """The predictions of one target, over the languages of the scope."""

    results: Path
    scope: Scope
    target: str
    samples: Samples
    advance: Callable[[], None]
    frame: Frame | None = None

    def read(self, runs: Sequence[str]) -> dict[str, Numbers]:
        """Sums in the order of the frame, by run; what cannot be had becomes a gap."""
        mined: dict[str, ExampleScores] = {}
        sums: dict[str, Numbers] = {}
        for run in runs:
            self.advance()
            try:
                scores = self._read_file(run)
                if task_family(self.target) == "mining":
                    mined[run] = scores
                    continue
                self.frame = self.frame or Frame(self.target, self.scope.languages[self.target], [scores])
                sums[run] = self.frame.arrange(scores)
            except UserError as error:
                self.samples.gaps[run, self.target] = f"run {run} has {error.problems[0]}"
        if mined:
            self.frame = Frame(self.target, self.scope.languages[self.target], list(mined.values()))
            sums = {run: self.frame.arrange(scores) for run, scores in mined.items()}
        return sums

    def _read_file(self, run: str) -> ExampleScores:
        split = released_split(self.target, self.scope.split)
        path = RunFolder(self.results / run).predictions / f"{self.target}.{split}.parquet"
        return read_example_scores(path, self.target, self.scope.languages[self.target])

    def sample(self, sums: dict[str, Numbers], resamples: int) -> None:
        """Draw, and average over the languages."""
        if not sums or self.frame is None:
            return
        groups, stacked = self.frame.groups, np.stack(list(sums.values()), axis=2)  # [rows, metrics + 1, runs]
        self.samples.digest.update(f"{[group.draws for group in groups]} {list(sums)}".encode())
        self.samples.digest.update(stacked.tobytes())
        columns = list_columns(self.target)
        drawn = np.zeros((len(columns), resamples, len(sums)))
        whole = np.zeros((len(columns), len(sums)))
        for group in groups:
            for index, _ in enumerate(columns):
                pair = stacked[:, index], stacked[:, -1]
                drawn[index] += sum(resample_group(group, *pair, resamples))
                whole[index] += sum(score_group(group, *pair))
            for _ in group.members:
                self.advance()
        count = len(self.scope.languages[self.target])
        for index, column in enumerate(columns):
            for place, run in enumerate(sums):
                self.samples.drawn[run, column.key] = drawn[index, :, place] / count
                self.samples.whole[run, column.key] = float(whole[index, place]) / count


def resample_group(group: Group, numerators: Numbers, denominators: Numbers, resamples: int) -> Iterator[Array]:
    """[resamples, runs] of each language of a group, on the same draws."""
    for rows, units in group.members.values():
        if not group.units:  # no run has mined a pair here, and there is none to find
            yield np.zeros((resamples, numerators.shape[1]))
            continue
        above, below = (add_up(sums[rows], units, group.units) for sums in (numerators, denominators))
        yield resample_ratios(group.draws, above, below, resamples)


def add_up(sums: Numbers, units: Places, count: int) -> Numbers:
    """[units, runs]: what rows add to what is drawn; nothing where a language lacks one."""
    if len(units) == count and np.array_equal(units, np.arange(count)):
        return sums
    added = np.zeros((count, sums.shape[1]), sums.dtype)
    np.add.at(added, units, sums)
    return added


def score_group(group: Group, numerators: Numbers, denominators: Numbers) -> Iterator[Array]:
    """[runs] of each language, on the examples as they are."""
    for rows, _ in group.members.values():
        above, below = (one[rows].sum(axis=0, dtype=np.float64) for one in (numerators, denominators))
        yield np.divide(100.0 * above, below, out=np.zeros_like(above), where=below > 0)
