"""The files of a tested classifier: figures, intervals, thresholds, and what a reader must be told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsynth.classify.evaluation.evaluate import METRICS
from medsynth.classify.evaluation.operating_points import OperatingPoints, choose_operating_points
from medsynth.classify.evaluation.predictions import read_predictions, write_predictions
from medsynth.classify.evaluation.results import write_results
from medsynth.data.labels import LabelTable

NAMES = ("Edema", "Rare", "Never")
FACTS = {"trained_on": "prog-GAN", "initialisation": "random initialisation", "weights": "w", "training_finished": True}
FIGURES = ("roc.png", "precision_recall.png", "calibration.png")


def images(num_images: int = 90, seed: int = 0) -> tuple[LabelTable, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = np.arange(num_images)
    truth = np.stack([rows % 3 == 0, rows < 4, np.zeros(num_images)], axis=1).astype(np.float32)
    scores = 1 / (1 + np.exp(1 - 2 * truth - rng.normal(size=truth.shape)))
    return LabelTable(tuple(f"{row}.png" for row in rows), NAMES, truth), scores.astype(np.float32)


def points(**more: Any) -> OperatingPoints:
    table, scores = images(60, seed=1)
    return choose_operating_points(table.values, scores, "synthetic validation images (prog-GAN)", **more)


def write(folder: Path, patients: list[str] | None = None, **more: Any) -> str:
    table, scores = images()
    folder.mkdir(exist_ok=True)
    return write_results(folder, table, patients, scores, FACTS, num_resamples=100, **more)


PATIENTS = [str(number // 2) for number in range(90)]


def test_csv_and_json_hold_every_metric_with_its_interval(tmp_path: Path) -> None:
    chosen = points()
    write(tmp_path, PATIENTS, points=chosen)
    frame = pd.read_csv(tmp_path / "results.csv")
    assert frame.label.tolist() == [*NAMES, "mean"]
    assert frame.num_images.tolist() == [90] * 4
    assert frame.num_positives.tolist()[:3] == [30, 4, 0]
    assert frame.threshold.tolist()[:2] == chosen.thresholds[:2].tolist()
    assert set(frame.threshold_chosen_on) == {"synthetic validation images (prog-GAN)"}
    edema, rare, never, mean = (row for _, row in frame.iterrows())
    for metric in METRICS:
        assert edema[f"{metric}_low"] < edema[f"{metric}_high"]
        assert edema[f"{metric}_low"] <= edema[metric] <= edema[f"{metric}_high"]
        assert np.isfinite(rare[metric])
        assert np.isnan(rare[f"{metric}_low"]), "fewer than ten cases have no interval"
        assert np.isnan(never[metric]), "one class has no figures"
        assert (mean[metric], mean[f"{metric}_low"]) == (edema[metric], edema[f"{metric}_low"])
    facts = json.loads((tmp_path / "results.json").read_text())
    assert facts["labels_left_out"] == ["Rare", "Never"]
    assert facts["num_labels_in_mean_of"] == dict.fromkeys(METRICS, 1)
    assert facts["operating_point"]["num_images"] == 60
    for row, name in zip((edema, rare), NAMES, strict=False):
        for key, value in facts["labels"][name].items():
            assert (pd.isna(row[key]) and value is None) or row[key] == value, key


def test_what_is_undefined_or_insufficient_is_said(tmp_path: Path) -> None:
    text = write(tmp_path, PATIENTS, points=points())
    assert "One class only, so nothing is defined, and left out of the mean: Never." in text
    assert "left out of the mean: Rare (4 positives)." in text
    assert "no threshold: Never." in text
    assert "Thresholds from fewer than 10 validation cases of a class: Rare." in text
    assert "60 synthetic validation images (prog-GAN)" in text
    assert "held fixed in the resamples" in text
    assert (tmp_path / "test.log").read_text() == text
    notes = json.loads((tmp_path / "results.json").read_text())["notes"]
    assert all(note in text for note in notes)


@pytest.mark.parametrize("patients", [None, PATIENTS])
def test_every_output_says_what_was_resampled(tmp_path: Path, patients: list[str] | None) -> None:
    text = write(tmp_path, patients, points=points())
    clusters, words = (
        ("images", "90 images: patients are not known") if patients is None else ("patients", "45 patients.")
    )
    assert words in text
    assert set(pd.read_csv(tmp_path / "results.csv").resampled) == {clusters}
    facts = json.loads((tmp_path / "results.json").read_text())
    assert facts["intervals"]["resampled"] == clusters
    assert any(words in note for note in facts["notes"])


def test_intervals_by_patient_are_wider(tmp_path: Path) -> None:
    table, scores = images()
    five = [np.repeat(one, 5, axis=0) for one in (table.values, scores)]
    alike = LabelTable(tuple(map(str, range(450))), NAMES, five[0])
    widths = []
    for patients in (None, [str(number // 5) for number in range(450)]):
        write_results(tmp_path, alike, patients, five[1], FACTS, num_resamples=100)
        row = json.loads((tmp_path / "results.json").read_text())["labels"]["Edema"]
        widths.append(row["auroc_high"] - row["auroc_low"])
    assert widths[1] > 1.5 * widths[0]


def test_without_thresholds_nothing_is_made_up(tmp_path: Path) -> None:
    text = write(tmp_path)
    assert "No operating point was chosen" in text
    facts = json.loads((tmp_path / "results.json").read_text())
    assert facts["operating_point"] is None
    assert facts["mean"]["sensitivity"] is None
    assert facts["mean"]["brier"] is not None


@pytest.mark.parametrize(("as_in_training", "is_said"), [(None, False), (True, False), (False, True)])
def test_other_validation_images_than_the_trainings_are_said(
    tmp_path: Path, as_in_training: bool | None, is_said: bool
) -> None:
    text = write(tmp_path, points=points(as_in_training=as_in_training))
    assert ("NOT the validation images of the training" in text) == is_said


def test_an_interval_without_width_and_missing_classes_are_said(tmp_path: Path) -> None:
    truth = np.zeros((60, 1), np.float32)
    truth[:12] = 1
    table = LabelTable(tuple(map(str, range(60))), ("Edema",), truth)
    few_patients = ["sick"] * 12 + [str(number) for number in range(48)]
    scores = (0.2 + 0.6 * truth).astype(np.float32)
    text = write_results(tmp_path, table, few_patients, scores, FACTS, num_resamples=100)
    assert "No resample differed, which does not make the value certain: AUROC of Edema" in text
    assert "Some resamples lacked a class and were left out for: Edema (" in text


def test_scores_that_are_no_probabilities_are_said(tmp_path: Path) -> None:
    table, scores = images()
    text = write_results(tmp_path, table, None, scores * 8 - 4, FACTS, num_resamples=100)
    assert "no probabilities: no Brier score and no calibration error" in text
    assert not (tmp_path / "calibration.png").exists()


def test_published_files_are_as_before(tmp_path: Path) -> None:
    write(tmp_path, PATIENTS, points=points())
    facts = json.loads((tmp_path / "results.json").read_text())
    assert facts["mean_auroc"] == facts["labels"]["Edema"]["auroc"]
    assert facts["num_labels_in_mean"] == 1
    defined = [row["auroc"] for row in facts["labels"].values() if row["auroc"] is not None]
    assert facts["flipped_as_published"] == pytest.approx(np.mean([max(one, 1 - one) for one in defined]))
    curves = np.load(tmp_path / "roc_char.npy", allow_pickle=False)
    assert curves.shape[:2] == (3, 3)
    assert np.isnan(curves[2, :2]).all()


def test_validation_predictions_are_read_like_test_predictions(tmp_path: Path) -> None:
    write(tmp_path, points=points())
    table, scores = images(60, seed=1)
    write_predictions(tmp_path / "predictions.csv", table, None, scores)
    np.testing.assert_array_equal(read_predictions(tmp_path).scores.astype(np.float32), scores)


@pytest.mark.parametrize("num_labels", [1, 3])
def test_curves_have_a_panel_per_label(tmp_path: Path, num_labels: int) -> None:
    table, scores = images()
    few = LabelTable(table.paths, table.names[:num_labels], table.values[:, :num_labels])
    chosen = choose_operating_points(few.values, scores[:, :num_labels], "these")
    write_results(tmp_path, few, PATIENTS, scores[:, :num_labels], FACTS, points=chosen, num_resamples=100)
    for name in FIGURES:
        with Image.open(tmp_path / name) as image:
            assert image.size[0] > 900
            assert len(np.unique(np.asarray(image))) > 20


def test_a_test_that_was_cut_short_leaves_no_results_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, PATIENTS)
    assert (tmp_path / "results.json").is_file()

    def full_disk(*_: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr("medsynth.classify.evaluation.results.draw_curves", full_disk)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path, PATIENTS, points=points())
    assert (tmp_path / "predictions.csv").is_file()
    assert not (tmp_path / "results.json").exists()


def test_names_that_look_like_formulas_are_drawn_as_they_are(tmp_path: Path) -> None:
    table, scores = images()
    odd = LabelTable(table.paths, ("cost $x^{$ 5", "a $5 and $6", "_{"), table.values)
    write_results(tmp_path, odd, PATIENTS, scores, FACTS, num_resamples=100)
    assert all((tmp_path / name).is_file() for name in FIGURES)
