"""Every task of the study as light data: languages, metrics, published hyper-parameters.

Sources: the study's protocol is Phang et al. 2020 (arXiv 2005.13013, version 1: tables 1 to 4), the target
tasks are those of XTREME (arXiv 2003.11080).
"""

from __future__ import annotations

from dataclasses import dataclass

from stilts.errors import UserError

SUITES = ("xtreme", "toy")
FAMILIES = ("pair", "choice", "span", "tagging", "retrieval", "mining", "mlm")


@dataclass(frozen=True)
class Recipe:
    """Published hyper-parameters of one training set (Phang et al. 2020 v1, appendix A, tables 3 and 4).

    The paper does not state `max_length` (sub-words): 256 for classification and tagging, 384 for QA and 512
    for retrieval are the values of jiant's XTREME guide, the paper's own software line.
    """

    learning_rate: float
    batch_size: int
    epochs: int
    max_length: int


@dataclass(frozen=True)
class Intermediate:
    """An English intermediate task. `examples` counts its training set (v1, table 1, or the official release)."""

    name: str
    family: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    recipe: Recipe
    examples: int


@dataclass(frozen=True)
class Training:
    """An English training set of one or more targets: hyper-parameters belong to it, not to the target."""

    name: str
    family: str
    serves: tuple[str, ...]
    labels: tuple[str, ...]
    recipe: Recipe
    examples: int


@dataclass(frozen=True)
class Target:
    """An XTREME target. `training` is None where an encoder is scored without training (retrieval)."""

    name: str
    family: str
    training: str | None
    metrics: tuple[str, ...]
    languages: tuple[str, ...]


NLI = ("contradiction", "entailment", "neutral")
UPOS = tuple("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split())
IOB2 = ("O", "B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER")

# The official script's names, but f1 and exact_match for its best_f1 and best_exact (jiant's choice).
_SQUAD2_METRICS = tuple(
    "f1 exact_match HasAns_f1 HasAns_exact NoAns_f1 NoAns_exact best_f1_thresh best_exact_thresh".split()
)

# Batch and epochs as published; MNLI alone and SQuAD 2.0 are tasks of the paper's second version, whose
# hyper-parameters are not public: they take those of ANLI+ and SQuAD 1.1.
INTERMEDIATES: dict[str, Intermediate] = {
    task.name: task
    for task in (
        Intermediate("anli", "pair", NLI, ("accuracy",), Recipe(1e-5, 24, 2, 256), 1_104_934),
        Intermediate("mnli", "pair", NLI, ("accuracy",), Recipe(1e-5, 24, 2, 256), 392_702),
        Intermediate("qqp", "pair", ("0", "1"), ("accuracy", "f1"), Recipe(1e-5, 24, 3, 256), 363_846),
        Intermediate("squad1", "span", (), ("f1", "exact_match"), Recipe(1e-5, 8, 3, 384), 87_599),
        Intermediate("squad2", "span", (), _SQUAD2_METRICS, Recipe(1e-5, 8, 3, 384), 130_319),
        Intermediate("hellaswag", "choice", (), ("accuracy",), Recipe(1e-5, 24, 7, 256), 39_905),
        Intermediate("ccg", "tagging", (), ("accuracy",), Recipe(1e-5, 24, 15, 256), 38_015),
        Intermediate("cosmosqa", "choice", (), ("accuracy",), Recipe(1e-5, 4, 15, 256), 25_588),
        Intermediate("csqa", "choice", (), ("accuracy",), Recipe(1e-5, 4, 10, 256), 9_741),
    )
}

TRAININGS: dict[str, Training] = {
    training.name: training
    for training in (
        Training("xnli", "pair", ("xnli",), NLI, Recipe(3e-6, 4, 2, 256), 392_702),
        Training("pawsx", "pair", ("pawsx",), ("0", "1"), Recipe(3e-6, 32, 5, 256), 49_401),
        Training("udpos", "tagging", ("udpos",), UPOS, Recipe(3e-6, 32, 10, 256), 21_253),
        Training("panx", "tagging", ("panx",), IOB2, Recipe(3e-6, 32, 10, 256), 20_000),
        Training("squad", "span", ("xquad", "mlqa"), (), Recipe(3e-6, 16, 2, 384), 87_599),
        Training("tydiqa", "span", ("tydiqa",), (), Recipe(3e-6, 16, 2, 384), 3_696),
    )
}

# Language lists of XTREME in ISO 639-1 codes. The paper's table prints 5 and 37 for BUCC and Tatoeba because
# it counts English; 4 and 36 language pairs are scored.
_UDPOS = tuple(
    "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh".split()
)
_PANX = tuple(sorted((*_UDPOS, "bn", "jv", "ka", "ml", "ms", "my", "sw")))
_TATOEBA = tuple(language for language in _PANX if language not in ("en", "ms", "my", "yo"))
_XNLI = tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split())

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("xnli", "pair", "xnli", ("accuracy",), _XNLI),
        Target("pawsx", "pair", "pawsx", ("accuracy",), tuple("de en es fr ja ko zh".split())),
        Target("udpos", "tagging", "udpos", ("f1", "accuracy"), _UDPOS),
        Target("panx", "tagging", "panx", ("f1",), _PANX),
        Target(
            "xquad",
            "span",
            "squad",
            ("f1", "exact_match"),
            tuple("ar de el en es hi ru th tr vi zh".split()),
        ),
        Target("mlqa", "span", "squad", ("f1", "exact_match"), tuple("ar de en es hi vi zh".split())),
        Target(
            "tydiqa",
            "span",
            "tydiqa",
            ("f1", "exact_match"),
            tuple("ar bn en fi id ko ru sw te".split()),
        ),
        Target("bucc2018", "mining", None, ("f1",), tuple("de fr ru zh".split())),
        Target("tatoeba", "retrieval", None, ("accuracy",), _TATOEBA),
    )
}

