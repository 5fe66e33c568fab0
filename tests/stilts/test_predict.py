"""Prediction in one pass against one sequence at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stilts.data.examples import Line, Pair
from stilts.data.prepared import Prepared, PreparedSet
from stilts.errors import UserError
from stilts.evaluation.predict import cut_batches, default_layer, load_model, predict, run_model
from stilts.evaluation.score import Score, score_target
from stilts.model.encoder import load_encoder
from stilts.model.multitask import HeadSpec, Multitask
from stilts.runs import RunFolder, read_json, write_json
from stilts.tasks.columns import task_metrics
from stilts.tasks.families import family as family_module
from stilts.tasks.families import finish_tables
from stilts.training.save import save_model
from tests.stilts.prepared_folders import ENCODERS, LABELS, draw_examples, write_encoder, write_prepared

FAMILIES = ("pair", "choice", "span", "tagging")
CPU = torch.device("cpu")
SETS = ("test.de", "test.en", "test.sw")
TASKS = {"pair": "xnli", "choice": "csqa", "span": "xquad", "tagging": "udpos", "retrieval": "tatoeba"}


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
    outputs = predict(model, prepared.folder, SETS, None, CPU, layers=[2, 0])
    for name in SETS:
        one = prepared.open(name)
        assert outputs[name]["embeddings"].shape == (2 * len(one), 2, encoder.config.hidden_size)
        assert outputs[name]["embeddings"].dtype == np.float32
        for index in range(2 * len(one)):
            ids = torch.from_numpy(one.sequence(index).astype(np.int64))[None]
            with torch.inference_mode():
                states = encoder(input_ids=ids, output_hidden_states=True).hidden_states
            assert torch.equal(states[-1], encoder(input_ids=ids).last_hidden_state)
            for column, layer in enumerate((2, 0)):
                expected = states[layer][0].mean(0).numpy()
                np.testing.assert_allclose(outputs[name]["embeddings"][index, column], expected, atol=2e-6)


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
    assert network.layers == (layer,) and default_layer(depth) == layer
    with pytest.raises(UserError, match=f"no layer -1, {depth + 1}; it has 0 .the embeddings. to {depth}"):
        load_model(tmp_path / "m", None, [0, -1, depth, depth + 1])


def recompute(path: Path, family: str, task: str, languages: set[str]) -> dict[str, dict[str, float]]:
    """Metrics by language from a Parquet file without the columns of an earlier scoring."""
    table = pq.read_table(path)
    assert table.column_names[0] == "language" and set(table["language"].to_pylist()) == languages
    added = ("correct", "f1", "exact_match", "chunks_right", "words_right", "threshold")
    table = table.drop_columns([name for name in added if name in table.column_names])
    values = np.asarray(table["language"])
    split = path.name.split(".")[1]
    tables = {f"{split}.{language}": table.filter(pa.array(values == language)) for language in sorted(languages)}
    finished = finish_tables(family, task, tables)
    return {
        name.partition(".")[2]: family_module(family).score(part, task_metrics(task)) for name, part in finished.items()
    }


@pytest.mark.parametrize("family", TASKS)
def test_scores_can_be_computed_again_from_the_predictions(model: Path, family: str, tmp_path: Path) -> None:
    folder, task = RunFolder(tmp_path / "run"), TASKS[family]
    training = None if family == "retrieval" else family
    data = prepare(tmp_path / "data", family, model)
    scores = score_target(model, task, data, folder, training, CPU)
    assert [(score.language, score.split) for score in scores] == [("de", "test"), ("en", "test"), ("sw", "test")]
    assert [path.name for path in folder.predictions.iterdir()] == [f"{task}.test.parquet"]
    path = folder.predictions / f"{task}.test.parquet"
    assert recompute(path, family, task, {"de", "en", "sw"}) == {score.language: score.metrics for score in scores}
    assert [score.examples for score in scores] == [5, 8, 11]
    used = 1 if family == "retrieval" else None
    assert {(score.layer, score.used_layer) for score in scores} == {(None, used)}
    metadata = pq.read_schema(path).metadata or {}
    assert metadata.get(b"layer") == (b"1" if used else None)
    if family == "retrieval":
        assert all(score.metrics == {"accuracy": 100.0} for score in scores)


@pytest.mark.parametrize("family", ["pair", "retrieval"])
def test_a_set_without_labels_is_predicted_and_not_scored(model: Path, family: str, tmp_path: Path) -> None:
    data = prepare(tmp_path / "data", family, model)
    manifest = read_json(data / "manifest.json")
    assert manifest is not None
    for name in SETS:
        manifest["sets"][name]["labelled"] = name != "test.sw"
    write_json(data / "manifest.json", manifest)
    column = {"pair": "label", "retrieval": "gold"}[family]
    path = data / "test.sw.examples.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, column, pa.nulls(len(table), table[column].type)), path)
    folder, training = RunFolder(tmp_path / "run"), None if family == "retrieval" else family
    scores = score_target(model, TASKS[family], data, folder, training, CPU)
    assert [score.language for score in scores] == ["de", "en"]
    rows = pq.read_table(folder.predictions / f"{TASKS[family]}.test.parquet").to_pylist()
    blind = [row for row in rows if row["language"] == "sw"]
    assert len(blind) == 11
    assert all(row["correct"] is row[column] is None and row["prediction"] is not None for row in blind)


def test_a_sweep_gives_what_each_layer_gives_alone(model: Path, tmp_path: Path) -> None:
    data = prepare(tmp_path / "data", "retrieval", model)
    swept = score_target(model, "tatoeba", data, RunFolder(tmp_path / "sweep"), None, CPU, sweep=True)
    assert [path.name for path in RunFolder(tmp_path / "sweep").path.iterdir()] == ["predictions"]
    by_layer = {layer: [score for score in swept if score.layer == layer] for layer in (None, 0, 1, 2)}
    assert sum(map(len, by_layer.values())) == len(swept) == 12
    assert [score.metrics for score in by_layer[None]] == [score.metrics for score in by_layer[1]]
    assert {score.used_layer for score in by_layer[None]} == {1}
    for layer in (0, 1, 2):
        folder = RunFolder(tmp_path / str(layer))
        assert score_target(model, "tatoeba", data, folder, None, CPU, layer=layer) == by_layer[layer]
        assert all(score.used_layer == layer for score in by_layer[layer])
        if layer == 1:  # the default's own file, but for the embeddings' rounding in another batch
            default = pq.read_table(tmp_path / "sweep/predictions/tatoeba.test.parquet")
            assert default.drop_columns("score").equals(
                pq.read_table(folder.predictions / "tatoeba.test.parquet").drop_columns("score")
            )
    other = score_target(model, "tatoeba", data, RunFolder(tmp_path / "o"), None, CPU, layer=2, sweep=True)
    assert [score.layer for score in other] == [2, 2, 2, 0, 0, 0, 1, 1, 1]


def corpus(language: str, count: int, gold: bool) -> list[Line]:
    """Sentences that stand on both sides, word for word, and as many without partner."""
    drawn = draw_examples("pair", 4 * count, seed=len(language + str(gold)))
    texts = sorted({example.text for example in drawn if isinstance(example, Pair)})
    pairs = range(count)
    lines = [Line(f"{language}-{n}", texts[n], False, (f"en-{n}",) if gold else ()) for n in pairs]
    lines += [Line(f"{language}-{n}", texts[n], False) for n in range(count, count + 3)]
    lines += [Line(f"en-{n}", texts[n], True) for n in pairs]
    return lines + [Line(f"en-{n}", texts[n], True) for n in range(count + 3, count + 6)]


def test_mining_takes_each_languages_threshold_from_dev(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = {
        "dev.de": corpus("de", 8, True),
        "test.de": corpus("de", 10, True),
        "dev.fr": corpus("fr", 7, True),
        "test.fr": corpus("fr", 9, False),
        "test.ru": corpus("ru", 6, True),
    }
    data = write_prepared(tmp_path / "data", "mining", model, sets)
    manifest = read_json(data / "manifest.json")
    assert manifest is not None
    manifest["sets"]["test.fr"]["labelled"] = False
    write_json(data / "manifest.json", manifest)
    folder = RunFolder(tmp_path / "run")
    scores = score_target(model, "bucc2018", data, folder, None, CPU, sweep=True)
    assert "bucc2018 test.ru is not scored: ru: no threshold" in capsys.readouterr().err
    assert {(score.split, score.language, score.examples) for score in scores} == {
        ("dev", "de", 8), ("test", "de", 10), ("dev", "fr", 7),
    }  # fmt: skip
    assert {score.layer for score in scores} == {None, 0, 1, 2}
    assert all(score.metrics.keys() == {"f1"} and score.metrics["f1"] > 50 for score in scores)
    tables = {split: pq.read_table(folder.predictions / f"bucc2018.{split}.parquet") for split in ("dev", "test")}
    parts = {
        f"{split}.{language}": table.filter(pa.array(np.asarray(table["language"]) == language))
        for split, table in tables.items()
        for language in sorted(set(table["language"].to_pylist()))
    }
    assert parts.keys() == sets.keys()
    again = finish_tables("mining", "bucc2018", {name: t.drop_columns("threshold") for name, t in parts.items()})
    for name, table in parts.items():
        assert again[name].equals(table.replace_schema_metadata())
    found = [score for score in scores if score.layer is None]
    assert found == [
        Score(language, split, family_module("mining").score(again[f"{split}.{language}"], ("f1",)), size, None, 1)
        for split, language, size in (("dev", "de", 8), ("dev", "fr", 7), ("test", "de", 10))
    ]
    assert len(set(again["test.de"]["threshold"].to_pylist() + again["dev.de"]["threshold"].to_pylist())) == 1
    assert again["test.fr"]["threshold"].null_count == 0 and again["test.ru"]["threshold"].null_count > 0


def test_embeddings_need_room_on_the_disk(model: Path, tmp_path: Path) -> None:
    """They lie in the folder asked for, which keeps nothing of them."""
    prepared = Prepared.load(prepare(tmp_path / "data", "retrieval", model))
    network, pad_id = load_model(model, None, [0, 1, 2])
    scratch = tmp_path / "scratch"
    with pytest.raises(FileNotFoundError):
        run_model(network, [prepared.open("test.de")], pad_id, CPU, 1000, scratch)
    scratch.mkdir()
    outputs = run_model(network, [prepared.open("test.de")], pad_id, CPU, 1000, scratch)["test.de"]
    assert outputs["embeddings"].shape == (10, 3, 32) and list(scratch.iterdir()) == []


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 200))
def test_batches_keep_the_token_budget(lengths: list[int], max_tokens: int) -> None:
    sizes = np.array(lengths)
    batches = list(cut_batches(sizes, max_tokens))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sizes[batch].max() * len(batch) <= max_tokens
    firsts = [sizes[batch[0]] for batch in batches]
    assert firsts == sorted(firsts, reverse=True)
