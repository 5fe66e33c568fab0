"""Small files of every task in the layout and format of the original release, made up here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MNLI_HEADER = "index\tpairID\tsentence1\tsentence2\tgold_label\n"
QQP_HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
PAWSX_HEADER = "id\tsentence1\tsentence2\tlabel\n"
XNLI_HEADER = "language\tgold_label\tsentence1\tsentence2\tpairID\n"
COSMOSQA_HEADER = "id,context,question,answer0,answer1,answer2,answer3,label\r\n"

NLI_ROWS = "0\t7n\tIt rains .\tIt is cold .\tneutral\n1\t7e\tIt rains .\tIt is wet .\tentailment\n"
BARE_ROWS = "It rains .\tIt is wet .\tentailment\nIt rains .\tIt is dry .\tcontradiction\n"
WORD_ROWS = "It\tO\nis\tO\nParis\tB-LOC\n\nAda\tB-PER\nLovelace\tI-PER\n"
CCG_ROWS = "It\tNP\nrains\tS[dcl]\\NP\n\nStop\tS[b]\n"

LEAVES = r"(<L NP PRP PRP It NP>) (<L S[dcl]\NP VBZ VBZ rains S[dcl]\NP_1>)"
DERIVATION = f"ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n(<T S[dcl] 1 2> {LEAVES} )\n"


def line(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


def anli(uid: str, label: str = "e") -> str:
    return line(uid=uid, context="It rains.", hypothesis="It is wet.", label=label, reason="")


def snli(name: str, label: str = "neutral") -> str:
    return line(pairID=name, sentence1="A dog runs.", sentence2="An animal runs.", gold_label=label)


def hellaswag(ind: int, **changes: Any) -> str:
    return line(**{"ind": ind, "ctx": "She", "endings": ["runs.", "flies.", "is.", "eats."], "label": 0, **changes})


def csqa(name: str, key: str = "B", letters: str = "ABCDE") -> str:
    choices = [{"label": letter, "text": f"place {letter}"} for letter in letters]
    return line(id=name, answerKey=key, question={"stem": "Where?", "choices": choices, "question_concept": "place"})


def question(name: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": "Where is it?", "answers": found, **more}


def squad(*questions: dict[str, Any], context: str = "It was in the house of Ada.", indent: int | None = 1) -> str:
    article = {"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}
    return json.dumps({"version": "1.1", "data": [article]}, indent=indent, ensure_ascii=False)


def conllu(*words: tuple[str, str], name: str = "s1") -> str:
    rows = [f"{n}\t{form}\t_\t{tag}\t_\t_\t0\t_\t_\t_\n" for n, (form, tag) in enumerate(words, start=1)]
    return f"# sent_id = {name}\n{''.join(rows)}\n"


def prefix(rows: str, mark: str) -> str:
    """Every row that is not blank with `mark` before it."""
    return "".join(f"{mark}{row}\n" if row else "\n" for row in rows.splitlines())


HOUSE = ("house", 14)
SQUAD = squad(question("q1", HOUSE), question("q2", ("Ada", 23)))
SQUAD2 = squad(
    question("q1", HOUSE, is_impossible=False),
    question("q2", is_impossible=True, plausible_answers=[{"text": "Ada", "answer_start": 23}]),
)
TYDIQA = squad(question("english-1-0", HOUSE), question("finnish-2-0", ("Ada", 23)), question("english-3-1", HOUSE))
TREES = conllu(("It", "PRON"), ("rains", "VERB")) + conllu(("Stop", "VERB"), name="s2")
SIDE = "{0}-1\tfirst\n{0}-2\tsecond\n"

_XNLI = XNLI_HEADER + "de\tneutral\tEs regnet\tEs ist kalt\t1\nfr\tneutral\tIl pleut\tIl fait froid\t1\n"
_COSMOSQA = COSMOSQA_HEADER + 'c1,"It rained, again.",What fell?,Rain,Snow,"An ""apple""",None,0\r\n'
_PAWSX = PAWSX_HEADER + "1\tA and B .\tB and A .\t1\n2\tA to B .\tB to A .\t0\n"
_QQP = QQP_HEADER + "5\t1\t2\tWhere is it?\tWhere does it lie?\t1\n6\t3\t4\tWho?\tWhen?\t0\n"
_ANLI = {
    f"anli_v1.0/R{number}/{split}.jsonl": anli(f"{split}{number}") for number in (1, 2, 3) for split in ("train", "dev")
}
_MNLI = {f"MNLI/{name}.tsv": MNLI_HEADER + NLI_ROWS for name in ("train", "dev_matched")}

