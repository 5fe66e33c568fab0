"""Finding the original files of each set under a data root, by the layouts of `stilts/data/layouts.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from stilts.data import ccg, pairs, squad, tagged
from stilts.data.languages import LANGUAGES, Language
from stilts.data.layouts import LAYOUTS, TRANSLATED
from stilts.data.lines import read_lines
from stilts.errors import UserError
from stilts.tasks.catalogue import MLM, TEXT, splits, target_languages

# Pre-training text mixes its languages; ISO 639-2 has a code for that.
MANY = "mul"


@dataclass
class Found:
    """Files by set name; the names of those sets whose files have no labels; scored sets that no file has."""

    sets: dict[str, list[Path]] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


def find_files(task: str, part: str, languages: Sequence[str], root: Path) -> Found:
    """The files of a (task, part) below `root`; `languages` count for part `scored` alone.

    Raises UserError that names every set without files and the layouts looked for. Sets to train and tune on need
    labels; of a scored language one split must be there, with labels or, as XTREME distributes test files, without.
    """
    if not root.is_dir():
        raise UserError(f"data root {root}: no such folder; give the folder that holds the original files of {task}")
    if part == "scored":
        return _find_scored(task, languages, root)
    if part == "translated":
        return _find_translated(task, languages, root)
    found = Found()
    for split in ("train",) if task == TEXT else ("train", "dev"):
        _add_set(found, task, split, MANY if task == TEXT else "en", root)
    if missing := found.unlabelled + found.absent:
        raise UserError([_describe_missing(task, name, root, name in found.unlabelled) for name in missing])
    return found


def find_texts(languages: Sequence[str], root: Path) -> dict[str, Path]:
    """The text file of each language below `root`, for masked language modelling.

    Raises UserError that names every language without one, the layouts looked for and the languages that are there.
    """
    if not root.is_dir():
        raise UserError(f"data root {root}: no such folder; give the folder that holds the text files of {MLM}")
    found, problems = dict[str, Path](), []
    for language in languages:
        files = next(filter(None, (_match(layout, "train", language, root) for layout in LAYOUTS[MLM, "train"])), None)
        if files:
            found[language] = files[0]
        else:
            problems.append(_describe_missing(MLM, f"train.{language}", root))
    if problems:
        others = f"`mlm: {{languages: [{', '.join(found)}]}}` in the grid" if found else "`mlm: {languages: [...]}`"
        raise UserError([*problems, f"{MLM}: put one sentence on each line of these files, or go on with {others}"])
    return found


def _find_scored(task: str, languages: Sequence[str], root: Path) -> Found:
    found = Found()
    problems: list[str] = []
    for language in languages:
        names = [f"{split}.{language}" for split in splits(task) if _is_released(task, split, language)]
        for name in names:
            _add_set(found, task, name.partition(".")[0], language, root)
        if not any(name in found.sets for name in names):
            problems += [_describe_missing(task, name, root) for name in names]
            problems.append(f"{task}: to go on without {language}, name the others under `languages:` in the grid")
    if problems:
        raise UserError(problems)
    return found


def _find_translated(task: str, languages: Sequence[str], root: Path) -> Found:
    paths = {language: root / TRANSLATED.format(task=task, language=language) for language in languages}
    problems = []
    for language, path in paths.items():
        if not path.is_file() or not path.stat().st_size:
            problems.append(
                f"{task} train.{language}: {'nothing in' if path.is_file() else 'no file'} {path}; put the translation "
                "there as JSON lines, or name a model as `translation: {model: ...}` in the grid, which translates it"
            )
    if problems:
        raise UserError(problems)
    return Found({f"train.{language}": [path] for language, path in paths.items()})


def _is_released(task: str, split: str, language: str) -> bool:
    """False only where the release itself has no such split (udpos dev in four languages)."""
    return language in target_languages(task, split) or language not in target_languages(task, "test")


def _add_set(found: Found, task: str, split: str, language: str, root: Path) -> None:
    name = f"{split}.{language}"
    for layout in LAYOUTS[task, split]:
        files = _match(layout, split, language, root)
        if not files:
            continue
        if _has_labels(task, files):
            found.sets[name] = files
            if name in found.unlabelled:
                found.unlabelled.remove(name)
            return
        if name not in found.sets:
            found.sets[name] = files
            found.unlabelled.append(name)
    if name not in found.sets:
        found.absent.append(name)


def _match(layout: str, split: str, language: str, root: Path) -> list[Path]:
    """Files of a layout, those of one pattern sorted by name (XTREME's order of treebanks); empty if one lacks."""
    files: list[Path] = []
    for choice in _fill(layout, split, language).split(" + "):
        matches: list[Path] = next(filter(None, (_glob(pattern, root) for pattern in choice.split(" | "))), [])
        if not matches:
            return []
        files += matches
    if "XNLI-1.0" in layout and language not in _list_languages(files[0], files[0].stat().st_mtime_ns):
        return []
    return files


def _glob(pattern: str, root: Path) -> list[Path]:
    return sorted((path for path in root.glob(pattern) if path.is_file()), key=lambda path: path.name)


def _fill(layout: str, split: str, language: str) -> str:
    name, tatoeba = LANGUAGES.get(language, Language(language, language))
    return layout.format(split=split, language=language, lang3=tatoeba, english_name=name.lower())


@lru_cache
def _list_languages(path: Path, changed_ns: int) -> frozenset[str]:
    """Languages of XNLI's original files, which hold all of them, in the first column."""
    try:
        return frozenset(line.partition("\t")[0] for _, line in read_lines(path))
    except UserError:
        return frozenset(target_languages("xnli", "test"))  # the reader complains about it with its line


def _has_labels(task: str, files: list[Path]) -> bool:
    """False for what XTREME distributes as test files: labels or tags cut off or all one dummy, answers
    emptied, Tatoeba's English side re-ordered, BUCC's gold list deleted. What cannot be read is left to the reader."""
    try:
        match task:
            case "tatoeba":
                return files[0].name.startswith("tatoeba.")
            case "bucc2018":
                return len(files) == 3
            case "xquad" | "mlqa" | "tydiqa":
                return squad.has_answers(files[0])
            case "xnli" | "pawsx":
                return not files[0].name.startswith("test") or pairs.has_labels(files[0])
            case "udpos" | "panx":
                return files[0].suffix == ".conllu" or tagged.has_tags(files[0])
    except UserError:
        pass
    return True


def _describe_missing(task: str, name: str, root: Path, unlabelled: bool = False) -> str:
    split, _, language = name.partition(".")
    layouts = [_fill(layout, split, language) for layout in LAYOUTS[task, split]]
    what = "only files without labels, which cannot be trained or tuned on" if unlabelled else "no file"
    text = f"{task} {name}: {what} under {root}; looked for {', '.join(layouts)}"
    for remark in dict.fromkeys([*_find_gaps(layouts, root), *_find_obstacles(layouts, root)]):
        text += f"; {remark}"
    return f"{text}. {ccg.LICENCE}" if task == "ccg" else text


def _find_gaps(layouts: Sequence[str], root: Path) -> Iterator[str]:
    """What lacks of a layout of which another part is there."""
    for layout in layouts:
        parts = layout.split(" + ")
        missing = [part for part in parts if not any(_glob(pattern, root) for pattern in part.split(" | "))]
        if 0 < len(missing) < len(parts):
            yield f"of these there is no {' and no '.join(missing)}"


def _find_obstacles(layouts: Sequence[str], root: Path) -> Iterator[str]:
    """What stands in the place of a file and is none."""
    for pattern in (part for layout in layouts for choice in layout.split(" + ") for part in choice.split(" | ")):
        path = root / pattern
        if path.is_dir():
            yield f"{path} is a folder, not a file"
        elif os.path.lexists(path) and not path.exists():
            yield f"{path} is a link to nothing"
