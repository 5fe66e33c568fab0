"""Reading YAML: the right line for everything, YAML 1.2's scalars, and a message for whatever is wrong."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.spec import GRIDS
from stilts.document import Document, read_document
from stilts.errors import UserError
from tests.launch.small import problems_of, read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grid.yaml"


def parse(path: Path, text: str) -> Document:
    path.write_text(text, encoding="utf-8")
    return read_document(path)


def refuse(path: Path, text: str | bytes) -> str:
    """The message that a file's content is refused with."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as refused:
        read_document(path)
    return str(refused.value)


def test_every_part_knows_its_line(path: Path) -> None:
    document = parse(path, "a:\n  b: 1\n\n  c:\n    - x\n    - y: {z: 2,\n          w: 3}\n# end\nd: [1,\n  2]\n")
    lines = {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 4,
        ("a", "c", 0): 5,
        ("a", "c", 1, "y"): 6,
        ("a", "c", 1, "y", "z"): 6,
        ("a", "c", 1, "y", "w"): 7,
        ("d", 0): 9,
        ("d", 1): 10,
    }
    assert {place: document.where(place) for place in lines} == {place: f"{path}:{n}" for place, n in lines.items()}


def test_a_part_without_a_line_has_that_of_what_holds_it(path: Path) -> None:
    document = parse(path, "\n\na:\n  b: 1\n")
    assert document.where(("a", "b", "missing", 3)) == f"{path}:4"
    assert document.where(()) == f"{path}:3"


@pytest.mark.parametrize(
    ("text", "line", "first"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1),
        ("top:\n  deep:\n    a: 1\n    a: 2\n", 4, 3),
        ("top:\n  - b: 1\n    a: 1\n  - a: 1\n    b: 0\n    a: 2\n", 6, 4),
        ("top: {a: 1, b: 2,\n  a: 3}\n", 2, 1),
        ("a: 1\n'a': 2\n", 2, 1),
        ('1: x\n"1": y\n', 2, 1),
    ],
)
def test_a_duplicate_key_is_found_at_any_depth(path: Path, text: str, line: int, first: int) -> None:
    document = parse(path, text)
    with pytest.raises(UserError) as refused:
        document.check()
    (problem,) = refused.value.problems
    key = "1" if text.startswith("1") else "a"
    assert problem == f"{path}:{line}: duplicate key '{key}' (first on line {first}); keep one of them"