# Files by (task, part) and path below a data root; every scored set is German, or Russian for TyDiQA.
ORIGINALS: dict[tuple[str, str], dict[str, str]] = {
    ("anli", "train"): _ANLI | _MNLI | {f"snli_1.0/snli_1.0_{s}.jsonl": snli("9.jpg#0r1n") + snli("9.jpg#0r1c", "-")
                                        for s in ("train", "dev")},
    ("mnli", "train"): _MNLI,
    ("qqp", "train"): {"QQP/train.tsv": _QQP, "QQP/dev.tsv": _QQP},
    ("squad1", "train"): {"squad1/train-v1.1.json": SQUAD, "squad1/dev-v1.1.json": SQUAD},
    ("squad2", "train"): {"squad2/train-v2.0.json": SQUAD2, "squad2/dev-v2.0.json": SQUAD2},
    ("hellaswag", "train"): {f"hellaswag/hellaswag_{s}.jsonl": hellaswag(4) + hellaswag(8) for s in ("train", "val")},
    ("ccg", "train"): {f"ccgbank_1_1/data/AUTO/{s}/wsj_{s}01.auto": DERIVATION.replace("0001", f"{s}01")
                       for s in ("00", "02", "10", "21")},
    ("cosmosqa", "train"): {"cosmosqa/train.csv": _COSMOSQA, "cosmosqa/valid.csv": _COSMOSQA},
    ("csqa", "train"): {f"csqa/{s}_rand_split.jsonl": csqa("a1") + csqa("a2") for s in ("train", "dev")},
    ("xnli", "train"): {
        "XNLI-MT-1.0/multinli/multinli.train.en.tsv": "premise\thypo\tlabel\nIt rains\tIt is dry\tcontradictory\n",
        "xnli/dev-en.tsv": BARE_ROWS,
    },
    ("xnli", "scored"): {"XNLI-1.0/xnli.dev.tsv": _XNLI, "XNLI-1.0/xnli.test.tsv": _XNLI},
    ("pawsx", "train"): {"x-final/en/train.tsv": _PAWSX, "x-final/en/dev_2k.tsv": _PAWSX},
    ("pawsx", "scored"): {"x-final/de/dev_2k.tsv": _PAWSX, "x-final/de/test_2k.tsv": _PAWSX},
    ("udpos", "train"): {f"ud-treebanks-v2.5/UD_English-EWT/en_ewt-ud-{s}.conllu": TREES for s in ("train", "dev")},
    ("udpos", "scored"): {f"ud-treebanks-v2.5/UD_German-GSD/de_gsd-ud-{s}.conllu": TREES for s in ("dev", "test")},
    ("panx", "train"): {f"panx_dataset/en/{s}": prefix(WORD_ROWS, "en:") for s in ("train", "dev")},
    ("panx", "scored"): {f"panx_dataset/de/{s}": prefix(WORD_ROWS, "de:") for s in ("dev", "test")},
    ("squad", "train"): {"squad/train-v1.1.json": SQUAD, "squad/dev-v1.1.json": SQUAD},
    ("xquad", "scored"): {"xquad/xquad.de.json": SQUAD},
    ("mlqa", "scored"): {f"MLQA_V1/{s}/{s}-context-de-question-de.json": SQUAD for s in ("dev", "test")},
    ("tydiqa", "train"): {"tydiqa-goldp-v1.1-train.json": TYDIQA, "tydiqa-goldp-v1.1-dev.json": TYDIQA},
    ("tydiqa", "scored"): {
        "tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-russian.json": squad(question("russian-1-0", HOUSE)),
    },
    ("bucc2018", "scored"): {
        **{f"bucc2018/de-en/de-en.{part}.{side}": SIDE.format(side) for part in ("sample", "training")
           for side in ("de", "en")},
        **{f"bucc2018/de-en/de-en.{part}.gold": "de-2\ten-1\n" for part in ("sample", "training")},
    },
    ("tatoeba", "scored"): {"tatoeba/v1/tatoeba.deu-eng.deu": "zwei\neins\n",
                            "tatoeba/v1/tatoeba.deu-eng.eng": "two\none\n"},
}  # fmt: skip


def language_of(task: str) -> str:
    return "ru" if task == "tydiqa" else "de"


def write_originals(root: Path, task: str, part: str) -> Path:
    """Write the files of a task and part below `root`; returns `root`."""
    for name, text in ORIGINALS[task, part].items():
        write_file(root / name, text)
    return root


def write_file(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
