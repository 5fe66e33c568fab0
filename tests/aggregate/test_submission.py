"""Scoring a submission: partial ones, and input that cannot be scored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aggregate.submission import main
from tests.aggregate.submission_tree import score, write_labels, write_predictions
from tests.launch.test_light import HEAVY, imported_by
from tests.support.campaigns import ROOT


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A complete and perfect submission and its labels."""
    return write_predictions(tmp_path / "predictions"), write_labels(tmp_path / "labels")


def test_a_perfect_submission_has_100_everywhere(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, scores = score(pair)
    assert code == 0
    assert [scores[name] for name in ("all_task", "classification", "tagging", "qa", "retrieval")] == [100.0] * 5
    assert set(scores["udpos"]) == {
        *("f1", "precision", "recall", "avg_f1", "avg_precision", "avg_recall", "avg_metric"),
    }
    assert set(scores["mlqa"]) == {"exact_match", "f1", "avg_exact_match", "avg_f1", "avg_metric"}
    assert set(scores["tatoeba"]) == {"accuracy", "avg_accuracy", "avg_metric"}
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "= all nine tasks    100.0" in captured.out
    assert "33/33" in captured.out


def test_a_partial_submission_is_scored_for_what_is_complete(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, labels = pair
    for name in ("xnli/test-sw.tsv", "xnli/test-th.tsv"):
        (predictions / name).unlink()
    for path in (labels / "panx").iterdir():
        path.unlink()
    (labels / "panx").rmdir()
    code, scores = score(pair)
    assert code == 0
    assert scores["all_task"] is None and scores["classification"] is None and scores["tagging"] is None
    assert scores["qa"] == scores["retrieval"] == scores["pawsx"]["avg_metric"] == 100.0
    assert scores["xnli"]["avg_accuracy"] is None and scores["xnli"]["avg_metric"] is None
    assert len(scores["xnli"]["accuracy"]) == 13 and scores["xnli"]["accuracy"]["en"] == 100.0
    assert scores["panx"] == {
        **{"f1": {}, "precision": {}, "recall": {}},
        **dict.fromkeys(("avg_f1", "avg_precision", "avg_recall", "avg_metric")),
    }
    error = capsys.readouterr().err.splitlines()
    assert f"missing: {predictions / 'xnli'}: no test-sw.tsv test-th.tsv" in error
    assert f"missing: {labels / 'panx'}: none of the task's files" in error
    assert "no figure for want of these: all_task, classification, tagging" in error


def test_a_question_without_prediction_counts_0_and_is_told(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = pair[0] / "xquad" / "test-de.json"
    path.write_text(json.dumps({"q1": "city of ROME!", "q9": "nobody asked"}))
    _, scores = score(pair)
    # One of two questions; "the city of Rome" is "city of rome" after normalisation.
    assert scores["xquad"]["f1"]["de"] == scores["xquad"]["exact_match"]["de"] == 50.0
    error = capsys.readouterr().err
    assert f"note: {path}: 1 of 2 questions have no prediction and count 0: q2" in error
    assert f"note: {path}: 1 predictions are for no question of the labels: q9" in error


def test_pairs_need_not_be_as_many_as_labels(pair: tuple[Path, Path]) -> None:
    path = pair[0] / "bucc2018" / "test-de.tsv"
    path.write_text("f-1\ten-7\nf-1\ten-7\nf-3\ten-1\nf-4\ten-2\n")
    _, scores = score(pair)
    # A set of three pairs, one of the two gold ones among them.
    assert scores["bucc2018"]["precision"]["de"] == pytest.approx(100 / 3)
    assert scores["bucc2018"]["recall"]["de"] == pytest.approx(50)
    assert scores["bucc2018"]["f1"]["de"] == pytest.approx(40)
    path.write_text("")
    _, scores = score(pair)
    assert scores["bucc2018"]["f1"]["de"] == 0.0


def test_bare_tags_are_compared_whole(pair: tuple[Path, Path]) -> None:
    for folder, tag in zip(pair, ("CCONJ", "SCONJ"), strict=True):
        (folder / "udpos" / "test-de.tsv").write_text(f"NOUN\nNOUN\n\n{tag}\nVERB\n\n\n")
    _, scores = score(pair)
    # NOUN NOUN is one chunk, VERB another; seqeval from 0.0.18 on takes CCONJ for SCONJ and says 100.
    assert scores["udpos"]["f1"]["de"] == pytest.approx(100 * 2 / 3)


def test_windows_line_ends_are_fine(pair: tuple[Path, Path]) -> None:
    for name in ("xnli/test-de.tsv", "udpos/test-de.tsv", "bucc2018/test-de.tsv"):
        path = pair[0] / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert score(pair)[1]["all_task"] == 100.0


def test_folders_that_are_none(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    predictions, labels = pair
    empty = predictions.parent / "empty"
    empty.mkdir()
    assert score((empty, labels))[0] == 2
    assert f"{empty} and {labels}: no file of a task that both have" in capsys.readouterr().err
    file = predictions.parent / "file"
    file.write_text("x")
    assert score((file, predictions.parent / "nowhere"))[0] == 2
    error = capsys.readouterr().err
    assert f"error: --score {file}: a file; give the folder" in error
    assert f"error: --labels {predictions.parent / 'nowhere'}: no such folder" in error


def test_misspelt_names_are_told(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (pair[0] / "xlni").mkdir()
    (pair[0] / "xquad" / "test-de.tsv").write_text("x")
    score(pair)
    error = capsys.readouterr().err
    assert f"note: {pair[0] / 'xlni'}: not read; no task of that name" in error
    assert f"note: {pair[0] / 'xquad'}: not read: test-de.tsv" in error


def test_options_that_do_not_belong_together(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in (
        (["--score", "a", "--out", "b"], "--score needs --labels"),
        (["--score", "a", "--labels", "c", "--seed", "1", "--out", "b"], "--seed belongs to --results"),
        (["--results", "a", "--labels", "c", "--out", "b"], "--labels belongs to --score"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(options)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def test_a_file_that_cannot_be_read(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = pair[0] / "xnli" / "test-de.tsv"
    path.unlink()
    path.symlink_to("/proc/self/mem")  # no byte of it can be read from its start, not even by root
    assert score(pair)[0] == 2
    assert "xnli/test-de.tsv: cannot be read: Input/output error" in capsys.readouterr().err


def test_out_that_cannot_be_written(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--score", str(pair[0]), "--labels", str(pair[1]), "--out"]
    assert main([*options, str(pair[0])]) == 2
    assert "a folder; name the JSON file to write" in capsys.readouterr().err
    assert main([*options, str(pair[0] / "xnli/test-de.tsv" / "scores.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_scoring_from_the_command_line_is_light(pair: tuple[Path, Path], tmp_path: Path) -> None:
    options = ["--score", str(pair[0]), "--labels", str(pair[1]), "--out", str(tmp_path / "scores.json")]
    assert not imported_by(str(ROOT / "aggregate/submission.py"), *options, folder=tmp_path) & (HEAVY | {"submitit"})
    assert (tmp_path / "scores.json").is_file()
