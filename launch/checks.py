"""Names of tasks, texts, languages and splits inside a grid's blocks, each problem with its line."""

from __future__ import annotations

from typing import Any

from launch.axes import LANGUAGE_LISTS, known_languages, language_problem, suite_of, text_problem
from launch.deepspeed_keys import deepspeed_problems
from stilts.document import Document, unknown
from stilts.tasks.catalogue import INTERMEDIATES, MLM, TARGETS, TOY_TARGETS, TRAININGS

SIZED_SPLITS = ("train", "dev", "test")


def check_blocks(document: Document) -> None:
    """What the types of a grid's blocks cannot tell."""
    raw = document.value
    _check_tasks(document, raw)
    _check_weights(document, raw)
    _check_training(document, raw)
    _check_texts(document, raw)
    _check_languages(document, raw)
    _check_translated(document, raw)
    if _inside(raw, "translation", "model") == "":
        document.say(("translation", "model"), "translation.model '' is not a name or a path")
    sizes = _inside(raw, "toy", "sizes")
    for split in sizes if isinstance(sizes, dict) else ():
        if split not in SIZED_SPLITS:
            document.say(("toy", "sizes", split), unknown(f"split '{split}'", split, SIZED_SPLITS))
    hub = raw.get("hub")
    tasks = ["all", *dict.fromkeys((*INTERMEDIATES, *TRAININGS, *TARGETS, MLM))]
    for index, task in enumerate(hub if isinstance(hub, list) else [hub] if isinstance(hub, str) else []):
        if task not in tasks:
            document.say(("hub", index), unknown(f"task '{task}'", str(task), tasks))


def _check_tasks(document: Document, raw: dict[str, Any]) -> None:
    for stage, legal in (("intermediate", tuple(INTERMEDIATES)), ("target", tuple(TRAININGS))):
        tasks = _inside(raw, stage, "tasks")
        for task in tasks if isinstance(tasks, dict) else ():
            if stage == "intermediate" and task == MLM:
                document.say((stage, "tasks", task), "'mlm' has a block of its own: give its settings under `mlm:`")
            elif task not in legal:
                kind = "intermediate task" if stage == "intermediate" else "target training"
                document.say((stage, "tasks", task), unknown(f"{kind} '{task}'", task, legal))


def _check_weights(document: Document, raw: dict[str, Any]) -> None:
    sampling = _inside(raw, "intermediate", "sampling")
    weights = sampling.get("weights") if isinstance(sampling, dict) else None
    for task in weights if isinstance(weights, dict) else ():
        if task not in (*INTERMEDIATES, MLM):
            place = ("intermediate", "sampling", "weights", task)
            document.say(place, unknown(f"intermediate task '{task}'", str(task), (*INTERMEDIATES, MLM)))


def _check_training(document: Document, raw: dict[str, Any]) -> None:
    for stage in ("intermediate", "target"):
        block = _inside(raw, stage, "deepspeed")
        for place, problem in deepspeed_problems(block) if isinstance(block, dict) else ():
            document.say((stage, "deepspeed", *place), problem)
    if _inside(raw, "target", "replay"):
        document.say(("target", "replay"), "'target.replay': a target is one training; `replay` is for sequences")


def _check_texts(document: Document, raw: dict[str, Any]) -> None:
    texts = _inside(raw, "pretrain", "text")
    for index, text in enumerate(texts if isinstance(texts, list) else ()):
        problem = text_problem(str(text), suite_of(raw))
        if problem:
            document.say(("pretrain", "text", index), problem)


def _check_languages(document: Document, raw: dict[str, Any]) -> None:
    suite = suite_of(raw)
    known, targets = known_languages(suite), ["all", *(TOY_TARGETS if suite == "toy" else TARGETS)]
    languages = raw.get("languages")
    groups = languages.items() if isinstance(languages, dict) else [(None, languages)]
    for target, names in groups:
        if target is not None and target not in targets:
            document.say(("languages", target), unknown(f"target '{target}'", str(target), targets))
        for index, language in enumerate(names if isinstance(names, list) else ()):
            if isinstance(language, str) and language not in known:
                place = ("languages", index) if target is None else ("languages", target, index)
                document.say(place, unknown(f"language '{language}'", language, known))
    for key in LANGUAGE_LISTS:
        block, _, name = key.partition(".")
        names = _inside(raw, block, name)
        for index, language in enumerate(names if isinstance(names, list) else ()):
            problem = language_problem(key, language, suite) if isinstance(language, str) else None
            if isinstance(language, str) and language in names[:index]:
                problem = f"{key} names '{language}' twice; name it once"
            if problem:
                document.say((block, name, index), problem)


def _check_translated(document: Document, raw: dict[str, Any]) -> None:
    """`translated: true` needs languages, in their block or on an axis of any place."""
    if _inside(raw, "translation", "languages"):
        return
    places: list[tuple[tuple[str | int, ...], Any]] = [(("axes",), raw.get("axes"))]
    for key in ("zip", "include"):
        groups = raw.get(key)
        places += [((key, i), group) for i, group in enumerate(groups if isinstance(groups, list) else [])]
    if any(isinstance(group, dict) and "translation.languages" in group for _, group in places):
        return
    for at, group in places:
        values = group.get("translated") if isinstance(group, dict) else None
        if values is True or (isinstance(values, list) and True in values):
            problem = "'translated: true' needs languages; name them, for example `translation: {languages: [de, ru]}`"
            document.say((*at, "translated"), problem)


def _inside(raw: dict[str, Any], group: str, key: str) -> Any:
    return raw[group].get(key) if isinstance(raw.get(group), dict) else None
