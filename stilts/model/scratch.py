"""Encoders from scratch: a small XLM-R with its tokenizer, random or after masked language modelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

from stilts.data.examples import Text
from stilts.data.folders import new_folder
from stilts.data.prepare import load_tokenizer
from stilts.data.prepared import PreparedSet
from stilts.errors import UserError
from stilts.model.encoder import load_encoder
from stilts.model.multitask import HeadSpec, Multitask
from stilts.model.tokenizer import build_tokenizer
from stilts.tasks import mlm
from stilts.tasks.encoding import EncodeSettings
from stilts.training.checkpoints import CheckpointStore
from stilts.training.examples import TrainingSet
from stilts.training.heartbeat import Heartbeat
from stilts.training.loop import Training, optimise
from stilts.training.masking import build_masking
from stilts.training.mixing import Pools
from stilts.training.randomness import seed_torch
from stilts.training.save import WEIGHTS_FILE, save_model, write_tensors
from stilts.training.settings import LAYOUT, Layout, Settings
from stilts.training.stopping import Stop
from stilts.training.world import World, init_distributed

__all__ = ["build_tokenizer", "init_encoder", "pretrain"]

# XLM-R counts positions from 2, the padding id + 1, so its table is two longer than its longest sequence.
POSITION_OFFSET = 2
TASK = "text"


def pretrain(
    config: Mapping[str, Any],
    texts: Sequence[tuple[str, str]],
    out: Path,
    world: World,
    heartbeat: Heartbeat,
    layout: Layout = LAYOUT,
    store: CheckpointStore | None = None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Build tokenizer and encoder in the folder `out` and train them for `config["steps"]` updates (0: random weights).

    `texts` are (text, second text or ""), the same on every rank; both become one sequence, cut at `positions`.
    Recipe of the toy languages: 25% of the tokens masked, AdamW, warm-up and linear decay, batches of like length.
    """
    if config["steps"] and len(texts) < config["batch_size"]:
        raise UserError(f"pre-training text has {len(texts)} sequences, fewer than one batch of {config['batch_size']}")
    init_distributed(world)
    heartbeat.beat("tokenizer", 0, 1)
    if world.first:
        with new_folder(out) as folder:
            build_tokenizer(_plain(texts), config["tokenizer"], config["vocabulary"], folder)
            init_encoder(config, folder)
    world.wait()
    if not config["steps"]:
        return {"updates": 0}
    training = _set_up(config, texts, out, layout)
    weights, facts = optimise(training, world, heartbeat, store, stop)
    if world.first:
        save_model(weights, training.model.specs, out, type(training.model.encoder).__name__, out)
    world.wait()
    return facts | {"sequences": len(texts)}


def _set_up(config: Mapping[str, Any], texts: Sequence[tuple[str, str]], folder: Path, layout: Layout) -> Training:
    """Masked language modelling of the encoder in `folder` on the texts."""
    settings = Settings.of(config)
    training_set = TrainingSet.of(encode_texts(texts, folder, config["positions"] - POSITION_OFFSET))
    backbone = load_encoder(folder, "sdpa", None, torch.float32)
    model = Multitask(backbone, {TASK: HeadSpec("mlm", 0)})
    model.initialise_heads(settings.seed)
    return Training(
        model=model,
        plan=Pools(TASK, training_set.lengths, config["batch_size"], config["steps"], settings.seed),
        sets={TASK: training_set},
        settings=settings,
        layout=layout,
        pad_id=backbone.config.pad_token_id,
        masking=build_masking(folder, settings.mask_probability),
    )


def init_encoder(config: Mapping[str, Any], out: Path) -> None:
    """Write a small XLM-R with seeded random weights to `out`, beside its tokenizer.

    `positions` counts XLM-R's table, two more than the longest sequence. Weights are normal(0, 0.02) as in XLM-R.
    """
    tokenizer = load_tokenizer(out)
    model_config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=config["hidden"],
        num_hidden_layers=config["layers"],
        num_attention_heads=config["heads"],
        intermediate_size=config["feed_forward"],
        max_position_embeddings=config["positions"],
        hidden_dropout_prob=config["dropout"],
        attention_probs_dropout_prob=config["dropout"],
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        architectures=[XLMRobertaModel.__name__],
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        seed_torch(config["seed"], "encoder")
        weights = XLMRobertaModel(model_config, add_pooling_layer=False).state_dict()
    write_tensors(out / WEIGHTS_FILE, weights, {"format": "pt"})
    model_config.save_pretrained(out)


def encode_texts(texts: Sequence[tuple[str, str]], folder: Path, max_length: int) -> PreparedSet:
    """The texts as sequences of at most `max_length` sub-words, with the tokenizer in `folder`."""
    tokenizer = load_tokenizer(folder)
    arrays = mlm.encode([Text(*pair) for pair in texts], tokenizer, EncodeSettings(max_length)).arrays
    types = arrays.get("types")
    return PreparedSet(TASK, "mlm", arrays["tokens"], arrays["offsets"], types, {}, 1, (), len(texts))


def _plain(texts: Sequence[tuple[str, str]]) -> list[str]:
    return [text for pair in texts for text in pair if text]
