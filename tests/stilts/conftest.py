"""Tokenizers trained on the real slices, and slices prepared with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stilts.slices import train_unigram


@pytest.fixture(scope="session")
def unigram(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the tokenizer.json of a small Unigram that has XLM-R's template."""
    folder = tmp_path_factory.mktemp("unigram")
    train_unigram(data_root).save(str(folder / "tokenizer.json"))
    return folder
