"""Axes: the names that a grid may vary, and what each of them may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stilts.document import Document, unknown, validate
from stilts.settings import (
    MlmSettings,
    PretrainSettings,
    RetrievalSettings,
    Settings,
    TrainingSettings,
    TranslationSettings,
)
from stilts.tasks.catalogue import (
    INTERMEDIATES,
    SUITES,
    TARGETS,
    TEXT,
    TOY_INTERMEDIATES,
    TOY_LANGUAGES,
    TOY_TARGETS,
    TRAININGS,
)

NAMED_AXES = ("model", "intermediate", "regime", "mlm", "translated", "target", "seed")
SWITCHES = ("mlm", "translated")
REGIMES = ("multitask", "sequential")
SETTING_GROUPS: dict[str, type[Settings]] = {
    "pretrain": PretrainSettings,
    "mlm": MlmSettings,
    "translation": TranslationSettings,
    "intermediate": TrainingSettings,
    "target": TrainingSettings,
    "retrieval": RetrievalSettings,
}
# Tasks' own settings and mappings are no axes; nor are keys that make no other row: a sweep adds figures to one, and
# any number of shards gives the same translation.
_NO_AXES = ("tasks", "sampling", "selection", "deepspeed", "sweep", "shards", "restarts")
_INNER_AXES = (
    "intermediate.sampling.cap",
    "intermediate.selection.points",
    "intermediate.selection.examples",
    "target.selection.points",
    "target.selection.examples",
)
LANGUAGE_LISTS = ("mlm.languages", "translation.languages")
_EXAMPLES = {
    "model": "model: [FacebookAI/xlm-roberta-large]",
    "intermediate": "intermediate: [none, mnli, [mnli, squad1]]",
    "target": "target: all",
    "seed": "seed: [1, 2, 3]",
}


def setting_keys() -> list[str]:
    """Dotted names of every scientific setting that may be an axis, tasks' own settings left out."""
    simple = [
        f"{group}.{key}" for group, model in SETTING_GROUPS.items() for key in model.model_fields if key not in _NO_AXES
    ]
    return [key for key in simple if key != "target.replay"] + list(_INNER_AXES)


def axis_value_problem(name: str, value: Any, suite: str) -> str | None:
    """Why `value` cannot stand on axis `name`; None where it can."""
    if name == "model" or (name == "translation.model" and value is not None):
        return None if isinstance(value, str) and value else f"{name} {value!r} is not a name or a path"
    if name == "seed":
        legal = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
        return None if legal else f"seed {value!r} is not a whole number from 0 to {2**31 - 1}"
    if name in SWITCHES:
        return None if isinstance(value, bool) else f"{name} {value!r} is neither true nor false"
    if name == "regime":
        return None if value in REGIMES else unknown(f"regime '{value}'", str(value), REGIMES)
    if name == "target":
        legal_targets = TOY_TARGETS if suite == "toy" else tuple(TARGETS)
        if value == "all" or value in legal_targets:
            return None
        return unknown(f"target '{value}' for suite {suite}", str(value), ["all", *legal_targets])
    if name == "intermediate":
        return _intermediate_problem(value, suite)
    problem = setting_problem(name, value)
    if problem is None and name == "pretrain.text":
        problem = next((wrong for text in value if (wrong := text_problem(text, suite))), None)
    if problem is None and name in LANGUAGE_LISTS:
        problem = next((wrong for code in value if (wrong := language_problem(name, code, suite))), None)
    return problem


def _intermediate_problem(value: Any, suite: str) -> str | None:
    legal = TOY_INTERMEDIATES if suite == "toy" else tuple(INTERMEDIATES)
    if value in ("none", "all", "each"):
        return None
    tasks = value if isinstance(value, list) else [value]
    if not tasks:
        return "an empty list of intermediate tasks; write none for the baseline"
    for task in tasks:
        if task not in legal:
            return unknown(f"intermediate task '{task}' for suite {suite}", str(task), ["none", "each", "all", *legal])
    if len(set(tasks)) < len(tasks):
        return f"intermediate set {tasks} names a task twice; name each once"
    return None


def text_problem(name: str, suite: str) -> str | None:
    """Why `name` is no text that `model: scratch` can learn from; None where it is one."""
    legal = (TEXT, *TOY_INTERMEDIATES, *TOY_TARGETS) if suite == "toy" else (*INTERMEDIATES, *TRAININGS, *TARGETS)
    return None if name in legal else unknown(f"text source '{name}' for suite {suite}", name, legal)


