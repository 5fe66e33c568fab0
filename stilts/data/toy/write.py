"""Write toy data in the original formats of the real sets, so that one reader serves both."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from stilts.data.toy.grammar import render
from stilts.data.toy.lexicon import TOY_LANGUAGES, Lexicon, build_lexicon, find_upos
from stilts.data.toy.tasks import (
    Pair,
    Question,
    draw_choices,
    draw_pairs,
    draw_questions,
    draw_sentences,
    locate_answer,
    write_passage,
    write_words,
)
from stilts.data.toy.text import draw_text
from stilts.errors import UserError

# Examples per split. Train sets (and dev of mnli, squad1, xquad, hellaswag) are English, the others parallel in all
# languages. The targets are as small as this to leave something for an intermediate task to add.
TOY_SIZES: dict[str, dict[str, int]] = {
    "text": {"train": 20000},
    "mnli": {"train": 4000, "dev": 400},
    "xnli": {"train": 300, "dev": 400, "test": 400},
    "squad1": {"train": 2400, "dev": 400},
    "xquad": {"train": 200, "dev": 100, "test": 400},
    "hellaswag": {"train": 2000, "dev": 400},
    "udpos": {"train": 100, "dev": 400, "test": 400},
    "tatoeba": {"test": 400},
}

# Text of a file by its path below the task's folder.
Files = dict[str, str]

GLUE_HEAD = ["index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse"]
GLUE_HEAD += ["sentence1_parse", "sentence2_parse", "sentence1", "sentence2"]
UNUSED = "-"
TREEBANK_LANGUAGES = {"en": "English"}


def write_toy(task: str, out: Path, seed: int = 0, sizes: dict[str, int] | None = None) -> None:
    """Write the toy data of one task below `out/<task>`: the same bytes for the same arguments, everywhere.

    `sizes` gives other numbers of examples than TOY_SIZES[task], by split; a split the task does not have is left
    alone, so that one `sizes` serves all tasks. Lexicon and languages depend on the seed only; the examples of a
    smaller size are the first of a larger one.

    Raises UserError for a task, split or size that cannot be.
    """
    problems = _find_problems(task, sizes or {})
    if problems:
        raise UserError(problems)
    counts = {split: (sizes or {}).get(split, size) for split, size in TOY_SIZES[task].items()}
    for path, text in _WRITERS[task](build_lexicon(seed), counts).items():
        _replace_file(out / task / path, text)


def _find_problems(task: str, sizes: dict[str, int]) -> list[str]:
    problems = []
    if task not in TOY_SIZES:
        problems.append(f"no toy data for task {task!r}: use one of {', '.join(TOY_SIZES)}")
    for split, size in sizes.items():
        if split not in ("train", "dev", "test"):
            problems.append(f"sizes: no split {split!r}: use train, dev or test")
        if size < 1:
            problems.append(f"sizes: {split} is {size}: use at least 1 example")
    return problems


def _replace_file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(text.encode("utf-8"))
    os.replace(unfinished, path)


def _join_rows(rows: list[list[str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def _write_text(lexicon: Lexicon, sizes: dict[str, int]) -> Files:
    """`language TAB text TAB second text`, no header."""
    return {"train.tsv": _join_rows([list(sequence) for sequence in draw_text(lexicon, sizes["train"])])}


def _write_mnli(lexicon: Lexicon, sizes: dict[str, int]) -> Files:
    """GLUE: 12 columns with one annotator's label in train, 16 with five in dev."""
    files = {}
    for split, name, annotators in (("train", "train.tsv", 1), ("dev", "dev_matched.tsv", 5)):
        rows = [[*GLUE_HEAD, *(f"label{i}" for i in range(1, annotators + 1)), "gold_label"]]
        for index, pair in enumerate(draw_pairs(lexicon, "mnli", split, sizes[split])):
            ids = [str(index), str(index), f"{index}{pair.label[0]}", "toy"]
            rows.append([*ids, *[UNUSED] * 4, *_write_pair(lexicon, pair, "en"), *[pair.label] * (annotators + 1)])
        files[f"MNLI/{name}"] = _join_rows(rows)
    return files


def _write_xnli(lexicon: Lexicon, sizes: dict[str, int]) -> Files:
    """XNLI-MT-1.0 for the English training set, XTREME's headerless TSV for the parallel dev and test sets."""
    rows = [["premise", "hypo", "label"]]
    for pair in draw_pairs(lexicon, "xnli", "train", sizes["train"]):
        label = "contradictory" if pair.label == "contradiction" else pair.label
        rows.append([*_write_pair(lexicon, pair, "en"), label])
    files = {"multinli.train.en.tsv": _join_rows(rows)}
    for split in ("dev", "test"):
        pairs = draw_pairs(lexicon, "xnli", split, sizes[split])
        for language in TOY_LANGUAGES:
            rows = [[*_write_pair(lexicon, pair, language), pair.label] for pair in pairs]
            files[f"{split}-{language}.tsv"] = _join_rows(rows)
    return files


