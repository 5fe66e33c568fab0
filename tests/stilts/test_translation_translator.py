"""Translating with tiny random models that have the real tokenizers of M2M100 and NLLB-200."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stilts.errors import UserError
from stilts.tasks.catalogue import TARGETS
from stilts.translation.codes import FLORES, find_codes, load_tokenizer
from stilts.translation.translator import Translator
from tests.support.tiny_seq2seq import TEXT, build_m2m100, build_nllb

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch = pytest.importorskip("torch")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_nllb(tmp_path_factory.mktemp("models") / "nllb")


@pytest.fixture(scope="module")
def m2m100(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sentencepiece")
    return build_m2m100(tmp_path_factory.mktemp("models") / "m2m100")


@pytest.fixture(scope="module", params=["nllb", "m2m100"])
def model(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(request.param))


def translator(model: Path, language: str = "de", **settings: Any) -> Translator:
    return Translator(model, language, CPU, **{"max_length": 40, **settings})


def test_translations_are_the_models_own(model: Path) -> None:
    """Against transformers' generate on each sentence alone."""
    from transformers import AutoModelForSeq2SeqLM

    tokenizer, own = load_tokenizer(model), AutoModelForSeq2SeqLM.from_pretrained(model)
    is_nllb = hasattr(tokenizer, "set_tgt_lang_special_tokens") and not hasattr(tokenizer, "lang_code_to_id")
    tokenizer.src_lang = "eng_Latn" if is_nllb else "en"
    first = tokenizer.convert_tokens_to_ids("swh_Latn") if is_nllb else tokenizer.get_lang_id("sw")
    sentences = [TEXT[0], "Who built it?", "The old house."]
    found = translator(model, "sw").translate(sentences)
    for sentence, translated in zip(sentences, found, strict=True):
        inputs = tokenizer(sentence, return_tensors="pt")
        row = own.generate(**inputs, forced_bos_token_id=first, max_new_tokens=40, do_sample=False, num_beams=1)[0]
        assert row[1] == first
        codes = set(getattr(tokenizer, "lang_code_to_id", {}).values())
        kept = [token for token in row[2:].tolist() if token not in codes]
        assert translated.text == tokenizer.decode(kept, skip_special_tokens=True).strip()
    assert any(translated.text for translated in found)


def test_the_language_matters(model: Path) -> None:
    assert translator(model, "sw").translate(TEXT) != translator(model, "fr").translate(TEXT)


@pytest.mark.parametrize("beams", [1, 3])
def test_translating_twice_gives_the_same(model: Path, beams: int) -> None:
    first, second = (translator(model, beams=beams) for _ in range(2))
    assert first.translate(TEXT) == second.translate(TEXT) == first.translate(TEXT)


def test_neither_order_nor_batches_change_a_translation(model: Path) -> None:
    texts = [f"{first} {second}" for first in TEXT for second in TEXT]
    whole = translator(model).translate(texts)
    single = translator(model, batch_tokens=1).translate(texts[::-1])
    assert whole == single[::-1]


def test_texts_are_cut_into_sentences_and_joined_again(model: Path) -> None:
    text = f"  {TEXT[0]}  {TEXT[1]}\n{TEXT[2]} "
    chinese, german = (translator(model, language) for language in ("zh", "de"))
    for one, gaps in ((german, ["  ", "\n", " "]), (chinese, ["", "\n", ""])):
        parts = [found.text for found in one.translate([TEXT[0], TEXT[1], "Who built it?", TEXT[2].split("? ")[1]])]
        joined = parts[0] + "".join(gap + part for gap, part in zip(gaps, parts[1:], strict=True))
        (found,) = one.translate([text])
        assert found.text == joined
        assert [text[slice(*source)] for source, _ in found.pieces][:2] == [TEXT[0], TEXT[1]]
        assert [found.text[slice(*target)] for _, target in found.pieces] == parts


