"""What a preparation reads: a fetched folder, or the English one with the translations of its training set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stilts.data.examples import Reading
from stilts.data.fetched import Fetched
from stilts.errors import UserError

TRANSLATED = "translated"


@dataclass(frozen=True)
class Sources:
    """The sets of a fetched folder, and by name those of which other folders hold one piece each, in order."""

    main: Fetched
    pieces: Mapping[str, Sequence[Fetched]]

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.main.manifest

    @property
    def sets(self) -> tuple[str, ...]:
        return (*self.main.sets, *self.pieces)

    def is_labelled(self, name: str) -> bool:
        return name in self.pieces or self.main.is_labelled(name)

    def read(self, name: str) -> Reading:
        """Examples of a set, of a translated one shard after shard.

        Raises UserError: files that have vanished or changed, with all their folders; a translated set of no example.
        """
        if name not in self.pieces:
            return self.main.read(name)
        readings, problems = list[Reading](), list[str]()
        for folder in self.pieces[name]:
            try:
                readings.append(folder.read(name))
            except UserError as error:
                problems += error.problems
        examples = [example for reading in readings for example in reading.examples]
        if not examples and not problems:
            where = ", ".join(str(folder.folder) for folder in self.pieces[name])
            problems.append(f"{where}: no example of {name} is left; name other languages or tasks to translate")
        if problems:
            raise UserError(problems)
        return Reading(examples, sum(reading.skipped for reading in readings))


def open_sources(config: Mapping[str, Any], folders: Path | Sequence[Path]) -> Sources:
    """The folders that a preparation of `config` (task, part, `translated` languages) reads.

    Raises UserError with all problems: a folder of another task or part, a language without a folder, missing shards.
    """
    opened = [Fetched.load(folder) for folder in ([folders] if isinstance(folders, Path) else folders)]
    languages = config.get(TRANSLATED, [])
    names = [f"train.{language}" for language in languages]
    others = [fetched for fetched in opened if _is_translation(fetched)] if languages else []
    mains = [fetched for fetched in opened if fetched not in others]
    problems = [
        f"{fetched.folder}: holds {key} {fetched.manifest[key]!r}, {config[key]!r} is to be prepared"
        for fetched in opened
        for key in ("task", *(("part",) if fetched in mains else ()))
        if fetched.manifest[key] != config[key]
    ]
    pieces = {name: [fetched for fetched in others if name in fetched.sets] for name in names}
    for name, found in pieces.items():
        problems += _check_shards(name, found)
        found.sort(key=lambda fetched: fetched.manifest.get("shard", 1))
    if problems:
        raise UserError(problems)
    (main,) = mains
    return Sources(main, pieces)


def _is_translation(fetched: Fetched) -> bool:
    return fetched.manifest["part"] == TRANSLATED or "shard" in fetched.manifest


def _check_shards(name: str, found: Sequence[Fetched]) -> list[str]:
    """Shards 1 to n, each once; a folder without a number is a whole set."""
    if not found:
        return [f"{name}: no folder holds it; run its translation again"]
    shards = sorted(fetched.manifest.get("shard", 1) for fetched in found)
    wanted = list(range(1, max(fetched.manifest.get("shards", 1) for fetched in found) + 1))
    if shards == wanted:
        return []
    return [f"{name}: shards {', '.join(map(str, shards))} of {wanted[-1]} are there; each is needed once"]
