"""FID: against scipy's matrix square root, known answers, the extrapolation, and what the intervals promise."""

import dataclasses
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from medsynth.metrics.features import load_extractor
from medsynth.metrics.fid_watcher import FidWatcher
from medsynth.metrics.frechet import (
    covariance_factor,
    fid,
    fid_infinity,
    frechet_distance,
    frechet_estimates,
    moments,
)


def features(num_images: int, size: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Correlated features of uneven scale."""
    mixing = np.random.default_rng(99).normal(size=(size, size)) / np.sqrt(size)
    rng = np.random.default_rng(seed)
    scales = np.exp(-3 * np.arange(size) / size)
    return (rng.normal(size=(num_images, size)) * scales) @ mixing + shift


def by_matrix_root(real: np.ndarray, fake: np.ndarray) -> float:
    covariances = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    shift = real.mean(axis=0) - fake.mean(axis=0)
    return float(shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root).real)


LARGE = pytest.param(
    2048,
    2.0,
    1e-9,
    marks=pytest.mark.skipif(
        "MEDSYNTH_SLOW" not in os.environ, reason="a minute: set MEDSYNTH_SLOW=1 (speed/metrics.py times it)"
    ),
)


@pytest.mark.parametrize(
    ("size", "images_per_feature", "tolerance"), [(64, 2.0, 1e-9), (64, 5.0, 1e-9), (64, 0.6, 1e-6), LARGE]
)
def test_equals_the_matrix_square_root(size: int, images_per_feature: float, tolerance: float) -> None:
    num_images = round(size * images_per_feature)
    real, fake = features(num_images, size, 1), features(num_images + 7, size, 2, shift=0.1)
    rank = np.linalg.matrix_rank(np.cov(real, rowvar=False))
    assert (rank == size) == (images_per_feature >= 2)
    expected = by_matrix_root(real, fake)
    assert expected > 0.1
    assert fid(real, fake) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_gaussians_that_differ_in_mean_and_scale_have_a_known_distance(scale: float) -> None:
    """|shift|^2 + (scale - 1)^2 tr(C), exactly, since both covariances commute."""
    real = features(500, 8, 3)
    fake = scale * (real - real.mean(axis=0)) + real.mean(axis=0) + 0.25
    expected = 8 * 0.25**2 + (scale - 1) ** 2 * np.trace(np.cov(real, rowvar=False))
    assert fid(real, fake) == pytest.approx(expected, rel=1e-10)


def test_is_symmetric_and_zero_for_the_same_set() -> None:
    real, fake = features(200, 16, 4), features(300, 16, 5, shift=0.2)
    assert fid(real, fake) == pytest.approx(fid(fake, real), rel=1e-10)
    assert fid(real, real) == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("num_images", [40, 400])
def test_moments_without_a_part_are_those_of_the_rest(num_images: int) -> None:
    values = features(num_images, 10, 6, shift=3.0)
    rest = moments(values).without(moments(values[5:17]))
    expected = moments(np.concatenate([values[:5], values[17:]]))
    assert rest.num_images == expected.num_images
    np.testing.assert_allclose(rest.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(rest.covariance, expected.covariance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("num_images", [6, 100])
def test_a_factor_gives_its_covariance_back_with_few_images_too(num_images: int) -> None:
    covariance = moments(features(num_images, 20, 7)).covariance
    factor = covariance_factor(covariance)
    np.testing.assert_allclose(factor @ factor.T, covariance, atol=1e-12)


def test_blocks_change_the_interval_only() -> None:
    real, fake = features(240, 12, 8), features(240, 12, 9, shift=0.1)
    found = frechet_estimates(real, fake)
    assert found["fid"].value == pytest.approx(fid(real, fake), rel=1e-12)
    assert found["fid_infinity"].value == pytest.approx(fid_infinity(real, fake), rel=1e-12)
    assert found["fid"].low < found["fid"].value < found["fid"].high
    edges = ([0, 240], [0, 120, 240], [0, 80, 160, 240])
    parts = [np.mean([fid(real[a:b], fake[a:b]) for a, b in pairwise(ends)]) for ends in edges]
    line = np.polyfit([1, 2, 3], parts, 1)
    assert found["fid_infinity"].value == pytest.approx(line[1], rel=1e-9), "the intercept over the number of parts"


def test_left_out_blocks_give_the_distances_of_the_rest() -> None:
    real, fake = features(60, 5, 10), features(72, 5, 11, shift=0.3)
    without = [
        fid(np.delete(real, slice(10 * g, 10 * g + 10), axis=0), np.delete(fake, slice(12 * g, 12 * g + 12), axis=0))
        for g in range(6)
    ]
    error = np.sqrt(5 / 6 * np.sum((np.array(without) - np.mean(without)) ** 2))
    found = frechet_estimates(real, fake, extrapolate=False, num_blocks=6)["fid"]
    assert found.high - found.value == pytest.approx(2.5705818 * error, rel=1e-6), "Student's t of 5 degrees"


def test_extrapolation_takes_the_bias_away_and_intervals_cover() -> None:
    """Two sets of the same distribution: FID at 120 images is far above 0, extrapolated it is 0 on average."""
    found = [frechet_estimates(features(120, 6, 2 * i), features(120, 6, 2 * i + 1)) for i in range(100, 160)]
    plain, extrapolated = (np.array([one[name].value for one in found]) for name in ("fid", "fid_infinity"))
    assert plain.mean() > 5 * plain.std() / np.sqrt(len(plain))
    assert abs(extrapolated.mean()) < 0.5 * plain.mean()
    covered = {
        "fid": np.mean([one["fid"].low <= plain.mean() <= one["fid"].high for one in found]),
        "fid_infinity": np.mean([one["fid_infinity"].low <= 0 <= one["fid_infinity"].high for one in found]),
    }
    assert min(covered.values()) > 0.85, covered


def test_watcher_gives_the_same_value_and_reads_its_reals_from_the_cache(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (150, 16, 16, 1), dtype=np.uint8)
    fake = (real[:120] // 2).astype(np.uint8)
    extractor = load_extractor("random")
    watcher = FidWatcher(extractor, real, tmp_path)
    expected = frechet_distance(moments(extractor(real)), moments(extractor(fake)))
    assert watcher.value(fake) == pytest.approx(expected, rel=1e-12)
    assert expected > 0
    assert (watcher.num_real_images, len(list(tmp_path.iterdir()))) == (150, 1)

    def fail(_: object) -> None:
        raise RuntimeError("computed again")

    again = FidWatcher(load_extractor("random"), real, tmp_path)
    assert again.value(fake) == watcher.value(fake)
    other = dataclasses.replace(extractor, network=fail)
    FidWatcher(other, real, tmp_path)
    with pytest.raises(RuntimeError, match="computed again"):
        FidWatcher(other, real[:100], tmp_path)
