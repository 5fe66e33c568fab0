"""Properties of windows: nothing lost, nothing cut, the tokenizer's own template, offsets that name their text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from stilts.data.examples import Answer, Question, Sentence
from stilts.errors import UserError
from stilts.tasks import span, tagging
from stilts.tasks.catalogue import UPOS
from stilts.tasks.encoding import IGNORED, EncodeSettings, Frame, encode_texts
from tests.stilts.slices import make_bert_tokenizer, make_character_tokenizer

ALPHABET = "abcdeéßあ北ไทยक्षب"
CHARACTERS = make_character_tokenizer([ALPHABET])
WORDS = make_bert_tokenizer(ALPHABET)
# "z" and "\u200d" are in no vocabulary; BERT's splitting drops the control character "\x07" altogether.
words = st.text(ALPHABET + "z\u200d", min_size=1, max_size=12)
sentences = st.lists(st.tuples(words, st.sampled_from(UPOS)), min_size=1, max_size=30)


@given(st.text(ALPHABET + " ", max_size=20), st.text(ALPHABET + " ", max_size=20))
@pytest.mark.parametrize("tokenizer", [CHARACTERS, WORDS], ids=["xlmr", "bert"])
def test_a_frame_is_the_tokenizers_own_template(tokenizer: Tokenizer, first: str, second: str) -> None:
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in (first, second)]
    pair, single = tokenizer.encode(first, second), tokenizer.encode(first)
    frame = Frame(tokenizer, pair=True)
    assert frame.join(*plain) == (pair.ids, pair.type_ids)
    assert frame.start(plain[0]) + len(plain[1]) + 1 == len(pair.ids)
    assert Frame(tokenizer, pair=False).join(plain[0]) == (single.ids, single.type_ids)


@given(st.lists(sentences, min_size=1, max_size=4), st.integers(3, 24))
@settings(deadline=None)
def test_tagging_windows_hold_every_word_once_and_whole(rows: list[list[tuple[str, str]]], max_length: int) -> None:
    examples = [Sentence(str(n), *(tuple(column) for column in zip(*row, strict=True))) for n, row in enumerate(rows)]
    arrays = tagging.encode(examples, CHARACTERS, EncodeSettings(max_length, UPOS)).arrays
    assert np.diff(arrays["offsets"]).max() <= max_length
    owner = np.repeat(arrays["example"], np.diff(arrays["offsets"]))
    for number, example in enumerate(examples):
        marks, labels = arrays["word"][owner == number], arrays["labels"][owner == number]
        assert marks[marks >= 0].tolist() == list(range(len(example.words)))
        assert [UPOS[label] for label in labels[labels >= 0]] == list(example.tags)
        expected: list[int | None] = []
        for word in example.words:
            piece = CHARACTERS.encode(word, add_special_tokens=False).ids
            expected += piece if 0 < len(piece) <= max_length - 2 else [CHARACTERS.token_to_id("<unk>")]
        tokens = arrays["tokens"][owner == number]
        assert tokens[~np.isin(tokens, [0, 2])].tolist() == expected


@given(sentences, st.integers(3, 24))
@settings(deadline=None)
def test_sentences_without_tags_have_the_same_windows(row: list[tuple[str, str]], max_length: int) -> None:
    tagged = Sentence("0", *(tuple(column) for column in zip(*row, strict=True)))
    first, second = (
        tagging.encode([example], CHARACTERS, EncodeSettings(max_length, UPOS)).arrays
        for example in (tagged, Sentence("0", tagged.words, ()))
    )
    assert (second["labels"] == IGNORED).all() and first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first if name != "labels")


def test_words_without_pieces_become_unknown() -> None:
    example = Sentence("s", ("a", "\x07", "b"), ("NOUN", "X", "VERB"))
    arrays = tagging.encode([example], WORDS, EncodeSettings(16, UPOS)).arrays
    unknown = WORDS.token_to_id("[UNK]")
    assert arrays["tokens"][2] == unknown and arrays["word"].tolist() == [-1, 0, 1, 2, -1]


def test_a_window_without_room_is_refused() -> None:
    with pytest.raises(UserError, match="max_length 2: no room for a word beside 2 special tokens"):
        tagging.encode([Sentence("s", ("a",), ("X",))], CHARACTERS, EncodeSettings(2, UPOS))


contexts = st.lists(words, min_size=1, max_size=60).map(" ".join)


@given(contexts, st.text(ALPHABET, max_size=30), st.data())
@settings(deadline=None)
def test_span_windows_cover_the_context_and_name_their_text(context: str, question: str, data: st.DataObject) -> None:
    """Each context character is in a window; neighbours share `stride` tokens; offsets give back the answer."""
    start = data.draw(st.sampled_from([place for place, character in enumerate(context) if character != " "]))
    end = data.draw(st.integers(start + 1, min(len(context), start + 8)))
    text = context[start:end].rstrip()
    max_length = data.draw(st.integers(24, 64))
    stride = data.draw(st.integers(8, max_length // 2 - 4))
    row = Question("q", question, context, (Answer(text, start),))
    arrays = span.encode([row], CHARACTERS, EncodeSettings(max_length, (), stride)).arrays
    assert np.diff(arrays["offsets"]).max() <= max_length
    windows = [slice(*bounds) for bounds in pairwise(arrays["offsets"])]
    held = [np.flatnonzero(arrays["char_starts"][window] >= 0) for window in windows]
    places = [arrays["char_starts"][window][inside] for window, inside in zip(windows, held, strict=True)]
    assert sorted(set(np.concatenate(places))) == [n for n, character in enumerate(context) if character != " "]
    for before, after in pairwise(places):
        assert before[-stride:].tolist() == after[:stride].tolist()
    answered = 0
    for window, first, last in zip(windows, arrays["starts"], arrays["ends"], strict=True):
        starts, ends = arrays["char_starts"][window], arrays["char_ends"][window]
        if first:
            answered += 1
            assert context[starts[first] : ends[last]] == text
        else:
            assert last == 0 and not {start, start + len(text) - 1} <= set(starts.tolist())
    assert answered  # an answer of 8 tokens fits into what two windows share


def test_questions_without_answers_have_the_same_windows() -> None:
    rows = [Question("q", "ab", "a b " * 30, (Answer("b", 2),)), Question("r", "", "", ())]
    settings = EncodeSettings(16, (), 4)
    first = span.encode(rows, CHARACTERS, settings).arrays
    second = span.encode([Question(row.id, row.question, row.context, ()) for row in rows], CHARACTERS, settings).arrays
    assert first.keys() == second.keys()
    for name in first:
        if name in ("starts", "ends"):
            assert (second[name] == IGNORED).all() and first[name][-1] == 0
        else:
            assert np.array_equal(first[name], second[name])


@pytest.mark.parametrize(("max_length", "cut"), [(384, 64), (96, 32)])
def test_the_question_is_cut_and_the_context_is_not(max_length: int, cut: int) -> None:
    row = Question("q", "a" * 200, "b" * 500, (Answer("b", 499),))
    arrays = span.encode([row], CHARACTERS, EncodeSettings(max_length, (), max_length // 3)).arrays
    a, b = (CHARACTERS.token_to_id(character) for character in "ab")
    for first, last in pairwise(arrays["offsets"]):
        assert np.count_nonzero(arrays["tokens"][first:last] == a) == cut
    assert arrays["char_ends"].max() == 500
    assert (
        np.count_nonzero(arrays["starts"]) == 1 and arrays["tokens"][arrays["offsets"][-2] + arrays["starts"][-1]] == b
    )


@given(st.lists(st.tuples(contexts, contexts), min_size=1, max_size=3), st.integers(8, 40))
@settings(deadline=None)
def test_pairs_lose_tokens_of_the_longer_text_first(pairs: list[tuple[str, str]], max_length: int) -> None:
    arrays = encode_texts(pairs, CHARACTERS, EncodeSettings(max_length))
    for (text, second), first, last in zip(pairs, arrays["offsets"], arrays["offsets"][1:], strict=False):
        whole = [CHARACTERS.encode(part, add_special_tokens=False).ids for part in (text, second)]
        ids = arrays["tokens"][first:last].tolist()
        assert len(ids) == min(max_length, sum(map(len, whole)) + 4)
        middle = ids.index(2)
        kept = [ids[1:middle], ids[middle + 2 : -1]]
        assert all(part == full[: len(part)] for part, full in zip(kept, whole, strict=True))
        shorter = min(whole, key=len)
        if len(shorter) <= (max_length - 4) // 2:
            assert len(min(kept, key=len)) == len(shorter)
    assert CHARACTERS.truncation is None


def test_blanks_that_a_tokenizer_counts_to_its_words_are_no_part_of_answers() -> None:
    """Metaspace alone, as newer XLM-R files have it: the offsets of "▁cd" in "ab cd" begin at the blank."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "▁ab": 1, "▁cd": 2, "▁": 3, "</s>": 4}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 4)]
    )
    row = Question("q", "ab", "ab cd  ab", (Answer("cd", 3),))
    arrays = span.encode([row], tokenizer, EncodeSettings(30, (), 4)).arrays
    assert tokenizer.encode(row.context).offsets[1] == (2, 5)
    assert (arrays["char_starts"].tolist(), arrays["char_ends"].tolist()) == (
        [-1, -1, 0, 3, -1, 7, -1],
        [-1, -1, 2, 5, -1, 9, -1],
    )
    assert (arrays["starts"].tolist(), arrays["ends"].tolist()) == ([3], [3])
