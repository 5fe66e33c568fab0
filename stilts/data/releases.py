"""What is known of each release before it is read: licence, home, and the number of examples of every set.

The counts are those of `split_sizes.csv`, each with its source. They are no law: the UD counts are those of one loader
and exceed XTREME's own table for some languages, and BUCC's are gold pairs. Of UD there are no counts for the Greek,
French, Russian and Chinese sets nor for the German test set, into which that loader put other languages (Ancient Greek,
Swiss German, ...). A set with another count is reported, not refused.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SIZES = Path(__file__).with_name("split_sizes.csv")


@dataclass(frozen=True)
class Release:
    """Where a task's data comes from, and under what terms."""

    home: str
    licence: str


_XNLI = Release(
    "XNLI-1.0, XNLI-MT-1.0 (Conneau et al. 2018); MultiNLI", "CC BY-NC 4.0: non-commercial; MultiNLI as mnli"
)
_SQUAD = Release("SQuAD 1.1 (Rajpurkar et al. 2016)", "CC BY-SA 4.0")

RELEASES: dict[str, Release] = {
    "anli": Release(
        "ANLI 1.0 (Nie et al. 2020), MultiNLI, SNLI 1.0 (Bowman et al. 2015)", "ANLI CC BY-NC 4.0, SNLI CC BY-SA 4.0"
    ),
    "mnli": Release("MultiNLI 1.0 (Williams et al. 2018), also in GLUE", "OANC; fiction part CC BY 3.0, CC BY-SA 3.0"),
    "qqp": Release("Quora Question Pairs, in GLUE", "Quora's terms: non-commercial, may not be passed on"),
    "squad1": _SQUAD,
    "squad": _SQUAD,
    "squad2": Release("SQuAD 2.0 (Rajpurkar et al. 2018)", "CC BY-SA 4.0"),
    "hellaswag": Release("HellaSwag (Zellers et al. 2019)", "MIT"),
    "ccg": Release("CCGbank (Hockenmaier and Steedman 2007), LDC2005T13", "licensed by the LDC; bring your own copy"),
    "cosmosqa": Release("Cosmos QA (Huang et al. 2019)", "CC BY 4.0 (stated in its hub card)"),
    "csqa": Release("CommonsenseQA 1.11, random split (Talmor et al. 2019)", "MIT (stated in its hub card)"),
    "xnli": _XNLI,
    "pawsx": Release("PAWS-X (Yang et al. 2019)", "free for any purpose, acknowledgement appreciated"),
    "udpos": Release("Universal Dependencies 2.5", "one licence a treebank; some non-commercial"),
    "panx": Release(
        "WikiAnn (Pan et al. 2017), splits of Rahimi et al. 2019", "text CC BY-SA 3.0; no statement for the annotation"
    ),
    "xquad": Release("XQuAD (Artetxe et al. 2020)", "CC BY-SA 4.0"),
    "mlqa": Release("MLQA (Lewis et al. 2020)", "CC BY-SA 3.0"),
    "tydiqa": Release("TyDiQA-GoldP 1.1 (Clark et al. 2020)", "Apache 2.0; passages CC BY-SA 3.0"),
    "bucc2018": Release("BUCC 2018 shared task (Zweigenbaum et al. 2018)", "no licence statement found"),
    "mlm": Release(
        "Wikipedia of 1 November 2023 (wikimedia/wikipedia), or text files of your own",
        "CC BY-SA and GFDL; your files: as you have them",
    ),
    "tatoeba": Release("Tatoeba test sets of LASER (Artetxe and Schwenk 2019)", "CC BY 2.0 FR"),
}


@cache
def known_sizes() -> dict[tuple[str, str], int]:
    """Examples by (task, set name); BUCC: gold pairs. English dev sets serve the trainings of their targets too."""
    with open(_SIZES, encoding="utf-8", newline="") as file:
        return {(row["task"], row["set"]): int(row["examples"]) for row in csv.DictReader(file)}
