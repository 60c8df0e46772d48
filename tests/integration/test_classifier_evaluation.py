"""test.py of both classifiers: where the operating point comes from, and data that do not fit the weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medsynth.classify.evaluation.operating_points import choose_operating_points
from medsynth.classify.evaluation.predictions import read_predictions
from tests.commands import ROOT, refused, run_script
from tests.tiny_classifier import write_classifier
from tests.toy_data import LABELS, write_toy_dataset, write_toy_split

REAL, FAKE = "classification_results_res_16", "classification_results"
FILES = ("predictions.csv", "predictions_valid.csv", "results.csv", "results.json", "roc_char.npy", "test.csv",
         "test.log", "roc.png", "precision_recall.png", "calibration.png")  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset with a real classifier, and a GAN's results with a synthetic one that saw other validation images."""
    data_dir = write_toy_dataset(tmp_path_factory.mktemp("data"), num_images=50)
    results_dir = tmp_path_factory.mktemp("results")
    write_toy_dataset(results_dir / "inference", num_images=44)
    write_classifier(data_dir / REAL, LABELS)
    shutil.copytree(data_dir / REAL / "train", results_dir / FAKE / "train")
    config = results_dir / FAKE / "train" / "config.json"
    other = {"trained_on": "prog-GAN", "data.valid_images_sha256": "0", "data.valid_labels_sha256": "0"}
    config.write_text(json.dumps(json.loads(config.read_text()) | other))
    return data_dir, results_dir


def call_real(data_dir: Path, *more: str) -> list[object]:
    return ["classifier_real/test.py", "test", ROOT / "classifier_real", data_dir, 1, 16, *more]


def call_fake(data_dir: Path, results_dir: Path, *more: str) -> list[object]:
    return ["classifier_fake/test.py", "test", ROOT / "classifier_fake", data_dir, results_dir, 1, 16, *more]


def check_thresholds(folder: Path, num_images: int) -> dict:
    """Choose the thresholds again from predictions_valid.csv, and return results.json."""
    facts = json.loads((folder / "results.json").read_text())
    frame = pd.read_csv(folder / "predictions_valid.csv", dtype=str)
    assert len(frame) == num_images
    truth, scores = (frame.iloc[:, first::2].to_numpy(object).astype(np.float64) for first in (1, 2))
    expected = choose_operating_points(truth, scores, "").thresholds
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(read_predictions(folder).thresholds, expected)
    assert [row["threshold"] for row in facts["labels"].values()] == expected.tolist()
    return facts


def test_real_and_synthetic_classifiers_choose_on_their_own_validation_images(folders: tuple[Path, Path]) -> None:
    data_dir, results_dir = folders
    done = run_script(*call_real(data_dir, "--set", "num_resamples=100"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "score valid: 50 images" in done.stderr
    assert "score test: 50 images" in done.stderr
    folder = data_dir / REAL / "test"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    facts = check_thresholds(folder, num_images=50)
    assert facts["operating_point"]["chosen_on"] == "real validation images"
    assert facts["operating_point"]["as_in_training"] is None
    assert facts["intervals"] == {
        "confidence": 0.95, "resampled": "patients", "num_resampled": 25, "num_resamples": 100}  # fmt: skip

    done = run_script(*call_fake(data_dir, results_dir))
    assert done.returncode == 0, done.stderr[-3000:]
    facts = check_thresholds(results_dir / FAKE / "test", num_images=44)
    assert facts["operating_point"]["chosen_on"] == "synthetic validation images (prog-GAN), all that its trainer had"
    assert "44 synthetic validation images (prog-GAN)" in done.stdout
    assert "NOT the validation images of the training" in done.stdout
    assert facts["num_images"] == 50

    out = data_dir / "out"
    done = run_script("benchmark/compare.py", data_dir, results_dir, "--out", out)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "prog-GAN on synthetic validation images (prog-GAN)" in done.stdout


@pytest.mark.parametrize("names", [LABELS[::-1], (*LABELS[:2], "Edema"), LABELS[:2]])
def test_weights_of_other_labels_than_the_datas_are_refused(
    folders: tuple[Path, Path], tmp_path: Path, names: tuple[str, ...]
) -> None:
    write_toy_dataset(tmp_path, num_images=20)
    shutil.copytree(folders[0] / REAL / "train", tmp_path / REAL / "train")
    shutil.rmtree(tmp_path / "test")
    write_toy_split(tmp_path / "test", 20, names=names)
    line = refused(*call_real(tmp_path))
    assert f"trained on the labels {', '.join(LABELS)}" in line
    assert f"{tmp_path / 'test'}: " in line
    assert f"Received: {', '.join(names)}" in line
    assert not (tmp_path / REAL / "test").exists()


def test_validation_images_of_other_labels_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_toy_split(tmp_path / "inference" / "valid", 20, names=LABELS[::-1])
    shutil.copytree(folders[1] / FAKE / "train", tmp_path / FAKE / "train")
    line = refused(*call_fake(folders[0], tmp_path))
    assert f"{tmp_path / 'inference' / 'valid'}: The classifier was trained on the labels" in line


def test_missing_validation_images_are_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(folders[1] / FAKE / "train", tmp_path / FAKE / "train")
    line = refused(*call_fake(folders[0], tmp_path))
    assert f"{tmp_path / 'inference' / 'valid'}: The operating point is chosen on the images" in line


@pytest.mark.parametrize("value", ["0", "99", "-1"])
def test_too_few_resamples_are_refused(folders: tuple[Path, Path], value: str) -> None:
    assert "num_resamples" in refused(*call_real(folders[0], "--set", f"num_resamples={value}"))
