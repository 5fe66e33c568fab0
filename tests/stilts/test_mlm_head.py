"""The pretrained masked-token head: the same logits as transformers' own, from every form a checkpoint comes in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from stilts.data.fetch_model import fetch_model
from stilts.errors import UserError
from stilts.model.encoder import load_encoder
from stilts.model.heads import MaskedTokenHead
from stilts.model.lm_head import load_lm_head
from stilts.model.multitask import HeadSpec, Multitask
from stilts.training.save import save_model
from tests.stilts.prepared_folders import write_encoder
from tests.stilts.slices import SPECIAL, make_character_tokenizer

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VOCABULARY = 40
KINDS = ("xlmr", "roberta", "bert")


def make_model(kind: str, **changes: Any) -> PreTrainedModel:
    """A random masked language model in which no weight of the head is zero or one."""
    positions = 64 if kind == "bert" else 66
    size: dict[str, Any] = {**SIZE, "vocab_size": VOCABULARY, "max_position_embeddings": positions, **changes}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = {
            "xlmr": lambda: XLMRobertaForMaskedLM(XLMRobertaConfig(layer_norm_eps=1e-5, **size)),
            "roberta": lambda: RobertaForMaskedLM(RobertaConfig(layer_norm_eps=1e-5, **size)),
            "bert": lambda: BertForMaskedLM(BertConfig(**size)),
        }[kind]()
        for name, values in model.named_parameters():
            if name.startswith(("lm_head", "cls")) or "LayerNorm" in name:
                values.data += torch.randn_like(values) / 4
    return model.eval()


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return make_model(request.param)


def batch_of(model: PreTrainedModel) -> dict[str, Tensor]:
    """Two sequences, of which the second has pads."""
    ids = torch.arange(4, 24).reshape(2, 10) % VOCABULARY
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, model.config.pad_token_id), "attention_mask": mask}


def head_of(model: Multitask) -> MaskedTokenHead:
    head = model.head("mlm")
    assert isinstance(head, MaskedTokenHead)
    return head


def open_model(folder: Path, head: Path | None = None) -> Multitask:
    """Our encoder with a fresh head, into which the one of a folder is loaded."""
    model = Multitask(load_encoder(folder, "sdpa", 0.0, torch.float32), {"mlm": HeadSpec("mlm", 0)})
    model.initialise_heads(seed=1)
    load_lm_head(head or folder, head_of(model))
    return model.eval()


def check_logits(folder: Path, model: PreTrainedModel) -> None:
    batch = batch_of(model)
    with torch.no_grad():
        expected, ours = model(**batch).logits, open_model(folder).outputs("mlm", batch)["logits"]
    real = batch["attention_mask"].bool()
    assert expected[real].std() > 0.05
    torch.testing.assert_close(ours[real], expected[real], rtol=1e-5, atol=1e-5)


def pickle(folder: Path, weights: dict[str, Tensor], **options: Any) -> None:
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.save(weights, folder / "pytorch_model.bin", **options)


def shard(folder: Path, name: str, weights: dict[str, Tensor]) -> None:
    """Two files with an index, as transformers writes them; `name` is that of the whole file."""
    stem, suffix = name.split(".")
    names = sorted(weights)
    places = {key: f"{stem}-0000{1 + (number % 2)}-of-00002.{suffix}" for number, key in enumerate(names)}
    for place in set(places.values()):
        part = {key: weights[key] for key in names if places[key] == place}
        if suffix == "bin":
            torch.save(part, folder / place)
        else:
            save_file(part, folder / place, {"format": "pt"})
    (folder / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_safetensors(model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    check_logits(tmp_path, model)


def test_shards_of_transformers(model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    check_logits(tmp_path, model)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_of_either_format(model: PreTrainedModel, tmp_path: Path, zipped: bool) -> None:
    """The published XLM-R is of the older one."""
    model.save_pretrained(tmp_path)
    pickle(tmp_path, model.state_dict(), _use_new_zipfile_serialization=zipped)
    check_logits(tmp_path, model)


def test_sharded_pickles(model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    shard(tmp_path, "pytorch_model.bin", {name: values.clone() for name, values in model.state_dict().items()})
    check_logits(tmp_path, model)


def test_names_of_old_bert_checkpoints(tmp_path: Path) -> None:
    model = make_model("bert")
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for name, values in load_file(path).items():
        for new, old in names.items():
            name = name.replace(new, old)
        renamed[name] = values
    assert any(name.startswith("cls") and name.endswith("gamma") for name in renamed)
    save_file(renamed, path, {"format": "pt"})
    check_logits(tmp_path, model)


def test_half_precision_weights_become_fp32(tmp_path: Path) -> None:
    make_model("xlmr").half().save_pretrained(tmp_path)
    model = open_model(tmp_path)
    assert {values.dtype for values in model.parameters()} == {torch.float32}


def test_the_fetched_copy_has_the_head(tmp_path: Path) -> None:
    tokenizer = make_character_tokenizer(["ein Haus"])
    model = make_model("xlmr", vocab_size=VOCABULARY)
    model.save_pretrained(tmp_path / "hub", max_shard_size="4KB")
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(tmp_path / "hub")
    config = {"kind": "model", "model": str(tmp_path / "hub"), "revision": "main"}
    facts = fetch_model(config, tmp_path / "model", tmp_path / "commits")
    assert facts["parameters"] == sum(values.numel() for values in model.parameters())
    check_logits(tmp_path / "model", model)


def test_a_sequence_takes_the_head_of_the_phase_before(tmp_path: Path) -> None:
    """Of an intermediate training with mlm, or of an encoder from scratch (whose task is called text)."""
    write_encoder(tmp_path / "base")
    for task, others in (("mlm", {"pair": HeadSpec("pair", 3), "span": HeadSpec("span", 0)}), ("text", {})):
        specs = {task: HeadSpec("mlm", 0), **others}
        before = Multitask(load_encoder(tmp_path / "base", "sdpa", None, torch.float32), specs)
        before.initialise_heads(seed=5)
        with torch.no_grad():
            for values in before.head(task).parameters():
                values.add_(torch.randn(values.shape, generator=torch.Generator().manual_seed(3)))
        save_model(before.state_dict(), specs, tmp_path / "base", "XLMRobertaModel", tmp_path / task)
        after = open_model(tmp_path / task)
        for name, values in before.head(task).state_dict().items():
            torch.testing.assert_close(after.head("mlm").state_dict()[name], values, rtol=0, atol=0)


def test_a_phase_without_text_has_no_head(tmp_path: Path) -> None:
    write_encoder(tmp_path / "base")
    specs = {"pair": HeadSpec("pair", 3)}
    before = Multitask(load_encoder(tmp_path / "base", "sdpa", None, torch.float32), specs)
    save_model(before.state_dict(), specs, tmp_path / "base", "XLMRobertaModel", tmp_path / "out")
    for folder in ("base", "out"):
        with pytest.raises(UserError, match=rf"/{folder}: no masked-token head in it.*ForMaskedLM"):
            open_model(tmp_path / folder)


def refuse(folder: Path, message: str) -> None:
    head = MaskedTokenHead(XLMRobertaConfig(vocab_size=VOCABULARY, **SIZE))
    before = {name: values.clone() for name, values in head.state_dict().items()}
    with pytest.raises(UserError, match=message):
        load_lm_head(folder, head)
    assert all(torch.equal(values, before[name]) for name, values in head.state_dict().items())


def test_what_lacks_is_named(tmp_path: Path) -> None:
    refuse(tmp_path, r"no weights in it \(model.safetensors or pytorch_model.bin")
    BertModel(BertConfig(vocab_size=VOCABULARY, **SIZE)).save_pretrained(tmp_path / "bare")
    refuse(tmp_path / "bare", r"bare: no masked-token head in it: neither lm_head.* nor cls.predictions")
    make_model("xlmr").save_pretrained(tmp_path / "part")
    weights = load_file(tmp_path / "part/model.safetensors")
    for name in ("lm_head.bias", "lm_head.layer_norm.weight"):
        del weights[name]
    save_file(weights, tmp_path / "part/model.safetensors")
    refuse(tmp_path / "part", r"part: of its .* there is no lm_head.layer_norm.weight, lm_head.bias; fetch")


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    make_model("xlmr", vocab_size=VOCABULARY + 1).save_pretrained(tmp_path / "wide")
    refuse(tmp_path / "wide", r"wide: bias of its masked-token head has the shape \[41\], \[40\] is needed")
    make_model("bert", hidden_size=32).save_pretrained(tmp_path / "deep")
    with pytest.raises(UserError) as caught:
        load_lm_head(tmp_path / "deep", MaskedTokenHead(XLMRobertaConfig(vocab_size=VOCABULARY, **SIZE)))
    assert len(caught.value.problems) == 4


def test_a_decoder_of_its_own_is_refused(tmp_path: Path) -> None:
    make_model("xlmr", tie_word_embeddings=False).save_pretrained(tmp_path)
    refuse(tmp_path, r"has a decoder of its own \(tie_word_embeddings is false\)")


def test_damage_is_refused(tmp_path: Path) -> None:
    model = make_model("xlmr")
    model.save_pretrained(tmp_path / "cut")
    with open(tmp_path / "cut/model.safetensors", "r+b") as file:
        file.truncate(500)
    refuse(tmp_path / "cut", r"model.safetensors: damaged")
    model.save_pretrained(tmp_path / "lost", max_shard_size="4KB")
    for path in (tmp_path / "lost").glob("model-*.safetensors"):
        path.unlink()
    refuse(tmp_path / "lost", r"lost: model-0000\d-of-.* is missing, which its index names")
    shutil.copytree(tmp_path / "cut", tmp_path / "pickle")
    pickle(tmp_path / "pickle", model.state_dict())
    with open(tmp_path / "pickle/pytorch_model.bin", "r+b") as file:
        file.truncate(500)
    refuse(tmp_path / "pickle", r"pytorch_model.bin: cannot be read as tensors alone")


def test_a_pickle_that_would_run_code_does_not(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    torch.save({"lm_head.bias": Bomb()}, tmp_path / "pytorch_model.bin")
    refuse(tmp_path, r"cannot be read as tensors alone")
    assert not (tmp_path / "exploded").exists()


def test_no_masked_position_gives_no_loss_and_gradient_zero(model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    ours = open_model(tmp_path)
    batch = batch_of(model)
    batch["labels"] = torch.full_like(batch["input_ids"], -100)
    loss, terms = ours("mlm", batch)
    loss.backward()
    assert (loss.item(), int(terms)) == (0.0, 0)
    for name, values in ours.named_parameters():
        assert values.grad is not None and not values.grad.any(), name


def test_the_loss_is_that_of_transformers_and_pads_add_nothing(model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    ours = open_model(tmp_path)
    batch = batch_of(model)
    labels = torch.full_like(batch["input_ids"], -100)
    labels[0, 3], labels[1, 2], labels[1, 5] = 7, 8, 9
    loss, terms = ours("mlm", batch | {"labels": labels})
    expected = model(**batch, labels=labels).loss
    torch.testing.assert_close(loss / terms, expected, rtol=1e-5, atol=1e-5)
    short = {name: values[1:, :6] for name, values in (batch | {"labels": labels}).items()}
    first = {name: values[:1] for name, values in (batch | {"labels": labels}).items()}
    parts = [ours("mlm", part) for part in (short, first)]
    torch.testing.assert_close(sum(part[0] for part in parts), loss, rtol=1e-5, atol=1e-5)


def test_the_decoders_gradient_reaches_the_embeddings(model: PreTrainedModel, tmp_path: Path) -> None:
    """Tied: the gradient of the embeddings is that of transformers' model, also for words that no input has."""
    model.save_pretrained(tmp_path)
    ours = open_model(tmp_path)
    batch = batch_of(model)
    batch["labels"] = torch.full_like(batch["input_ids"], -100)
    batch["labels"][0, :4] = torch.tensor([30, 31, 32, 33])
    loss, terms = ours("mlm", batch)
    (loss / terms).backward()
    model.zero_grad()
    model(**batch).loss.backward()
    grad, expected = (one.get_input_embeddings().weight.grad for one in (ours.encoder, model))
    assert grad is not None
    unseen = sorted(set(range(VOCABULARY)) - set(batch["input_ids"].flatten().tolist()))
    assert {30, 39} <= set(unseen) and grad[unseen].abs().amax(1).min() > 0
    torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-6)
    assert len([name for name, _ in ours.named_parameters() if "embeddings" in name and "word" in name]) == 1


def test_masked_words_are_learned_from_the_loaded_head(tmp_path: Path) -> None:
    """Head and embeddings train together: a few steps on one batch lower its loss."""
    make_model("xlmr").save_pretrained(tmp_path)
    ours = open_model(tmp_path).train()
    ids = torch.arange(5, 5 + 24).reshape(3, 8)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.full_like(ids, -100)}
    batch["labels"][:, 2] = ids[:, 2]
    optimizer = torch.optim.AdamW(ours.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss, terms = ours("mlm", batch)
        (loss / terms).backward()
        optimizer.step()
        losses.append(loss.item() / int(terms))
    assert losses[-1] < losses[0] / 4
