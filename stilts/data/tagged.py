"""Two-column tagging files: XTREME's `word TAB tag` (PAN-X, udpos) and PAN-X's own `xx:word TAB tag`.

A blank line ends a sentence, as do several in a row (XTREME's issues 16 and 34). A word may be empty: XTREME's UD
conversion leaves nothing of a word that was all zero-width non-joiners; it keeps its place and its tag.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stilts.data.examples import Example, Reading, Sentence
from stilts.data.lines import Problems, Refused, read_lines, require_rows, split_columns


def read_tagged_words(path: Path, tags: tuple[str, ...], prefix: str = "", labelled: bool = True) -> Reading:
    """The sentences of a file.

    `tags`: the legal ones, all if empty. `prefix`: what every word must begin with, and which is cut off.
    `labelled` False: a line is a word alone, as XTREME blanks its test files.
    Raises UserError with file and line: columns, tags, prefixes, encoding; or no sentence at all.
    """
    problems, examples = Problems(path), list[Example]()
    rows: list[tuple[str, str]] = []
    for number, line in [*read_lines(path), (0, "")]:
        if line.strip():
            try:
                rows.append(_split_row(line, tags, prefix, labelled))
            except Refused as refusal:
                problems.add(number, str(refusal))
        elif rows:
            words, found = zip(*rows, strict=True)
            examples.append(Sentence(f"{path.stem}-{len(examples)}", words, found if labelled else ()))
            rows = []
    problems.report()
    return Reading(require_rows(path, examples, "sentence"))


def has_tags(path: Path) -> bool:
    """False for XTREME's blanked test files, whose first word stands alone in its line."""
    return "\t" in next((line for _, line in read_lines(path) if line.strip()), "\t")


def check_tag(tag: str, word: str, tags: Iterable[str]) -> None:
    """Raises Refused for a tag that is not one of `tags`."""
    if tag not in tags:
        raise Refused(f"tag {tag!r} of {word!r} is not one of {' '.join(tags)}")


def _split_row(line: str, tags: tuple[str, ...], prefix: str, labelled: bool) -> tuple[str, str]:
    if labelled:
        word, tag = split_columns(line, 2, "word tag")
    else:
        (word,), tag = split_columns(line, 1, "word"), ""
    if not word.startswith(prefix):
        raise Refused(f"word {word!r} does not begin with {prefix!r}: a file of another language?")
    word, tag = word.removeprefix(prefix).strip(), tag.strip()
    if labelled and (tags or not tag):
        check_tag(tag, word, tags or ("a category",))
    return word, tag
