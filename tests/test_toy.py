"""The toy languages: the same bytes everywhere, parallel, balanced, correct offsets, no leak between splits."""

import collections
import hashlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stilts.data.toy import TOY_LANGUAGES, TOY_SIZES, write_toy
from stilts.data.toy.lexicon import CONCEPTS, CONSONANTS, VERBS, VOWELS, build_lexicon
from stilts.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
TINY = {"train": 30, "dev": 12, "test": 12}
WRITE_ALL = """
import sys
from pathlib import Path
from stilts.data.toy import TOY_SIZES, write_toy
for task in TOY_SIZES:
    write_toy(task, Path(sys.argv[1]), int(sys.argv[2]), {"train": 30, "dev": 12, "test": 12})
heavy = {"torch", "transformers", "datasets", "deepspeed"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tasks at their default sizes."""
    out = tmp_path_factory.mktemp("toy")
    for task in TOY_SIZES:
        write_toy(task, out)
    return out


def read_rows(path: Path, header: bool = False) -> list[list[str]]:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return rows[1:] if header else rows


def read_paragraphs(path: Path) -> list[tuple[str, dict]]:
    """(context, question) of a SQuAD file."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    return [(paragraph["context"], question) for paragraph in paragraphs for question in paragraph["qas"]]


def read_conllu(path: Path) -> list[list[list[str]]]:
    """The word rows of every sentence."""
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    return [[line.split("\t") for line in block.splitlines() if not line.startswith("#")] for block in blocks]


def find_treebank(toy: Path, language: str, split: str) -> Path:
    (path,) = (toy / "udpos").glob(f"UD_*-TOY/{language}_toy-ud-{split}.conllu")
    return path


def digest_tree(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def write_in_process(out: Path, seed: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run([sys.executable, "-c", WRITE_ALL, str(out), str(seed)], cwd=ROOT, env=environment, check=True)
    return digest_tree(out)


def decode(words: list[str], language: str) -> list[str]:
    """The concepts behind the words of a sentence."""
    concepts = {form: concept for concept, form in build_lexicon(0).forms[language].items()}
    return [concepts[word] for word in words]


def test_same_bytes_in_two_processes_and_others_for_another_seed(tmp_path: Path) -> None:
    first = write_in_process(tmp_path / "a", 3, "1")
    assert write_in_process(tmp_path / "b", 3, "2") == first
    assert write_in_process(tmp_path / "c", 4, "1") != first


def test_a_smaller_size_is_the_start_of_a_larger_one(toy: Path, tmp_path: Path) -> None:
    for task in TOY_SIZES:
        write_toy(task, tmp_path, sizes=TINY)
    for name in ("text/train.tsv", "mnli/MNLI/train.tsv", "xnli/test-qab.tsv", "tatoeba/tatoeba.qac-eng.qac"):
        small, large = read_rows(tmp_path / name), read_rows(toy / name)
        assert 12 <= len(small) < len(large) and large[: len(small)] == small
    name = "xquad/xquad.qaa.json"
    assert read_paragraphs(tmp_path / name) == read_paragraphs(toy / name)[:12]


@pytest.mark.parametrize("sizes", [{"train": 1, "dev": 1, "test": 1}, {"train": 7}])
def test_tiny_sizes_work_for_every_task(tmp_path: Path, sizes: dict[str, int]) -> None:
    for task in TOY_SIZES:
        write_toy(task, tmp_path, sizes=sizes)
    assert len(read_rows(tmp_path / "mnli/MNLI/train.tsv", header=True)) == sizes["train"]
    assert len(read_rows(tmp_path / "xnli/test-qaa.tsv")) == sizes.get("test", TOY_SIZES["xnli"]["test"])
    assert not list(tmp_path.rglob(".*"))


def test_default_counts(toy: Path) -> None:
    assert len(read_rows(toy / "text/train.tsv")) == 20000
    assert len(read_rows(toy / "mnli/MNLI/train.tsv", header=True)) == 4000
    assert len(read_rows(toy / "hellaswag/hellaswag_train.jsonl")) == 2000
    assert len(read_paragraphs(toy / "squad1/train-v1.1.json")) == 2400
    assert len(read_paragraphs(toy / "xquad/train-v1.1.json")) == 200
    assert len(read_conllu(find_treebank(toy, "en", "train"))) == 100
    assert len(read_conllu(find_treebank(toy, "qab", "dev"))) == len(read_rows(toy / "xnli/dev-qab.tsv")) == 400


def test_a_wrong_task_split_or_size_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        write_toy("snli", tmp_path, sizes={"valid": 3, "train": 0})
    assert all(word in str(error.value) for word in ["'snli'", *TOY_SIZES, "'valid'", "train is 0"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(5))
def test_a_form_has_one_meaning_and_ciphers_permute(seed: int) -> None:
    lexicon = build_lexicon(seed)
    for language in TOY_LANGUAGES:
        forms = lexicon.forms[language]
        assert set(forms) == set(CONCEPTS)
        assert len(set(forms.values())) == len(CONCEPTS) == 158
        assert not any(set(form) & set(" \t") for form in forms.values())
    for language in TOY_LANGUAGES[1:]:
        cipher = lexicon.ciphers[language]
        for letters in (CONSONANTS, VOWELS):
            assert sorted(cipher[letter] for letter in letters) == sorted(letters)
        shared = {c for c in CONCEPTS if lexicon.forms[language][c] == lexicon.forms["en"][c]}
        assert {".", "?", "number:2"} <= shared and not shared & {"the", "a", "not", "who", "what", "where", "in"}
    meanings = {(form, concept) for forms in lexicon.forms.values() for concept, form in forms.items()}
    assert len(meanings) == len(lexicon.list_words()) and 380 <= len(meanings) <= 500


def test_script_is_one_cycle_through_all_verbs() -> None:
    next_verb, seen = build_lexicon(0).next_verb, [VERBS[0]]
    while next_verb[seen[-1]] != VERBS[0]:
        seen.append(next_verb[seen[-1]])
    assert sorted(seen) == sorted(VERBS)


def test_parallel_lines_have_the_same_concepts_in_the_order_of_the_language(toy: Path) -> None:
    for language in TOY_LANGUAGES[1:]:
        folder, reordered = toy / "tatoeba", 0
        english = (folder / f"tatoeba.{language}-eng.eng").read_text().splitlines()
        foreign = (folder / f"tatoeba.{language}-eng.{language}").read_text().splitlines()
        assert len(english) == len(foreign) == len(set(english)) == 400
        for ours, theirs in zip(english, foreign, strict=True):
            source, target = decode(ours.split(" "), "en"), decode(theirs.split(" "), language)
            assert sorted(source) == sorted(target)
            reordered += source != target
            if language == "qab":
                assert target[-2].startswith("verb:")
        assert reordered == 0 if language == "qaa" else reordered > 100


def test_negation_and_passive_stand_right_before_the_verb(toy: Path) -> None:
    for language in TOY_LANGUAGES:
        found: collections.Counter[str] = collections.Counter()
        for sentence in read_conllu(find_treebank(toy, language, "test")):
            concepts = decode([row[1] for row in sentence], language)
            for marker, following in itertools.pairwise(concepts):
                if marker in ("not", "passive"):
                    found[marker] += 1
                    assert following.startswith("verb:") or (marker, following) == ("not", "passive")
        assert found["not"] > 40 and found["passive"] > 20


def test_xnli_is_parallel_and_labels_are_balanced(toy: Path) -> None:
    english = read_rows(toy / "xnli/test-en.tsv")
    for language in TOY_LANGUAGES[1:]:
        foreign = read_rows(toy / f"xnli/test-{language}.tsv")
        assert [row[2] for row in foreign] == [row[2] for row in english]
        for ours, theirs in zip(english, foreign, strict=True):
            for column in (0, 1):
                source = decode(ours[column].split(" "), "en")
                assert sorted(source) == sorted(decode(theirs[column].split(" "), language))
    assert sorted(collections.Counter(row[2] for row in english).values()) == [133, 133, 134]
    train = collections.Counter(row[2] for row in read_rows(toy / "xnli/multinli.train.en.tsv", header=True))
    assert train == {"entailment": 100, "neutral": 100, "contradictory": 100}


def test_nli_labels_follow_from_the_events(toy: Path) -> None:
    for row in read_rows(toy / "mnli/MNLI/dev_matched.tsv", header=True):
        premise, hypothesis = (decode(row[column].split(" "), "en") for column in (8, 9))
        assert "not" not in premise
        assert ("not" in hypothesis) == (row[15] == "contradiction")
        new = {word for word in hypothesis if not word.startswith("category:")} - set(premise) - {"not"}
        assert row[15] == "neutral" or not new


def test_glue_columns(toy: Path) -> None:
    for name, columns in (("train", 12), ("dev_matched", 16)):
        rows = read_rows(toy / f"mnli/MNLI/{name}.tsv")
        assert {len(row) for row in rows} == {columns} and all(field for row in rows for field in row)
        assert (rows[0][8], rows[0][9], rows[0][-1]) == ("sentence1", "sentence2", "gold_label")


def test_answers_stand_at_their_offsets(toy: Path) -> None:
    names = ["squad1/train-v1.1", "squad1/dev-v1.1", "xquad/train-v1.1", "xquad/dev-v1.1"]
    for name in names + [f"xquad/xquad.{language}" for language in TOY_LANGUAGES]:
        for context, question in read_paragraphs(toy / f"{name}.json"):
            (answer,) = question["answers"]
            text, start = answer["text"], answer["answer_start"]
            assert context[start:].startswith(text) and f" {context} "[start:].startswith(f" {text} ")
            assert 1 <= len(text.split(" ")) <= 6 and question["question"].endswith(" ?")


def test_xquad_is_parallel_and_asks_about_its_passage(toy: Path) -> None:
    english = read_paragraphs(toy / "xquad/xquad.en.json")
    assert len({question["id"] for _, question in english}) == 400
    for language in TOY_LANGUAGES:
        asked: collections.Counter[str] = collections.Counter()
        foreign = read_paragraphs(toy / f"xquad/xquad.{language}.json")
        for (_, source), (context, target) in zip(english, foreign, strict=True):
            assert source["id"] == target["id"]
            answer = decode(target["answers"][0]["text"].split(" "), language)
            assert sorted(answer) == sorted(decode(source["answers"][0]["text"].split(" "), "en"))
            word, *rest = decode(target["question"].split(" "), language)
            sentences = [decode(sentence.split(" "), language) for sentence in context.rstrip(" .").split(" . ")]
            assert sorted(rest[:-1] + answer) in [sorted(sentence) for sentence in sentences]
            asked[word] += 1
        assert set(asked) == {"who", "what", "where"} and min(asked.values()) > 40


def test_hellaswag_has_three_distinct_endings_and_uniform_labels(toy: Path) -> None:
    keys = "ind activity_label ctx_a ctx_b ctx split split_type label endings source_id".split()
    for name, size in (("train", 2000), ("val", 400)):
        path = toy / f"hellaswag/hellaswag_{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert all(list(row) == keys and len(set(row["endings"])) == 3 for row in rows)
        assert all(abs(count - size / 3) < 1 for count in collections.Counter(row["label"] for row in rows).values())
        for row in rows:
            verb = next(word for word in decode(row["ctx"].split(" "), "en") if word.startswith("verb:"))
            right = decode(row["endings"][row["label"]].split(" "), "en")
            assert build_lexicon(0).next_verb[verb] in right


def test_conllu_columns_and_tags(toy: Path) -> None:
    tags = set("NOUN VERB ADJ ADV ADP DET PROPN NUM PRON PART PUNCT AUX".split())
    english = read_conllu(find_treebank(toy, "en", "test"))
    for language in TOY_LANGUAGES:
        path = find_treebank(toy, language, "test")
        sentences = read_conllu(path)
        assert {len(row) for sentence in sentences for row in sentence} == {10}
        assert {row[3] for sentence in sentences for row in sentence} == tags
        texts = [line.removeprefix("# text = ") for line in path.read_text().splitlines() if line.startswith("# text")]
        assert texts == [" ".join(row[1] for row in sentence) for sentence in sentences]
        for ours, theirs in zip(english, sentences, strict=True):
            assert [row[0] for row in theirs] == [str(number) for number in range(1, len(theirs) + 1)]
            assert sorted(row[3] for row in ours) == sorted(row[3] for row in theirs)


def test_no_example_is_shared_by_two_splits(toy: Path) -> None:
    """Nor by an intermediate task and the target made the same way: mnli and xnli, squad1 and xquad."""

    def read_contexts(*names: str) -> set[str]:
        return {context for name in names for context, _ in read_paragraphs(toy / f"{name}.json")}

    train = {row[8] for row in read_rows(toy / "mnli/MNLI/train.tsv", header=True)}
    train |= {row[0] for row in read_rows(toy / "xnli/multinli.train.en.tsv", header=True)}
    premises = [train] + [{row[0] for row in read_rows(toy / f"xnli/{split}-en.tsv")} for split in ("dev", "test")]
    contexts = [read_contexts(f"squad1/{split}-v1.1", f"xquad/{split}-v1.1") for split in ("train", "dev")]
    contexts.append(read_contexts("xquad/xquad.en"))
    swag = [(toy / f"hellaswag/hellaswag_{split}.jsonl").read_text().splitlines() for split in ("train", "val")]
    stories = [{json.loads(line)["ctx"] for line in lines} for lines in swag]
    treebanks = [read_conllu(find_treebank(toy, "en", split)) for split in ("train", "dev", "test")]
    tagged = [{" ".join(row[1] for row in sentence) for sentence in treebank} for treebank in treebanks]
    for splits in (premises, contexts, stories, tagged):
        assert all(splits) and len(set().union(*splits)) == sum(map(len, splits))


def test_the_corpus_has_questions_translations_and_all_words(toy: Path) -> None:
    lexicon, rows = build_lexicon(0), read_rows(toy / "text/train.tsv")
    assert {len(row) for row in rows} == {3}
    assert set(collections.Counter(row[0] for row in rows)) == set(TOY_LANGUAGES)
    counts = collections.Counter(word for row in rows for text in row[1:] for word in text.split(" "))
    assert set(counts) == set(lexicon.list_words())
    assert 0.10 < counts["?"] / (counts["?"] + counts["."]) < 0.14
    for language in TOY_LANGUAGES:
        assert all(counts[lexicon.forms[language][word]] > 100 for word in ("who", "what", "where"))


def test_corpus_switches_code_and_keeps_the_word_order(toy: Path) -> None:
    """A word is redrawn from the four languages in 40%, so 30% of a never shared word like "the" are foreign."""
    forms = build_lexicon(0).forms
    concepts = {form: concept for language in TOY_LANGUAGES for concept, form in forms[language].items()}
    spelt: collections.Counter[bool] = collections.Counter()
    for language, first, _ in read_rows(toy / "text/train.tsv"):
        words = first.split(" ")
        spelt.update(word == forms[language]["the"] for word in words if concepts[word] == "the")
        if language == "qab":
            assert concepts[words[-2]].startswith("verb:")
    assert 0.28 < spelt[False] / spelt.total() < 0.32
