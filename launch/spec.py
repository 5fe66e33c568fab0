"""What a grid file may say: typed models of the YAML, read with every problem reported at once."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from launch.document import Document, read_document, unknown, validate
from launch.resources import ResourceRule
from stilts.errors import UserError
from stilts.settings import PretrainSettings, RetrievalSettings, Settings, ToySettings, TrainingSettings
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

GRIDS = Path(__file__).parent / "grids"
NAMED_AXES = ("model", "intermediate", "regime", "target", "seed")
REGIMES = ("multitask", "sequential")
SIZED_SPLITS = ("train", "dev", "test")
Assignment = dict[str, Any]


class Grid(Settings):
    """One grid file. `axes` are multiplied; each group of `zip` runs in step; then `include` and `exclude`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    suite: Literal["xtreme", "toy"] = "xtreme"
    data_root: str | None = Field(None, pattern=r"^[^\x00]+$")
    hub: list[str] = Field(default_factory=list)
    revisions: dict[str, str] = Field(default_factory=dict)
    languages: dict[str, list[str]] = Field(default_factory=dict)
    axes: dict[str, Any]
    zip: list[dict[str, list[Any]]] = Field(default_factory=list)
    include: list[Assignment] = Field(default_factory=list)
    exclude: list[Assignment] = Field(default_factory=list)
    toy: ToySettings = ToySettings()
    pretrain: PretrainSettings = PretrainSettings()
    intermediate: TrainingSettings = TrainingSettings()
    target: TrainingSettings = TrainingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    resources: list[ResourceRule] = Field(default_factory=list)

    @field_validator("hub", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("languages", mode="before")
    @classmethod
    def _list_is_for_all(cls, value: Any) -> Any:
        if not isinstance(value, (list, dict)):
            raise ValueError("give a list of languages, or for single targets a list each")
        return {"all": value} if isinstance(value, list) else value

    @field_validator("axes")
    @classmethod
    def _axes_hold_lists(cls, axes: dict[str, Any]) -> dict[str, list[Any]]:
        return {name: values if isinstance(values, list) else [values] for name, values in axes.items()}

    def languages_of(self, target: str) -> list[str] | None:
        """The languages that the grid asks for; None: all of the target's."""
        return self.languages.get(target, self.languages.get("all"))

    def reads_hub(self, task: str) -> bool:
        """Whether a task comes from its hub set: where the grid says so, or names no folder of original files."""
        return self.suite == "xtreme" and (self.data_root is None or task in self.hub or "all" in self.hub)


def find_grid(name: str) -> Path:
    """A path, or the name of a file in `launch/grids/` with or without its suffix."""
    for candidate in (name, GRIDS / name, GRIDS / f"{name}.yaml"):
        if os.path.isfile(candidate):  # False, too, where the folder may not be read or the name is no path
            return Path(candidate)
    known = sorted(path.name for path in GRIDS.glob("*.yaml"))
    raise UserError(f"--grid: there is no file '{name}', and {unknown(f'grid {name!r}', name, known)}")


def load_grid(path: Path) -> Grid:
    """Read and check a grid file.

    Raises UserError with all problems: unknown keys, wrong types, duplicate keys, unknown tasks and values.
    """
    document = read_document(path)
    grid = validate(document, Grid)
    raw = document.value
    _check_axes(document, raw.get("axes"), ("axes",), _suite(raw))
    for key in ("zip", "include", "exclude"):
        groups = raw.get(key)
        for index, group in enumerate(groups if isinstance(groups, list) else []):
            _check_axes(document, group, (key, index), _suite(raw))
    _check_zip(document, raw.get("zip"))
    _check_repeats(document, raw)
    _check_names(document, raw)
    document.check()
    assert grid is not None, "a grid without problems validates"
    folder = path.absolute().parent
    update: dict[str, Any] = {"axes": _with_paths(grid.axes, folder)}
    for key in ("zip", "include", "exclude"):
        update[key] = [_with_paths(group, folder) for group in getattr(grid, key)]
    if grid.data_root is not None:
        update["data_root"] = _absolute(grid.data_root, folder)
    return grid.model_copy(update=update)


def _with_paths(axes: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Axes whose models given as paths (`./`, `../`, `~`) are absolute: jobs start in another folder."""
    if "model" not in axes:
        return axes
    values = axes["model"] if isinstance(axes["model"], list) else [axes["model"]]
    return {**axes, "model": [_absolute(value, folder) if value[0] in ".~" else value for value in values]}


def _absolute(path: str, folder: Path) -> str:
    """A path of a grid file, which is relative to the file's folder."""
    return os.path.normpath(folder / os.path.expanduser(path))


def _suite(raw: dict[str, Any]) -> str:
    suite = raw.get("suite")
    return suite if suite in SUITES else "xtreme"


def _check_axes(document: Document, axes: Any, at: tuple[str | int, ...], suite: str) -> None:
    """Names and values of one mapping from axis to values (`axes`, or one entry of zip, include, exclude)."""
    if not isinstance(axes, dict):
        return
    for name, values in axes.items():
        place = (*at, name)
        if name not in NAMED_AXES and name not in setting_keys():
            document.say(place, unknown(f"axis '{name}'", name, [*NAMED_AXES, *setting_keys()]))
            continue
        if isinstance(values, list) and not values:
            document.say(place, f"axis '{name}' is empty; give at least one value")
        for index, value in enumerate(values if isinstance(values, list) else [values]):
            problem = axis_value_problem(name, value, suite)
            if problem:
                document.say((*place, index), problem)
    if at == ("axes",):
        for name in ("model", "intermediate", "target", "seed"):
            if name not in axes and not _in_zip(document, name):
                document.say(at, f"axis '{name}' is missing; give its values, for example {_example(name)}")


def _in_zip(document: Document, name: str) -> bool:
    groups = document.value.get("zip")
    return isinstance(groups, list) and any(isinstance(group, dict) and name in group for group in groups)


def _example(name: str) -> str:
    return {
        "model": "model: [FacebookAI/xlm-roberta-large]",
        "intermediate": "intermediate: [none, mnli, [mnli, squad1]]",
        "target": "target: all",
        "seed": "seed: [1, 2, 3]",
    }[name]


def axis_value_problem(name: str, value: Any, suite: str) -> str | None:
    """Why `value` cannot stand on axis `name`; None where it can."""
    if name == "model":
        return None if isinstance(value, str) and value else f"model {value!r} is not a name or a path"
    if name == "seed":
        legal = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
        return None if legal else f"seed {value!r} is not a whole number from 0 to {2**31 - 1}"
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
        problem = next((wrong for text in value if (wrong := _text_problem(text, suite))), None)
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


def _text_problem(name: str, suite: str) -> str | None:
    """Why `name` is no text that `model: scratch` can learn from; None where it is one."""
    legal = (TEXT, *TOY_INTERMEDIATES, *TOY_TARGETS) if suite == "toy" else (*INTERMEDIATES, *TRAININGS, *TARGETS)
    return None if name in legal else unknown(f"text source '{name}' for suite {suite}", name, legal)


def setting_keys() -> list[str]:
    """Dotted names of every scientific setting that may be an axis, tasks' own settings left out."""
    groups: dict[str, type[Settings]] = {
        "pretrain": PretrainSettings,
        "intermediate": TrainingSettings,
        "target": TrainingSettings,
        "retrieval": RetrievalSettings,
    }
    simple = [f"{group}.{key}" for group, model in groups.items() for key in model.model_fields if key != "tasks"]
    # A sweep adds figures to a row, so it makes no other row.
    return [key for key in simple if not key.endswith((".sampling", ".sweep"))] + ["intermediate.sampling.cap"]


def setting_problem(name: str, value: Any) -> str | None:
    """Why a setting cannot take `value` (checked by the settings' own model)."""
    group, _, key = name.partition(".")
    nested: Any = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    probe = Document(Path(name), {group: nested})
    wrappers: dict[str, type[Settings]] = {"pretrain": PretrainSettings, "retrieval": RetrievalSettings}
    validate(probe, wrappers.get(group, TrainingSettings), nested)
    return probe.problems[0].split(": ", 1)[1] if probe.problems else None


def _check_zip(document: Document, groups: Any) -> None:
    for index, group in enumerate(groups if isinstance(groups, list) else []):
        if not isinstance(group, dict):
            continue
        lengths = {name: len(values) for name, values in group.items() if isinstance(values, list)}
        if len(set(lengths.values())) > 1:
            spelled = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            document.say(("zip", index), f"a zip group runs in step, but {spelled} values; make them equally long")


def _check_repeats(document: Document, raw: dict[str, Any]) -> None:
    """One axis in two places has two meanings, and a value given twice is a slip."""
    axes = raw.get("axes") if isinstance(raw.get("axes"), dict) else {}
    seen = set(axes or {})
    groups = raw.get("zip")
    for index, group in enumerate(groups if isinstance(groups, list) else []):
        for name in group if isinstance(group, dict) else {}:
            if name in seen:
                document.say(("zip", index, name), f"axis '{name}' stands elsewhere in this grid too; keep one")
            seen.add(name)
    for name, values in (axes or {}).items():
        spelled = Counter(repr(value) for value in values) if isinstance(values, list) else {}
        for value, count in spelled.items():
            if count > 1:
                document.say(("axes", name), f"axis '{name}' gives {value} {count} times; give it once")


def _check_names(document: Document, raw: dict[str, Any]) -> None:
    """Names of tasks, texts, languages and splits inside the settings."""
    for stage, legal in (("intermediate", tuple(INTERMEDIATES)), ("target", tuple(TRAININGS))):
        tasks = _inside(raw, stage, "tasks")
        for task in tasks if isinstance(tasks, dict) else ():
            if task not in legal:
                kind = "intermediate task" if stage == "intermediate" else "target training"
                document.say((stage, "tasks", task), unknown(f"{kind} '{task}'", task, legal))
    sampling = _inside(raw, "intermediate", "sampling")
    weights = sampling.get("weights") if isinstance(sampling, dict) else None
    for task in weights if isinstance(weights, dict) else ():
        if task not in INTERMEDIATES:
            place = ("intermediate", "sampling", "weights", task)
            document.say(place, unknown(f"intermediate task '{task}'", str(task), INTERMEDIATES))
    texts = _inside(raw, "pretrain", "text")
    for index, text in enumerate(texts if isinstance(texts, list) else ()):
        problem = _text_problem(str(text), _suite(raw))
        if problem:
            document.say(("pretrain", "text", index), problem)
    sizes = _inside(raw, "toy", "sizes")
    for split in sizes if isinstance(sizes, dict) else ():
        if split not in SIZED_SPLITS:
            document.say(("toy", "sizes", split), unknown(f"split '{split}'", split, SIZED_SPLITS))
    _check_languages(document, raw)
    hub = raw.get("hub")
    tasks = ["all", *dict.fromkeys((*INTERMEDIATES, *TRAININGS, *TARGETS))]
    for index, task in enumerate(hub if isinstance(hub, list) else [hub] if isinstance(hub, str) else []):
        if task not in tasks:
            document.say(("hub", index), unknown(f"task '{task}'", str(task), tasks))


def _check_languages(document: Document, raw: dict[str, Any]) -> None:
    known = _known_languages(_suite(raw))
    targets = ["all", *(TOY_TARGETS if _suite(raw) == "toy" else TARGETS)]
    languages = raw.get("languages")
    groups = languages.items() if isinstance(languages, dict) else [(None, languages)]
    for target, names in groups:
        if target is not None and target not in targets:
            document.say(("languages", target), unknown(f"target '{target}'", str(target), targets))
        for index, language in enumerate(names if isinstance(names, list) else ()):
            if isinstance(language, str) and language not in known:
                place = ("languages", index) if target is None else ("languages", target, index)
                document.say(place, unknown(f"language '{language}'", language, known))


def _inside(raw: dict[str, Any], group: str, key: str) -> Any:
    return raw[group].get(key) if isinstance(raw.get(group), dict) else None


def _known_languages(suite: str) -> list[str]:
    if suite == "toy":
        return list(TOY_LANGUAGES)
    return sorted({language for target in TARGETS.values() for language in target.languages})
