"""Prediction in one pass against one sequence at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stilts.data.prepared import Prepared, PreparedSet
from stilts.evaluation.predict import cut_batches, load_model, predict, run_model
from stilts.evaluation.score import score_target
from stilts.model.encoder import load_encoder
from stilts.model.multitask import HeadSpec, Multitask
from stilts.runs import RunFolder
from stilts.tasks.families import family as family_module
from stilts.training.save import save_model
from tests.stilts.prepared_folders import ENCODERS, LABELS, draw_examples, write_encoder, write_prepared

FAMILIES = ("pair", "choice", "span", "tagging")
CPU = torch.device("cpu")
SETS = ("test.de", "test.en", "test.sw")


@pytest.fixture(scope="module", params=ENCODERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model with a head for each family, in one folder."""
    folder = tmp_path_factory.mktemp(request.param)
    source = write_encoder(folder / "encoder", request.param)
    encoder = load_encoder(source, "sdpa", None, torch.float32)
    specs = {family: HeadSpec(family, len(LABELS.get(family, ()))) for family in FAMILIES}
    network = Multitask(encoder, specs)
    network.initialise_heads(seed=0)
    save_model(dict(network.state_dict()), specs, source, type(encoder).__name__, folder / "model")
    return folder / "model"


def prepare(folder: Path, family: str, model: Path) -> Path:
    sets = {name: draw_examples(family, 5 + 3 * number, seed=number) for number, name in enumerate(SETS)}
    return write_prepared(folder, family, model, {"train.en": draw_examples(family, 3)} | sets)


def one_by_one(network: torch.nn.Module, prepared: PreparedSet) -> dict[str, np.ndarray]:
    """The slow obvious way: every sequence alone, without pads."""
    parts: dict[str, list[np.ndarray]] = {}
    for index in range(len(prepared.lengths)):
        ids = torch.from_numpy(prepared.sequence(index).astype(np.int64))[None]
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if prepared.types is not None:
            first, last = prepared.offsets[index : index + 2]
            batch["token_type_ids"] = torch.from_numpy(prepared.types[first:last].astype(np.int64))[None]
        with torch.inference_mode():
            for name, values in network(batch).items():
                parts.setdefault(name, []).append(values[0].numpy())
    token_level = prepared.family in ("span", "tagging")
    return {name: np.concatenate(rows) if token_level else np.stack(rows) for name, rows in parts.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_gives_each_sequences_own_outputs(model: Path, family: str, tmp_path: Path) -> None:
    prepared = Prepared.load(prepare(tmp_path, family, model))
    network, pad_id = load_model(model, family)
    sets = [prepared.open(name) for name in SETS]
    for max_tokens in (1, 60, 10_000):
        outputs = run_model(network, sets, pad_id, CPU, max_tokens)
        for one in sets:
            expected = one_by_one(network, one)
            if family == "choice":
                expected = {"logits": expected["scores"].reshape(-1, 3)}
            assert outputs[one.name].keys() == expected.keys()
            for name, values in expected.items():
                found = outputs[one.name][name]
                assert found.dtype == (np.int32 if family == "tagging" else np.float32)
                np.testing.assert_allclose(found, values, atol=2e-6)


def test_embeddings_are_means_over_all_real_positions(model: Path, tmp_path: Path) -> None:
    prepared = Prepared.load(prepare(tmp_path, "retrieval", model))
    encoder = load_encoder(model, "sdpa", None, torch.float32)
    outputs = predict(model, prepared.folder, SETS, None, CPU, layer=2)
    for name in SETS:
        one = prepared.open(name)
        assert outputs[name]["embeddings"].shape == (2 * len(one), encoder.config.hidden_size)
        assert outputs[name]["embeddings"].dtype == np.float32
        for index in range(2 * len(one)):
            ids = torch.from_numpy(one.sequence(index).astype(np.int64))[None]
            with torch.inference_mode():
                states = encoder(input_ids=ids, output_hidden_states=True).hidden_states
            assert torch.equal(states[-1], encoder(input_ids=ids).last_hidden_state)
            expected = states[2][0].mean(0).numpy()
            np.testing.assert_allclose(outputs[name]["embeddings"][index], expected, atol=2e-6)


@pytest.mark.parametrize(("depth", "layer"), [(24, 14), (12, 7), (3, 2), (2, 1)])
def test_default_layer_is_fourteen_of_twenty_four(model: Path, depth: int, layer: int, tmp_path: Path) -> None:
    """Layer 14 of XLM-R Large is 7 of a base model and 2 of the toy model's 3."""
    encoder = load_encoder(model, "sdpa", None, torch.float32)
    encoder.config.num_hidden_layers = depth
    deep = type(encoder)(encoder.config, add_pooling_layer=False)
    save_model({f"encoder.{key}": value for key, value in deep.state_dict().items()}, {}, model, "", tmp_path / "m")
    config = tmp_path / "m" / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', f'"num_hidden_layers": {depth}'))
    network, _ = load_model(tmp_path / "m", None)
    assert network.layer == layer


@pytest.mark.parametrize("family", [*FAMILIES, "retrieval"])
def test_scores_can_be_computed_again_from_the_predictions(model: Path, family: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    training = None if family == "retrieval" else family
    scores = score_target(model, "target", prepare(tmp_path / "data", family, model), folder, training, CPU)
    assert [(language, split) for language, split, *_ in scores] == [("de", "test"), ("en", "test"), ("sw", "test")]
    assert [path.name for path in folder.predictions.iterdir()] == ["target.test.parquet"]
    table = pq.read_table(folder.predictions / "target.test.parquet")
    assert table.column_names[0] == "language"
    languages = np.asarray(table["language"])
    for language, _, metrics, examples in scores:
        rows = table.filter(languages == language)
        assert len(rows) == examples
        assert family_module(family).score(rows) == metrics
    if family == "retrieval":
        assert all(metrics == {"accuracy": 100.0} for *_, metrics, _ in scores)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 200))
def test_batches_keep_the_token_budget(lengths: list[int], max_tokens: int) -> None:
    sizes = np.array(lengths)
    batches = list(cut_batches(sizes, max_tokens))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sizes[batch].max() * len(batch) <= max_tokens
    firsts = [sizes[batch[0]] for batch in batches]
    assert firsts == sorted(firsts, reverse=True)
