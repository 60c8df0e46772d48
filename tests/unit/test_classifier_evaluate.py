"""Intervals from resamples, means over labels, and differences between classifiers."""

import time

import numpy as np
import pytest
from scipy.stats import norm

from medsynth.classify.evaluation.calibration import equal_mass_bins
from medsynth.classify.evaluation.evaluate import (
    MEAN,
    METRICS,
    auroc,
    cluster_images,
    evaluate,
    interval,
    resample_weights,
    sufficient_labels,
)
from medsynth.classify.evaluation.operating_points import choose_operating_points
from medsynth.classify.evaluation.statistics import weighted_auroc
from medsynth.data.labels import patients_in_paths


def test_labels_with_few_cases_are_insufficient_and_left_out_of_the_mean():
    truth = np.zeros((40, 4), np.float32)
    for label, positives in enumerate((10, 9, 30, 31)):
        truth[:positives, label] = 1
    np.testing.assert_array_equal(sufficient_labels(truth), [True, False, True, False])
    scores = np.random.default_rng(0).normal(size=truth.shape)
    result = evaluate(truth, [scores], np.arange(40), num_resamples=100)
    expected = np.mean([auroc(truth[:, i], scores[:, i]) for i in (0, 2)])
    assert result.estimate("auroc", 0, MEAN).value == pytest.approx(expected)
    assert np.isfinite(result.estimate("auroc", 0, 1).value)
    assert np.isnan(result.estimate("auroc", 0, 1).low)
    assert np.isfinite(result.estimate("auroc", 0, 0).low)


def test_no_sufficient_label_gives_no_mean():
    result = evaluate(np.eye(20, 2, dtype=np.float32), [np.ones((20, 2))], np.arange(20), num_resamples=100)
    assert np.isnan(result.estimate("auroc", 0, MEAN).value)


@pytest.mark.parametrize(
    ("paths", "patients"),
    [
        (["a/patient7/study1/v.jpg", "a/patient8/v.jpg", "a/patient7/study2/v.jpg"], ("7", "8", "7")),
        (["/of/patient1/raw/patient7/v.jpg", "/of/patient1/raw/patient8/v.jpg"], ("7", "8")),
        (["a/patient7/v.jpg", "a/ID_8.png"], None),
        ([], None),
    ],
)
def test_a_path_may_name_its_patient(paths, patients):
    assert patients_in_paths(paths) == patients


def test_images_are_grouped_by_patient_only_where_they_are_known():
    clusters, kind = cluster_images(["7", "8", "7"], 3)
    assert (clusters.tolist(), kind) == ([0, 1, 0], "patients")
    clusters, kind = cluster_images(None, 2)
    assert (clusters.tolist(), kind) == ([0, 1], "images")


def test_a_resample_takes_whole_patients():
    clusters = np.array([0, 0, 1, 2, 2, 2])
    weights = resample_weights(clusters, 200, seed=3)
    assert weights.shape == (200, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, 3], weights[:, 5])
    np.testing.assert_array_equal(weights[:, [0, 2, 3]].sum(axis=1), 3)


def resampled_aurocs(truth, scores, clusters, seed):
    return weighted_auroc(truth[:, 0], scores[:, 0], resample_weights(clusters, 200, seed))


@pytest.mark.parametrize(("copies", "by_patient", "lowest", "highest"), [
    (1, False, 0.90, 0.99),
    (5, True, 0.90, 0.99),  # five equal images of each patient
    (5, False, 0.0, 0.75),  # ... resampled as if they were independent: far too narrow
])  # fmt: skip
def test_interval_covers_the_true_value(copies, by_patient, lowest, highest):
    rng = np.random.default_rng(5)
    true_value, num_covered, num_trials = norm.cdf(1 / np.sqrt(2)), 0, 200
    for trial in range(num_trials):
        truth = np.repeat(rng.integers(0, 2, 100), copies).astype(np.float32)[:, None]
        scores = np.repeat(rng.normal(truth[::copies]), copies, axis=0)
        clusters = np.arange(100).repeat(copies) if by_patient else np.arange(100 * copies)
        found = interval(auroc(truth[:, 0], scores[:, 0]), resampled_aurocs(truth, scores, clusters, trial))
        num_covered += found.low <= true_value <= found.high
    assert lowest <= num_covered / num_trials <= highest


def test_difference_is_paired():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (300, 1)).astype(np.float32)
    scores = rng.normal(truth)
    result = evaluate(truth, [scores, scores + 1e-3 * rng.normal(size=scores.shape)], np.arange(300), num_resamples=200)
    mean, same, other = (result.estimate("auroc", 0, MEAN), *(result.difference("auroc", k, MEAN) for k in (0, 1)))
    assert same.value == same.high == 0
    assert 0 < other.high - other.low < (mean.high - mean.low) / 20