def test_the_search_is_not_that_of_the_models_folder(nllb: Path, tmp_path: Path) -> None:
    """Meta's M2M100 brings five beams and a longest length, in config.json too."""
    folder = Path(shutil.copytree(nllb, tmp_path / "model"))
    for name in ("config.json", "generation_config.json"):
        given = json.loads((folder / name).read_text())
        given |= {"num_beams": 5, "max_length": 7, "early_stopping": True, "do_sample": True, "repetition_penalty": 3.0}
        (folder / name).write_text(json.dumps(given))
    assert translator(folder).translate(TEXT) == translator(nllb).translate(TEXT)
    assert max(len(found.text) for found in translator(folder).translate(TEXT)) > 30


def test_empty_texts_stay_empty(model: Path) -> None:
    assert [found.text for found in translator(model).translate(["", " \n"])] == ["", ""]
    assert translator(model).translate([]) == []


def test_long_sentences_are_cut_and_nothing_is_lost(model: Path) -> None:
    words = [f"word{number}" for number in range(60)]
    text = " ".join(words)
    one = translator(model, max_length=24)
    (found,) = one.translate([text])
    pieces = [text[slice(*source)] for source, _ in found.pieces]
    assert " ".join(pieces).split() == words and len(pieces) > 2
    tokenizer = load_tokenizer(model)
    assert max(len(ids) for ids in tokenizer(pieces)["input_ids"]) <= 24
    (found,) = one.translate(["x" * 200])
    assert "".join(("x" * 200)[slice(*source)] for source, _ in found.pieces) == "x" * 200


def test_usage_counts_every_piece_once(model: Path) -> None:
    one, calls = translator(model, batch_tokens=60), list[tuple[int, int]]()
    one.translate([TEXT[0], TEXT[0], TEXT[1]], lambda done, total: calls.append((done, total)))
    tokenizer = load_tokenizer(model)
    assert one.usage.pieces == 2
    assert one.usage.source_tokens == sum(map(len, tokenizer(list(TEXT[:2]))["input_ids"]))
    assert calls[-1] == (2, 2)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(alphabet="the towr.?!\nAé中 ", max_size=60), max_size=4))
def test_pieces_are_stretches_of_both_texts(nllb: Path, texts: list[str]) -> None:
    one = translator(nllb, max_length=16)
    for text, found in zip(texts, one.translate(texts), strict=True):
        covered = "".join(text[slice(*source)] for source, _ in found.pieces)
        assert "".join(covered.split()) == "".join(text.split())
        ends = [place for _, target in found.pieces for place in target]
        assert ends == sorted(ends) and all(0 <= end <= len(found.text) for end in ends)


def test_all_languages_of_xtreme_have_a_code(nllb: Path) -> None:
    languages = {language for target in TARGETS.values() for language in target.languages}
    assert set(FLORES) == languages
    tokenizer = load_tokenizer(nllb)
    assert find_codes(tokenizer, nllb, sorted(languages)) == FLORES


def test_flores_codes_are_those_of_the_real_tokenizer() -> None:
    module = pytest.importorskip("transformers.models.nllb.tokenization_nllb")
    assert set(FLORES.values()) <= set(module.FAIRSEQ_LANGUAGE_CODES)


def test_a_language_that_the_model_lacks_is_named(m2m100: Path, nllb: Path) -> None:
    with pytest.raises(UserError, match=r"language eu: the M2M100 model in .* cannot translate into it; .* af, ar, bg"):
        translator(m2m100, "eu")
    with pytest.raises(UserError, match=r"language qaa: the NLLB model in .* it has .*yo, zh;"):
        translator(nllb, "qaa")
    with pytest.raises(UserError, match="language te, xx: the M2M100 model"):
        find_codes(load_tokenizer(m2m100), m2m100, ["de", "te", "xx"])


def test_a_length_beyond_the_models_is_refused(nllb: Path) -> None:
    with pytest.raises(UserError, match=r"max_length 129: the model in .* has 128 positions"):
        translator(nllb, max_length=129)


def test_a_folder_without_a_model_is_refused(nllb: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tokenizer cannot be loaded"):
        translator(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (tmp_path / name).write_bytes((nllb / name).read_bytes())
    with pytest.raises(UserError, match="no translation model can be loaded"):
        translator(tmp_path)
