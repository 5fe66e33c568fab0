"""Variants, the settings that tell rows of one training apart: their parts, and row names that show what differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from stilts.results import RowKey

# Settings of intermediate training; those of the last two stand on rows that use them alone.
INTERMEDIATE_PARTS = ("intermediate.", "mlm.", "translation.")
TARGET_PARTS = "target."
# Settings of several tasks, which a single one has not, whatever the row says.
MIXING_PARTS = ("intermediate.replay=", "intermediate.sampling.")


class RowName(NamedTuple):
    """What a row is called, and the settings that its name shows."""

    text: str
    settings: tuple[str, ...]


def split_variant(variant: str) -> tuple[str, ...]:
    """Parts of `key=value; key=value`; foreign text is a part as it is."""
    return tuple(part.strip() for part in variant.split(";") if part.strip())


def is_setting(part: str, prefix: str | tuple[str, ...]) -> bool:
    return "=" in part and part.startswith(prefix)


def drop_settings(key: RowKey, prefix: str | tuple[str, ...]) -> RowKey:
    """The row without its settings whose names start with `prefix`."""
    kept = [part for part in split_variant(key.variant) if not is_setting(part, prefix)]
    return replace(key, variant="; ".join(kept))


def has_settings(key: RowKey, prefix: str | tuple[str, ...]) -> bool:
    return any(is_setting(part, prefix) for part in split_variant(key.variant))


def choose_baseline(key: RowKey, present: Collection[RowKey]) -> RowKey:
    """The row without intermediate training of the same variant, else of the variant without intermediate settings.

    A baseline has no intermediate training, so its variant says nothing about one; the row may be absent too.
    """
    same = key.baseline
    return same if same in present else drop_settings(same, INTERMEDIATE_PARTS)


def find_shared(keys: Iterable[RowKey]) -> tuple[str, ...]:
    """Settings of all rows, sorted; an intermediate setting needs to be that of all rows but the baselines."""
    parts = {key: set(split_variant(key.variant)) for key in keys}
    trained = [own for key, own in parts.items() if not key.is_baseline]
    shared = set.intersection(*parts.values()) if parts else set()
    if trained:
        shared |= {part for part in set.intersection(*trained) if is_setting(part, INTERMEDIATE_PARTS)}
    return tuple(sorted(shared))


def tell_apart(keys: Iterable[RowKey]) -> dict[RowKey, tuple[str, ...]]:
    """Per row the parts whose key has not the same value in all rows of its (model, intermediate)."""
    groups: dict[RowKey, list[RowKey]] = defaultdict(list)
    for key in keys:
        groups[replace(key, variant="")].append(key)
    told: dict[RowKey, tuple[str, ...]] = {}
    for group in groups.values():
        settings = {key: group_parts(key.variant) for key in group}
        names = {name for values in settings.values() for name in values}
        varying = {name for name in names if len({values.get(name) for values in settings.values()}) > 1}
        for key in group:
            told[key] = tuple(part for part in split_variant(key.variant) if name_part(part) in varying)
    return told


def group_parts(variant: str) -> dict[str, tuple[str, ...]]:
    """Parts by the name of their setting, which foreign text may have twice."""
    parts = sorted(split_variant(variant))
    return {name: tuple(part for part in parts if name_part(part) == name) for name in map(name_part, parts)}


def name_part(part: str) -> str:
    return part.partition("=")[0]


def name_rows(keys: Collection[RowKey], models: Mapping[str, str]) -> dict[RowKey, RowName]:
    """Names with the settings that tell rows apart; the full variant where that leaves two names equal."""
    short = {key: RowName(name_row(key, models, "; ".join(told)), told) for key, told in tell_apart(keys).items()}
    full = {key: RowName(name_row(key, models, key.variant), split_variant(key.variant)) for key in keys}
    alike: dict[str, list[RowKey]] = defaultdict(list)
    for key, name in short.items():
        alike[name.text].append(key)
    for group in alike.values():
        if len({full[key].text for key in group}) > 1:  # rows of two models may differ in nothing else
            short |= {key: full[key] for key in group}
    return short


def name_row(key: RowKey, models: Mapping[str, str], settings: str) -> str:
    """`xlm-roberta-large`, `mnli`, `mnli+squad1` (a set), `mnli > squad1` (a sequence), with suffixes."""
    name = (" > " if key.mode == "sequential" else "+").join(key.tasks) or models[key.model]
    name += " (mlm)" if key.mlm else ""
    name += " (translated)" if key.translated else ""
    return f"{name} [{settings}]" if settings else name


def list_unnamed(key: RowKey, name: RowName, shared: Collection[str]) -> tuple[str, ...]:
    """Settings of a row that neither its name nor the list of all rows' settings shows."""
    return tuple(part for part in split_variant(key.variant) if part not in name.settings and part not in shared)
