"""Extractive question answering: SQuAD 1.1 and 2.0, XQuAD, MLQA, TyDiQA. Long contexts come in overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stilts.data.examples import Question
from stilts.data.prepared import PreparedSet
from stilts.errors import UserError
from stilts.evaluation.answers import normalize_mlqa, normalize_squad, score_answer, score_possible_answer
from stilts.evaluation.metrics import share
from stilts.evaluation.thresholds import apply_null_threshold, find_null_threshold
from stilts.tasks.columns import choose, find_labelled, put_columns, spread, take_scored
from stilts.tasks.columns import tune as tune
from stilts.tasks.encoding import (
    IGNORED,
    Encoded,
    EncodeSettings,
    Frame,
    Packer,
    check_finite,
    concatenate,
    encode_plain,
)

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

# XTREME's scripts (run_squad.py): question 64 tokens, 20 best starts and ends, answers of at most 30 tokens.
QUESTION_TOKENS = 64
BEST = 20
ANSWER_TOKENS = 30
# `char_starts` and `char_ends` of tokens that are no stretch of the context.
OUTSIDE = -1

# The task whose questions may have no answer.
WITH_EMPTY_ANSWERS = "squad2"


def encode(examples: Sequence[Question], tokenizer: Tokenizer, settings: EncodeSettings) -> Encoded:
    """Windows `question context`: `example` int32 [S], `starts`, `ends` int32 [S] (first answer, or 0 and 0 where the
    window does not hold all of it, or there is none), `char_starts`, `char_ends` int32 [T].

    `starts` and `ends` are IGNORED in a set without any answer, which is one that has no labels.

    The question is cut to 64 tokens, or to a third of a shorter window, and the context never.
    """
    frame, labelled = Frame(tokenizer, pair=True), has_answers(examples)
    packer, owners, answers = Packer(), [], []
    chars: list[np.ndarray] = []
    questions = encode_plain([row.question for row in examples], tokenizer)
    contexts = _encode_contexts(examples, tokenizer)
    for number, (row, question, (context, stretches)) in enumerate(zip(examples, questions, contexts, strict=True)):
        head = question.ids[: min(QUESTION_TOKENS, settings.max_length // 3)]
        room = settings.max_length - frame.specials - len(head)
        if room <= settings.stride:
            raise UserError(
                f"max_length {settings.max_length} and stride {settings.stride}: {room} context tokens fit beside the "
                f"{len(head)} of question {row.id!r}; raise max_length, or take a stride below {room}"
            )
        before, after = frame.start(head), frame.specials + len(head) - frame.start(head)
        for first, last in _cut_windows(len(context.ids), room, settings.stride):
            packer.add(*frame.join(head, context.ids[first:last]))
            inside = stretches[first:last]
            chars.append(np.pad(inside, ((before, after), (0, 0)), constant_values=OUTSIDE))
            found = _locate(row, stretches, first, last, before)
            answers.append(found if labelled else (IGNORED, IGNORED))
            owners.append(number)
    arrays = packer.pack() | {"example": np.array(owners, dtype=np.int32)}
    for name, column in zip(("starts", "ends"), zip(*answers, strict=True), strict=True):
        arrays[name] = np.array(column, dtype=np.int32)
    arrays["char_starts"], arrays["char_ends"] = concatenate(chars, np.int32).reshape(-1, 2).T.copy()
    return Encoded(arrays, len(examples))


def has_answers(examples: Sequence[Question]) -> bool:
    """Whether the set is labelled: some of its questions have an answer."""
    return any(row.answers for row in examples)


def _encode_contexts(examples: Sequence[Question], tokenizer: Tokenizer) -> Iterator[tuple[Encoding, np.ndarray]]:
    """Each example's context without specials and its tokens' stretches; neighbours mostly share their context."""
    previous, encoding, stretches = None, None, None
    for row in examples:
        if row.context != previous or encoding is None or stretches is None:
            previous, encoding = row.context, tokenizer.encode(row.context, add_special_tokens=False)
            stretches = np.array([_trim(row.context, *offsets) for offsets in encoding.offsets], dtype=np.int32)
            stretches = stretches.reshape(-1, 2)
        yield encoding, stretches


def _trim(context: str, start: int, end: int) -> tuple[int, int]:
    """A token's stretch without white space at its edges, which some tokenizers count to it."""
    text = context[start:end]
    if not text.strip():
        return OUTSIDE, OUTSIDE
    return start + len(text) - len(text.lstrip()), end - (len(text) - len(text.rstrip()))


