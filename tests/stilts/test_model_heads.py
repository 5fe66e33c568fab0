"""The heads' losses and outputs, in both kinds of encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from stilts.data.prepared import Prepared
from stilts.model.encoder import load_encoder
from stilts.model.multitask import HeadSpec, Multitask
from stilts.training.batches import Batch, Limits, assemble
from stilts.training.examples import TrainingSet
from stilts.training.masking import build_masking
from tests.stilts.prepared_folders import ENCODERS, LABELS, draw_examples, write_encoder, write_prepared

FAMILIES = ("pair", "choice", "span", "tagging", "mlm")


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp(request.param), request.param)


def build(encoder: Path, *families: str, dropout: float = 0.0) -> Multitask:
    specs = {family: HeadSpec(family, len(LABELS.get(family, ()))) for family in families}
    model = Multitask(load_encoder(encoder, "sdpa", dropout, torch.float32), specs)
    model.initialise_heads(seed=1)
    return model.eval()


def batches(encoder: Path, family: str, folder: Path, micro_tokens: int) -> list[Batch]:
    prepared = Prepared.load(write_prepared(folder, family, encoder, {"train.en": draw_examples(family, 7)}))
    masking = build_masking(encoder, 0.3)
    rng = np.random.Generator(np.random.PCG64(1))
    training_set = TrainingSet.of(prepared.open("train.en"))
    pad_id = load_encoder(encoder, "sdpa", None, torch.float32).config.pad_token_id
    update = assemble(family, training_set, np.arange(7), pad_id, masking, rng)
    return [update.cut(piece).to(torch.device("cpu")) for piece in update.divide(Limits(micro_tokens), 1)[0]]


def test_losses_are_sums_of_torchs_own(encoder: Path, tmp_path: Path) -> None:
    for family in FAMILIES:
        model = build(encoder, family)
        (batch,) = batches(encoder, family, tmp_path / family, 10_000)
        loss, terms = model(family, batch)
        outputs = model.outputs(family, batch)
        if family == "span":
            real = batch["attention_mask"].bool()
            expected = torch.zeros(())
            for row in range(len(real)):
                for name, gold in (("start", "starts"), ("end", "ends")):
                    expected += functional.cross_entropy(outputs[name][row][real[row]], batch[gold][row]) / 2
            count = len(real)
        elif family in ("pair", "choice"):
            logits = outputs["logits"] if family == "pair" else outputs["scores"].view(7, 3)
            expected, count = functional.cross_entropy(logits, batch["labels"]) * 7, 7
        else:
            hidden = model.encode(batch)
            embeddings = model.encoder.get_input_embeddings().weight
            logits = model.head(family)(hidden, {"embeddings": embeddings})
            count = int((batch["labels"] != -100).sum())
            expected = functional.cross_entropy(logits.transpose(1, 2), batch["labels"]) * count
        assert count > 0
        assert int(terms) == count
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


def test_micro_batches_add_up_to_the_whole(encoder: Path, tmp_path: Path) -> None:
    """Losses and their gradients do not depend on how an update is cut, pads included."""
    for family in FAMILIES:
        model = build(encoder, family)
        grads = []
        for micro_tokens in (10_000, 60):
            model.zero_grad()
            for batch in batches(encoder, family, tmp_path / f"{family}{micro_tokens}", micro_tokens):
                model(family, batch)[0].backward()
            grads.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        assert grads[0].keys() == grads[1].keys()
        for name, whole in grads[0].items():
            torch.testing.assert_close(grads[1][name], whole, rtol=1e-4, atol=1e-5, msg=f"{family} {name}")


def test_heads_that_were_not_drawn_get_gradient_zero(encoder: Path, tmp_path: Path) -> None:
    alone, together = build(encoder, "span"), build(encoder, *FAMILIES)
    (batch,) = batches(encoder, "span", tmp_path, 10_000)
    loss, _ = together("span", batch)
    loss.backward()
    torch.testing.assert_close(loss, alone("span", batch)[0])
    for name, parameter in together.named_parameters():
        assert parameter.grad is not None, name
        if name.startswith("heads.") and not name.startswith("heads.span"):
            assert not parameter.grad.any(), name


def test_a_head_does_not_depend_on_the_other_tasks(encoder: Path) -> None:
    alone, together = build(encoder, "pair").head("pair"), build(encoder, "choice", "pair").head("pair")
    for name, value in alone.state_dict().items():
        assert torch.equal(value, together.state_dict()[name])
    other = build(encoder, "pair")
    other.initialise_heads(seed=2)
    weights = alone.state_dict()["classifier.dense.weight"]
    assert not torch.equal(other.head("pair").state_dict()["classifier.dense.weight"], weights)
    assert float(weights.std()) == pytest.approx(0.02, rel=0.1)
    assert not alone.state_dict()["classifier.dense.bias"].any()


def test_attention_backends_agree(encoder: Path, tmp_path: Path) -> None:
    (batch,) = batches(encoder, "span", tmp_path, 10_000)
    real = batch["attention_mask"].bool()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
    hidden = [
        load_encoder(encoder, attention, None, torch.float32)(**inputs).last_hidden_state[real]
        for attention in ("sdpa", "eager")
    ]
    torch.testing.assert_close(hidden[0], hidden[1], rtol=1e-4, atol=1e-5)


def test_dropout_replaces_the_models_own(encoder: Path) -> None:
    own = load_encoder(encoder, "sdpa", None, torch.float32).config.hidden_dropout_prob
    changed = load_encoder(encoder, "sdpa", 0.4, torch.float32)
    rates = {module.p for module in changed.modules() if isinstance(module, torch.nn.Dropout)}
    assert own != 0.4
    assert rates == {0.4}
    assert changed.config.attention_probs_dropout_prob == 0.4
    assert getattr(changed, "pooler", None) is None
