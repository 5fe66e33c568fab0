"""Packed sequences give what padded ones give: losses and gradients, for every family of heads and kind of encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from stilts.data.prepared import Prepared
from stilts.model.attention import PACKED, attend, can_pack, find_first_position
from stilts.model.encoder import load_encoder
from stilts.model.multitask import HeadSpec, Multitask
from stilts.training.batches import Batch, Limits, MicroBatch, assemble, divide
from stilts.training.examples import TrainingSet
from stilts.training.heartbeat import Heartbeat
from stilts.training.masking import build_masking
from stilts.training.packing import Packing, round_tokens
from stilts.training.settings import Layout
from stilts.training.train import Sources, train
from stilts.training.world import World
from tests.stilts.prepared_folders import (
    ENCODERS,
    LABELS,
    draw_examples,
    training_config,
    write_encoder,
    write_prepared,
)

FAMILIES = ("pair", "choice", "span", "tagging", "mlm")
CPU = torch.device("cpu")
EXAMPLES = 7


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp(request.param), request.param)


def build(encoder: Path, *families: str) -> Multitask:
    specs = {family: HeadSpec(family, len(LABELS.get(family, ()))) for family in families}
    model = Multitask(load_encoder(encoder, "sdpa", 0.0, torch.float32), specs)
    model.initialise_heads(seed=1)
    return model


def draw(encoder: Path, family: str, folder: Path, packing: bool, limits: Limits, rounded: bool = True) -> list[Batch]:
    """One update's micro-batches, fewer examples than the form has room for."""
    prepared = Prepared.load(write_prepared(folder, family, encoder, {"train.en": draw_examples(family, EXAMPLES)}))
    training_set = TrainingSet.of(prepared.open("train.en"))
    config = load_encoder(encoder, "sdpa", None, torch.float32).config
    rng = np.random.Generator(np.random.PCG64(1))
    masking = build_masking(encoder, 0.3)
    update = assemble(family, training_set, np.arange(EXAMPLES), config.pad_token_id, masking, rng)
    parts = [update.cut(piece) for piece in update.divide(limits, 1)[0]]
    if packing:
        first = find_first_position(config)
        assert first is not None
        whole = Packing.of(config.pad_token_id, first, {family: training_set}, {family: EXAMPLES + 2}, rounded)
        parts = [whole.pack(family, part) for part in parts]
    return [part.to(CPU) for part in parts]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("micro_tokens", [10_000, 40])
@pytest.mark.parametrize("rounded", [False, True])
def test_packed_equals_padded(encoder: Path, family: str, micro_tokens: int, rounded: bool, tmp_path: Path) -> None:
    """As a CPU packs (not rounded) and as a GPU does."""
    found = []
    for packing in (False, True):
        model = build(encoder, *FAMILIES)
        if packing:
            model.encoder.set_attn_implementation(PACKED)
        limits = Limits(micro_tokens, packed=packing)
        total, terms = torch.zeros(()), 0
        for batch in draw(encoder, family, tmp_path / str(packing), packing, limits, rounded):
            loss, count = model(family, batch)
            loss.backward()
            total, terms = total + loss.detach(), terms + int(count)
        found.append((total, terms, {name: p.grad for name, p in model.named_parameters()}))
    (padded, padded_terms, padded_grads), (packed, packed_terms, packed_grads) = found
    assert packed_terms == padded_terms > 0
    torch.testing.assert_close(packed, padded, rtol=1e-5, atol=1e-5)
    for name, expected in padded_grads.items():
        torch.testing.assert_close(packed_grads[name], expected, rtol=1e-4, atol=1e-5, msg=name)


def test_the_same_model_still_takes_pads(encoder: Path, tmp_path: Path) -> None:
    """A training that packs is judged on padded batches."""
    (batch,) = draw(encoder, "span", tmp_path, False, Limits(10_000))
    model = build(encoder, "span")
    expected = model.outputs("span", batch)
    model.encoder.set_attn_implementation(PACKED)
    for name, values in model.outputs("span", batch).items():
        torch.testing.assert_close(values, expected[name])


