"""Which sets of the Hugging Face hub stand for the original files of each task, and in what they differ from them.

Light data: names alone, no commit. Where one set is made of several (ANLI with MNLI and SNLI), each has a `part`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stilts.data.languages import LANGUAGES
from stilts.errors import UserError
from stilts.tasks.catalogue import INTERMEDIATES, MLM, TARGETS, TRAININGS, splits, target_languages

MAIN = "main"
# The hub's own copy in Parquet of a repository whose main branch has a loading script, which is no longer run.
CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True)
class HubSet:
    """A split of a configuration of a repository, all of it or the rows whose id has `id_prefix`."""

    name: str
    repo: str
    config: str
    split: str
    revision: str = MAIN
    part: str = ""
    id_prefix: str = ""


WITHOUT_HUB: dict[str, str] = {"ccg": "CCGbank is under the licence of the Linguistic Data Consortium, LDC2005T13"}

_XTREME = "google/xtreme"
_GLUE = "nyu-mll/glue"
_WIKIPEDIA = "wikimedia/wikipedia"
_WIKIPEDIA_DUMP = "20231101"
_ANLI_ROUNDS = ("r1", "r2", "r3")

# (repository, configuration, revision) of sets whose splits are called train and validation.
_PLAIN: dict[str, tuple[str, str, str]] = {
    "qqp": (_GLUE, "qqp", MAIN),
    "squad1": ("rajpurkar/squad", "plain_text", MAIN),
    "squad2": ("rajpurkar/squad_v2", "squad_v2", MAIN),
    "hellaswag": ("Rowan/hellaswag", "default", CONVERTED),
    "cosmosqa": ("allenai/cosmos_qa", "default", CONVERTED),
    "csqa": ("tau/commonsense_qa", "default", MAIN),
    "xnli": ("facebook/xnli", "en", MAIN),
    "pawsx": ("google-research-datasets/paws-x", "en", MAIN),
    "udpos": (_XTREME, "udpos.English", MAIN),
    "panx": (_XTREME, "PAN-X.en", MAIN),
    "squad": ("rajpurkar/squad", "plain_text", MAIN),
    "tydiqa": ("google-research-datasets/tydiqa", "secondary_task", MAIN),
}

# (repository, pattern of the configuration's name) of a target. {name} is the language's English name.
_SCORED: dict[str, tuple[str, str]] = {
    "xnli": ("facebook/xnli", "{language}"),
    "pawsx": ("google-research-datasets/paws-x", "{language}"),
    "udpos": (_XTREME, "udpos.{name}"),
    "panx": (_XTREME, "PAN-X.{language}"),
    "xquad": ("google/xquad", "xquad.{language}"),
    "mlqa": (_XTREME, "MLQA.{language}.{language}"),
    "tydiqa": ("google-research-datasets/tydiqa", "secondary_task"),
    "bucc2018": (_XTREME, "bucc18.{language}"),
    "tatoeba": (_XTREME, "tatoeba.{lang3}"),
}


def tydiqa_prefix(language: str) -> str:
    """How the ids of TyDiQA's questions in a language begin: all nine stand in one set."""
    return LANGUAGES[language].name.lower() + "-"


def hub_sets(task: str, part: str, languages: Sequence[str] | None = None) -> tuple[HubSet, ...]:
    """What to bring for a (task, part), set by set; several entries of one name are one set, in that order.

    `languages` count for part `scored`, where None are all of the target, and for the text of `mlm`, where they are
    the parts of its one set.
    Raises UserError for a task that the hub has not, a task without this part, or a language without this task.
    """
    if task in WITHOUT_HUB:
        raise UserError(f"{task}: not on the hub ({WITHOUT_HUB[task]}); give the folder of its files as `data_root`")
    if part == "scored":
        return _list_scored(task, languages)
    if task == MLM:
        return tuple(
            HubSet("train.mul", _WIKIPEDIA, f"{_WIKIPEDIA_DUMP}.{language}", "train", part=language)
            for language in languages or ()
        )
    if task == "anli":
        return tuple(_list_anli())
    if task == "mnli":
        return (HubSet("train.en", _GLUE, "mnli", "train"), HubSet("dev.en", _GLUE, "mnli", "validation_matched"))
    if task not in _PLAIN:
        known = sorted({*INTERMEDIATES, *TRAININGS} - set(WITHOUT_HUB))
        raise UserError(f"{task}: no training set of that name on the hub; there are {', '.join(known)}")
    repo, config, revision = _PLAIN[task]
    prefix = tydiqa_prefix("en") if task == "tydiqa" else ""
    return (
        HubSet("train.en", repo, config, "train", revision, id_prefix=prefix),
        HubSet("dev.en", repo, config, "validation", revision, id_prefix=prefix),
    )


