"""Several seeds on the same test images: an interval that holds patients and seeds."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, ttest_ind

from benchmark.seeds_on_one_test import groups_of_seeds
from medsynth.classify.evaluation.evaluate import interval, resample_weights
from medsynth.classify.evaluation.seeds import combination_over_seeds, difference_over_seeds, mean_over_seeds
from medsynth.classify.evaluation.statistics import weighted_auroc

NUM_IMAGES, NUM_RESAMPLES = 100, 80
SHARED = 0.8  # how far apart patients are in what all networks find hard


def true_mean(quality: float, spread: float) -> float:
    """The mean AUROC over seeds and patients."""
    qualities = quality + spread * norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    return float(norm.cdf(qualities / np.sqrt(2 * (1 + SHARED**2))).mean())


@pytest.mark.parametrize(("spread", "patients_lowest", "patients_highest"), [(0.0, 0.88, 1.0), (0.4, 0.0, 0.75)])
def test_interval_covers_the_true_difference(spread: float, patients_lowest: float, patients_highest: float) -> None:
    rng, num_trials, covered, by_patients_alone = np.random.default_rng(1), 120, 0, 0
    expected = true_mean(2.0, spread) - true_mean(1.2, spread)
    for _ in range(num_trials):
        truth = rng.permutation(np.arange(NUM_IMAGES) % 2).astype(np.float64)
        shared = SHARED * rng.normal(size=NUM_IMAGES)
        weights = resample_weights(np.arange(NUM_IMAGES), NUM_RESAMPLES, int(rng.integers(2**31)))
        groups = []
        for quality in (2.0, 1.2):
            qualities = quality + spread * rng.normal(size=(3, 1))
            scores = qualities * truth + shared + rng.normal(size=(3, NUM_IMAGES))
            both = np.array([weighted_auroc(truth, one, np.r_[np.ones((1, NUM_IMAGES)), weights]) for one in scores])
            groups.append((both[:, 0], both[:, 1:]))
        found = difference_over_seeds(*groups)
        covered += found.low <= expected <= found.high
        (first, first_resampled), (second, second_resampled) = groups
        plain = interval(first.mean() - second.mean(), first_resampled.mean(axis=0) - second_resampled.mean(axis=0))
        by_patients_alone += plain.low <= expected <= plain.high
    assert 0.9 <= covered / num_trials <= 0.995
    assert patients_lowest <= by_patients_alone / num_trials <= patients_highest


def test_without_scatter_of_patients_it_is_welchs_t_interval() -> None:
    first, second = np.array([0.9, 0.92, 0.97]), np.array([0.7, 0.8, 0.72, 0.77])
    constant = [np.repeat(one[:, None], 50, axis=1) for one in (first, second)]
    found = difference_over_seeds((first, constant[0]), (second, constant[1]))
    expected = ttest_ind(first, second, equal_var=False)
    ends = expected.confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high, found.degrees_of_freedom], [*ends, expected.df], rtol=1e-9)


def test_without_scatter_of_seeds_what_networks_share_remains() -> None:
    shift = np.random.default_rng(0).normal(size=4000)
    values, resampled = np.full(3, 0.8), np.tile(0.8 + 0.01 * shift, (3, 1))  # all networks miss the same patients
    found = mean_over_seeds(values, resampled)
    assert found.value == pytest.approx(0.8)
    assert found.high - found.value == pytest.approx(1.96 * 0.01, rel=0.05)
    # ... and in a difference of two such groups it cancels.
    difference = difference_over_seeds((values, resampled), (values - 0.1, resampled - 0.1))
    assert difference.value == pytest.approx(0.1)
    assert difference.high - difference.low < 1e-6


def test_a_weighted_sum_has_the_interval_of_the_scaled_groups() -> None:
    rng = np.random.default_rng(0)
    shared = 0.01 * rng.normal(size=(1, 500))
    groups = []
    for mean in (0.9, 0.8, 0.7):
        values = mean + 0.02 * rng.normal(size=3)
        groups.append((values, values[:, None] + shared + 0.005 * rng.normal(size=(3, 500))))
    factors = (0.5, -1.5, 2.0)
    found = combination_over_seeds([(factor, *group) for factor, group in zip(factors, groups, strict=True)])
    scaled = [(1.0, factor * values, factor * rows) for factor, (values, rows) in zip(factors, groups, strict=True)]
    expected = combination_over_seeds(scaled)
    assert found.low < found.value < found.high
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], rtol=1e-9)
    assert found.seed_variance == pytest.approx(
        sum(np.var(factor * values, ddof=1) / 3 for factor, (values, _) in zip(factors, groups, strict=True))
    )
    two = [(1.0, *groups[0]), (-1.0, *groups[1])]
    difference = difference_over_seeds(groups[0], groups[1])
    assert combination_over_seeds(two).low == difference.low


def test_one_network_adds_its_patients_alone() -> None:
    rng = np.random.default_rng(0)
    first = (np.array([0.9, 0.9]), 0.9 + 0.01 * rng.normal(size=(2, 2000)))
    second = (np.array([0.8]), 0.8 + 0.02 * rng.normal(size=(1, 2000)))
    found = difference_over_seeds(first, second)
    assert found.high - found.value == pytest.approx(1.96 * 0.02, rel=0.1)
    assert np.isnan(mean_over_seeds(*second).low)


def test_resamples_that_lack_a_class_are_left_out() -> None:
    values, resampled = np.array([0.8, 0.9]), np.array([[0.7, np.nan, 0.9, 0.8], [0.9, 0.9, np.nan, 0.8]])
    assert mean_over_seeds(values, resampled).num_resamples == 2
    assert np.isnan(mean_over_seeds(np.array([0.8, np.nan]), resampled).low)


def facts(trained_on: str, seed: int | None, **more: Any) -> dict[str, Any]:
    return {"trained_on": trained_on, "random_seed": seed, "initialisation": "random initialisation", **more}


def test_results_are_grouped_by_what_they_differ_in() -> None:
    groups = groups_of_seeds([facts("real", 1), facts("prog-GAN", 1), facts("real", 2), facts("prog-GAN", 5)])
    assert [(group.name, group.members, group.seeds) for group in groups] == [
        ("real", (0, 2), (1, 2)),
        ("prog-GAN", (1, 3), (1, 5)),
    ]
    apart = groups_of_seeds([facts("real", 1), facts("real", 2), facts("real", 1, resolution=64)])
    assert [group.members for group in apart] == [(0, 1), (2,)]
    assert len({group.name for group in apart}) == 2


@pytest.mark.parametrize(
    "results",
    [
        [facts("real", 1), facts("prog-GAN", 1)],
        [facts("real", 1), facts("real", 1), facts("prog-GAN", 1)],  # one network twice is no second draw
        [facts("real", None), facts("real", 2)],
        [facts("real", 1, weights_sha256="a"), facts("real", 2, weights_sha256="a")],  # a copied folder
    ],
)
def test_nothing_is_summed_over_what_are_no_seeds(results: list[dict[str, Any]]) -> None:
    assert groups_of_seeds(results) == []
