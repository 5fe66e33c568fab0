"""The metric files of a tree, read fast: what they say, as columns, and what is wrong with each that cannot be used."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import time
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import orjson

from aggregate.scores.columns import headline_metrics, released_split
from aggregate.scores.listing import DONE, VANISHED, Signature, sign
from aggregate.scores.readings import (
    DAMAGED,
    MARKER,
    NO_TEXT,
    NOTHING,
    SCORE,
    STRANGE,
    Columns,
    ColumnsBuilder,
    Label,
    Spot,
    Tables,
)
from stilts.results import PERCENT_METRICS, SCHEMA, MetricFile, parse_metric_file, row_key
from stilts.tasks.catalogue import TARGETS, TOY_TARGETS, target_languages

# A metric file has about 1 kB; a larger JSON in the tree is a tokenizer or a file of predictions.
MAX_METRIC_BYTES = 1 << 20
# Two changes within one tick of a file system's clock leave one time stamp; the coarsest clocks tick every two seconds.
TICK_NS = 2_000_000_000
FACTS = ("output", "earlier", "needs")  # of a DONE record
_FIELD_COUNT = len(MetricFile.model_fields)
_INTERMEDIATE = frozenset(("mode", "tasks", "mlm", "translated"))
_UNSIGNED: Signature = (VANISHED, 0, 0, 0)


class MetricFiles:
    """A reader of single files below `root`, whose findings about what it could not read grow on the way."""

    def __init__(self, root: str, tables: Tables) -> None:
        self.root, self.tables = root, tables
        self.unreadable: list[tuple[str, str]] = []
        self._builder = ColumnsBuilder()
        self._labels: dict[tuple[Any, ...], int] = {}
        self._problems: dict[tuple[str, str, int, int], int] = {}
        # A file that was touched just now may be changed again without another time stamp.
        self._settled_ns = time.time_ns() - TICK_NS

    def read(self, files: Iterable[tuple[str, Iterable[str]]]) -> Columns:
        """The columns of these files, given by folder."""
        for folder, names in files:
            path = f"{self.root}/{folder}" if folder else self.root
            for name in names:
                try:
                    self._read_one(f"{path}/{name}", name == DONE)
                except OSError as error:
                    shown = f"{folder}/{name}" if folder else name
                    self.unreadable.append((shown, f"cannot be read: {error.strerror}"))
                    self._builder.add(_UNSIGNED, NOTHING)
        return self._builder.build()

    def _read_one(self, path: str, is_marker: bool) -> None:
        signature, content = read_bytes(path, None if is_marker else MAX_METRIC_BYTES)
        if signature[1] >= self._settled_ns or signature[2] >= self._settled_ns:
            signature = _UNSIGNED
        if content is None:
            self._builder.add(signature, NOTHING)
        elif is_marker:
            self._builder.add(signature, MARKER, text=self.tables.texts.place(condense_done(content)))
        else:
            self._parse(signature, content)

    def _parse(self, signature: Signature, content: bytes) -> None:
        """As `parse_metric_file`, which is asked where anything is new or unusual."""
        header = None
        try:
            document = orjson.loads(content)
            header = _header(document)
            label = self._labels.get(header)
            if label is not None and self._take_plain(signature, content, document, label):
                return
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        try:
            model = parse_metric_file(content)
        except ValueError as error:
            text = self.tables.texts.place(str(error))
            self._builder.add(signature, DAMAGED, hashlib.sha256(content).digest(), text)
            return
        if model is None:
            self._builder.add(signature, NOTHING)
            return
        label = self.tables.labels.place(Label(model.run, row_key(model), model.suite, model.stage, model.seed))
        if header is not None:
            self._labels[header] = label
        spot = self.tables.spots.place(Spot(model.target, model.language, model.split, model.layer))
        self._add(signature, content, label, spot, model.metrics, model.provenance)

    def _take_plain(self, signature: Signature, content: bytes, document: dict[str, Any], label: int) -> bool:
        """A file whose header was checked with an earlier one; False where the rest is not plainly right."""
        layer, draw, examples = document["layer"], document["draw"], document["examples"]
        metrics, provenance = document["metrics"], document["provenance"]
        spot = self.tables.spots.places.get(Spot(document["target"], document["language"], document["split"], layer))
        plain = (
            spot is not None
            and len(document) == _FIELD_COUNT
            and (layer is None or type(layer) is int)
            and (draw is None or type(draw) is int)
            and (examples is None or (type(examples) is int and examples >= 1))
            and type(provenance) is dict
            and _are_plain(metrics)
        )
        if plain:
            assert spot is not None
            self._add(signature, content, label, spot, metrics, provenance)
        return plain

    def _add(
        self,
        signature: Signature,
        content: bytes,
        label: int,
        spot: int,
        metrics: dict[str, float],
        provenance: dict[str, Any],
    ) -> None:
        names = self.tables.metrics.place(tuple(metrics))
        _, _, suite, stage, _ = self.tables.labels.values[label]
        problem = self._problems.get((suite, stage, spot, names))
        if problem is None:
            reason = self._find_problem(suite, stage, spot, names)
            problem = self.tables.texts.place(reason) if reason else NO_TEXT
            self._problems[suite, stage, spot, names] = problem
        recipe, caveat = provenance.get("recipe"), provenance.get("caveat")
        self._builder.add(
            signature,
            SCORE if problem == NO_TEXT else STRANGE,
            hashlib.sha256(content).digest(),
            problem,
            label,
            spot,
            names,
            self.tables.texts.place(recipe) if type(recipe) is str else NO_TEXT,
            self.tables.texts.place(str(caveat)) if caveat else NO_TEXT,
            metrics.values(),
        )

    def _find_problem(self, suite: str, stage: str, spot: int, metrics: int) -> str:
        """What is wrong with target, language or metric names; dev scores of intermediate tasks are not checked."""
        if stage != "target":
            return ""
        target, language, split, _ = self.tables.spots.values[spot]
        given = self.tables.metrics.values[metrics]
        stranger, needed = check_place(suite, target, language, split)
        lacking = [name for name in needed if name not in given]
        problems = [stranger] if stranger else []
        if lacking:
            problems.append(f"{target} needs the metric {', '.join(lacking)}; given: {', '.join(given)}")
        return "; ".join(problems)


def read_bytes(path: str, limit: int | None) -> tuple[Signature, bytes | None]:
    """Signature and content; no content where it is no file, or has more bytes than `limit`. Raises OSError."""
    try:
        # A pipe would make us wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return _UNSIGNED, None  # a link that leads nowhere
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or (limit is not None and status.st_size > limit):
            return sign(status), None
        return sign(status), os.read(descriptor, max(1, status.st_size))
    finally:
        os.close(descriptor)


def condense_done(content: bytes) -> str:
    """The facts of a DONE record that say whether scores stand, as JSON; `null` where it is no whole record."""
    try:
        record = json.loads(content.decode())
    except ValueError:
        return "null"
    if not isinstance(record, dict):
        return "null"
    return json.dumps({name: record[name] for name in FACTS if name in record})


def _header(document: dict[str, Any]) -> tuple[Any, ...]:
    """What all files of a run share. A key of a dictionary takes 1 for True: the types belong to it."""
    intermediate, seed = document["intermediate"], document["seed"]
    mlm, translated, tasks = intermediate["mlm"], intermediate["translated"], intermediate["tasks"]
    return (
        document["schema"] == SCHEMA and intermediate.keys() <= _INTERMEDIATE,
        document["run"],
        document["model"],
        document["variant"],
        document["suite"],
        document["stage"],
        intermediate["mode"],
        type(tasks),
        tuple(tasks),
        type(mlm),
        mlm,
        type(translated),
        translated,
        type(seed),
        seed,
    )


def _are_plain(metrics: dict[str, Any]) -> bool:
    for name, value in metrics.items():
        if type(value) is not float or not math.isfinite(value):
            return False
        if name in PERCENT_METRICS and not 0 <= value <= 100:
            return False
    return bool(metrics)


def check_place(suite: str, target: str, language: str, split: str) -> tuple[str, tuple[str, ...]]:
    """What is wrong with target or language, and the metrics that the target needs."""
    known = TOY_TARGETS if suite == "toy" else tuple(TARGETS)
    if target not in known:
        close = get_close_matches(target, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"unknown target {target!r} of suite {suite}; known: {', '.join(known)}{hint}", ()
    split = released_split(target, split)
    languages = target_languages(target, split, suite)
    if language in languages:
        return "", headline_metrics(target)
    return (
        f"language {language!r} is not one of the {len(languages)} of {target} {split} "
        f"(suite {suite}): {' '.join(languages)}"
    ), headline_metrics(target)
