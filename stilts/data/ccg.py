"""CCG supertagging: words and their lexical categories. CCGbank is licensed (Linguistic Data Consortium, catalogue
number LDC2005T13) and cannot be fetched by anybody without that licence; three formats are read:

(a) CCGbank's own derivations, `ccgbank_1_1/data/AUTO/<section>/wsj_*.auto` (sections 02 to 21 to train on, 00 as
    dev): a line `ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1` and a line with the tree, whose leaves are
    `<L category modified-POS original-POS word predicate-argument-category>` (AUTO.readme of the release);
(b) `ccg/train.tsv` and `ccg/dev.tsv`: `word TAB category` lines, a blank line after each sentence;
(c) the open stand-in `ccg_standin_pmb/4.0.0/en/gold/{train,dev}.conll` of the Parallel Meaning Bank, in another
    notation and with another tag set: seven columns, word first and category fifth, `#` comment lines.

The study's 38,015 training and 5,484 dev sentences are a split of CCGbank that was not published; the customary
sections have 39,604 and 1,913. Whoever has that split can give it in format (b). Words stay as they are in the file
(`-LRB-` for a bracket; `~` in words of several tokens of the stand-in).
"""

from __future__ import annotations

import re
from pathlib import Path

from stilts.data.examples import Example, Reading, Sentence
from stilts.data.lines import Ids, Problems, Refused, read_lines, require_rows, split_columns
from stilts.data.tagged import check_category, read_tagged_words

LICENCE = (
    "CCGbank is licensed (Linguistic Data Consortium, LDC2005T13) and has to be put there by hand: its folder "
    "ccgbank_1_1 as it is, or ccg/train.tsv and ccg/dev.tsv of `word TAB category` lines with a blank line after each "
    "sentence"
)
_LEAF = re.compile(r"\(<L (\S+) \S+ \S+ (\S+) \S+>\)")
_STANDIN_COLUMNS = "word token symbol semtag category sense roles"


def read_ccg(path: Path, ids: Ids | None = None) -> Reading:
    """The sentences of a file in one of the three formats, told apart by its suffix; UserError with file and line."""
    match path.suffix:
        case ".auto":
            return _read_derivations(path, ids or Ids())
        case ".conll":
            return _read_standin(path)
        case _:
            return read_tagged_words(path, ())


def _read_derivations(path: Path, ids: Ids) -> Reading:
    problems, examples = Problems(path), list[Example]()
    name = ""
    for number, line in read_lines(path):
        try:
            if line.startswith("ID="):
                if name:
                    raise Refused(f"another ID where the derivation of {name} is due")
                name = line.removeprefix("ID=").partition(" ")[0]
                ids.add(name, path, number)
            elif line.strip():
                if not name:
                    raise Refused("a derivation without a line ID=... before it")
                examples.append(_read_tree(name, line))
                name = ""
        except Refused as refusal:
            problems.add(number, str(refusal))
            name = ""
    if name:
        problems.add(number, f"the file ends where the derivation of {name} is due")
    problems.report()
    return Reading(require_rows(path, examples, "sentence"))


def _read_tree(name: str, line: str) -> Sentence:
    leaves = _LEAF.findall(line)
    if len(leaves) != line.count("(<L ") or not leaves:
        raise Refused(f"derivation of {name}: {line.count('(<L ')} leaves, of which {len(leaves)} have six fields")
    if line.count("(") != line.count(")"):
        raise Refused(f"derivation of {name}: {line.count('(')} opening and {line.count(')')} closing brackets")
    categories, words = zip(*leaves, strict=True)
    return Sentence(name, words, categories)


def _read_standin(path: Path) -> Reading:
    problems, examples = Problems(path), list[Example]()
    rows: list[tuple[str, str]] = []
    for number, line in [*read_lines(path), (0, "")]:
        if line.startswith(("# ", "###")):
            continue
        if line.strip():
            try:
                fields = split_columns(line, 7, _STANDIN_COLUMNS)
                word, category = fields[0].strip(), fields[4].strip()
                check_category(category, word)
                rows.append((word, category))
            except Refused as refusal:
                problems.add(number, str(refusal))
        elif rows:
            words, categories = zip(*rows, strict=True)
            examples.append(Sentence(f"{path.stem}-{len(examples)}", words, categories))
            rows = []
    problems.report()
    return Reading(require_rows(path, examples, "sentence"))
