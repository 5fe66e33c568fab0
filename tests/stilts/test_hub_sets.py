"""What is known of the hub's sets beforehand, and the languages that they are called by."""

from __future__ import annotations

from stilts.data.hub_sets import KNOWN_DIFFERENCES, NOT_COMPARABLE, tydiqa_prefix
from stilts.data.languages import LANGUAGES
from stilts.data.releases import known_sizes
from stilts.data.tydiqa import CODES
from stilts.tasks.catalogue import TARGETS, splits, target_languages


def test_sets_with_other_languages_in_them_are_told_and_expected_of_nobody() -> None:
    """The loader's Greek, French, Russian, Chinese and German treebanks are not those of the benchmark."""
    known = {name for task, name in known_sizes() if task == "udpos"}
    mixed = {f"{split}.{code}" for code in ("el", "fr", "ru", "zh") for split in splits("udpos")} | {"test.de"}
    assert not mixed & known and {"train.en", "dev.de", "dev.hi", "test.hi"} <= known
    assert "Ancient Greek" in NOT_COMPARABLE["udpos"]
    assert any("issue 91" in note and "Swiss German" in note for note in KNOWN_DIFFERENCES["udpos"])


def test_languages_have_one_table() -> None:
    """Every language of a target is in it, for file names, hub configurations and ids alike."""
    assert {code for target in TARGETS for code in target_languages(target, "test")} <= set(LANGUAGES)
    assert [tydiqa_prefix(code) for code in ("en", "sw")] == ["english-", "swahili-"]
    assert set(CODES.values()) == set(target_languages("tydiqa", "test"))
    assert len({language.tatoeba for language in LANGUAGES.values()}) == len(LANGUAGES)
