"""Translation models small enough for a test: an M2M100 and an NLLB-200 with random weights and real tokenizers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stilts.translation.codes import FLORES

TEXT = (
    "The tower in Paris was built in 1889 by the engineer Gustave Eiffel.",
    "It is 330 metres high, and seven million people visit it each year!",
    "Who built it? A river runs through the town, and many bridges cross it.",
    "She walks to the old house; the dog, which is hungry, follows her slowly.",
)
SIZE = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
WIDTH = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def build_m2m100(path: Path, texts: Iterable[str] = TEXT) -> Path:
    """With `vocab.json` and `sentencepiece.bpe.model`, as Meta's M2M100 comes; returns `path`. Needs sentencepiece."""
    import sentencepiece
    from transformers import M2M100Tokenizer

    path.mkdir(parents=True)
    model = path / "sentencepiece.bpe.model"
    with open(model, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=file,
            model_type="bpe",
            vocab_size=400,
            hard_vocab_limit=False,
            character_coverage=1.0,
            minloglevel=2,
        )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    pieces = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    vocabulary = [*SPECIAL, *(piece for piece in pieces if piece not in SPECIAL)]
    (path / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(vocabulary)}))
    tokenizer = M2M100Tokenizer(str(path / "vocab.json"), str(model))
    tokenizer.save_pretrained(path)
    _save_model(path, len(vocabulary) + len(tokenizer.lang_code_to_id) + tokenizer.num_madeup_words)
    return path


def build_nllb(path: Path, texts: Iterable[str] = TEXT) -> Path:
    """With `tokenizer.json`, as Meta's NLLB-200 comes; returns `path`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import NllbTokenizer

    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=400, special_tokens=list(SPECIAL), show_progress=False)
    )
    parts = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in parts["merges"]]
    tokenizer: Any = NllbTokenizer(vocab=parts["vocab"], merges=merges, extra_special_tokens=list(FLORES.values()))
    tokenizer.save_pretrained(path)
    _save_model(path, len(tokenizer))
    return path


def _save_model(path: Path, vocabulary: int) -> None:
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    torch.manual_seed(0)
    # With the usual 0.02 the logits of so small a model are all alike.
    config = M2M100Config(vocab_size=vocabulary, max_position_embeddings=128, init_std=0.5, **SIZE, **WIDTH)
    M2M100ForConditionalGeneration(config).save_pretrained(path)