def _list_anli() -> list[HubSet]:
    """ANLI+ of the study: the three rounds of ANLI, then MNLI, then SNLI, for training and for development."""
    sets = []
    for name, split, glue_split in (("train", "train", "train"), ("dev", "validation", "validation_matched")):
        sets += [
            HubSet(f"{name}.en", "facebook/anli", "plain_text", f"{name}_{number}", part=f"anli-{number}")
            for number in _ANLI_ROUNDS
        ]
        sets.append(HubSet(f"{name}.en", _GLUE, "mnli", glue_split, part="mnli"))
        sets.append(HubSet(f"{name}.en", "stanfordnlp/snli", "plain_text", split, part="snli"))
    return sets


def _list_scored(task: str, languages: Sequence[str] | None) -> tuple[HubSet, ...]:
    if task not in TARGETS:
        raise UserError(f"{task}: no target of that name on the hub; there are {', '.join(_SCORED)}")
    legal = target_languages(task, "test")
    if unknown := [language for language in languages or () if language not in legal]:
        raise UserError([f"{task}: not in language {language!r}; it is in {', '.join(legal)}" for language in unknown])
    repo, config = _SCORED[task]
    return tuple(
        HubSet(
            f"{split}.{language}",
            repo,
            config.format(language=language, name=LANGUAGES[language].name, lang3=LANGUAGES[language].tatoeba),
            # XQuAD, TyDiQA and Tatoeba have one released set, which the hub calls validation.
            "test" if split == "test" and len(splits(task)) > 1 else "validation",
            id_prefix=tydiqa_prefix(language) if task == "tydiqa" else "",
        )
        for language in (legal if languages is None else languages)
        for split in splits(task)
        if language in target_languages(task, split)
    )


_CUT_CONTEXTS = (
    "The hub's loader cut white space off the ends of contexts and left the answers' offsets as they were (in slices "
    "of the original: {share}); the reader moves the offsets back, those of one context by the same number where that "
    "fits all of its questions, so the context has no white space at its head."
)

