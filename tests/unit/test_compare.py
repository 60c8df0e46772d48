"""Comparing tested classifiers."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import expit

from benchmark.comparison import compare, find_test_folder, format_table, read_published, write_comparison
from medsynth.classify.evaluation.evaluate import MEAN, METRICS
from medsynth.classify.evaluation.operating_points import OperatingPoints
from medsynth.classify.evaluation.predictions import read_predictions
from medsynth.classify.evaluation.results import write_results
from medsynth.data.labels import LabelTable
from medsynth.errors import DataError, MedsynthError, UsageError

NAMES = ("Edema", "Rare")


def make_result(
    folder, *, trained_on="real", noise=1.0, initialisation="random initialisation", change=None, seed=0, points=None
):
    rng = np.random.default_rng(seed)
    truth = np.stack([np.arange(80) % 2, np.arange(80) < 4], axis=1).astype(np.float32)
    paths = [f"x/patient{i // 2:05d}/view{i % 2}_frontal.jpg" for i in range(80)]
    if change is not None:
        paths, truth = change(paths, truth)
    scores = expit(truth + noise * rng.normal(size=truth.shape)).astype(np.float32)
    facts = {"trained_on": trained_on, "initialisation": initialisation, "weights": "best_weights.h5",
             "training_finished": True, "random_seed": seed}  # fmt: skip
    folder.mkdir(parents=True)
    table = LabelTable(tuple(paths), NAMES, truth)
    write_results(folder, table, None, scores, facts, points=points, num_resamples=100)
    return scores


def make_points(images="real validation images", thresholds=(0.6, 0.6)):
    return OperatingPoints(np.array(thresholds), images, 30, np.array([15, 3]))


def make_old(folder):
    """Leave what test.py wrote before it chose thresholds."""
    path = folder / "results.json"
    facts = json.loads(path.read_text())
    for key in ("mean", "intervals", "operating_point", "calibration_bins", "notes", "num_labels_in_mean_of"):
        del facts[key]
    kept = ("auroc", "num_images", "num_positives", "in_mean")
    facts["labels"] = {name: {key: row[key] for key in kept} for name, row in facts["labels"].items()}
    path.write_text(json.dumps(facts))
    (folder / "results.csv").unlink()


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
    assert mean.reference_minus_this == pytest.approx(
        comparison.evaluation.estimate("auroc", 0, MEAN).value - mean.auroc
    )
    rows = json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"]
    assert [row["auroc"] for row in rows] == pytest.approx(frame.auroc.tolist())
    with Image.open(tmp_path / "out" / "comparison.png") as image:
        assert image.size[0] > 800
    assert f"{mean.auroc:.3f} [" in (tmp_path / "out" / "comparison.txt").read_text()


def test_every_metric_is_compared(tmp_path):
    make_result(tmp_path / "real", points=make_points())
    make_result(tmp_path / "fake", trained_on="prog-GAN", noise=3.0, points=make_points("synthetic validation images"))
    comparison = compare([tmp_path / "real", tmp_path / "fake"], num_resamples=200)
    write_comparison(comparison, tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "comparison.csv")
    rows = frame[frame.label == "mean"].set_index("trained_on")
    for metric in list(METRICS)[1:]:
        gap = rows.loc["real", metric] - rows.loc["prog-GAN", metric]
        row = rows.loc["prog-GAN"]
        assert row[f"{metric}_reference_minus_this"] == pytest.approx(gap)
        assert row[f"{metric}_reference_minus_this_low"] < row[f"{metric}_reference_minus_this_high"]
    assert set(frame.resampled) == {"patients"}
    assert set(frame.threshold.dropna()) == {0.6}
    text = (tmp_path / "out" / "comparison.txt").read_text()
    for metric in METRICS.values():
        assert any(line.startswith(metric.title) for line in text.splitlines())
    assert "prog-GAN on synthetic validation images" in text
    assert "seeds" not in text
    assert not (tmp_path / "out" / "comparison_over_seeds.csv").exists()


def test_results_of_before_are_compared_without_thresholds(tmp_path):
    make_result(tmp_path / "real", points=make_points())
    make_result(tmp_path / "old", trained_on="prog-GAN", points=make_points())
    make_old(tmp_path / "old")
    back = read_predictions(tmp_path / "old")
    assert np.isnan(back.thresholds).all()
    assert read_predictions(tmp_path / "real").thresholds.tolist() == [0.6, 0.6]
    text = format_table(compare([tmp_path / "real", tmp_path / "old"], num_resamples=100))
    assert "No thresholds (tested before they were chosen; run test.py again): prog-GAN." in text
    assert next(line for line in text.splitlines() if line.startswith("sensitivity")).count("undefined") == 3


def test_a_threshold_that_is_no_number_is_refused(tmp_path):
    make_result(tmp_path / "real", points=make_points())
    path = tmp_path / "real" / "results.json"
    facts = json.loads(path.read_text())
    facts["labels"]["Rare"]["threshold"] = "0.5"
    path.write_text(json.dumps(facts))
    with pytest.raises(DataError, match=r"results.json: A threshold is a number. Received: '0.5'"):
        compare([tmp_path / "real"])


def test_unknown_patients_are_said_to_be_unknown(tmp_path):
    make_result(tmp_path / "a", change=lambda paths, truth: ([f"{i}.png" for i in range(80)], truth))
    comparison = compare([tmp_path / "a"], num_resamples=100)
    assert "80 images: patients are not known" in format_table(comparison)


def test_several_seeds_are_summed_up(tmp_path):
    folders = []
    for trained_on, noise, seeds in (("real", 1.0, (1, 2)), ("prog-GAN", 3.0, (1, 2, 3))):
        for seed in seeds:
            folders.append(tmp_path / f"{trained_on}-{seed}")
            make_result(folders[-1], trained_on=trained_on, noise=noise, seed=seed, points=make_points())
    comparison = compare(folders, num_resamples=200)
    write_comparison(comparison, tmp_path / "out")
    text = (tmp_path / "out" / "comparison.txt").read_text()
    assert "real, 2 seeds" in text
    assert "prog-GAN, 3 seeds" in text
    assert "hold the choice of test patients and the seed" in text
    frame = pd.read_csv(tmp_path / "out" / "comparison_over_seeds.csv")
    row = frame[(frame.metric == "auroc") & (frame.label == "mean") & (frame.trained_on == "prog-GAN")].iloc[0]
    values = [comparison.evaluation.estimate("auroc", number, MEAN).value for number in range(5)]
    assert row.value == pytest.approx(np.mean(values[2:]))
    assert row.reference_minus_this == pytest.approx(np.mean(values[:2]) - np.mean(values[2:]))
    assert row.difference_low < row.reference_minus_this < row.difference_high
    assert (row.num_seeds, row.seeds) == (3, "1 2 3")
    # One seed of the real classifier, as most have: said.
    assert "One seed only, so its chance is NOT in the intervals: real." in format_table(
        compare(folders[1:], num_resamples=100)
    )
    same_seed = compare([folders[0], folders[2], folders[2]], num_resamples=100)
    assert "Not summed up over seeds" in format_table(same_seed)


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
