"""From examples to padded micro-batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stilts.data.prepared import PreparedSet
from stilts.tasks.encoding import IGNORED
from stilts.training.batches import Limits, Masking, Update, assemble, divide, mask_tokens
from stilts.training.examples import TrainingSet

PAD = 1


def make_set(family: str, examples: int, seed: int = 0, choices: int = 3) -> PreparedSet:
    """A set with random tokens and labels; token values tell position and sequence apart."""
    rng = np.random.default_rng(seed)
    sequences = examples * (choices if family == "choice" else 1)
    lengths = rng.integers(1, 12, sequences)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    arrays: dict[str, dict[str, np.ndarray]] = {
        "pair": {"labels": rng.integers(0, 3, examples)},
        "choice": {"labels": rng.integers(0, choices, examples)},
        "span": {name: rng.integers(0, lengths).astype(np.int32) for name in ("starts", "ends")},
        "tagging": {"labels": np.where(rng.random(offsets[-1]) < 0.6, rng.integers(0, 5, offsets[-1]), IGNORED)},
        "mlm": {},
    }
    types = rng.integers(0, 2, offsets[-1]).astype(np.uint8) if family == "pair" else None
    tokens = np.arange(100, 100 + offsets[-1], dtype=np.int32)
    width = choices if family == "choice" else 1
    return PreparedSet("train.en", family, tokens, offsets, types, arrays[family], width, (), examples)


@given(
    family=st.sampled_from(["pair", "choice", "span", "tagging"]),
    count=st.integers(1, 14),
    micro_tokens=st.integers(1, 90),
    ranks=st.integers(1, 4),
    seed=st.integers(0, 3),
)
@settings(deadline=None, max_examples=120)
def test_micro_batches_hold_every_sequence_once(
    family: str, count: int, micro_tokens: int, ranks: int, seed: int
) -> None:
    prepared = make_set(family, 20, seed)
    chosen = np.random.default_rng(seed).permutation(20)[:count]
    update = assemble("task", TrainingSet.of(prepared), chosen, PAD)
    pieces = update.divide(Limits(micro_tokens), ranks)
    parts = [[update.cut(piece) for piece in mine] for mine in pieces]
    assert len({len(mine) for mine in parts}) == 1
    real = [part for mine in parts for part in mine if part.weight]
    found = sorted(_sequences(real))
    width = prepared.choices
    expected = [prepared.sequence(e * width + c).tolist() for e in chosen for c in range(width)]
    assert found == sorted(expected)
    for part in real:
        ids, mask = part.arrays["input_ids"], part.arrays["attention_mask"]
        assert ids.size <= max(micro_tokens, int(update.lengths.max()) * width)
        assert len(ids) % width == 0
        assert mask.any(axis=0).all(), "a column of pads alone"
        assert (ids[mask == 0] == PAD).all()
    padded = sum(part.arrays["input_ids"].size for mine in parts for part in mine)
    assert padded == sum(update.tokens(piece)[1] for mine in pieces for piece in mine)
    assert update.real_tokens == sum(map(len, expected))


@given(st.lists(st.integers(3, 60), min_size=1, max_size=40), st.integers(1, 4), st.integers(1, 500), st.integers(1, 5))
@settings(deadline=None)
def test_ranks_share_evenly(lengths: list[int], width: int, micro_tokens: int, ranks: int) -> None:
    """As few pieces as the budget allows, and the largest of them as small as so many pieces allow."""
    longest = np.array(sorted(lengths, reverse=True))
    pieces = divide(longest * width, Limits(micro_tokens), ranks)
    assert len({len(mine) for mine in pieces}) == 1
    ordered = [mine[turn] for turn in range(len(pieces[0])) for mine in pieces]
    assert [piece.weight for piece in ordered] == sorted((piece.weight for piece in ordered), reverse=True)
    real = [piece for piece in ordered if piece.weight]
    assert [piece.first for piece in real] == [0, *(piece.last for piece in real[:-1])]
    assert real[-1].last == len(longest)
    costs = [int(longest[piece.first]) * width * (piece.last - piece.first) for piece in real]
    micro_tokens = max(micro_tokens, int(longest[0]) * width)
    assert max(costs) <= micro_tokens
    assert len(ordered) - len(real) < ranks or len(real) == len(longest)
    assert len(_greedy(longest, width, micro_tokens)) > len(ordered) - ranks
    smaller = _greedy(longest, width, max(costs) - 1)
    assert max(smaller) >= max(costs) or len(smaller) > len(ordered)


def _greedy(longest: np.ndarray, width: int, budget: int) -> list[int]:
    """Costs of pieces that each take examples as long as the budget lasts."""
    found, first = [], 0
    while first < len(longest):
        count = 1
        while first + count < len(longest) and int(longest[first]) * width * (count + 1) <= budget:
            count += 1
        found.append(int(longest[first]) * width * count)
        first += count
    return found


@pytest.mark.parametrize("family", ["pair", "choice", "span", "tagging"])
def test_labels_stay_with_their_sequences(family: str) -> None:
    prepared = make_set(family, 9)
    update = assemble("task", TrainingSet.of(prepared), np.arange(9), PAD)
    for part in [update.cut(piece) for piece in update.divide(Limits(60), 1)[0]]:
        for row, ids in enumerate(part.arrays["input_ids"][:: prepared.choices]):
            sequence = int(np.searchsorted(prepared.offsets, ids[0] - 100, side="right")) - 1
            if family == "tagging":
                first, last = prepared.offsets[sequence : sequence + 2]
                labels = part.arrays["labels"][row]
                assert labels[: last - first].tolist() == prepared.arrays["labels"][first:last].tolist()
                assert (labels[last - first :] == IGNORED).all()
            else:
                for name in ("starts", "ends") if family == "span" else ("labels",):
                    assert part.arrays[name][row] == prepared.arrays[name][sequence // prepared.choices]


def test_loss_terms() -> None:
    def terms(family: str) -> int:
        return assemble("task", TrainingSet.of(make_set(family, 9)), np.arange(5), PAD).terms

    assert terms("pair") == terms("choice") == terms("span") == 5
    tagging = make_set("tagging", 9)
    assert terms("tagging") == (tagging.arrays["labels"][: tagging.offsets[5]] != IGNORED).sum()


def test_types_are_given_only_where_the_set_has_them() -> None:
    update = assemble("task", TrainingSet.of(make_set("pair", 6)), np.arange(6), PAD)
    assert update.arrays["token_type_ids"].shape == update.arrays["input_ids"].shape
    assert "token_type_ids" not in assemble("task", TrainingSet.of(make_set("span", 6)), np.arange(6), PAD).arrays


def test_masking_follows_the_recipe() -> None:
    ordinary = np.arange(5, 1000)
    ids = np.random.default_rng(0).integers(0, 1000, (200, 300))
    masked = mask_tokens(ids, Masking(0.25, mask_id=4, ordinary=ordinary), np.random.default_rng(1))
    labels, inputs = masked["labels"], masked["input_ids"]
    chosen = labels != IGNORED
    assert (labels[chosen] == ids[chosen]).all()
    assert (inputs[~chosen] == ids[~chosen]).all()
    assert not chosen[ids < 5].any()
    assert chosen[ids >= 5].mean() == pytest.approx(0.25, abs=0.01)
    kinds = [(inputs[chosen] == 4).mean(), (inputs[chosen] == ids[chosen]).mean()]
    assert kinds == pytest.approx([0.8, 0.1], abs=0.01)
    assert np.isin(inputs[chosen & (inputs != 4)], ordinary).all()


def test_masking_is_the_same_on_every_rank_and_micro_batch() -> None:
    prepared = TrainingSet.of(make_set("mlm", 9))
    masking = Masking(0.3, mask_id=4, ordinary=np.arange(100, 300))

    def build() -> Update:
        return assemble("text", prepared, np.arange(9), PAD, masking, np.random.default_rng(5))

    rows = [
        build().cut(mine[0]) for micro, ranks in ((900, 1), (1, 2)) for mine in build().divide(Limits(micro), ranks)
    ]
    whole, *parts = (part.arrays["labels"] for part in rows)
    for part in parts:
        assert any((whole[row, : part.shape[1]] == part[0]).all() for row in range(9))
    assert build().terms == (whole != IGNORED).sum() > 0


@pytest.mark.parametrize("family", ["pair", "choice", "span", "tagging"])
def test_shuffled_labels_are_a_permutation_that_leaves_the_inputs(family: str) -> None:
    prepared = make_set(family, 60)
    before = TrainingSet.of(prepared)
    after = before.shuffle_labels(1, "task")
    assert after.tokens is before.tokens
    for name, values in before.labels.items():
        assert not np.array_equal(after.labels[name], values)
        if family == "span":
            assert (after.labels[name] < before.lengths).all()
        else:
            assert sorted(after.labels[name]) == sorted(values)
            assert np.array_equal(after.labels[name] == IGNORED, values == IGNORED)
        assert np.array_equal(before.shuffle_labels(1, "task").labels[name], after.labels[name])
        assert not np.array_equal(before.shuffle_labels(2, "task").labels[name], after.labels[name])


def test_keep_first_is_a_prefix_of_one_shuffle() -> None:
    whole = TrainingSet.of(make_set("choice", 40))
    few, more = whole.keep_first(5, 1, "task"), whole.keep_first(20, 1, "task")
    assert few.selected.tolist() == more.selected[:5].tolist() != list(range(5))
    assert len(whole.keep_first(100, 1, "task")) == 40
    update = assemble("task", few, np.arange(5), PAD)
    assert update.examples == 5
    assert sorted(update.arrays["labels"]) == sorted(whole.labels["labels"][few.selected])


def _sequences(parts: list) -> list[list[int]]:
    return [
        ids[mask == 1].tolist()
        for part in parts
        for ids, mask in zip(part.arrays["input_ids"], part.arrays["attention_mask"], strict=True)
    ]