TARGET_ORDER = tuple(TARGETS)
TARGET_METRICS: dict[str, tuple[str, ...]] = {name: target.metrics for name, target in TARGETS.items()}

# One released set, used for dev and test tables alike; metric files call it "test".
ONE_SET_TARGETS = ("xquad", "tydiqa", "tatoeba")

# No UD 2.5 development data in these languages (jiant drops the same four).
_NO_UDPOS_DEV = ("kk", "th", "tl", "yo")

TOY_LANGUAGES = ("en", "qaa", "qab", "qac")
TOY_TARGETS = ("xnli", "udpos", "xquad", "tatoeba")
TOY_INTERMEDIATES = ("mnli", "squad1", "hellaswag")

# Pre-training text: the made-up languages' own corpus (suite toy), read by `model: scratch` alone.
TEXT = "text"

# Multilingual text that is mixed into intermediate training as one more task (masked language modelling).
MLM = "mlm"


def task_family(task: str) -> str:
    """Family of an intermediate task, a training, a target or a text; UserError for another name."""
    if task in (TEXT, MLM):
        return "mlm"
    for table in (INTERMEDIATES, TRAININGS, TARGETS):
        if task in table:
            return table[task].family
    known = sorted({*INTERMEDIATES, *TRAININGS, *TARGETS, TEXT, MLM})
    raise UserError(f"no task {task!r}: use one of {', '.join(known)}")


def splits(target: str) -> tuple[str, ...]:
    """Labelled splits of a target that are scored, in the wording of metric files."""
    return ("test",) if target in ONE_SET_TARGETS else ("dev", "test")


def target_languages(target: str, split: str, suite: str = "xtreme") -> tuple[str, ...]:
    """Languages expected for (target, split), English included where it is scored, sorted by code."""
    if suite == "toy":
        return TOY_LANGUAGES[1:] if target == "tatoeba" else TOY_LANGUAGES
    languages = TARGETS[target].languages
    if target == "udpos" and split == "dev":
        return tuple(language for language in languages if language not in _NO_UDPOS_DEV)
    return languages


def training_of(target: str) -> Training | None:
    """The English training set that serves `target`; None for the retrieval targets."""
    name = TARGETS[target].training
    return TRAININGS[name] if name else None


def served_targets(training: str, suite: str = "xtreme") -> tuple[str, ...]:
    """Targets that one training is scored on, whether or not a grid asks for them."""
    return tuple(name for name in TRAININGS[training].serves if suite != "toy" or name in TOY_TARGETS)


def task_labels(task: str) -> tuple[str, ...]:
    """Labels in the order of the classifier's outputs; empty for families without a fixed set."""
    if task in INTERMEDIATES:
        return INTERMEDIATES[task].labels
    training = TRAININGS.get(task) or (training_of(task) if task in TARGETS else None)
    return training.labels if training else ()
