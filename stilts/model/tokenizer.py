"""Tokenizers of encoders from scratch, in the layout of XLM-R: <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> last."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import Unigram

from stilts.errors import UserError
from stilts.runs import write_json, write_text

KINDS = ("words", "unigram")
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"
UNKNOWN_ID = SPECIAL.index("<unk>")
WORD_START = "▁"

# Log-probabilities of the "words" vocabulary: one piece for the word beats any two pieces, and characters
# are there for words that were never seen.
WORD_SCORE, CHARACTER_SCORE = -10.0, -20.0

SCORE_DIGITS = 9


def build_tokenizer(texts: Iterable[str], kind: str, vocabulary: int, out: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json to the folder `out`.

    `kind` "unigram" is trained to about `vocabulary` pieces; "words" has each distinct white-space separated form of
    the texts as exactly one piece, and single characters. (A trained Unigram cuts the words of a small language into
    2.6 to 2.9 pieces each, which triples the sequences and hides the vocabulary from a small model.) Text is
    normalised with NFKC; a pair is `<s> A </s></s> B </s>`.
    """
    if kind not in KINDS:
        raise UserError(f"tokenizer: {kind!r} is unknown; known: {', '.join(KINDS)}")
    # Sorted, because the trainer's ties fall by the order in which it meets words.
    lines = sorted(set(texts))
    pieces = _train_pieces(lines, vocabulary) if kind == "unigram" else _list_words(lines, vocabulary)
    tokenizer = _assemble(pieces)
    write_text(out / "tokenizer.json", tokenizer.to_str(pretty=True))
    write_json(out / "tokenizer_config.json", _describe())


def _train_pieces(lines: list[str], vocabulary: int) -> list[tuple[str, float]]:
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer, tokenizer.pre_tokenizer = _normalizer(), _pre_tokenizer()
    trainer = trainers.UnigramTrainer(
        # The mask is added afterwards, so that it comes last.
        vocab_size=vocabulary - 1,
        special_tokens=list(SPECIAL),
        unk_token="<unk>",  # noqa: S106 - a token, no password
        show_progress=False,
    )
    characters = len({char for line in lines for char in line})
    if vocabulary <= characters + len(SPECIAL):
        raise UserError(
            f"pretrain.vocabulary: {vocabulary} pieces cannot hold the {characters} characters of the text; give at "
            f"least {2 * characters}"
        )
    tokenizer.train_from_iterator(lines, trainer)
    trained = json.loads(tokenizer.to_str())["model"]["vocab"][len(SPECIAL) :]
    return [*((token, 0.0) for token in SPECIAL), *_settle([(piece, score) for piece, score in trained])]


def _settle(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The trained pieces without what differs from process to process.

    The trainer works in the order of hash tables: its sums differ by 1e-14, and characters that it did not keep as
    pieces come back with the lowest score of all plus 0.0001, 0.0002, ... in an order of chance.
    """
    lowest = min(score for _, score in pieces)
    returned = lowest + 1e-4 * sum(len(piece) == 1 for piece, _ in pieces)
    settled = [
        (piece, round(lowest if len(piece) == 1 and score <= returned else score, SCORE_DIGITS))
        for piece, score in pieces
    ]
    return sorted(settled, key=lambda item: (-item[1], item[0]))


def _list_words(lines: list[str], vocabulary: int) -> list[tuple[str, float]]:
    normalise = _normalizer().normalize_str
    words = sorted({word for line in lines for word in normalise(line).split()})
    characters = sorted({WORD_START, *(character for word in words for character in word)})
    needed = len(SPECIAL) + len(words) + len(characters) + 1
    if needed > vocabulary:
        raise UserError(
            f"vocabulary: {vocabulary} is too small for tokenizer: words, which needs {needed} pieces here "
            f"({len(words)} words, {len(characters)} characters, {len(SPECIAL) + 1} special); raise it or use unigram"
        )
    return [
        *((token, 0.0) for token in SPECIAL),
        *((WORD_START + word, WORD_SCORE) for word in words),
        *((character, CHARACTER_SCORE) for character in characters),
    ]


def _assemble(pieces: list[tuple[str, float]]) -> Tokenizer:
    # The mask stands in the vocabulary, at its end: an added token alone would get its number from its order.
    tokenizer = Tokenizer(Unigram([*pieces, (MASK, 0.0)], unk_id=UNKNOWN_ID, byte_fallback=False))
    tokenizer.normalizer, tokenizer.pre_tokenizer = _normalizer(), _pre_tokenizer()
    tokenizer.decoder = decoders.Metaspace(replacement=WORD_START, prepend_scheme="always")
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_special_tokens([AddedToken(MASK, special=True, normalized=False, lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", SPECIAL.index("<s>")), ("</s>", SPECIAL.index("</s>"))],
    )
    return tokenizer


def _normalizer() -> normalizers.Normalizer:
    return normalizers.NFKC()


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    # White space first, as XLM-R's: a run of blanks would otherwise become pieces of its own.
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement=WORD_START, prepend_scheme="always"),
        ]
    )


def _describe() -> dict[str, object]:
    """tokenizer_config.json. The general class loads tokenizer.json as it is; XLM-R's own would build its pipeline
    anew, with another normaliser."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": MASK,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