def test_difference_is_the_first_minus_the_other() -> None:
    truth, good, bad = probabilities(300, qualities=(2.0, 0.5))
    thresholds = [choose_operating_points(truth, one, "these").thresholds for one in (good, bad)]
    result = evaluate(truth, [good, bad], np.arange(300), thresholds=thresholds, num_resamples=100)
    for metric in METRICS:
        values = [result.estimate(metric, number, MEAN).value for number in (0, 1)]
        difference = result.difference(metric, 1, MEAN)
        assert difference.value == pytest.approx(values[0] - values[1])
        assert difference.low < difference.high
    assert result.difference("auroc", 1, MEAN).low > 0
    assert result.difference("brier", 1, MEAN).high < 0


def probabilities(num_images, qualities, num_labels=2, seed=0):
    rng = np.random.default_rng(seed)
    truth = (rng.random((num_images, num_labels)) < 0.4).astype(np.float32)
    return truth, *(1 / (1 + np.exp(-rng.normal(quality * truth, 1))) for quality in qualities)


def test_the_threshold_is_held_fixed_in_the_resamples() -> None:
    truth, scores = probabilities(200, (1.0,), num_labels=1)
    # All images above the threshold: whatever is drawn, every positive is found. A threshold chosen anew would vary.
    result = evaluate(truth, [scores], np.arange(200), thresholds=[[0.0]], num_resamples=100)
    sensitivity, specificity = (result.estimate(metric, 0, 0) for metric in ("sensitivity", "specificity"))
    assert (sensitivity.value, sensitivity.low, sensitivity.high) == (1, 1, 1)
    assert (specificity.value, specificity.low, specificity.high) == (0, 0, 0)
    chosen = choose_operating_points(truth, scores, "these").thresholds
    result = evaluate(truth, [scores], np.arange(200), thresholds=[chosen], num_resamples=100)
    estimate = result.estimate("sensitivity", 0, 0)
    assert estimate.low < estimate.value < estimate.high


def test_a_label_with_one_class_has_no_figures_and_is_in_no_mean() -> None:
    truth, scores = probabilities(100, (1.0,), num_labels=3)
    truth[:, 1] = 1
    result = evaluate(truth, [scores], np.arange(100), thresholds=[[0.5] * 3], num_resamples=100)
    for metric in METRICS:
        assert np.isnan(result.estimate(metric, 0, 1).value), metric
        values = [result.estimate(metric, 0, label).value for label in (0, 2)]
        assert result.estimate(metric, 0, MEAN).value == pytest.approx(np.mean(values))
        assert result.num_in_mean(metric) == 2


def test_means_of_all_classifiers_are_over_the_same_labels() -> None:
    truth, first, second = probabilities(100, (1.0, 0.5))
    thresholds = [[0.5, 0.5], [0.5, np.nan]]
    result = evaluate(truth, [first, second], np.arange(100), thresholds=thresholds, num_resamples=100)
    assert (result.num_in_mean("sensitivity"), result.num_in_mean("auroc")) == (1, 2)
    assert result.estimate("sensitivity", 0, MEAN).value == result.estimate("sensitivity", 0, 0).value
    assert np.isfinite(result.estimate("sensitivity", 0, 1).value)


def test_without_thresholds_there_are_no_rates() -> None:
    truth, scores = probabilities(100, (1.0,))
    result = evaluate(truth, [scores], np.arange(100), num_resamples=100)
    assert np.isnan(result.estimate("sensitivity", 0, MEAN).value)
    assert np.isfinite(result.estimate("brier", 0, MEAN).low)


@pytest.mark.parametrize(
    ("temperature", "lowest", "of_percentiles"),
    [(1.0, 0.90, 0.05), (1.5, 0.80, 0.60)],  # calibrated; sharper than it should be
)
def test_interval_of_the_calibration_error_covers(temperature, lowest, of_percentiles) -> None:
    rng = np.random.default_rng(0)
    num_images, num_trials, covered, by_percentiles = 300, 60, 0, 0
    for trial in range(num_trials):
        logits = rng.normal(-1.5, 1.5, num_images)
        chances, scores = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-temperature * logits))[:, None]
        bins = np.eye(15)[equal_mass_bins(scores[:, 0])]
        true_value = np.abs((scores[:, 0] - chances) @ bins).sum() / num_images
        truth = (rng.random(num_images) < chances)[:, None].astype(np.float32)
        result = evaluate(truth, [scores], np.arange(num_images), num_resamples=100, seed=trial)
        found = result.estimate("ece", 0, 0)
        assert found.low <= found.value <= found.high
        covered += found.low <= true_value + 1e-12 and true_value <= found.high
        plain = interval(found.value, result.resampled[list(METRICS).index("ece"), 0, 0])
        by_percentiles += plain.low <= true_value + 1e-12 and true_value <= plain.high
    assert covered / num_trials >= lowest
    assert by_percentiles / num_trials <= of_percentiles, "the usual interval would do, so this one is not needed"


def test_all_metrics_of_a_full_test_take_seconds():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (4000, 14)).astype(np.float32)
    start = time.process_time()
    evaluate(truth, [rng.random(size=truth.shape)], np.arange(4000), thresholds=[[0.5] * 14], num_resamples=100)
    assert time.process_time() - start < 5  # about 0.4; ten times as much for 1000 resamples