def _cut_windows(length: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Stretches of at most `room` tokens, each sharing `stride` tokens with the one before; one for an empty text."""
    first = 0
    while first + room < length:
        yield first, first + room
        first += room - stride
    yield first, length


def _locate(row: Question, stretches: np.ndarray, first: int, last: int, before: int) -> tuple[int, int]:
    """First and last token of the first answer inside the window of context tokens [first, last), else (0, 0)."""
    if not row.answers:
        return 0, 0
    answer = row.answers[0]
    start, end = answer.start, answer.start + len(answer.text)
    hits = np.flatnonzero((stretches[:, 0] < end) & (stretches[:, 1] > start))
    if not len(hits) or hits[0] < first or hits[-1] >= last:
        return 0, 0
    return before + int(hits[0]) - first, before + int(hits[-1]) - first


def tabulate(examples: Sequence[Question]) -> pa.Table:
    """What scoring needs: id, question, context, answers (texts; null in a set without labels)."""
    labelled = has_answers(examples)
    answers = [[answer.text for answer in row.answers] if labelled else None for row in examples]
    return pa.table(
        {
            "id": [row.id for row in examples],
            "question": [row.question for row in examples],
            "context": [row.context for row in examples],
            "answers": pa.array(answers, type=pa.list_(pa.string())),
        }
    )


def decode(prepared: PreparedSet, examples: pa.Table, outputs: Mapping[str, np.ndarray]) -> pa.Table:
    """`outputs`: "start" and "end" float32 [T]. Columns language, id, answers, prediction, score, null_score.

    The prediction is the stretch of the context with the highest sum of start and end logit over all windows, so
    scripts without blanks lose nothing. Where no stretch is legal it is empty, with a null score. `null_score` is the
    lowest sum of a window's first start and end logit (run_squad.py); SQuAD 2.0 alone reads it.
    """
    total = len(prepared.tokens)
    start, end = (check_finite(prepared.name, outputs[name], total) for name in ("start", "end"))
    char_starts, char_ends = prepared.arrays["char_starts"], prepared.arrays["char_ends"]
    best: list[tuple[float, int, int] | None] = [None] * len(prepared)
    nulls = np.full(len(prepared), np.inf, dtype=np.float32)
    np.minimum.at(nulls, prepared.arrays["example"], (start + end)[prepared.offsets[:-1]])
    for window, owner in enumerate(prepared.arrays["example"]):
        first, last = prepared.offsets[window], prepared.offsets[window + 1]
        inside = first + np.flatnonzero(char_starts[first:last] != OUTSIDE)
        found = _find_best(start, end, inside)
        held = best[owner]
        if found and (held is None or found[0] > held[0]):
            best[owner] = found
    texts = [
        context[char_starts[span[1]] : char_ends[span[2]]] if span else ""
        for context, span in zip(examples["context"].to_pylist(), best, strict=True)
    ]
    return pa.table(
        {
            "language": [prepared.language] * len(prepared),
            "id": examples["id"],
            "answers": examples["answers"],
            "prediction": texts,
            "score": pa.array([span[0] if span else None for span in best], type=pa.float32()),
            "null_score": nulls,
        }
    )


def _find_best(start: np.ndarray, end: np.ndarray, inside: np.ndarray) -> tuple[float, int, int] | None:
    """(score, first token, last token) among the best starts and ends of a window's context tokens `inside`."""
    firsts, lasts = (inside[np.argsort(-logits[inside], kind="stable")[:BEST]] for logits in (start, end))
    lengths = lasts[None, :] - firsts[:, None] + 1
    legal = (lengths >= 1) & (lengths <= ANSWER_TOKENS)
    scores = np.where(legal, start[firsts][:, None] + end[lasts][None, :], -np.inf)
    if not scores.size or np.isneginf(scores.max()):
        return None
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    return float(scores[row, column]), int(firsts[row]), int(lasts[column])


def annotate(table: pa.Table, task: str) -> pa.Table:
    """With `f1` (0 to 1) and `exact_match` of each prediction as text; for SQuAD 2.0 `answerable` and `null_odds`.

    `null_odds` is null_score less score, infinite where the prediction is empty for want of a legal stretch.
    """
    labelled = find_labelled(table, "answers")
    rows = table.filter(pa.array(labelled)).select(["language", "prediction", "answers"]).to_pylist()
    figures = [_score_row(row, task) for row in rows]
    columns = {
        "f1": spread(pa.array([f1 for f1, _ in figures], type=pa.float64()), labelled),
        "exact_match": spread(pa.array([exact for _, exact in figures], type=pa.bool_()), labelled),
    }
    if task == WITH_EMPTY_ANSWERS:
        odds = pc.subtract(table["null_score"].cast(pa.float64()), table["score"].cast(pa.float64()))
        columns["answerable"] = pc.greater(pc.list_value_length(table["answers"]), 0)
        columns["null_odds"] = pc.fill_null(odds, np.inf)
    return put_columns(table, columns)


def _score_row(row: Mapping[str, Any], task: str) -> tuple[float, bool]:
    """F1 and exact match by the rules of the task: MLQA and SQuAD 2.0 have their own, all others SQuAD 1.1's."""
    if task == WITH_EMPTY_ANSWERS:
        return score_possible_answer(row["prediction"], row["answers"])
    if task == "mlqa":
        return score_answer(row["prediction"], row["answers"], lambda text: normalize_mlqa(text, row["language"]))
    return score_answer(row["prediction"], row["answers"], normalize_squad)


def score(table: pa.Table, metrics: Sequence[str]) -> dict[str, float]:
    """SQuAD 1.1's F1 and exact match in percent; SQuAD 2.0's where the rows are annotated as such."""
    if "null_odds" in table.column_names:
        return _score_with_empty(table, metrics)
    f1, exact = (take_scored(table, name) for name in ("f1", "exact_match"))
    return choose({"f1": share(f1.sum(), len(f1)), "exact_match": share(int(exact.sum()), len(exact))}, metrics)


def _score_with_empty(table: pa.Table, metrics: Sequence[str]) -> dict[str, float]:
    """The official SQuAD 2.0 figures: f1 and exact_match are the best that a threshold gives.

    HasAns and NoAns are those at the threshold of the best F1. Where the set has no such questions they are absent,
    and so is a threshold that is infinite (every answer stands), for a metric file takes finite numbers alone.
    """
    names = ("f1", "exact_match", "null_odds", "answerable")
    f1, exact, odds, answerable = (take_scored(table, name) for name in names)
    answered = np.asarray(pc.not_equal(table["prediction"], ""))
    figures: dict[str, float] = {}
    figures["f1"], threshold = find_null_threshold(f1, odds, answerable, answered)
    figures["exact_match"], figures["best_exact_thresh"] = find_null_threshold(
        exact.astype(np.float64), odds, answerable, answered
    )
    figures["best_f1_thresh"] = threshold
    absent = [name for name in ("best_f1_thresh", "best_exact_thresh") if not np.isfinite(figures[name])]
    for name, group in (("HasAns", answerable), ("NoAns", ~answerable)):
        for kind, values in (("f1", f1), ("exact", exact)):
            final = apply_null_threshold(values, odds, answerable, threshold)[group]
            if len(final):
                figures[f"{name}_{kind}"] = share(float(final.sum()), len(final))
            else:
                absent.append(f"{name}_{kind}")
    return choose(figures, [metric for metric in metrics if metric not in absent])


def count(table: pa.Table) -> int:
    """Scored questions."""
    return int(find_labelled(table, "answers").sum())
