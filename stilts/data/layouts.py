"""Where the original files of each (task, split) lie under a data root: what the archives unpack to, what XTREME's
download makes, and the small slices of either.

A layout is a glob pattern below the root, or several joined by " + " that must all be there; a pattern may be several
joined by " | ", of which the first that is there serves. {language} is ISO 639-1, {lang3} is Tatoeba's code. The
first layout with labelled files serves, else the first without labels. Original releases stand before XTREME's
conversions, which quote anew (XNLI, PAWS-X), cut ids (TyDiQA) and lack treebanks that are put there by hand (UD).
"""

from __future__ import annotations

from stilts.tasks.catalogue import MLM, TEXT

# Translations of a training set that the user has: what the translate stage writes (stilts/data/translated.py).
TRANSLATED = "translated/{task}/train.{language}.jsonl"

_MNLI_FOLDERS = ("mnli/MNLI", "MNLI", "glue/MNLI", "mnli")
_MULTINLI = ("mnli/multinli_1.0/multinli_1.0_", "multinli_1.0/multinli_1.0_")
_MNLI_TRAIN = (*(f"{f}/train.tsv" for f in _MNLI_FOLDERS), *(f"{f}train.jsonl" for f in _MULTINLI))
_MNLI_DEV = (
    *(f"{f}/dev_matched.tsv" for f in _MNLI_FOLDERS),
    *(f"{f}dev_matched.jsonl" for f in _MULTINLI),
    "mnli/MNLI/dev_trainlayout.tsv",  # rows of train.tsv as a stand-in, in the small slices
)
_ANLI = tuple(f"anli/anli_v1.0/{r}/{{split}}.jsonl | anli_v1.0/{r}/{{split}}.jsonl" for r in ("R1", "R2", "R3"))
_SNLI = "snli/snli_1.0/snli_1.0_{split}.jsonl | snli_1.0/snli_1.0_{split}.jsonl | snli/snli_1.0_{split}.jsonl"
_QQP = ("qqp/QQP/{split}.tsv", "QQP/{split}.tsv", "glue/QQP/{split}.tsv", "qqp/{split}.tsv")
_SQUAD1 = tuple(f"{f}/{{split}}-v1.1.json" for f in ("squad_v1.1", "squad1", "squad"))
_SQUAD2 = tuple(f"{f}/{{split}}-v2.0.json" for f in ("squad_v2.0", "squad2", "squad"))
_CCG_FOLDERS = ("ccg/ccgbank_1_1", "ccgbank_1_1", "ccg")
_CCG = ("ccg/{split}.tsv", "ccg_standin_pmb/4.0.0/en/gold/{split}.conll")
_XNLI = (
    "xnli/XNLI-1.0/xnli.{split}.tsv",
    "XNLI-1.0/xnli.{split}.tsv",
    "xnli/xtreme/{split}-{language}.tsv",
    "xnli/{split}-{language}.tsv",
    "xnli/test_labelled/{split}-{language}.tsv",
)
_PAWSX_FOLDERS = ("pawsx/x-final", "x-final")
_PAWSX = (
    *(f"{f}/{{language}}/{{split}}_2k.tsv" for f in _PAWSX_FOLDERS),
    "pawsx/xtreme/{split}-{language}.tsv",
    "pawsx/{split}-{language}.tsv",
)
_UDPOS = (
    "udpos/UD_*/{language}_*-ud-{split}*.conllu",
    "udpos/ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}*.conllu",
    "ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}*.conllu",
    "udpos/xtreme/{split}-{language}.tsv",
    "udpos/{split}-{language}.tsv",
)
_PANX = (
    *(f"{f}/{{language}}/{{split}}" for f in ("panx/panx_dataset", "panx_dataset")),
    *(f"{f}/{{language}}-{{split}}" for f in ("panx/panx_dataset", "panx_dataset")),
    "panx/xtreme/{split}-{language}.tsv",
    "panx/{split}-{language}.tsv",
)
_MLQA = tuple(
    f"{f}/{{split}}/{{split}}-context-{{language}}-question-{{language}}.json" for f in ("mlqa/MLQA_V1", "MLQA_V1")
)
_TYDIQA_FOLDERS = ("tydiqa_goldp/", "tydiqa/", "")
_TYDIQA_TRAIN = (
    *(f"{f}tydiqa-goldp-v1.1-train.json" for f in _TYDIQA_FOLDERS),
    "tydiqa/tydiqa-goldp-v1.1-train/tydiqa-goldp-v1.1-train.json",  # XTREME moves the official file there
    *(f"{f}tydiqa-goldp-v1.1-train/tydiqa.goldp.{{language}}.train.json" for f in _TYDIQA_FOLDERS),
    "tydiqa/tydiqa.{language}.train.json",  # jiant's, which holds all languages and is refused with its line
)
_TYDIQA_DEV = (
    *(f"{f}tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{{english_name}}.json" for f in _TYDIQA_FOLDERS),
    *(f"{f}tydiqa-goldp-v1.1-dev.json" for f in _TYDIQA_FOLDERS),
    *(f"{f}tydiqa-goldp-v1.1-dev/tydiqa.goldp.{{language}}.dev.json" for f in _TYDIQA_FOLDERS),
)