# What is known to differ from the original release (or from XTREME's conversion of it), task by task.
KNOWN_DIFFERENCES: dict[str, tuple[str, ...]] = {
    "anli": (
        "Ids of the MNLI and SNLI pairs are row numbers, not pairIDs.",
        "SNLI pairs without a gold label (785 of 550,152 for training, 158 of 10,000 for development) have label -1; "
        "they are left out, as with the original files.",
    ),
    "mnli": (
        "The rows are GLUE's: ids are row numbers, not pairIDs, and pairs without a gold label are gone already "
        "(development set: 9,815, the matched one).",
        "The test sets have no labels (-1) and are not brought.",
    ),
    "qqp": ("Ids are row numbers, not GLUE's.", "The test set has no labels (-1) and is not brought."),
    "squad2": ("The column is_impossible is gone: a question without an answer is an impossible one.",),
    "hellaswag": ("The test set has no labels and is not brought.",),
    "cosmosqa": ("The test set has no labels (-1) and is not brought.",),
    "csqa": ("The test set has no answers and is not brought.",),
    "xnli": ("Rows have no ids, so they are numbered; training pairs are those of XNLI-MT-1.0 (392,702).",),
    "pawsx": (
        "No missing row is known: 49,401 for training. The card says that labels which were missing or wrong are -1; "
        "such pairs are left out and counted in the training set, and refused elsewhere. (The PAWS-X of "
        "google/xtreme, which is not used, lost rows to quote marks: English 49,175 of 49,401 for training, Spanish "
        "1,961 and French 1,988 of 2,000 for development.)",
    ),
    "udpos": (
        "OTHER LANGUAGES ARE IN SOME SETS: the loader takes every treebank whose folder's name holds the language's "
        "name (`*_Greek*`), so Ancient Greek is in Greek, Old French in French, Old Russian in Russian "
        "(google-research/xtreme, issue 91), Classical Chinese in Chinese and Swiss German in German. The sums are "
        "the loader's, the parts are recalled from UD 2.5: el test 2,809 = 456 GDT + 1,047 PROIEL + 1,306 Perseus, "
        "dev 2,559 = 403 + 1,019 + 1,137; fr test 9,465 = 4,997 + 2,541 FTB + 1,927 SRCMF; zh training set 18,998 = "
        "2 x 3,997 + 11,004 Kyoto; de test 22,458 = 22,358 + 100 UZH.",
        "Of a multi-word token the parts are kept and the fused form is dropped; XTREME keeps the fused form with one "
        "tag. Scores in languages with many of them (ar, de, es, fr, he, it, pt, ...) are not comparable.",
        "Empty nodes of the enhanced graph (8.1) are kept as words if they have a form and a tag; XTREME drops them.",
        'Words blanked to "_" (French FTB, Arabic NYUAD) are dropped one by one, or the whole treebank is; XTREME '
        "drops the sentences that have (almost) only such words.",
        "Sentences have no ids and are numbered.",
    ),
    "panx": ("Sentences have no ids and are numbered.",),
    "xquad": (_CUT_CONTEXTS.format(share="14 of 120 paragraphs in Chinese, 2 in Hindi, 1 in English"),),
    "mlqa": (_CUT_CONTEXTS.format(share="none of 545 seen"),),
    "tydiqa": (
        "One set holds nine languages (49,881 questions for training, 5,077 for development); rows are chosen by the "
        "language at the head of their id, which leaves 3,696 English ones for training. A row of another language "
        "in a set is an error.",
        _CUT_CONTEXTS.format(share="47 of 120 paragraphs in Finnish, 39 in Korean, 2 in English"),
    ),
    "bucc2018": (
        "ANOTHER, EASIER TASK: only sentences of gold pairs are there (dev de 1,038, fr 929, ru 2,374, zh 257; test "
        "9,580, 9,086, 14,435, 1,899 pairs), none of the other sentences among which they must be found. Its F1 must "
        "not be compared with any published one; give the original files as `data_root` for BUCC.",
        "Pairs of which one sentence is empty (the loader missed sentences at quote marks) are left out and counted.",
    ),
    "tatoeba": ("The English side is re-ordered by this project's reader, as for the original files.",),
    MLM: (
        "ANOTHER TEXT: Wikipedia of 1 November 2023 (wikimedia/wikipedia, cleaned by its makers); arXiv 2005.13013 "
        "used the dumps of 14 April 2020, cleaned by other scripts.",
        "The sizes from which the languages' shares are computed are numbers of articles; Conneau and Lample count "
        "sentences. Wikipedias with many short articles get somewhat more than they would.",
        "Of each language only as many files are read as its quota needs, in an order drawn by the seed; sentences "
        "are drawn from these alone.",
        "Sentences are cut by this project's rules (line breaks and marks, no model); Thai, which has no mark for the "
        "end of a sentence, is cut at line breaks alone, so its sentences are longer.",
    ),
}

# Targets whose scores on the hub's sets are not those of the benchmark: the reason goes with every such score.
NOT_COMPARABLE: dict[str, str] = {
    "bucc2018": "read from the hub, which has gold pairs alone: an easier task than BUCC 2018",
    "udpos": "read from the hub, which splits multi-word tokens, so that the words are not XTREME's, and whose Greek, "
    "French, Russian, Chinese and German sets hold other languages too (Ancient Greek: 2,353 of 2,809 test sentences)",
}