def test_all_duplicates_are_told_in_the_order_of_their_lines(path: Path) -> None:
    document = parse(path, "b: {x: 1, x: 2}\na: 1\na: 2\nb: 3\n")
    with pytest.raises(UserError) as refused:
        document.check()
    assert [problem.split(": ")[0] for problem in refused.value.problems] == [
        f"{path}:1",
        f"{path}:3",
        f"{path}:4",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("1.0e-5", 1e-5),
        ("-.5", -0.5),
        ("3.", 3.0),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("0b11", "0b11"),
        ("2020-05-31", "2020-05-31"),
        ("=", "="),
        ("'1'", "1"),
        ('"true"', "true"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(path: Path, text: str, value: Any) -> None:
    found = parse(path, f"a: {text}\n").value["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\n", 3),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 'x\n", 2),
        ("a: 1\n  b: 2\n", 2),
        ("a: *nowhere\n", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: 1\nb: @x\n", 2),
        ("a: 1\nb: 2\n\0\n", 3),
        ("a: 1\nb: !!int x\n", 2),
        ("a: !!float x\n", 1),
        ("a: !!bool x\n", 1),
        ("a: !!timestamp x\n", 1),
        ("a: 1\nb: " + "9" * 5000 + "\n", 2),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n!!python/name:os.getcwd c: 1\n", 3),
        ("a: {<<: 3}\n", 1),
        ("a:\n  <<:\n    - {b: 1}\n    - 3\n", 4),
    ],
)
def test_what_is_not_yaml_is_told_with_its_line(path: Path, text: str, line: int) -> None:
    message = refuse(path, text)
    assert message.startswith(f"{path}:{line}: is not valid YAML (")
    assert "\n" not in message


def test_nothing_is_ever_executed(path: Path) -> None:
    """A sequence with a Python tag is a plain list, a scalar with one is refused."""
    assert parse(path, "a: !!python/object/apply:os.getcwd []\n").value == {"a": []}
    refuse(path, "a: !!python/name:os.getcwd x\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: \xff\xfe\n", "is not UTF-8 text (byte 3)"),
        (b"- 1\n- 2\n", "holds a list, not a mapping"),
        (b"just words\n", "holds a str, not a mapping"),
        (b"a: &x [1, *x]\n", "an alias contains itself"),
        (b"a: &x {b: *x}\n", "an alias contains itself"),
        (b"a: &x {<<: *x}\n", "an alias contains itself"),
        (b"[" * 5000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(path: Path, content: bytes, words: str) -> None:
    assert words in refuse(path, content)


@pytest.mark.parametrize("text", ["", "\n\n", "# only words\n", "---\n"])
def test_an_empty_file_is_an_empty_mapping_or_refused(path: Path, text: str) -> None:
    if text == "---\n":
        assert "NoneType" in refuse(path, text)
    else:
        assert parse(path, text).value == {}


def test_a_byte_order_mark_is_not_part_of_the_first_key(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert read_document(path).value == {"name": "x"}


def test_a_folder_and_a_missing_file_are_refused(path: Path) -> None:
    for bad in (path.parent, path):
        with pytest.raises(UserError, match="cannot be read"):
            read_document(bad)


def test_aliases_are_copies_and_merged_keys_yield_to_own_ones(path: Path) -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b\n  x: 2\n  <<: *a\nc: {<<: [*b, *a], z: 3}\nd: *b\ne: {<<: *b, y: 9}\nf: *a\n"
    document = parse(path, text)
    document.check()
    assert document.value == {
        "a": {"x": 1, "y": 1},
        "b": {"x": 2, "y": 1},
        "c": {"x": 2, "y": 1, "z": 3},
        "d": {"x": 2, "y": 1},
        "e": {"x": 2, "y": 9},
        "f": {"x": 1, "y": 1},
    }
    assert document.where(("b", "x")) == f"{path}:3"
    assert document.where(("e", "x")) == f"{path}:3"


@pytest.mark.parametrize(
    ("text", "key"),
    [("1: x", "1"), ("1.5: x", "1.5"), ("true: x", "True"), ("~: x", "None"), ("? [a, 1]\n: x", "['a', 1]")],
)
def test_a_key_that_is_no_string_becomes_one(path: Path, text: str, key: str) -> None:
    assert parse(path, text).value == {key: "x"}


EXAMPLES = {grid.name: grid.read_text(encoding="utf-8") for grid in sorted(GRIDS.glob("*.yaml"))}
GARBAGE = [
    *"{}[]:,&*?|>-'\"#%@`!\t\n =~<",
    "<<: *a",
    "&a ",
    "!!int ",
    "0x",
    "...",
    "---",
    "\0",
    "1e999",
    "\ud7ff",
    "true",
]


@settings(deadline=None)
@given(name=st.sampled_from(sorted(EXAMPLES)), seed=st.integers(0, 2**32), count=st.integers(1, 4))
def test_a_damaged_grid_is_a_grid_or_a_user_error(name: str, seed: int, count: int) -> None:
    """Lines are deleted, doubled, indented, swapped and garbled; nothing but a UserError may come out."""
    draw = random.Random(seed)
    lines = EXAMPLES[name].splitlines()
    for _ in range(count):
        at = draw.randrange(len(lines))
        match draw.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[draw.randrange(len(lines))])
            case 2:
                lines[at] = " " * draw.randrange(1, 4) + lines[at]
            case 3:
                lines[at] = lines[at].lstrip()
            case _:
                place = draw.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + draw.choice(GARBAGE) + lines[at][place + draw.randrange(4) :]
    problems_of("\n".join(lines))


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_refused_politely(text: str) -> None:
    with pytest.raises(UserError):
        read(text.replace("\r", "\n"))