def test_packed_rows_have_no_mask(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when a CUDA graph is recorded, where transformers else makes one of all positions by all."""
    masks = []

    def look(module: torch.nn.Module, *states: Any, **kwargs: Any) -> Any:
        masks.append(states[3])
        return attend(module, *states, **kwargs)

    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    (batch,) = draw(encoder, "pair", tmp_path, True, Limits(10_000))
    model = build(encoder, "pair")
    AttentionInterface.register("looked_at", look)
    AttentionMaskInterface.register("looked_at", AttentionMaskInterface()[PACKED])
    model.encoder.set_attn_implementation("looked_at")
    model("pair", batch)
    assert masks
    assert not any(mask is not None for mask in masks)


def test_packed_attention_drops_as_much_as_padded() -> None:
    query = torch.randn(1, 2, 40, 8, generator=torch.Generator().manual_seed(0))
    bounds = torch.tensor([0, 10, 10, 40], dtype=torch.int32)
    value = torch.ones_like(query)
    module = torch.nn.Identity()
    torch.manual_seed(1)
    draws = [
        attend(module, query, query, value, None, 0.25, cu_seq_lens_q=bounds, max_length_q=30)[0] for _ in range(50)
    ]
    assert torch.stack(draws).mean() == pytest.approx(1.0, abs=0.02)
    assert torch.stack(draws).std() > 0.05


def test_trainings_are_the_same_packed_and_padded(encoder: Path, tmp_path: Path) -> None:
    recipes = {
        "pair": {"batch_size": 8, "epochs": 1},
        "choice": {"batch_size": 4, "epochs": 1},
        "span": {"batch_size": 8},
    }
    data = {
        task: write_prepared(tmp_path / task, task, encoder, {"train.en": draw_examples(task, 12)}) for task in recipes
    }
    curves = {}
    for packed in (False, True):
        folder = tmp_path / str(packed)
        folder.mkdir()
        heartbeat = Heartbeat(folder)
        config = training_config(recipes, learning_rate=1e-3, dropout=0.0)
        world = World(rank=0, local_rank=0, size=1, device=CPU)
        facts = train(config, Sources(encoder, data), folder / "model", world, heartbeat, Layout(packed=packed))
        assert facts["layout"]["packed"] is packed
        assert facts["attention"] == ("packed, sdpa" if packed else "sdpa")
        curves[packed] = [line.split('"loss":')[1].split(",")[0] for line in heartbeat.losses.read_text().splitlines()]
    assert len(curves[False]) > 4
    assert list(map(float, curves[True])) == pytest.approx(list(map(float, curves[False])), abs=2e-4)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30), st.integers(0, 5))
@settings(deadline=None)
def test_rows_hold_sequences_and_pads_of_bounded_length(lengths: list[int], spare: int) -> None:
    lengths.sort(reverse=True)
    mask = (np.arange(lengths[0]) < np.array(lengths)[:, None]).astype(np.int64)
    tokens = np.where(mask == 1, np.arange(mask.size).reshape(mask.shape) + 5, 1)
    labels = np.arange(len(lengths))
    sequences = len(lengths) + spare
    padded = MicroBatch({"input_ids": tokens, "attention_mask": mask, "labels": labels}, 1.0)
    sets = {"t": _Set(np.array(lengths))}
    row = Packing.of(1, 2, sets, {"t": sequences}).pack("t", padded).arrays  # type: ignore[arg-type]
    bounds, ids = row["bounds"], row["input_ids"]
    assert len(ids) == round_tokens(sum(lengths)) == bounds[-1]
    assert np.diff(bounds).max() <= lengths[0] == len(row["window"])
    assert np.diff(bounds)[: len(lengths)].tolist() == lengths
    assert row["firsts"].shape == (sequences,)
    for number, length in enumerate(lengths):
        span = slice(bounds[number], bounds[number + 1])
        assert ids[span].tolist() == tokens[number, :length].tolist()
        assert row["position_ids"][span].tolist() == list(range(2, 2 + length))
    assert (ids[sum(lengths) :] == 1).all()
    assert row["labels"].tolist() == [*range(len(lengths)), *[-100] * spare]
    # One size of row has one set of shapes, or there would be a CUDA graph for each update.
    assert len(bounds) == sequences + 1 + -(-max(128, len(ids) // 16) // lengths[0])


class _Set:
    """As much of a training set as a form is made of."""

    width = 1

    def __init__(self, lengths: np.ndarray) -> None:
        self.lengths = lengths


@given(st.integers(1, 100_000))
def test_rows_come_in_few_sizes_and_have_few_pads(tokens: int) -> None:
    size = round_tokens(tokens)
    assert 0 <= size - tokens < max(128, tokens / 16 + 1)
    assert size % 128 == 0
    assert round_tokens(size) == size


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 300), st.integers(1, 4))
@settings(deadline=None)
def test_packed_pieces_share_tokens_evenly(costs: list[int], micro_tokens: int, ranks: int) -> None:
    pieces = divide(np.array(costs), Limits(micro_tokens, packed=True), ranks)
    real = [p for turn in range(len(pieces[0])) for mine in pieces for p in mine[turn : turn + 1] if p.weight]
    assert [piece.first for piece in real] == [0, *(piece.last for piece in real[:-1])]
    assert real[-1].last == len(costs)
    assert max(sum(costs[p.first : p.last]) for p in real) <= max(micro_tokens, *costs)
    assert len({len(mine) for mine in pieces}) == 1


@given(st.lists(st.integers(3, 60), min_size=1, max_size=24), st.integers(1, 400), st.integers(0, 200))
@settings(deadline=None, max_examples=30)
def test_pieces_cost_no_more_than_any_even_cut(lengths: list[int], micro_tokens: int, pass_tokens: int) -> None:
    """The slow twin tries every limit."""
    costs = np.array(sorted(lengths, reverse=True))

    def price(micro: int, per_pass: int | None) -> int:
        (pieces,) = divide(costs, Limits(micro, per_pass), 1)
        return sum(int(costs[piece.first]) * (piece.last - piece.first) + pass_tokens for piece in pieces)

    limit = max(micro_tokens, int(costs[0]))
    assert price(micro_tokens, pass_tokens) == min(price(micro, None) for micro in range(int(costs[0]), limit + 1))


@given(st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any))
@settings(deadline=None)
def test_sequences_attend_as_each_alone(lengths: list[int]) -> None:
    bounds = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, int(bounds[-1]), 8, generator=generator).unbind()
    found, _ = attend(torch.nn.Identity(), query, key, value, None, cu_seq_lens_q=bounds)
    alone = [
        torch.softmax(q @ k.transpose(-1, -2) / 8**0.5, -1) @ v
        for q, k, v in zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    ]
    torch.testing.assert_close(found, torch.cat(alone, dim=2).transpose(1, 2), rtol=1e-4, atol=1e-5)


def test_rows_of_a_cpu_have_no_pads(encoder: Path, tmp_path: Path) -> None:
    (batch,) = draw(encoder, "span", tmp_path, True, Limits(10_000), rounded=False)
    (padded,) = draw(encoder, "span", tmp_path / "padded", False, Limits(10_000))
    assert batch["input_ids"].tolist() == padded["input_ids"][padded["attention_mask"] == 1].tolist()
    assert len(batch["firsts"]) == len(padded["input_ids"]) == len(batch["starts"])


def test_what_can_be_packed(encoder: Path) -> None:
    config = load_encoder(encoder, "sdpa", None, torch.float32).config
    assert can_pack(config, "bf16", CPU)
    config._attn_implementation = "eager"
    assert not can_pack(config, "bf16", CPU)
    config._attn_implementation, config.model_type = "sdpa", "xlnet"
    assert not can_pack(config, "bf16", CPU)
    assert find_first_position(config) is None
