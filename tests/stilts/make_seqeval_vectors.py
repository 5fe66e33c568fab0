"""Writes seqeval_vectors.json: what seqeval 0.0.12 itself says of random and of awkward tags.

pip install --no-deps --target FOLDER seqeval==0.0.12
PYTHONPATH=FOLDER python tests/stilts/make_seqeval_vectors.py
"""

from __future__ import annotations

import json
import random
from importlib.metadata import version
from pathlib import Path

VERSION = "0.0.12"
PATH = Path(__file__).with_name("seqeval_vectors.json")

UPOS = "ADJ ADP CCONJ INTJ NOUN PROPN PUNCT SCONJ SYM VERB X".split()
IOB2 = "O B-LOC I-LOC B-PER I-PER".split()
IOBES = "O B-LOC I-LOC E-LOC S-LOC B-PER E-PER S-PER".split()
# Bare prefixes, several hyphens, tags that are a full stop, a kind that is called O, small letters.
AWKWARD = "O B I E S . - B- I-A-B B-O I-O X-O .-PER b-PER I-PER I-per SYM E-PER U-PER".split()


def draw(rng: random.Random, tags: list[str]) -> tuple[list[list[str]], list[list[str]]]:
    """A few sentences, some of them empty, and predictions of which about half are right."""
    few = rng.sample(tags, rng.randint(1, min(6, len(tags))))
    gold = [[rng.choice(few) for _ in range(rng.choice([0, 1, 2, 4, 7]))] for _ in range(rng.randint(1, 4))]
    predicted = [[tag if rng.random() < 0.5 else rng.choice(few) for tag in sentence] for sentence in gold]
    return gold, predicted


def join(sentences: list[list[str]]) -> str:
    return " | ".join(" ".join(sentence) for sentence in sentences)


def main() -> None:
    from seqeval.metrics.sequence_labeling import f1_score, get_entities  # type: ignore[import-not-found]

    assert version("seqeval") == VERSION, f"seqeval {version('seqeval')} is another one; {VERSION} is needed"
    rng = random.Random(0)
    records = []
    for tags in (UPOS, IOB2, IOBES, AWKWARD):
        for _ in range(100):
            gold, predicted = draw(rng, tags)
            chunks = [set(get_entities(sentences)) for sentences in (gold, predicted)]
            counts = [len(chunks[0] & chunks[1]), len(chunks[0]), len(chunks[1])]
            records.append([join(gold), join(predicted), counts, f1_score(gold, predicted)])
    lines = ",\n".join(json.dumps(record) for record in records)
    PATH.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
