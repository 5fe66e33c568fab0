"""A multilingual corpus for masked language modelling: so many sentences of each language, drawn from what is there.

Each language is read twice, once to count and once to draw, and never held: its text may be larger than the memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from stilts.data.files import MANY, find_texts
from stilts.data.lines import read_lines
from stilts.data.quotas import draw, share_out, weigh_languages
from stilts.data.readers import iterate_texts
from stilts.data.toy import write_toy
from stilts.errors import UserError
from stilts.tasks.catalogue import MLM, TEXT

if TYPE_CHECKING:
    from stilts.data.prepare import Beat

SET = f"train.{MANY}"
CORPUS_FILE = f"{SET}.tsv"

# Sentences between two beats: a fraction of a second.
_STRIDE = 10_000

Sentence = tuple[str, str]
Tick = Callable[[int], None]


class Corpus(Protocol):
    """The text of one language. `size`, counted in `unit`, is what its share is computed from."""

    language: str
    size: int
    unit: str

    def provide(self, wanted: int, tick: Tick) -> int:
        """How many sentences `read` will give: `wanted` or more if there are so many."""
        ...

    def read(self) -> Iterator[Sentence]:
        """Text and second text (or "") of each sentence, in an order that stays."""
        ...

    def describe(self) -> dict[str, Any]:
        """Where it comes from."""
        ...


class TextFile:
    """A file with one sentence a line; blank lines are none."""

    unit = "sentences"

    def __init__(self, language: str, path: Path, tick: Tick) -> None:
        self.language = language
        self.path = path
        self.size = 0
        for _ in self.read():
            self.size += 1
            tick(self.size)
        if not self.size:
            raise UserError(f"{path}:1: no sentence in it; one on each line is needed")

    def provide(self, wanted: int, tick: Tick) -> int:
        return self.size

    def read(self) -> Iterator[Sentence]:
        for _, line in read_lines(self.path):
            if text := " ".join(line.split()):
                yield text, ""

    def describe(self) -> dict[str, Any]:
        return {"files": [{"path": str(self.path), "bytes": self.path.stat().st_size}]}


class ToyText:
    """A made-up language's part of the toy suite's own text, whose sequences have one or two texts."""

    unit = "sentences"

    def __init__(self, language: str, path: Path) -> None:
        self.language = language
        self.path = path
        self.size = sum(1 for _ in self.read())
        if not self.size:
            raise UserError(f"{MLM}: the toy suite has no text in language {language!r}")

    def provide(self, wanted: int, tick: Tick) -> int:
        return self.size

    def read(self) -> Iterator[Sentence]:
        return ((text, second) for language, text, second in iterate_texts(self.path) if language == self.language)

    def describe(self) -> dict[str, Any]:
        return {}


def write_corpus(
    config: Mapping[str, Any], data_root: Path | None, folder: Path, commits: Path | None, beat: Beat | None = None
) -> tuple[Path, list[dict[str, Any]]]:
    """Write `<folder>/train.mul.tsv` (`language TAB text TAB` and, in the toy suite, a second text), language after
    language in the order of `config["languages"]`; returns its path and what it was made of.

    `config`: suite, languages, sentences, exponent, seed, `source: hub`, revisions, toy. Quotas follow
    `weigh_languages` and `share_out`: a language gives no sentence twice, what it lacks comes from the others. Facts of
    each language: size and unit (its n), share (its q), available, sentences (drawn), and its files.
    Raises UserError with all languages that are missing.
    """

    def tick_for(language: str, phase: str) -> Tick:
        def tick(count: int) -> None:
            if beat and count % _STRIDE == 0:
                beat.beat(phase, languages.index(language), len(languages), language=language, sentences=count)

        return tick

    languages: list[str] = list(config["languages"])
    assert languages, "a corpus of no language"
    path = folder / CORPUS_FILE
    with tempfile.TemporaryDirectory(prefix=".toy-", dir=folder) as scratch:
        corpora = _open_corpora(config, data_root, Path(scratch), commits, languages, tick_for)
        shares = weigh_languages({corpus.language: corpus.size for corpus in corpora}, config["exponent"])
        quotas, available = _settle(corpora, shares, config["sentences"], tick_for)
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            for corpus in corpora:
                name = corpus.language
                drawn = draw(corpus.read(), available[name], quotas[name], config["seed"], MLM, name)
                _write_sentences(name, drawn, quotas[name], file, tick_for(name, "draw"))
    facts = [
        {
            "language": corpus.language,
            "size": corpus.size,
            "unit": corpus.unit,
            "share": round(shares[corpus.language], 6),
            "available": available[corpus.language],
            "sentences": quotas[corpus.language],
            **corpus.describe(),
        }
        for corpus in corpora
    ]
    return path, facts


def list_sources(facts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a manifest says of a set brought from the hub: here one repository for all languages; none of files."""
    parts = [fact for fact in facts if "repo" in fact]
    if not parts:
        return []
    shared = {key: parts[0][key] for key in ("repo", "split", "revision", "commit")}
    configs = ", ".join(part["config"] for part in parts)
    return [{"set": SET, **shared, "config": configs, "rows": sum(part["rows"] for part in parts)}]


def _open_corpora(
    config: Mapping[str, Any],
    data_root: Path | None,
    scratch: Path,
    commits: Path | None,
    languages: Sequence[str],
    tick_for: Callable[[str, str], Tick],
) -> Sequence[Corpus]:
    if config["suite"] == "toy":
        toy = config.get("toy", {})
        write_toy(TEXT, scratch, toy.get("seed", 0), toy.get("sizes"))
        return [ToyText(language, scratch / "text/train.tsv") for language in languages]
    if config.get("source") == "hub":
        from stilts.data.hub_text import open_articles  # brings in the datasets library

        assert commits is not None, "a hub set needs a folder for its commits"
        return open_articles(languages, config.get("revisions", {}), commits, config["seed"])
    if data_root is None:
        raise UserError(f"{MLM}: no data root; name the folder of the text files as `data_root`")
    paths, corpora, problems = find_texts(languages, data_root.resolve()), list[Corpus](), list[str]()
    for language, path in paths.items():
        try:
            corpora.append(TextFile(language, path, tick_for(language, "count")))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return corpora


def _settle(
    corpora: Sequence[Corpus], shares: Mapping[str, float], sentences: int, tick_for: Callable[[str, str], Tick]
) -> tuple[dict[str, int], dict[str, int]]:
    """Quotas that the languages can fill, and how many sentences are there to draw each quota from."""
    limits: dict[str, int] = {}
    while True:
        quotas = share_out(shares, sentences, limits)
        available = {
            corpus.language: corpus.provide(quotas[corpus.language], tick_for(corpus.language, "count"))
            for corpus in corpora
        }
        short = {language: count for language, count in available.items() if count < quotas[language]}
        if not short:
            return quotas, available
        limits |= short


def _write_sentences(language: str, drawn: Iterator[Sentence], count: int, file: TextIO, tick: Tick) -> None:
    written = 0
    for written, (text, second) in enumerate(drawn, start=1):
        file.write(f"{language}\t{text}\t{second}\n")
        tick(written)
    if written < count:
        raise UserError(f"{MLM}: the text of {language} has changed while it was read; fetch again")
