"""Two-column tagging files: XTREME's `word TAB tag` (PAN-X, udpos) and PAN-X's own `xx:word TAB tag`.

A blank line ends a sentence, as do several in a row (XTREME's issues 16 and 34). A word may be empty: XTREME's UD
conversion leaves nothing of a word that was all zero-width non-joiners; it keeps its place and its tag.

XTREME distributes test files without tags: words alone, or with one and the same tag (O, X) behind every word.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stilts.data.examples import Example, Reading, Sentence
from stilts.data.lines import Problems, Refused, read_lines, require_rows, split_columns

# XTREME's test files may carry one dummy tag behind all words; so many sentences alike are no chance.
DUMMY_SENTENCES = 20


def read_tagged_words(path: Path, tags: tuple[str, ...], prefix: str = "", labelled: bool = True) -> Reading:
    """The sentences of a file.

    `tags`: the legal ones, all if empty. `prefix`: what every word must begin with, and which is cut off.
    `labelled` False: a line is a word alone, or all have a tag that is not read, as XTREME blanks its test files.
    Raises UserError with file and line: columns, tags, prefixes, encoding; or no sentence at all.
    """
    problems, examples = Problems(path), list[Example]()
    rows: list[tuple[str, str]] = []
    tagged = labelled or _is_tagged(path)
    for number, line in [*read_lines(path), (0, "")]:
        if line.strip():
            try:
                rows.append(_split_row(line, tags if labelled else None, prefix, tagged))
            except Refused as refusal:
                problems.add(number, str(refusal))
        elif rows:
            words, found = zip(*rows, strict=True)
            examples.append(Sentence(f"{path.stem}-{len(examples)}", words, found if labelled else ()))
            rows = []
    problems.report()
    return Reading(require_rows(path, examples, "sentence"))


def has_tags(path: Path) -> bool:
    """False for XTREME's blanked test files: the first word stands alone in its line, or all words of a file that is
    called a test file have one and the same tag, over a good many sentences."""
    if not _is_tagged(path):
        return False
    if "test" not in path.stem.split("-"):
        return True
    tags, sentences, inside = set[str](), 0, False
    for _, line in read_lines(path):
        if line.strip():
            tags.add(line.rpartition("\t")[2].strip())
            sentences += not inside
        if len(tags) > 1:
            return True
        inside = bool(line.strip())
    return sentences < DUMMY_SENTENCES


def _is_tagged(path: Path) -> bool:
    return "\t" in next((line for _, line in read_lines(path) if line.strip()), "\t")


def check_category(category: str, word: str) -> None:
    """Raises Refused for an empty tag, where any other is legal."""
    if not category:
        check_tag(category, word, ("a category",))


def check_tag(tag: str, word: str, tags: Iterable[str]) -> None:
    """Raises Refused for a tag that is not one of `tags`."""
    if tag not in tags:
        raise Refused(f"tag {tag!r} of {word!r} is not one of {' '.join(tags)}")


def _split_row(line: str, tags: tuple[str, ...] | None, prefix: str, tagged: bool) -> tuple[str, str]:
    """Word and tag of a line; `tags`: the legal ones, all but the empty one if (), and None if nobody reads them."""
    if tagged:
        word, tag = split_columns(line, 2, "word tag")
    else:
        (word,), tag = split_columns(line, 1, "word"), ""
    if not word.startswith(prefix):
        raise Refused(f"word {word!r} does not begin with {prefix!r}: a file of another language?")
    word, tag = word.removeprefix(prefix).strip(), tag.strip()
    if tags:
        check_tag(tag, word, tags)
    elif tags is not None:
        check_category(tag, word)
    return word, tag
