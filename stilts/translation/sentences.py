"""English texts as sentences: translation models are trained on single ones and drop what follows the first."""

from __future__ import annotations

import re

Stretch = tuple[int, int]  # first character, and the one after the last

_END = re.compile(
    r"""(?P<mark>[.!?…]+)["'”’)\]]*(?P<gap>\s+)(?=["'“‘(\[]*[^\W_a-z])"""  # what follows starts with no small letter
    r"""|(?P<line>\s*\n\s*)"""
)
_LAST_WORD = re.compile(r"[\w.]+$")
_LONGEST_ABBREVIATION = 12
_ABBREVIATIONS = frozenset(
    "adm al apr aug ave brig bros capt cf cmdr co col corp dec dept dr esq est feb fig gen gov hon inc jan jr lt ltd "
    "maj mar mr mrs ms mt no nov oct op pp pres prof pt rep rev sen sep sept sgt sr st supt treas univ viz vol "
    "vs".split()
)


def split_sentences(text: str) -> list[Stretch]:
    """Stretches of the sentences, without the white space around them; none for a text without any character.

    A sentence ends at a line break, and at . ! ? or … before white space and a word that starts with no small letter;
    not at the point of an abbreviation, of an initial or of letters with points between them (`U.S.`): two sentences
    in one piece are translated better than one in two.
    """
    stretches, start = list[Stretch](), len(text) - len(text.lstrip())
    for found in _END.finditer(text, start):
        end = found.start("line") if found["line"] else found.start("gap")
        in_line = not found["line"] and "\n" not in found["gap"]
        if in_line and found["mark"] == "." and _is_abbreviation(text, found.start()):
            continue
        if end > start:
            stretches.append((start, end))
        start = found.end()
    if text[start:].strip():
        stretches.append((start, len(text.rstrip())))
    return stretches


def _is_abbreviation(text: str, point: int) -> bool:
    """Does the word before the point at `point` keep it for itself?"""
    found = _LAST_WORD.search(text, max(0, point - _LONGEST_ABBREVIATION), point)
    if not found:
        return False
    word = found[0]
    return "." in word or (len(word) == 1 and word.isupper()) or word.lower() in _ABBREVIATIONS


def find_middle(text: str, start: int, end: int) -> tuple[int, int]:
    """End of the first and start of the second half of a stretch that is too long for a model.

    The cut is at the white space nearest to the middle, one behind , ; or : in the middle half before any other; in
    a stretch without white space it is at the middle.
    """
    middle, quarter = (start + end) // 2, (end - start) // 4
    gaps = [found.span() for found in re.compile(r"\s+").finditer(text, start, end)]
    clauses = [gap for gap in gaps if text[gap[0] - 1] in ",;:" and abs(gap[0] - middle) <= quarter]
    return min(clauses or gaps or [(middle, middle)], key=lambda gap: abs(gap[0] - middle))
