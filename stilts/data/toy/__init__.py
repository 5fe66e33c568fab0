"""Invented languages on which a tiny encoder learns and transfers within minutes, in the real sets' file formats."""

from stilts.data.toy.lexicon import TOY_LANGUAGES
from stilts.data.toy.write import TOY_SIZES, write_toy

__all__ = ["TOY_LANGUAGES", "TOY_SIZES", "write_toy"]
