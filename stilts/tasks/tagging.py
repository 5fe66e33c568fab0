"""One tag for each word: CCG supertags, UD parts of speech, PAN-X entities.

Long sentences are split between words, never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stilts.data.examples import Sentence
from stilts.data.prepared import PreparedSet
from stilts.errors import UserError
from stilts.evaluation.chunks import count_chunks, measure_lists
from stilts.evaluation.metrics import f1_score, share
from stilts.tasks.columns import choose, find_labelled, join_list, put_columns, spread, take_scored
from stilts.tasks.columns import tune as tune
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

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


def encode(examples: Sequence[Sentence], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """Windows of whole words: `example` int32 [S], `labels` and `word` int32 [T] at each word's first sub-word.

    The label is IGNORED where the sentence has no tags, or one that is none of the labels (CCG's categories are those
    of the training set). As in XTREME, a word without sub-words, or longer than a window, becomes the unknown token.
    """
    frame, unknown = Frame(tokenizer, pair=False), find_unknown(tokenizer)
    room = settings.max_length - frame.specials
    if room < 1:
        raise UserError(f"max_length {settings.max_length}: no room for a word beside {frame.specials} special tokens")
    codes = {tag: index for index, tag in enumerate(settings.labels)}
    packer, owners, labels, words = Packer(), [], [], []
    encodings = encode_plain([list(sentence.words) for sentence in examples], tokenizer, pretokenized=True)
    for number, (sentence, encoding) in enumerate(zip(examples, encodings, strict=True)):
        golds_of = [codes.get(tag, IGNORED) for tag in sentence.tags] or [IGNORED] * len(sentence.words)
        pieces = _split_words(encoding, len(sentence.words), room, unknown)
        for first, window in _fill_windows(pieces, room):
            ids, types = frame.join([token for piece in window for token in piece])
            marks = np.full(len(ids), -1, dtype=np.int32)
            starts = frame.start() + np.cumsum([0, *(len(piece) for piece in window[:-1])])
            marks[starts] = np.arange(first, first + len(window))
            golds = np.full(len(ids), IGNORED, dtype=np.int32)
            golds[starts] = golds_of[first : first + len(window)]
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
    """What scoring needs: id, words, tags (null where there are none)."""
    lists = pa.list_(pa.string())
    return pa.table(
        {
            "id": [row.id for row in examples],
            "words": pa.array([list(row.words) for row in examples], type=lists),
            "tags": pa.array([list(row.tags) or None for row in examples], type=lists),
        }
    )


def decode(prepared: PreparedSet, examples: pa.Table, outputs: Mapping[str, np.ndarray]) -> pa.Table:
    """`outputs`: "labels" int32 [T]. Columns language, id, words, tags, predictions; windows are joined again."""
    labels, word = outputs["labels"], prepared.arrays["word"]
    if len(labels) != len(word):
        raise ValueError(f"{prepared.name}: {len(labels)} outputs for {len(word)} tokens")
    owner = np.repeat(prepared.arrays["example"], np.diff(prepared.offsets))
    starts = np.concatenate([[0], np.cumsum(measure_lists(join_list(examples["words"])))])
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


def annotate(table: pa.Table, task: str) -> pa.Table:
    """With the counts of each sentence: chunks_right, chunks_gold, chunks_predicted, words_right and word_count."""
    labelled = find_labelled(table, "tags")
    gold, predicted = (join_list(table.filter(pa.array(labelled))[name]) for name in ("tags", "predictions"))
    counts = count_chunks(gold, predicted)
    return put_columns(table, {name: spread(values, labelled) for name, values in counts.items()})


def score(table: pa.Table, metrics: Sequence[str]) -> dict[str, float]:
    """Chunk F1 over all chunks of the rows (XTREME's metric) and token accuracy, in percent."""
    names = ("chunks_right", "chunks_gold", "chunks_predicted", "words_right", "word_count")
    sums = {name: int(take_scored(table, name).sum()) for name in names}
    f1 = f1_score(sums["chunks_right"], sums["chunks_gold"], sums["chunks_predicted"])
    return choose({"f1": f1, "accuracy": share(sums["words_right"], sums["word_count"])}, metrics)


def count(table: pa.Table) -> int:
    """Scored sentences."""
    return int(find_labelled(table, "tags").sum())
