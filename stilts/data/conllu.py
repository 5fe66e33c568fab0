"""CoNLL-U as sentences of words and universal part-of-speech tags.

The rules are those of XTREME's conversion (google-research/xtreme: utils_preprocess.py, third_party/
ud-conversion-tools): a multi-word token stands in its fused form with ONE tag. A word of which nothing remains
without zero-width non-joiners and blanks is the empty word and keeps its place and tag.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stilts.data.examples import Example, Reading, Sentence
from stilts.data.lines import Ids, Problems, Refused, parse_number, read_lines, require_rows, split_columns
from stilts.data.tagged import check_tag
from stilts.tasks.catalogue import UPOS

COLUMNS = 10
ZERO_WIDTH_NON_JOINER = "\u200c"

# Which part of a multi-word token gives it its tag, where the tree does not say (conllu_to_conll.py). XTREME's
# program stops at a tag that its list lacks; here such a tag comes after the listed ones, in the default order.
# Its French list ends with CONJ, the name of CCONJ before UD 2.
_PRECEDENCE = "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT SYM".split()
_PRECEDENCE_OF = {
    "es": "VERB AUX PRON ADP DET".split(),
    "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CCONJ".split(),
    "it": "VERB AUX ADV PRON ADP DET INTJ".split(),
}


@dataclass(frozen=True)
class _Word:
    line: int
    form: str
    tag: str
    heads: tuple[int, ...] = ()


class _Block:
    """The lines of one sentence: words by number, multi-word ranges by their first number."""

    def __init__(self) -> None:
        self.id = ""
        self.line = 0
        self.words: list[_Word] = []
        self.ranges: dict[int, tuple[int, _Word]] = {}


def read_conllu(path: Path, language: str, ids: Ids | None = None, treebank: str = "") -> Reading:
    """Sentences of a treebank file; those with (almost) all words blanked to "_" are skipped (French FTB, and all of
    English ESL, Arabic NYUAD and Japanese BCCWJ, whose texts are licensed).

    `treebank`: put before the ids, for sets of several treebanks, each of which numbers its own sentences.
    Raises UserError with file and line: columns, numbering, ranges, tags, ids, encoding; or no sentence at all.
    """
    problems, ids = Problems(path), ids or Ids()
    examples: list[Example] = []
    skipped = 0
    for number, block in enumerate(_read_blocks(path, problems)):
        words = _fuse(block, language, problems)
        blanks = sum(word.form == "_" for word in words)
        if blanks and blanks >= len(words) - 1:
            skipped += 1
            continue
        if block.id:
            try:
                ids.add(treebank + block.id, path, block.line)
            except Refused as refusal:
                problems.add(block.line, str(refusal))
        examples.append(_make_sentence(treebank + (block.id or f"{path.stem}-{number}"), words, problems))
    problems.report()
    if not skipped:
        require_rows(path, examples, "sentence with words")
    return Reading(examples, skipped)


def _read_blocks(path: Path, problems: Problems) -> Iterator[_Block]:
    block = _Block()
    for number, line in [*read_lines(path), (0, "")]:
        if line.startswith("#"):
            if line.startswith("# sent_id = "):
                block.id, block.line = line.removeprefix("# sent_id = ").strip(), number
        elif line.strip():
            try:
                _add_line(block, number, line)
            except Refused as refusal:
                problems.add(number, str(refusal))
        else:
            if block.words:
                yield block
            block = _Block()


def _add_line(block: _Block, number: int, line: str) -> None:
    fields = split_columns(line, COLUMNS, "CoNLL-U")
    first, dash, last = fields[0].partition("-")
    if "." in first:
        return  # an empty node of the enhanced graph: no word of the text
    due = len(block.words) + 1
    if first != str(due) or (dash and not (last.isdecimal() and parse_number(last) > due)):
        raise Refused(f"{fields[0]!r} where number {due}, a range from it or an empty node is due")
    word = _Word(number, fields[1].strip(), fields[3].strip(), _find_heads(fields[6], fields[8]))
    if dash:
        block.ranges[due] = (parse_number(last), word)
    else:
        block.words.append(word)


def _find_heads(basic: str, enhanced: str) -> tuple[int, ...]:
    """Heads in the basic tree and in the enhanced graph: XTREME's converter puts both into one graph."""
    pairs = [basic, *(pair.partition(":")[0] for pair in enhanced.split("|"))]
    return tuple(parse_number(head) for head in pairs if head.isdecimal())


def _fuse(block: _Block, language: str, problems: Problems) -> list[_Word]:
    """The words of a sentence, every range line in place of its parts."""
    words, position = [], 1
    while position <= len(block.words):
        if position not in block.ranges:
            words.append(block.words[position - 1])
            position += 1
            continue
        last, fused = block.ranges[position]
        if last > len(block.words):
            problems.add(fused.line, f"the range {position}-{last} ends after the sentence's {len(block.words)} words")
            last = len(block.words)
        head = _choose_head(block.words, range(position, last + 1), language)
        words.append(_Word(fused.line, fused.form, head.tag))
        position = last + 1
    return words


def _choose_head(words: list[_Word], span: range, language: str) -> _Word:
    """The part nearest to the root; among several, the first with the best tag by precedence.

    Nearness is the number of ancestors, as in XTREME's converter; files without heads leave it to the tags.
    """
    ancestors = {number: _count_ancestors(words, number) for number in span}
    nearest = [words[number - 1] for number in span if ancestors[number] == min(ancestors.values())]
    order = [*_PRECEDENCE_OF.get(language, ()), *_PRECEDENCE]
    return min(nearest, key=lambda word: order.index(word.tag) if word.tag in order else len(order))


def _count_ancestors(words: list[_Word], number: int) -> int:
    seen: set[int] = set()
    waiting = [number]
    while waiting:
        current = waiting.pop()
        heads = words[current - 1].heads if 1 <= current <= len(words) else ()
        waiting.extend(head for head in heads if head not in seen)
        seen.update(heads)
    return len(seen - {number})


def _make_sentence(name: str, words: list[_Word], problems: Problems) -> Sentence:
    for word in words:
        try:
            check_tag(word.tag, word.form, UPOS)
        except Refused as refusal:
            problems.add(word.line, str(refusal))
    forms = (word.form.replace(ZERO_WIDTH_NON_JOINER, "").replace(" ", "") for word in words)
    return Sentence(name, tuple(forms), tuple(word.tag for word in words))
