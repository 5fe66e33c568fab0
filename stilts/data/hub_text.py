"""Wikipedia from the hub: the articles of a language, cut into sentences, of as few files as its quota needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stilts.data.hub import bars_for_terminals
from stilts.data.hub_sets import HubSet, hub_sets
from stilts.data.hub_snapshots import Snapshot, count_rows, download_files, first_line, list_snapshot
from stilts.data.sentences import split_sentences
from stilts.errors import UserError
from stilts.tasks.catalogue import MLM

_COLUMN = "text"
_BATCH_ROWS = 256


class Articles:
    """The articles of a language. Its files come one after the other, in an order drawn by `seed`: the dump's own
    order begins with the oldest articles."""

    unit = "articles"

    def __init__(self, language: str, hub_set: HubSet, snapshot: Snapshot, size: int, seed: int) -> None:
        self.language = language
        self.size = size
        self._set = hub_set
        self._snapshot = snapshot
        paths = snapshot.files[hub_set.config, hub_set.split]
        self._waiting = sorted(paths, key=lambda path: hashlib.sha256(f"{seed}/{MLM}/{path}".encode()).digest())
        self._taken: list[str] = []
        self._rows = self._sentences = 0

    def provide(self, wanted: int, tick: Callable[[int], None]) -> int:
        """Bring and count further files until there are enough sentences or no more files."""
        while self._sentences < wanted and self._waiting:
            path = self._waiting.pop(0)
            with bars_for_terminals():
                download_files(self._set, self._snapshot, [path])
            for article in self._read_articles(path):
                self._rows += 1
                for _ in split_sentences(article):
                    self._sentences += 1
                    tick(self._sentences)
            self._taken.append(path)
        return self._sentences

    def read(self) -> Iterator[tuple[str, str]]:
        for path in self._taken:
            for article in self._read_articles(path):
                for sentence in split_sentences(article):
                    yield sentence, ""

    def describe(self) -> dict[str, Any]:
        return {
            "repo": self._set.repo,
            "config": self._set.config,
            "split": self._set.split,
            "revision": self._set.revision,
            "commit": self._snapshot.commit,
            "rows": self._rows,
            "files": [{"path": path} for path in self._taken],
        }

    def _read_articles(self, path: str) -> Iterator[str]:
        place = self._snapshot.folder / path
        try:
            with pq.ParquetFile(place) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=[_COLUMN]):
                    yield from (text for text in batch.column(_COLUMN).to_pylist() if text)
        except (pa.ArrowException, OSError, KeyError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's, not the file's
            raise UserError(
                f"dataset {self._set.repo}, commit {self._snapshot.commit}, {path}: cannot be read "
                f"({first_line(error)}), a column {_COLUMN} of articles is needed; remove "
                f"{self._snapshot.folder.parents[1]} and fetch again"
            ) from None


def open_articles(languages: Sequence[str], revisions: Mapping[str, str], commits: Path, seed: int) -> list[Articles]:
    """The Wikipedias of the languages at the commit that the campaign holds; no article is brought yet.

    Sizes are the numbers of articles that the repository's card declares, else those of the files' own footers.
    Raises UserError with all languages that are not there.
    """
    wanted = [
        replace(hub_set, revision=revisions.get(hub_set.repo, hub_set.revision))
        for hub_set in hub_sets(MLM, "train", languages)
    ]
    with bars_for_terminals():
        try:
            snapshot = list_snapshot(wanted[0].repo, wanted, commits)
        except UserError as error:
            advice = "to go on with the others name them in the grid: `mlm: {languages: [...]}`"
            raise UserError([*error.problems, f"{MLM}: {advice}"]) from None
        sizes = [count_rows(hub_set, snapshot) for hub_set in wanted]
    return [Articles(hub_set.part, hub_set, snapshot, size, seed) for hub_set, size in zip(wanted, sizes, strict=True)]