def language_problem(key: str, code: str, suite: str) -> str | None:
    """Why `code` cannot stand in the list of languages `key`; None where it can."""
    if key == "translation.languages" and code == "en":
        return "language 'en' is what the training sets are in already; leave it out of translation.languages"
    # What a translation model has learnt are real languages, whatever the suite.
    known = known_languages(suite) + (known_languages("xtreme") if key == "translation.languages" else [])
    return None if code in known else unknown(f"language '{code}'", code, known)


def known_languages(suite: str) -> list[str]:
    """Every language of any target of a suite, sorted by code."""
    if suite == "toy":
        return sorted(TOY_LANGUAGES)
    return sorted({language for target in TARGETS.values() for language in target.languages})


def setting_problem(name: str, value: Any) -> str | None:
    """Why a setting cannot take `value` (checked by the settings' own model)."""
    group, _, key = name.partition(".")
    nested: Any = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    probe = Document(Path(name), {group: nested})
    validate(probe, SETTING_GROUPS[group], nested)
    return probe.problems[0].split(": ", 1)[1] if probe.problems else None


def check_axes(document: Document) -> None:
    """Names and values of `axes` and of every entry of zip, include and exclude; axes that are missing or doubled."""
    raw = document.value
    _check_values(document, raw.get("axes"), ("axes",))
    for key in ("zip", "include", "exclude"):
        for index, group in enumerate(_mappings(raw.get(key))):
            _check_values(document, group, (key, index))
    if isinstance(raw.get("axes"), dict):
        _check_missing(document, raw["axes"])
    for index, group in enumerate(_mappings(raw.get("zip"))):
        lengths = {name: len(values) for name, values in group.items() if isinstance(values, list)}
        if len(set(lengths.values())) > 1:
            spelled = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            document.say(("zip", index), f"a zip group runs in step, but {spelled} values; make them equally long")
    _check_repeats(document)


def _mappings(groups: Any) -> list[dict[str, Any]]:
    """The entries of a list of mappings; an empty one for each entry that is none."""
    return [group if isinstance(group, dict) else {} for group in groups] if isinstance(groups, list) else []


def suite_of(raw: dict[str, Any]) -> str:
    """The suite that a grid names, `xtreme` where it names none or an unknown one."""
    return raw["suite"] if raw.get("suite") in SUITES else "xtreme"


def _check_values(document: Document, axes: Any, at: tuple[str | int, ...]) -> None:
    for name, values in axes.items() if isinstance(axes, dict) else ():
        place = (*at, name)
        if name not in NAMED_AXES and name not in setting_keys():
            document.say(place, unknown(f"axis '{name}'", name, [*NAMED_AXES, *setting_keys()]))
            continue
        if isinstance(values, list) and not values:
            document.say(place, f"axis '{name}' is empty; give at least one value")
        for index, value in enumerate(values if isinstance(values, list) else [values]):
            problem = axis_value_problem(name, value, suite_of(document.value))
            if problem:
                document.say((*place, index), problem)


def _check_missing(document: Document, axes: dict[str, Any]) -> None:
    elsewhere = {name for group in _mappings(document.value.get("zip")) for name in group}
    if "scale" in document.value:
        elsewhere.add("intermediate")
    for name, example in _EXAMPLES.items():
        if name not in axes and name not in elsewhere:
            document.say(("axes",), f"axis '{name}' is missing; give its values, for example {example}")


def _check_repeats(document: Document) -> None:
    """One axis in two places has two meanings, and a value given twice is a slip."""
    raw = document.value
    axes: dict[str, Any] = raw["axes"] if isinstance(raw.get("axes"), dict) else {}
    seen = set(axes)
    for index, group in enumerate(_mappings(raw.get("zip"))):
        for name in group:
            if name in seen:
                document.say(("zip", index, name), f"axis '{name}' stands elsewhere in this grid too; keep one")
            seen.add(name)
    for name, values in axes.items():
        for value, count in _count(values):
            if count > 1:
                document.say(("axes", name), f"axis '{name}' gives {value} {count} times; give it once")


def _count(values: Any) -> Iterable[tuple[str, int]]:
    return Counter(repr(value) for value in values).items() if isinstance(values, list) else ()
