"""A BERT small enough for a test: token types, WordPiece, positions from 0, `[CLS]` and `[SEP]`."""

from __future__ import annotations

from pathlib import Path

from tests.stilts.slices import train_unigram


def build_bert(data_root: Path, path: Path) -> None:
    """A random BERT of two layers, its words those of the slices."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    pieces = {piece.lstrip("▁").lower() for piece in train_unigram(data_root).get_vocab()}
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({char for piece in pieces for char in piece})
    words = sorted(piece for piece in pieces if len(piece) > 1 and not piece.startswith("<"))
    vocabulary = [*specials, *letters, *(f"##{char}" for char in letters), *words]
    path.mkdir()
    (path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab_file=str(path / "vocab.txt")).save_pretrained(path)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=128, **size)).save_pretrained(path)
