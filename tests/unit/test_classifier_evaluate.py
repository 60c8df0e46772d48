"""AUROC, ROC curves and bootstrap intervals."""

import time

import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics

from medsynth.classify.evaluate import (
    auroc,
    cluster_images,
    evaluate,
    resample_weights,
    roc_curve,
    sufficient_labels,
    weighted_auroc,
)
from medsynth.data.labels import patients_in_paths


@pytest.mark.parametrize("decimals", [1, 12])  # 1 makes many ties, 12 none
@pytest.mark.parametrize("num_images", [20, 400])
def test_auroc_is_that_of_sklearn(decimals, num_images):
    rng = np.random.default_rng(num_images)
    truth = np.r_[0, 1, rng.integers(0, 2, num_images - 2)].astype(np.float32)
    scores = np.round(rng.normal(truth, 1), decimals)
    assert (len(np.unique(scores)) < num_images) == (decimals == 1)
    assert auroc(truth, scores) == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-12)


def test_auroc_is_never_flipped():
    assert auroc([0, 0, 1, 1], [4, 3, 2, 1]) == 0.0
    assert auroc([0, 1, 0, 1], [5, 5, 5, 5]) == 0.5


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1]])
def test_auroc_is_undefined_without_both_classes(truth):
    assert np.isnan(auroc(truth, [1, 2, 3]))
    assert np.isnan(roc_curve(np.array(truth, np.float32), np.array([1.0, 2.0, 3.0]))[:2]).all()


def test_weights_are_repetitions():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 2, 60), np.round(rng.normal(size=60), 1)
    weights = rng.integers(0, 4, (5, 60)).astype(np.float64)
    expected = [
        metrics.roc_auc_score(np.repeat(truth, w.astype(int)), np.repeat(scores, w.astype(int))) for w in weights
    ]
    np.testing.assert_allclose(weighted_auroc(truth, scores, weights), expected, atol=1e-12)


def test_roc_curve_is_that_of_sklearn():
    rng = np.random.default_rng(1)
    truth, scores = rng.integers(0, 2, 50), np.round(rng.normal(size=50), 1)
    false_rate, true_rate, threshold = metrics.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc_curve(truth, scores), [true_rate, false_rate, threshold])


def test_labels_with_few_cases_are_insufficient_and_left_out_of_the_mean():
    truth = np.zeros((40, 4), np.float32)
    for label, positives in enumerate((10, 9, 30, 31)):
        truth[:positives, label] = 1
    np.testing.assert_array_equal(sufficient_labels(truth), [True, False, True, False])
    scores = np.random.default_rng(0).normal(size=truth.shape)
    result = evaluate(truth, [scores], np.arange(40), num_resamples=100)
    assert result.means[0].value == pytest.approx(np.mean([auroc(truth[:, i], scores[:, i]) for i in (0, 2)]))
    assert np.isnan(result.labels[0][1].low)
    assert np.isfinite(result.labels[0][0].low)


def test_no_sufficient_label_gives_no_mean():
    result = evaluate(np.eye(20, 2, dtype=np.float32), [np.ones((20, 2))], np.arange(20), num_resamples=100)
    assert np.isnan(result.means[0].value)


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


@pytest.mark.parametrize(("copies", "by_patient", "lowest", "highest"), [
    (1, False, 0.90, 0.99),
    (5, True, 0.90, 0.99),  # five equal images of each patient
    (5, False, 0.0, 0.75),  # ... resampled as if they were independent: far too narrow
])  # fmt: skip
def test_interval_covers_the_true_value(copies, by_patient, lowest, highest):
    rng = np.random.default_rng(5)
    true_value, num_covered, num_trials = norm.cdf(1 / np.sqrt(2)), 0, 300
    for trial in range(num_trials):
        truth = np.repeat(rng.integers(0, 2, 100), copies).astype(np.float32)[:, None]
        scores = np.repeat(rng.normal(truth[::copies]), copies, axis=0)
        clusters = np.arange(100).repeat(copies) if by_patient else np.arange(100 * copies)
        interval = evaluate(truth, [scores], clusters, num_resamples=200, seed=trial).labels[0][0]
        num_covered += interval.low <= true_value <= interval.high
    assert lowest <= num_covered / num_trials <= highest


def test_difference_is_paired():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (300, 1)).astype(np.float32)
    scores = rng.normal(truth)
    result = evaluate(truth, [scores, scores + 1e-3 * rng.normal(size=scores.shape)], np.arange(300), num_resamples=200)
    width = result.means[0].high - result.means[0].low
    assert result.mean_differences[0].value == result.mean_differences[0].high == 0
    assert result.mean_differences[1].high - result.mean_differences[1].low < width / 20


def test_a_full_comparison_takes_seconds():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (4000, 10)).astype(np.float32)
    start = time.perf_counter()
    evaluate(truth, [rng.normal(size=truth.shape)], np.arange(4000), num_resamples=1000)
    assert time.perf_counter() - start < 30  # about two on a quiet machine