def _write_pair(lexicon: Lexicon, pair: Pair, language: str) -> list[str]:
    return [write_words(lexicon, event, language) for event in (pair.premise, pair.hypothesis)]


def _write_squad(lexicon: Lexicon, sizes: dict[str, int]) -> Files:
    return {
        f"{split}-v1.1.json": _dump_squad(
            lexicon, f"squad1-{split}", draw_questions(lexicon, "squad1", split, sizes[split]), "en"
        )
        for split in ("train", "dev")
    }


def _write_xquad(lexicon: Lexicon, sizes: dict[str, int]) -> Files:
    """English train and dev as SQuAD names them, and the released XQuAD set, parallel with equal ids."""
    drawn = {split: draw_questions(lexicon, "xquad", split, sizes[split]) for split in ("train", "dev", "test")}
    files = {f"{s}-v1.1.json": _dump_squad(lexicon, f"xquad-{s}", drawn[s], "en") for s in ("train", "dev")}
    for language in TOY_LANGUAGES:
        files[f"xquad.{language}.json"] = _dump_squad(lexicon, "xquad-test", drawn["test"], language)
    return files


def _dump_squad(lexicon: Lexicon, name: str, questions: list[Question], language: str) -> str:
    """SQuAD 1.1: one article, one question a paragraph, one answer a question."""
    paragraphs = []
    for index, question in enumerate(questions):
        text, start = locate_answer(lexicon, question, language)
        asked = write_words(lexicon, question.passage[question.about], language, question.asked)
        answers = [{"answer_start": start, "text": text}]
        qas = [{"answers": answers, "question": asked, "id": f"{name}-{index:05d}"}]
        paragraphs.append({"context": write_passage(lexicon, question, language), "qas": qas})
    return json.dumps({"data": [{"title": name, "paragraphs": paragraphs}], "version": "1.1"}) + "\n"


def _write_hellaswag(lexicon: Lexicon, sizes: dict[str, int]) -> Files:
    """JSONL with the original keys, but THREE endings where the real set has four; `ctx_b` empty as in WikiHow rows."""
    files = {}
    for split, name in (("train", "train"), ("dev", "val")):
        lines = []
        for index, choice in enumerate(draw_choices(lexicon, "hellaswag", split, sizes[split])):
            context = write_words(lexicon, choice.context, "en")
            row = {"ind": index, "activity_label": "toy", "ctx_a": context, "ctx_b": "", "ctx": context}
            row |= {"split": name, "split_type": "indomain", "label": choice.label}
            row["endings"] = [write_words(lexicon, ending, "en") for ending in choice.endings]
            row["source_id"] = f"toy~{split}-{index:05d}"
            lines.append(json.dumps(row) + "\n")
        files[f"hellaswag_{name}.jsonl"] = "".join(lines)
    return files


def _write_udpos(lexicon: Lexicon, sizes: dict[str, int]) -> Files:
    """CoNLL-U without heads; train in English only, dev and test parallel."""
    files = {}
    for split in ("train", "dev", "test"):
        sentences = draw_sentences(lexicon, "udpos", split, sizes[split], questions=True)
        for language in TOY_LANGUAGES[:1] if split == "train" else TOY_LANGUAGES:
            treebank = f"UD_{TREEBANK_LANGUAGES.get(language, language.capitalize())}-TOY"
            blocks = []
            for index, sentence in enumerate(sentences):
                concepts = render(sentence.event, language, sentence.asked)
                blocks.append(_dump_conllu(lexicon, f"toy-{split}-{index:05d}", concepts, language))
            files[f"{treebank}/{language}_toy-ud-{split}.conllu"] = "".join(blocks)
    return files


def _dump_conllu(lexicon: Lexicon, name: str, concepts: list[str], language: str) -> str:
    """One sentence; the toy languages do not inflect, so a form is its lemma."""
    words = lexicon.spell(concepts, language)
    lines = [f"# sent_id = {name}", f"# text = {' '.join(words)}"]
    for number, (concept, word) in enumerate(zip(concepts, words, strict=True), start=1):
        lines.append("\t".join([str(number), word, word, find_upos(concept), *"______"]))
    return "\n".join(lines) + "\n\n"


def _write_tatoeba(lexicon: Lexicon, sizes: dict[str, int]) -> Files:
    """LASER's names; line i of the two files of a pair translate each other, all English lines differ."""
    sentences = draw_sentences(lexicon, "tatoeba", "test", sizes["test"], questions=False)
    files = {}
    for language in TOY_LANGUAGES[1:]:
        for side, suffix in ((language, language), ("en", "eng")):
            lines = [write_words(lexicon, sentence.event, side) + "\n" for sentence in sentences]
            files[f"tatoeba.{language}-eng.{suffix}"] = "".join(lines)
    return files


_WRITERS: dict[str, Callable[[Lexicon, dict[str, int]], Files]] = {
    "text": _write_text,
    "mnli": _write_mnli,
    "xnli": _write_xnli,
    "squad1": _write_squad,
    "xquad": _write_xquad,
    "hellaswag": _write_hellaswag,
    "udpos": _write_udpos,
    "tatoeba": _write_tatoeba,
}
