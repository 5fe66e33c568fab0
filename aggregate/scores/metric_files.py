"""The metric files below a folder, read fast: what they say, and a finding for each that cannot be used."""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson

from aggregate.scores.columns import headline_metrics, released_split
from aggregate.scores.merging import Finding, Metric
from stilts.results import PERCENT_METRICS, SCHEMA, MetricFile, RowKey, parse_metric_file, row_key
from stilts.runs import PILOT_MARKER, is_output_of, read_json
from stilts.tasks.catalogue import TARGETS, TOY_TARGETS, target_languages

SKIPPED_FOLDERS = {"superseded"}
# A metric file has about 1 kB; a larger JSON in the tree is a tokenizer or a file of predictions.
MAX_METRIC_BYTES = 1 << 20
_FIELDS = frozenset(field.alias or name for name, field in MetricFile.model_fields.items())
_INTERMEDIATE = frozenset(("mode", "tasks", "mlm", "translated"))


class MetricFiles:
    """One reading of a tree. `findings` and `digests` (SHA-256 of each metric file, usable or not) grow on the way."""

    def __init__(self, results: Path) -> None:
        self.results = os.fspath(results)
        self.findings: list[Finding] = []
        self.digests: list[str] = []
        self._rows: dict[tuple[Any, ...], RowKey] = {}
        self._read_once = cache(read_json)  # a campaign's runs share their parents

    def read(self) -> Iterator[tuple[str, Metric]]:
        """Usable metric files with their names relative to the folder; the others become findings."""
        for folder, names in self._walk():
            standing: bool | None = None
            for name in names:
                path = f"{folder}/{name}"
                try:
                    content = _read_bytes(path)
                    metric = self._parse(content) if content is not None else None
                except OSError as error:
                    self._find(path, f"cannot be read: {error.strerror}")
                    continue
                except ValueError as error:
                    self._find(path, str(error))
                    self.digests.append(hashlib.sha256(content or b"").hexdigest())
                    continue
                if metric is None or content is None:
                    continue
                if standing is None:
                    standing = stands(Path(folder).parent, self._read_once)
                if not standing:
                    continue
                self.digests.append(hashlib.sha256(content).hexdigest())
                if problem := _find_problem(metric):
                    self._find(path, problem)
                else:
                    yield self._show(path), metric

    def _walk(self) -> Iterator[tuple[str, list[str]]]:
        """Folders with the names of their *.json files, outside folders named `superseded` and pilots; a closed folder
        is a finding."""

        def note(error: OSError) -> None:
            self._find(os.fspath(error.filename), f"closed: {error.strerror}")

        for folder, folders, files in os.walk(self.results, onerror=note):
            if PILOT_MARKER in files:
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
            if names := sorted(name for name in files if name.endswith(".json")):
                yield folder, names

    def _parse(self, content: bytes) -> Metric | None:
        """As `parse_metric_file`, which is asked where anything is new or unusual."""
        header = None
        try:
            document = orjson.loads(content)
            header = _header(document)
            if (row := self._rows.get(header)) and (metric := _take_plain(document, row)):
                return metric
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        model = parse_metric_file(content)
        if model is None:
            return None
        row = row_key(model)
        if header is not None:
            self._rows[header] = row
        return Metric.of(model, row)

    def _find(self, path: str, reason: str) -> None:
        self.findings.append(Finding((self._show(path),), reason))

    def _show(self, path: str) -> str:
        """A path, relative to the results folder, that can be printed, whatever bytes its name has."""
        relative = path.removeprefix(self.results).lstrip("/")
        return relative if relative.isascii() else os.fsencode(relative).decode("utf-8", "replace")


def _read_bytes(path: str) -> bytes | None:
    """The content; None where it is no file, or too large for a metric file. Raises OSError."""
    try:
        # A pipe would make us wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None  # a link that leads nowhere
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_METRIC_BYTES:
            return None
        return os.read(descriptor, max(1, status.st_size))
    finally:
        os.close(descriptor)


def _header(document: dict[str, Any]) -> tuple[Any, ...]:
    """What all files of a run share. A key of a dictionary takes 1 for True: the types belong to it."""
    intermediate = document["intermediate"]
    mlm, translated = intermediate["mlm"], intermediate["translated"]
    return (
        document["schema"] == SCHEMA and intermediate.keys() <= _INTERMEDIATE,
        document["run"],
        document["model"],
        document["variant"],
        document["suite"],
        document["stage"],
        intermediate["mode"],
        tuple(intermediate["tasks"]),
        type(mlm),
        mlm,
        type(translated),
        translated,
    )


def _take_plain(document: dict[str, Any], row: RowKey) -> Metric | None:
    """A file whose header was checked with an earlier one; None where the rest is not plainly right."""
    metrics, seed, layer, draw = document["metrics"], document["seed"], document["layer"], document["draw"]
    target, language, examples = document["target"], document["language"], document["examples"]
    provenance = document["provenance"]
    plain = (
        document.keys() <= _FIELDS
        and document["split"] in ("dev", "test")
        and (type(target) is str and target)
        and (type(language) is str and language)
        and (seed is None or type(seed) is int)
        and (layer is None or type(layer) is int)
        and (draw is None or type(draw) is int)
        and (examples is None or (type(examples) is int and examples >= 1))
        and type(provenance) is dict
        and _are_plain(metrics)
    )
    if not plain:
        return None
    run, suite, stage, split = document["run"], document["suite"], document["stage"], document["split"]
    return Metric(run, row, suite, stage, target, language, split, seed, layer, draw, metrics, provenance)


def _are_plain(metrics: dict[str, Any]) -> bool:
    for name, value in metrics.items():
        if type(value) is not float or not math.isfinite(value):
            return False
        if name in PERCENT_METRICS and not 0 <= value <= 100:
            return False
    return bool(metrics)


def _find_problem(metric: Metric) -> str:
    """What is wrong with target, language or metric names; dev scores of intermediate tasks are not checked."""
    if metric.stage != "target":
        return ""
    stranger, needed = _check_place(metric.suite, metric.target, metric.language, metric.split)
    lacking = [name for name in needed if name not in metric.metrics]
    problems = [stranger] if stranger else []
    if lacking:
        problems.append(f"{metric.target} needs the metric {', '.join(lacking)}; given: {', '.join(metric.metrics)}")
    return "; ".join(problems)


@lru_cache(maxsize=4096)
def _check_place(suite: str, target: str, language: str, split: str) -> tuple[str, tuple[str, ...]]:
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


def stands(run: Path, read: Callable[[Path], dict[str, Any] | None] = read_json) -> bool:
    """Whether the scores in a run's folder count: they do not while it has no DONE, nor after a run that it was built
    on was computed again with another output. A folder that is no run of a launcher (no run.json) always stands."""
    if not (run / "run.json").is_file():
        return True
    done = read(run / "DONE")
    if done is None:
        return False
    needs: dict[str, str] = done.get("needs", {})
    parents = {need: read(run.parent / need / "DONE") for need in needs}
    return all(parent is None or is_output_of(needs[need], parent) for need, parent in parents.items())
