"""Where the original files of each set lie under a data root: what the archives unpack to, what XTREME's download
makes, and small slices of either."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from stilts.data.lines import read_lines
from stilts.errors import UserError
from stilts.tasks.catalogue import TEXT, splits, target_languages

# Pre-training text mixes its languages; ISO 639-2 has a code for that.
MANY = "mul"

# A layout is a glob pattern below the root, or several joined by " + " that must all be there; {language} is
# ISO 639-1, {lang3} is Tatoeba's code. The first layout with labelled files serves. Original releases stand before
# XTREME's conversions, which double quote marks (XNLI) and lack treebanks added by hand (UD).
_MNLI_FOLDERS = ("mnli/MNLI", "MNLI", "glue/MNLI", "mnli")
_MULTINLI = ("mnli/multinli_1.0/multinli_1.0_", "multinli_1.0/multinli_1.0_")
_MNLI_TRAIN = (*(f"{f}/train.tsv" for f in _MNLI_FOLDERS), *(f"{f}train.jsonl" for f in _MULTINLI))
_SQUAD_FOLDERS = ("squad_v1.1", "squad1", "squad")
_XNLI_SCORED = (
    "xnli/XNLI-1.0/xnli.{split}.tsv",
    "XNLI-1.0/xnli.{split}.tsv",
    "xnli/xtreme/{split}-{language}.tsv",
    "xnli/{split}-{language}.tsv",
    "xnli/test_labelled/{split}-{language}.tsv",
)
_UDPOS = (
    "udpos/UD_*/{language}_*-ud-{split}*.conllu",
    "udpos/ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}*.conllu",
    "ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}*.conllu",
    "udpos/xtreme/{split}-{language}.tsv",
    "udpos/{split}-{language}.tsv",
)

LAYOUTS: dict[tuple[str, str], tuple[str, ...]] = {
    (TEXT, "train"): ("text/train.tsv",),
    ("mnli", "train"): _MNLI_TRAIN,
    ("mnli", "dev"): (
        *(f"{f}/dev_matched.tsv" for f in _MNLI_FOLDERS),
        *(f"{f}dev_matched.jsonl" for f in _MULTINLI),
        "mnli/MNLI/dev_trainlayout.tsv",  # rows of train.tsv as a stand-in, in the small slices
    ),
    ("xnli", "train"): (
        "xnli/multinli.train.en.tsv",
        "xnli/XNLI-MT-1.0/multinli/multinli.train.en.tsv",
        "XNLI-MT-1.0/multinli/multinli.train.en.tsv",
        "xnli/train-en.tsv",
        *_MNLI_TRAIN,
    ),
    ("xnli", "dev"): _XNLI_SCORED,
    ("xnli", "test"): _XNLI_SCORED,
    ("squad1", "train"): tuple(f"{f}/train-v1.1.json" for f in _SQUAD_FOLDERS),
    ("squad1", "dev"): tuple(f"{f}/dev-v1.1.json" for f in _SQUAD_FOLDERS),
    ("squad", "train"): ("xquad/train-v1.1.json", *(f"{f}/train-v1.1.json" for f in _SQUAD_FOLDERS)),
    ("squad", "dev"): ("xquad/dev-v1.1.json", *(f"{f}/dev-v1.1.json" for f in _SQUAD_FOLDERS)),
    ("xquad", "test"): ("xquad/xquad.{language}.json",),
    ("hellaswag", "train"): ("hellaswag/hellaswag_train.jsonl",),
    ("hellaswag", "dev"): ("hellaswag/hellaswag_val.jsonl",),
    ("udpos", "train"): _UDPOS,
    ("udpos", "dev"): _UDPOS,
    ("udpos", "test"): _UDPOS,
    ("tatoeba", "test"): (
        "tatoeba/v1/tatoeba.{lang3}-eng.{lang3} + tatoeba/v1/tatoeba.{lang3}-eng.eng",
        "tatoeba/tatoeba.{lang3}-eng.{lang3} + tatoeba/tatoeba.{lang3}-eng.eng",
        "tatoeba/tatoeba.{language}-eng.{language} + tatoeba/tatoeba.{language}-eng.eng",
        "tatoeba/{language}-en.{language} + tatoeba/{language}-en.en",
    ),
}

# Tatoeba's ISO 639-3 codes as LASER names its files.
_LANG3 = dict(
    zip(
        "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi"
        " zh".split(),
        "afr ara bul ben deu ell spa est eus pes fin fra heb hin hun ind ita jpn jav kat kaz kor mal mar nld por rus"
        " swh tam tel tha tgl tur urd vie cmn".split(),
        strict=True,
    )
)


@dataclass
class Found:
    """Files by set name; scored sets that exist without labels; sets that no file has."""

    sets: dict[str, list[Path]] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


def find_files(task: str, part: str, languages: Sequence[str], root: Path) -> Found:
    """The files of a (task, part) below `root`; `languages` count for part `scored` alone.

    Raises UserError that names every set without files and the layouts looked for. A scored language needs one
    labelled split; its other splits may be absent or, as XTREME distributes test files, without labels.
    """
    if not root.is_dir():
        raise UserError(f"data root {root}: no such folder; give the folder that holds the original files of {task}")
    if part == "scored":
        return _find_scored(task, languages, root)
    found = Found()
    for split in ("train",) if task == TEXT else ("train", "dev"):
        _add_set(found, task, split, MANY if task == TEXT else "en", root)
    if missing := found.unlabelled + found.absent:
        raise UserError([_describe_missing(task, name, root, name in found.unlabelled) for name in missing])
    return found


def _find_scored(task: str, languages: Sequence[str], root: Path) -> Found:
    found = Found()
    problems: list[str] = []
    for language in languages:
        names = [f"{split}.{language}" for split in splits(task) if _is_released(task, split, language)]
        for name in names:
            _add_set(found, task, name.partition(".")[0], language, root)
        if not any(name in found.sets for name in names):
            problems += [_describe_missing(task, name, root, name in found.unlabelled) for name in names]
            problems.append(f"{task}: to go on without {language}, name the others under `languages:` in the grid")
    if problems:
        raise UserError(problems)
    return found


def _is_released(task: str, split: str, language: str) -> bool:
    """False only where the release itself has no such split (udpos dev in four languages)."""
    return language in target_languages(task, split) or language not in target_languages(task, "test")


def _add_set(found: Found, task: str, split: str, language: str, root: Path) -> None:
    unlabelled = False
    for layout in LAYOUTS[task, split]:
        files = _match(layout, split, language, root)
        if files and _has_labels(task, files):
            found.sets[f"{split}.{language}"] = files
            return
        unlabelled = unlabelled or bool(files)
    (found.unlabelled if unlabelled else found.absent).append(f"{split}.{language}")


def _match(layout: str, split: str, language: str, root: Path) -> list[Path]:
    """Files of a layout, those of one pattern sorted by name (XTREME's order of treebanks); empty if one lacks."""
    files: list[Path] = []
    for pattern in _fill(layout, split, language).split(" + "):
        matches = sorted((path for path in root.glob(pattern) if path.is_file()), key=lambda path: path.name)
        if not matches:
            return []
        files += matches
    if "XNLI-1.0" in layout and language not in _list_languages(files[0], files[0].stat().st_mtime_ns):
        return []
    return files


def _fill(layout: str, split: str, language: str) -> str:
    return layout.format(split=split, language=language, lang3=_LANG3.get(language, language))


@lru_cache
def _list_languages(path: Path, changed_ns: int) -> frozenset[str]:
    """Languages of XNLI's original files, which hold all of them, in the first column."""
    return frozenset(line.partition("\t")[0] for _, line in read_lines(path))


def _has_labels(task: str, files: list[Path]) -> bool:
    """False for what XTREME distributes as test files: label column cut off, answers emptied, English re-ordered."""
    if task == "tatoeba":
        return files[0].name.startswith("tatoeba.")
    if task == "xquad":
        return not _are_answers_empty(files[0])
    if task in ("xnli", "udpos") and files[0].suffix == ".tsv":
        columns = next((line.count("\t") + 1 for _, line in read_lines(files[0]) if line), 0)
        return columns != (2 if task == "xnli" else 1)
    return True


def _are_answers_empty(path: Path) -> bool:
    try:
        articles = json.loads(path.read_bytes())["data"]
        entries = [entry for article in articles for paragraph in article["paragraphs"] for entry in paragraph["qas"]]
        return bool(entries) and not any(answer["text"] for entry in entries for answer in entry["answers"])
    except (ValueError, KeyError, TypeError):
        return False  # not ours to judge: the reader complains about it with its line


def _describe_missing(task: str, name: str, root: Path, unlabelled: bool) -> str:
    split, _, language = name.partition(".")
    looked = ", ".join(_fill(layout, split, language) for layout in LAYOUTS[task, split])
    what = "only files without labels, which cannot be scored" if unlabelled else "no file"
    return f"{task} {name}: {what} under {root}; looked for {looked}"
