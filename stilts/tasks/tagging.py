"""One tag for each word: UD part-of-speech tagging. Long sentences are split between words, never cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from tokenizers import Encoding, Tokenizer

from stilts.data.examples import Sentence
from stilts.data.prepared import PreparedSet
from stilts.errors import UserError
from stilts.evaluation.metrics import chunk_f1, token_accuracy
from stilts.tasks.encoding import (
    IGNORED,
    Encoded,
    EncodeSettings,
    Frame,
    Packer,
    concatenate,
    encode_plain,
    find_unknown,
)


def encode(examples: Sequence[Sentence], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """Windows of whole words: `example` int32 [S], `labels` and `word` int32 [T] at each word's first sub-word.

    As in XTREME, a word without sub-words, or longer than a window, becomes the unknown token.
    """
    frame, unknown = Frame(tokenizer, pair=False), find_unknown(tokenizer)
    room = settings.max_length - frame.specials
    if room < 1:
        raise UserError(f"max_length {settings.max_length}: no room for a word beside {frame.specials} special tokens")
    codes = {tag: index for index, tag in enumerate(settings.labels)}
    packer, owners, labels, words = Packer(), [], [], []
    encodings = encode_plain([list(sentence.words) for sentence in examples], tokenizer, pretokenized=True)
    for number, (sentence, encoding) in enumerate(zip(examples, encodings, strict=True)):
        pieces = _split_words(encoding, len(sentence.words), room, unknown)
        for first, window in _fill_windows(pieces, room):
            ids, types = frame.join([token for piece in window for token in piece])
            marks = np.full(len(ids), -1, dtype=np.int32)
            starts = frame.start() + np.cumsum([0, *(len(piece) for piece in window[:-1])])
            marks[starts] = np.arange(first, first + len(window))
            golds = np.full(len(ids), IGNORED, dtype=np.int32)
            golds[starts] = [codes[tag] for tag in sentence.tags[first : first + len(window)]]
            packer.add(ids, types)
            owners.append(number)
            words.append(marks)
            labels.append(golds)
    arrays = packer.pack() | {"example": np.array(owners, dtype=np.int32)}
    arrays |= {"labels": concatenate(labels, np.int32), "word": concatenate(words, np.int32)}
    return Encoded(arrays, len(examples))


def _split_words(encoding: Encoding, count: int, room: int, unknown: int) -> list[list[int]]:
    pieces: list[list[int]] = [[] for _ in range(count)]
    for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
        if word is not None:
            pieces[word].append(token)
    return [piece if 0 < len(piece) <= room else [unknown] for piece in pieces]


def _fill_windows(pieces: list[list[int]], room: int) -> Iterator[tuple[int, list[list[int]]]]:
    """(index of the first word, words) of each window, as many words as fit."""
    first, used = 0, 0
    for index, piece in enumerate(pieces):
        if used + len(piece) > room:
            yield first, pieces[first:index]
            first, used = index, 0
        used += len(piece)
    yield first, pieces[first:]


def tabulate(examples: Sequence[Sentence]) -> pa.Table:
    """What scoring needs: id, words, tags."""
    columns = {"words": [list(row.words) for row in examples], "tags": [list(row.tags) for row in examples]}
    return pa.table({"id": [row.id for row in examples], **columns})


def decode(prepared: PreparedSet, examples: pa.Table, outputs: Mapping[str, np.ndarray]) -> pa.Table:
    """`outputs`: "labels" int32 [T]. Columns language, id, words, tags, predictions; windows are joined again."""
    labels, word = outputs["labels"], prepared.arrays["word"]
    if len(labels) != len(word):
        raise ValueError(f"{prepared.name}: {len(labels)} outputs for {len(word)} tokens")
    owner = np.repeat(prepared.arrays["example"], np.diff(prepared.offsets))
    lengths = np.asarray([len(tags) for tags in examples["tags"].to_pylist()], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    firsts = np.flatnonzero(word >= 0)
    flat = np.full(starts[-1], -1, dtype=np.int64)
    flat[starts[owner[firsts]] + word[firsts]] = labels[firsts]
    assert (flat >= 0).all(), "a word without a prediction"
    names = np.asarray(prepared.label_names, dtype=object)[flat]
    predictions = pa.ListArray.from_arrays(pa.array(starts, type=pa.int32()), pa.array(names, type=pa.string()))
    return pa.table(
        {
            "language": [prepared.language] * len(prepared),
            "id": examples["id"],
            "words": examples["words"],
            "tags": examples["tags"],
            "predictions": predictions,
        }
    )


def score(predictions: pa.Table) -> dict[str, float]:
    """Chunk F1 (XTREME's metric) and token accuracy in percent."""
    gold, predicted = predictions["tags"].to_pylist(), predictions["predictions"].to_pylist()
    return {"f1": chunk_f1(gold, predicted), "accuracy": token_accuracy(gold, predicted)}