def _bucc(split: str, part: str) -> tuple[str, ...]:
    """The shared task's folders and XTREME's, each with and without the gold list; XTREME deletes that of test."""
    stems = tuple(f"{f}/{{language}}-en/{{language}}-en.{part}" for f in ("bucc2018", "bucc2018/bucc2018"))
    sides = tuple(f"{stem}.{{language}} + {stem}.en" for stem in (*stems, f"bucc2018/{{language}}-en.{split}"))
    return (*(f"{side} + {side.partition('.{language} + ')[0]}.gold" for side in sides), *sides)


LAYOUTS: dict[tuple[str, str], tuple[str, ...]] = {
    (TEXT, "train"): ("text/train.tsv",),
    (MLM, "train"): tuple(
        f"{stem}{suffix}"
        for stem in ("mlm/{language}.txt", "mlm/{language}/train.txt", "wiki/{language}.txt")
        for suffix in ("", ".gz")
    ),
    ("anli", "train"): (" + ".join((*_ANLI, " | ".join(_MNLI_TRAIN), _SNLI)),),
    ("anli", "dev"): (" + ".join((*_ANLI, " | ".join(_MNLI_DEV), _SNLI)),),
    ("mnli", "train"): _MNLI_TRAIN,
    ("mnli", "dev"): _MNLI_DEV,
    ("qqp", "train"): _QQP,
    ("qqp", "dev"): _QQP,
    ("squad1", "train"): _SQUAD1,
    ("squad1", "dev"): _SQUAD1,
    ("squad2", "train"): _SQUAD2,
    ("squad2", "dev"): _SQUAD2,
    ("hellaswag", "train"): ("hellaswag/hellaswag_train.jsonl", "hellaswag/data/hellaswag_train.jsonl"),
    ("hellaswag", "dev"): ("hellaswag/hellaswag_val.jsonl", "hellaswag/data/hellaswag_val.jsonl"),
    ("ccg", "train"): (
        *(" + ".join(f"{f}/data/AUTO/{s}/wsj_*.auto" for s in ("0[2-9]", "1[0-9]", "2[01]")) for f in _CCG_FOLDERS),
        *_CCG,
    ),
    ("ccg", "dev"): (*(f"{f}/data/AUTO/00/wsj_*.auto" for f in _CCG_FOLDERS), *_CCG),
    ("cosmosqa", "train"): ("cosmosqa/data/train.csv", "cosmosqa/train.csv"),
    ("cosmosqa", "dev"): ("cosmosqa/data/valid.csv", "cosmosqa/valid.csv"),
    ("csqa", "train"): ("commonsenseqa/train_rand_split.jsonl", "csqa/train_rand_split.jsonl"),
    ("csqa", "dev"): ("commonsenseqa/dev_rand_split.jsonl", "csqa/dev_rand_split.jsonl"),
    ("xnli", "train"): (
        "xnli/multinli.train.en.tsv",
        "xnli/XNLI-MT-1.0/multinli/multinli.train.en.tsv",
        "XNLI-MT-1.0/multinli/multinli.train.en.tsv",
        "xnli/train-en.tsv",
        *_MNLI_TRAIN,
    ),
    ("xnli", "dev"): _XNLI,
    ("xnli", "test"): _XNLI,
    ("pawsx", "train"): (
        *(f"{f}/en/train.tsv" for f in _PAWSX_FOLDERS),
        "pawsx/xtreme/train-en.tsv",
        "pawsx/train-en.tsv",
    ),
    ("pawsx", "dev"): _PAWSX,
    ("pawsx", "test"): _PAWSX,
    ("udpos", "train"): _UDPOS,
    ("udpos", "dev"): _UDPOS,
    ("udpos", "test"): _UDPOS,
    ("panx", "train"): _PANX,
    ("panx", "dev"): _PANX,
    ("panx", "test"): _PANX,
    ("squad", "train"): ("xquad/train-v1.1.json", *_SQUAD1),
    ("squad", "dev"): ("xquad/dev-v1.1.json", *_SQUAD1),
    ("xquad", "test"): ("xquad/xquad.{language}.json",),
    ("mlqa", "dev"): _MLQA,
    ("mlqa", "test"): _MLQA,
    ("tydiqa", "train"): _TYDIQA_TRAIN,
    ("tydiqa", "dev"): _TYDIQA_DEV,
    ("tydiqa", "test"): _TYDIQA_DEV,
    ("bucc2018", "dev"): _bucc("dev", "sample"),
    ("bucc2018", "test"): _bucc("test", "training"),
    ("tatoeba", "test"): (
        "tatoeba/v1/tatoeba.{lang3}-eng.{lang3} + tatoeba/v1/tatoeba.{lang3}-eng.eng",
        "tatoeba/tatoeba.{lang3}-eng.{lang3} + tatoeba/tatoeba.{lang3}-eng.eng",
        "tatoeba/tatoeba.{language}-eng.{language} + tatoeba/tatoeba.{language}-eng.eng",
        "tatoeba/{language}-en.{language} + tatoeba/{language}-en.en",
    ),
}
