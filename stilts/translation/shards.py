"""A translation as work that can be shared and interrupted: parts of some hundred examples, shards of whole parts.

Parts are cut from the whole training set, whatever the number of shards, and the batches of the model lie inside a
part. So the shards of a set together are, byte for byte, what one job would write, and a job that goes on after it was
killed writes what it would have written.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from stilts.data.examples import Example, Question
from stilts.data.fetched import combine_digests
from stilts.data.folders import new_folder
from stilts.data.translated import format_row
from stilts.runs import file_digest, read_json, write_json
from stilts.translation.examples import translate_examples
from stilts.translation.translator import Progress, Translator, Usage

PART_EXAMPLES = 256

Part = list[Example]
Beat = Callable[[int, int], None]


def cut_parts(examples: Sequence[Example], size: int = PART_EXAMPLES) -> list[Part]:
    """Parts of `size` examples or a little more: questions that share their context stay together."""
    parts: list[Part] = []
    for _, group in groupby(enumerate(examples), key=_context_or_number):
        if not parts or len(parts[-1]) >= size:
            parts.append([])
        parts[-1] += [example for _, example in group]
    return parts


def _context_or_number(entry: tuple[int, Example]) -> str | int:
    number, example = entry
    return example.context if isinstance(example, Question) else number


def take_shard(parts: Sequence[Part], shard: int, shards: int) -> list[Part]:
    """The parts of shard `shard` (from 1) of `shards`, one after the other; none where there are fewer than shards."""
    assert 1 <= shard <= shards, f"shard {shard} of {shards}"
    return list(parts[len(parts) * (shard - 1) // shards : len(parts) * shard // shards])


def translate_parts(parts: Sequence[Part], load: Callable[[], Translator], folder: Path, beat: Beat) -> None:
    """Write `folder`/00000.json and so on, each when it is done; those that are there stay. `load` makes the model.

    A part's file has its lines (`rows`), `counts` of questions, `usage` in tokens, `seconds` and `dtype`.
    `beat` is called with the examples done and all examples.
    """
    missing = [number for number in range(len(parts)) if read_json(_name_part(folder, number)) is None]
    total = sum(map(len, parts))
    done = total - sum(len(parts[number]) for number in missing)
    beat(done, total)
    translator = load() if missing else None
    for number in missing:
        assert translator is not None
        size = len(parts[number])

        def report(pieces: int, all_pieces: int, done: int = done, size: int = size) -> None:
            # A part is done when it is written.
            beat(done + min(size * pieces // max(1, all_pieces), size - 1), total)

        write_json(_name_part(folder, number), _translate_part(parts[number], translator, report))
        done += size
        beat(done, total)


def _name_part(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.json"


def _translate_part(part: Part, translator: Translator, progress: Progress) -> dict[str, Any]:
    started = time.perf_counter()
    translator.usage = Usage()
    examples, counts = translate_examples(part, translator, progress)
    usage = asdict(translator.usage)
    seconds = time.perf_counter() - started
    rows = [format_row(example) for example in examples]
    return {"rows": rows, "counts": counts, "usage": usage, "seconds": seconds, "dtype": translator.dtype}


def join_parts(folder: Path, count: int, out: Path, set_name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """All parts in their order as `out`/`<set_name>.jsonl`, with a manifest like that of a fetched folder.

    The manifest is `manifest` and besides: sets, counts, digest, and as `translation` the sums over the parts of their
    counts, usage and seconds with the kinds of numbers they were computed in. It is returned.
    """
    counts, usage, seconds, rows, dtypes = Counter[str](), Counter[str](), 0.0, 0, set[str]()
    with new_folder(out) as temporary:
        path = temporary / f"{set_name}.jsonl"
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            for number in range(count):
                part = read_json(_name_part(folder, number))
                assert part is not None, f"part {number} has vanished from {folder}"
                file.writelines(f"{row}\n" for row in part["rows"])
                counts.update(part["counts"])
                usage.update(part["usage"])
                seconds += part["seconds"]
                dtypes.add(part["dtype"])
                rows += len(part["rows"])
        entry = {"path": path.name, "bytes": path.stat().st_size, "sha256": file_digest(path)}
        whole = {
            **manifest,
            "sets": {set_name: [entry]},
            "counts": {set_name: {"examples": rows, "skipped": counts["dropped"]}},
            "unlabelled": [],
            "absent": [],
            "sources": [],
            "digest": combine_digests({set_name: [entry["sha256"]]}),
            "translation": {
                "answers": dict(counts),
                "usage": dict(usage),
                "seconds": seconds,
                "dtypes": sorted(dtypes),
            },
        }
        write_json(temporary / "manifest.json", whole)
    return whole
