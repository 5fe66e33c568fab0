"""English texts cut into sentences and, where those are too long, into halves."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stilts.translation.sentences import find_middle, split_sentences


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ", []),
        ("No mark at all", ["No mark at all"]),
        ("  It rains.  Who cares?  ", ["It rains.", "Who cares?"]),
        ("It rains! 12 men came. élan", ["It rains!", "12 men came.", "élan"]),
        ("Near a U.S. Navy town. Mr. Smith, J. Doe.", ["Near a U.S. Navy town.", "Mr. Smith, J. Doe."]),
        ("It costs 3.50 in all. yes, in all.", ["It costs 3.50 in all. yes, in all."]),
        ('He said: "Stop." Then (it was late.) She left…', ['He said: "Stop."', "Then (it was late.)", "She left…"]),
        ("A heading\n\nThe text. (Its end.)", ["A heading", "The text.", "(Its end.)"]),
        ("wait.\nor not", ["wait.", "or not"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(st.text(alphabet="aB1 .?!\n\"')(\u00a0é中", max_size=60))
def test_nothing_but_white_space_is_lost_and_the_order_stays(text: str) -> None:
    stretches = split_sentences(text)
    assert "".join("".join(piece.split()) for piece in split(text)) == "".join(text.split())
    assert all(start < end for start, end in stretches)
    assert all(first[1] <= second[0] for first, second in pairwise(stretches))
    assert all(piece == piece.strip() for piece in split(text))


@pytest.mark.parametrize(
    ("text", "halves"),
    [
        ("one two three four", ("one two", "three four")),
        ("one two, three four five six", ("one two,", "three four five six")),
        ("a, b c d e f g h i j k l m", ("a, b c d e f", "g h i j k l m")),  # that comma is too far from the middle
        ("abcdef", ("abc", "def")),
    ],
)
def test_long_sentences_are_cut_near_their_middle(text: str, halves: tuple[str, str]) -> None:
    end, start = find_middle(text, 0, len(text))
    assert (text[:end], text[start:]) == halves
