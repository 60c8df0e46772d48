"""Comparing tested classifiers."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark.comparison import compare, find_test_folder, format_table, read_published, write_comparison
from medsynth.classify.results import read_predictions, write_results
from medsynth.data.labels import LabelTable
from medsynth.errors import DataError, MedsynthError, UsageError

NAMES = ("Edema", "Rare")


def make_result(folder, *, trained_on="real", noise=1.0, initialisation="random initialisation", change=None):
    rng = np.random.default_rng(0)
    truth = np.stack([np.arange(80) % 2, np.arange(80) < 4], axis=1).astype(np.float32)
    paths = [f"x/patient{i // 2:05d}/view{i % 2}_frontal.jpg" for i in range(80)]
    if change is not None:
        paths, truth = change(paths, truth)
    scores = (truth + noise * rng.normal(size=truth.shape)).astype(np.float32)
    facts = {"trained_on": trained_on, "initialisation": initialisation, "weights": "best_weights.h5",
             "training_finished": True}  # fmt: skip
    folder.mkdir(parents=True)
    write_results(folder, LabelTable(tuple(paths), NAMES, truth), None, scores, facts)
    return scores


def test_predictions_come_back_in_full_precision(tmp_path):
    scores = make_result(tmp_path / "a")
    back = read_predictions(tmp_path / "a")
    np.testing.assert_array_equal(back.scores.astype(np.float32), scores)
    assert back.names == NAMES
    facts = json.loads((tmp_path / "a" / "results.json").read_text())
    assert facts["labels_left_out"] == ["Rare"]
    assert facts["labels"]["Rare"]["num_positives"] == 4
    assert facts["mean_auroc"] == facts["labels"]["Edema"]["auroc"]
    curves = np.load(tmp_path / "a" / "roc_char.npy", allow_pickle=False)
    assert curves.shape[:2] == (2, 3)
    area = np.trapezoid(*curves[0, :2, np.isfinite(curves[0, 0])].T)
    assert area == pytest.approx(facts["labels"]["Edema"]["auroc"])


def test_table_says_what_a_reader_must_know(tmp_path):
    make_result(tmp_path / "real", initialisation="pre-trained weights sha256 0")
    make_result(tmp_path / "fake", trained_on="prog-GAN", noise=3.0)
    text = format_table(compare([tmp_path / "real", tmp_path / "fake"], num_resamples=200))
    assert "real - prog-GAN" in text
    assert "40 patients" in text
    assert "Rare (4 positives)" in text
    assert "Random initialisation (no ImageNet weights): prog-GAN." in text
    assert "No published row for this setting." in text
    assert next(line for line in text.splitlines() if line.startswith("Rare")).count("insufficient") == 3


def test_files_hold_the_same_numbers(tmp_path):
    make_result(tmp_path / "real")
    make_result(tmp_path / "fake", trained_on="prog-GAN", noise=3.0)
    comparison = compare([tmp_path / "real", tmp_path / "fake"], published="chest,classes,20", num_resamples=200)
    write_comparison(comparison, tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "comparison.csv")
    mean = frame[(frame.label == "mean") & (frame.trained_on == "prog-GAN")].iloc[0]
    assert mean.published_mean == 0.704
    assert mean.low < mean.auroc < mean.high
    assert mean.reference_minus_this == pytest.approx(comparison.evaluation.means[0].value - mean.auroc)
    rows = json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"]
    assert [row["auroc"] for row in rows] == pytest.approx(frame.auroc.tolist())
    with Image.open(tmp_path / "out" / "comparison.png") as image:
        assert image.size[0] > 800
    assert f"{mean.auroc:.3f} [" in (tmp_path / "out" / "comparison.txt").read_text()


def swap(paths, truth):
    return [paths[1], paths[0], *paths[2:]], truth


def other_truth(paths, truth):
    return paths, np.roll(truth, 1, axis=0)


@pytest.mark.parametrize(("change", "words"), [
    (lambda paths, truth: (paths[:-1], truth[:-1]), "1 only there"),
    (lambda paths, truth: (["new", *paths[1:]], truth), "1 rows only here"),
    (swap, "another order from line 2"),
    (other_truth, "other truth in line 2"),
])  # fmt: skip
def test_other_test_images_are_refused(tmp_path, change, words):
    make_result(tmp_path / "a")
    make_result(tmp_path / "b", change=change)
    with pytest.raises(DataError) as caught:
        compare([tmp_path / "a", tmp_path / "b"])
    assert words in str(caught.value).replace("rows only there", "only there")


def test_a_published_row_is_found_or_the_known_ones_listed():
    assert read_published("brain,samples,100").means == {"real": 0.719, "prog_gan": 0.640, "cpd_gan": 0.702}
    with pytest.raises(UsageError, match=r"chest,classes,\{20,15,10,6,4,2\}"):
        read_published("chest,classes,3")


def test_test_folder_is_found_below_a_data_folder(tmp_path):
    make_result(tmp_path / "classification_results_res_32" / "test")
    assert find_test_folder(tmp_path) == tmp_path / "classification_results_res_32" / "test"
    make_result(tmp_path / "classification_results_res_64" / "test")
    with pytest.raises(DataError, match="res_32/test, classification_results_res_64/test"):
        find_test_folder(tmp_path)


@pytest.mark.parametrize("damage", [
    lambda folder: (folder / "results.json").write_text("{"),
    lambda folder: (folder / "predictions.csv").write_text("Path,A\nx,1\n"),
    lambda folder: (folder / "predictions.csv").write_text("Path,A,A score\nx,1,nan\n"),
    lambda folder: (folder / "predictions.csv").unlink(),
])  # fmt: skip
def test_damaged_results_are_named(tmp_path, damage):
    make_result(tmp_path / "a")
    damage(tmp_path / "a")
    with pytest.raises(MedsynthError, match="Received"):
        compare([tmp_path / "a"])


@pytest.mark.parametrize(
    ("selection", "num_images", "resolution", "expected"),
    [
        ("chest,classes,6", 1020, 32, ""),
        ("chest,classes,6", 1020, None, ""),
        ("brain,classes,10", 2000, 32, ""),
        ("chest,samples,400", 2250, 32, ""),
        ("brain,samples,100", 3000, 32, ""),
        ("chest,classes,6", 787, 32, "787 test images where 1,020 were published"),
        ("chest,classes,6", 1020, 16, "resolution 16 where 32 was published"),
        ("brain,samples,100", 20, 8, "20 test images where 3,000 were published, resolution 8 where 32 was published"),
    ],
)
def test_another_test_than_the_published_one_is_called_so(selection, num_images, resolution, expected):
    assert read_published(selection).mismatch(num_images, resolution) == expected
