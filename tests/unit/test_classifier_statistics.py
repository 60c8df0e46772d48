"""Every metric against scikit-learn, on repeated images with ties; thresholds, curves and calibration."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics

from medsynth.classify.evaluation import calibration, statistics
from medsynth.classify.evaluation.evaluate import auroc, resample_weights

THRESHOLD = 0.4
ONCE = np.ones((1, 3))


def ece_of_repeated(truth: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> float:
    """A second implementation: bin by bin, over repeated images, with the bins of the images themselves."""
    bins = np.repeat(calibration.equal_mass_bins(scores), counts)
    truth, scores = np.repeat(truth, counts), np.repeat(scores, counts)
    gaps = [(bins == one).mean() * abs(truth[bins == one].mean() - scores[bins == one].mean()) for one in set(bins)]
    return float(sum(gaps))


def at_threshold(scores: np.ndarray) -> np.ndarray:
    return scores >= THRESHOLD


REFERENCES: dict[str, tuple[Callable, Callable]] = {
    "auroc": (statistics.weighted_auroc, metrics.roc_auc_score),
    "average precision": (statistics.weighted_average_precision, metrics.average_precision_score),
    "sensitivity": (
        lambda t, s, w: statistics.weighted_sensitivity(t, s, w, THRESHOLD),
        lambda t, s: metrics.recall_score(t, at_threshold(s)),
    ),
    "specificity": (
        lambda t, s, w: statistics.weighted_specificity(t, s, w, THRESHOLD),
        lambda t, s: metrics.recall_score(t, at_threshold(s), pos_label=0),
    ),
    "brier": (statistics.weighted_brier, metrics.brier_score_loss),
}


def images(num_images: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(num_images)
    truth = np.r_[0.0, 1.0, rng.integers(0, 2, num_images - 2)]
    scores = np.round(1 / (1 + np.exp(-rng.normal(truth, 1))), decimals)
    assert (len(np.unique(scores)) < num_images) == (decimals == 1)
    return truth, scores


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("decimals", [1, 12])  # 1 makes many ties, 12 none
@pytest.mark.parametrize("num_images", [20, 300])
def test_metrics_of_resamples_are_those_of_sklearn_on_repeated_images(
    name: str, decimals: int, num_images: int
) -> None:
    truth, scores = images(num_images, decimals)
    weights = resample_weights(np.arange(num_images), 70, seed=1)  # more than are computed at once
    assert weights.max() >= 3
    ours, reference = REFERENCES[name]
    expected = [
        reference(np.repeat(truth, row.astype(int)), np.repeat(scores, row.astype(int)))
        for row in weights
        if 0 < (row @ truth) < row.sum()
    ]
    assert len(expected) > 60
    found = ours(truth, scores, weights)
    np.testing.assert_allclose(found[[0 < (row @ truth) < row.sum() for row in weights]], expected, atol=1e-12)
    np.testing.assert_allclose(ours(truth, scores, np.ones((1, num_images))), reference(truth, scores), atol=1e-12)


@pytest.mark.parametrize("decimals", [1, 12])
def test_calibration_error_of_resamples_is_that_of_repeated_images(decimals: int) -> None:
    truth, scores = images(310, decimals)
    weights = resample_weights(np.arange(310), 20, seed=2)
    expected = [ece_of_repeated(truth, scores, row.astype(int)) for row in weights]
    np.testing.assert_allclose(calibration.weighted_ece(truth, scores, weights), expected, atol=1e-12)


def test_calibration_error_of_known_cases() -> None:
    truth, scores = np.tile([0.0, 1.0], 50), np.full(100, 0.8)
    assert calibration.weighted_ece(truth, scores, np.ones((1, 100)))[0] == pytest.approx(0.3)
    scores = np.where(truth > 0, 0.9, 0.2)  # ties fill the bins unevenly: one holds 0.2, one 0.9
    assert calibration.weighted_ece(truth, scores, np.ones((1, 100)))[0] == pytest.approx(0.5 * 0.2 + 0.5 * 0.1)


@pytest.mark.parametrize(("num_images", "num_bins"), [(5, 1), (53, 2), (299, 14), (300, 15), (4000, 15)])
def test_bins_hold_as_many_images_as_the_next_and_not_too_few(num_images: int, num_bins: int) -> None:
    scores = np.random.default_rng(0).random(num_images) ** 4  # equal width would leave the upper bins nearly empty
    sizes = np.bincount(calibration.equal_mass_bins(scores))
    assert len(sizes) == num_bins
    assert sizes.max() - sizes.min() <= 1
    assert num_bins == 1 or sizes.min() >= 20


def test_equal_scores_share_a_bin() -> None:
    scores = np.r_[np.zeros(250), np.linspace(0.1, 1, 50)]
    bins = calibration.equal_mass_bins(scores)
    assert len(set(bins[:250])) == 1
    assert set(bins) == set(range(bins.max() + 1))


def test_a_calibrated_classifier_measures_the_error_that_chance_makes() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(600)
    weights = resample_weights(np.arange(600), 200, seed=0)
    once = np.ones((1, 600))
    calibrated = [calibration.weighted_ece((rng.random(600) < scores) * 1.0, scores, once)[0] for _ in range(40)]
    by_chance = calibration.ece_by_chance((rng.random(600) < scores) * 1.0, scores, weights)
    assert np.mean(calibrated) > 0.02
    assert by_chance.mean() == pytest.approx(np.mean(calibrated), rel=0.15)
    wrong = (rng.random(600) < scores**3) * 1.0
    assert calibration.weighted_ece(wrong, scores, once)[0] > np.quantile(by_chance, 0.999)


@pytest.mark.parametrize("function", [statistics.weighted_auroc, statistics.weighted_average_precision])
@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1]])
def test_a_ranking_is_undefined_without_both_classes(function: Callable, truth: list[int]) -> None:
    assert np.isnan(function(np.array(truth), np.array([0.1, 0.2, 0.3]), ONCE)).all()
    assert np.isnan(function(np.array([0, 1, 1]), np.array([0.1, 0.2, 0.3]), np.array([[0.0, 1, 1], [1, 0, 0]]))).all()


def test_a_rate_is_undefined_without_its_class_or_a_threshold() -> None:
    scores, positives = np.array([0.1, 0.2, 0.3]), np.ones(3)
    assert statistics.weighted_sensitivity(positives, scores, ONCE, 0.2)[0] == pytest.approx(2 / 3)
    assert np.isnan(statistics.weighted_specificity(positives, scores, ONCE, 0.2)[0])
    assert np.isnan(statistics.weighted_sensitivity(positives, scores, ONCE, float("nan"))[0])


@pytest.mark.parametrize("function", [statistics.weighted_brier, calibration.weighted_ece, calibration.ece_by_chance])
def test_scores_that_are_no_probabilities_are_not_judged_as_such(function: Callable) -> None:
    assert np.isnan(function(np.array([0, 1, 1]), np.array([-0.1, 0.5, 1.0]), ONCE)).all()
    assert np.isfinite(function(np.array([0, 1, 1]), np.array([0.0, 0.5, 1.0]), ONCE)).all()


def test_auroc_is_never_flipped() -> None:
    assert auroc([0, 0, 1, 1], [4, 3, 2, 1]) == 0.0
    assert auroc([0, 1, 0, 1], [5, 5, 5, 5]) == 0.5


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1]])
def test_curves_without_both_classes(truth: list[int]) -> None:
    scores = np.array([1.0, 2.0, 3.0])
    assert np.isnan(statistics.roc_curve(np.array(truth, np.float32), scores)[:2]).all()
    recall = statistics.precision_recall_curve(np.array(truth), scores)[1]
    assert np.isnan(recall).all() == (not any(truth))


def test_curves_are_those_of_sklearn() -> None:
    rng = np.random.default_rng(1)
    truth, scores = rng.integers(0, 2, 50), np.round(rng.normal(size=50), 1)
    false_rate, true_rate, threshold = metrics.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(statistics.roc_curve(truth, scores), [true_rate, false_rate, threshold])
    precision, recall, threshold = metrics.precision_recall_curve(truth, scores)
    expected = [precision[-2::-1], recall[-2::-1], threshold[::-1]]  # sklearn's last point has no threshold
    np.testing.assert_allclose(statistics.precision_recall_curve(truth, scores), expected)


@pytest.mark.parametrize("seed", range(5))
def test_youden_threshold_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, scores = np.r_[0, 1, rng.integers(0, 2, 60)], np.round(rng.normal(size=62), 1)
    informedness = {
        float(one): metrics.recall_score(truth, scores >= one) + metrics.recall_score(truth, scores >= one, pos_label=0)
        for one in np.unique(scores)
    }
    best = max(informedness.values())
    expected = max(one for one, value in informedness.items() if value > best - 1e-9)
    assert statistics.youden_threshold(truth, scores) == expected


@pytest.mark.parametrize(
    ("truth", "scores", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.3),
        ([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], 0.4),  # 0.2 is as good, and calls more images positive
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 0.1),  # worse than chance everywhere but at the end
        ([1, 1], [0.1, 0.2], np.nan),
    ],
)
def test_youden_threshold_of_known_cases(truth: list[int], scores: list[float], expected: float) -> None:
    np.testing.assert_equal(statistics.youden_threshold(np.array(truth), np.array(scores)), expected)
