"""XTREME's own mock submission: every figure is what the rules give, by an oracle, by seqeval 0.0.12 and by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aggregate.submission import main
from tests.support.xtreme_oracle import score_folders

# Made once by seqeval 0.0.12 itself (`pip install --no-deps --target DIR seqeval==0.0.12`): 100 * f1_score(labels,
# predictions) of seqeval.metrics on the lists of sentences that evaluate.py's read_tag makes of the mock files.
SEQEVAL = {
    "udpos": """
        af 88.372093 ar 53.097345 bg 66.666667 de 82.051282 el 72.049689 en 100.000000 es 76.106195 et 50.000000
        eu 68.571429 fa 75.000000 fi 85.714286 fr 70.588235 he 48.837209 hi 59.459459 hu 92.307692 id 86.821705
        it 71.428571 ja 54.838710 kk 58.064516 ko 46.428571 mr 88.000000 nl 87.850467 pt 92.307692 ru 90.909091
        ta 61.538462 te 80.000000 th 34.408602 tl 100.000000 tr 40.000000 ur 62.295082 vi 58.620690 yo 53.731343
        zh 61.111111""",
    "panx": """
        af 100.000000 ar 0.000000 bg 88.888889 bn 100.000000 de 57.142857 el 60.000000 en 100.000000 es 50.000000
        et 40.000000 eu 100.000000 fa 50.000000 fi 33.333333 fr 50.000000 he 40.000000 hi 100.000000 hu 50.000000
        id 100.000000 it 80.000000 ja 33.333333 jv 100.000000 ka 50.000000 kk 40.000000 ko 50.000000 ml 0.000000
        mr 40.000000 ms 100.000000 my 40.000000 nl 50.000000 pt 100.000000 ru 0.000000 sw 28.571429 ta 80.000000
        te 50.000000 th 0.000000 tl 40.000000 tr 57.142857 ur 80.000000 vi 100.000000 yo 28.571429 zh 33.333333""",
}

# Worked out by hand from the files.
BY_HAND = {
    # 10 labels; the 4th (neutral) and the 6th (contradiction) are the same.
    ("xnli", "accuracy", "ar"): 100 * 2 / 10,
    # Chunks: 8 and 7 in the two gold sentences, 8 and 8 in the predicted ones (PROPN, NUM, NOUN NOUN, PROPN, NUM, NOUN,
    # VERB, PUNCT; INTJ, PUNCT, PROPN, PRON, ADV, NOUN NOUN, ADV, PUNCT); all of the first but VERB are right, and
    # the two PUNCT of the second: gold PRON PRON is one chunk, so the predicted PRON ADV has none of it right.
    ("udpos", "f1", "kk"): 100 * 2 * 9 / (15 + 16),
    # Gold: PER (words 2 to 4); PER (1 to 2), ORG (4). Predicted: PER (1 to 4); PER (1 to 2).
    ("panx", "f1", "kk"): 100 * 2 * 1 / (3 + 2),
    # 308 is right; of the 21 words of the other answer, 136 alone is shared (English has no "la", "el", "de" to drop).
    ("xquad", "f1", "es"): 100 * (1 + 2 * 1 / (21 + 1)) / 2,
    ("xquad", "exact_match", "es"): 50.0,
    # "308分" shares no word with "308": nothing is special about Chinese here. Of "136 次擒杀", 136 is in "136 次".
    ("xquad", "f1", "zh"): 100 * (0 + 2 * 1 / (2 + 2)) / 2,
    ("xquad", "exact_match", "zh"): 0.0,
    # MLQA drops unas, un: 13 gold words, "estructuras en" has 2 of them (by SQuAD's rules 3 of 15, which is 33.3).
    ("mlqa", "f1", "es"): 100 * 2 * 2 / (2 + 13),
    # "und" is no article: 3 of "3050 und 3350 Meter".
    ("mlqa", "f1", "de"): 100 * 2 * 3 / (3 + 4),
    # 3 of the 7 words "had sustained skin liver and respiratory injuries".
    ("mlqa", "f1", "en"): 100 * 2 * 3 / (3 + 7),
    # 3 of "orangorang Viking dari Eropa Utara".
    ("tydiqa", "f1", "id"): 100 * 2 * 3 / (3 + 5),
    # 5 of 10 pairs on both sides.
    ("bucc2018", "f1", "de"): 50.0,
    # 308 441 713 233 757, 93 and 872 of 10 numbers.
    ("tatoeba", "accuracy", "af"): 70.0,
}


@pytest.fixture(scope="module")
def mock(data_root: Path) -> Path:
    folder = data_root / "xtreme_mock_test_data"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture(scope="module")
def scores(mock: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("scores") / "scores.json"
    assert main(["--score", str(mock / "predictions"), "--labels", str(mock / "labels"), "--out", str(out)]) == 0
    document: dict[str, Any] = json.loads(out.read_text())
    return document


def test_every_figure_is_the_oracles(mock: Path, scores: dict[str, Any]) -> None:
    oracle = flatten(score_folders(mock / "predictions", mock / "labels"))
    # 22 accuracies of pairs, 36 of Tatoeba, 77 languages with F1, precision and recall, 27 with F1 and exact match;
    # the means of those metrics, one more for each task, four categories, the whole.
    assert len(oracle) == 22 + 36 + 3 * 77 + 2 * 27 + (3 * 1 + 3 * 3 + 3 * 2) + 9 + 4 + 1
    assert flatten(scores) == pytest.approx(oracle, abs=1e-9)


@pytest.mark.parametrize("task", SEQEVAL)
def test_tagging_is_that_of_seqeval(task: str, scores: dict[str, Any]) -> None:
    words = SEQEVAL[task].split()
    recorded = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    assert scores[task]["f1"] == pytest.approx(recorded, abs=1e-6)


@pytest.mark.parametrize(("task", "metric", "language"), BY_HAND)
def test_figures_worked_out_by_hand(task: str, metric: str, language: str, scores: dict[str, Any]) -> None:
    assert scores[task][metric][language] == pytest.approx(BY_HAND[task, metric, language], abs=1e-9)


def test_averages_by_hand(scores: dict[str, Any]) -> None:
    # XNLI in tenths, ar to zh: 2 4 2 4 3 3 3 4 7 2 3 2 4 2 1 is 46; PAWS-X de to zh: 5 4 5 6 6 6 4 is 36.
    assert scores["xnli"]["avg_accuracy"] == pytest.approx(460 / 15)
    assert scores["pawsx"]["avg_metric"] == pytest.approx(360 / 7)
    assert scores["classification"] == pytest.approx((460 / 15 + 360 / 7) / 2)
    # XQuAD, English included: 7 languages at 100, es, th, tr at 50 and zh at 0 in exact match.
    assert scores["xquad"]["avg_exact_match"] == pytest.approx((7 * 100 + 3 * 50) / 11)
    assert scores["xquad"]["avg_metric"] == pytest.approx(
        (scores["xquad"]["avg_exact_match"] + scores["xquad"]["avg_f1"]) / 2
    )
    nine = [scores[task]["avg_metric"] for task in scores if isinstance(scores[task], dict)]
    assert len(nine) == 9
    assert scores["all_task"] == pytest.approx(sum(nine) / 9)
    # Not the mean of the four categories.
    categories = [scores[name] for name in ("classification", "tagging", "qa", "retrieval")]
    assert scores["all_task"] != pytest.approx(sum(categories) / 4, abs=0.1)


def test_labels_against_themselves_are_perfect(mock: Path, tmp_path: Path) -> None:
    predictions = tmp_path / "predictions"
    for path in sorted((mock / "labels").glob("*/*")):
        copy = predictions / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        if path.suffix == ".json":
            questions = [
                question
                for article in json.loads(text)["data"]
                for paragraph in article["paragraphs"]
                for question in paragraph["qas"]
            ]
            text = json.dumps({question["id"]: question["answers"][-1]["text"] for question in questions})
        copy.write_text(text)
    out = tmp_path / "scores.json"
    assert main(["--score", str(predictions), "--labels", str(mock / "labels"), "--out", str(out)]) == 0
    assert set(flatten(json.loads(out.read_text())).values()) == {100.0}


def flatten(figures: dict[str, Any]) -> dict[str, float]:
    """`task/metric/language: value`."""
    flat: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            flat |= {f"{name}/{inner}": number for inner, number in flatten(value).items()}
        else:
            flat[name] = value
    return flat
