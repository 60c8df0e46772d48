"""Inception score and MS-SSIM: known answers and second implementations."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy
from skimage.metrics import structural_similarity

from medsynth.metrics import ms_ssim as module
from medsynth.metrics.inception_score import (
    class_probabilities,
    inception_score,
    inception_score_estimate,
    split_scores,
)
from medsynth.metrics.ms_ssim import WEIGHTS, ms_ssim, pair_similarity, ssim_and_contrast


def test_a_classifier_that_tells_nothing_scores_one_and_a_sure_one_the_number_of_classes() -> None:
    assert inception_score(np.full((60, 6), 1 / 6)) == (pytest.approx(1.0), pytest.approx(0.0))
    sure = np.eye(6)[np.arange(60) % 6]
    assert inception_score(sure) == (pytest.approx(6.0), pytest.approx(0.0))
    assert inception_score(sure[np.zeros(60, int)]) == (pytest.approx(1.0), pytest.approx(0.0)), "one class only"


def test_score_of_a_split_is_the_mean_divergence() -> None:
    probabilities = softmax(np.random.default_rng(0).normal(size=(50, 4)) * 2, axis=1)
    expected = [np.exp(np.mean([entropy(row, part.mean(axis=0)) for row in part]))
                for part in np.array_split(probabilities, 5)]  # fmt: skip
    np.testing.assert_allclose(split_scores(probabilities, 5), expected, rtol=1e-12)
    mean, deviation = inception_score(probabilities, 5)
    assert (mean, deviation) == (pytest.approx(np.mean(expected)), pytest.approx(np.std(expected)))


def test_probabilities_leave_the_bias_out() -> None:
    features, weights = np.array([[1.0, 2.0]], np.float32), np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    np.testing.assert_allclose(class_probabilities(features, weights), softmax([[1.0, 2.0]], axis=1), rtol=1e-6)


def test_interval_of_the_score_covers_its_mean() -> None:
    rng = np.random.default_rng(1)
    found = [inception_score_estimate(softmax(rng.normal(size=(200, 5)) * 2, axis=1)) for _ in range(100)]
    mean = np.mean([one.value for one in found])
    assert np.mean([one.low <= mean <= one.high for one in found]) > 0.88


def pictures(num_images: int, size: int, seed: int, channels: int = 1) -> np.ndarray:
    """Smooth random pictures: each scale has structure."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size
    waves = [np.sin(6.3 * (rng.uniform(0, 3, (num_images, 1, 1)) * axis + rng.uniform(0, 1, (num_images, 1, 1))))
             for axis in (rows, columns, rows + columns)]  # fmt: skip
    values = 127 + 35 * sum(waves) + rng.normal(0, 6, (num_images, size, size))
    return np.repeat(values[..., None], channels, axis=3).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_similarity_is_that_of_scikit_image(channels: int) -> None:
    first, second = pictures(4, 32, 0, channels), pictures(4, 32, 1, channels)
    similarity, contrast = ssim_and_contrast(first, second)
    expected = [
        structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1
        )
        for a, b in zip(first, second, strict=True)
    ]
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(similarity, expected, rtol=1e-9)
    assert contrast.shape == (4,)


def test_contrast_does_not_see_brightness() -> None:
    images = pictures(4, 32, 8) / 2.0
    similarity, contrast = ssim_and_contrast(images, images + 60.0)
    np.testing.assert_allclose(contrast, 1.0)
    assert (similarity < 0.95).all()


@pytest.mark.parametrize("size", [16, 24, 64])
def test_five_scales_by_hand(size: int) -> None:
    first, second = pictures(3, size, 2), pictures(3, size, 3)
    images, expected = [first.astype(float), second.astype(float)], np.ones(3)
    for scale, weight in enumerate(WEIGHTS):
        similarity, contrast = ssim_and_contrast(*images)
        expected *= np.maximum(similarity if scale == 4 else contrast, 0) ** weight
        images = [np.pad(one, ((0, 0), (0, one.shape[1] % 2), (0, one.shape[2] % 2), (0, 0)), "edge") for one in images]
        images = [(one[:, ::2, ::2] + one[:, 1::2, ::2] + one[:, ::2, 1::2] + one[:, 1::2, 1::2]) / 4 for one in images]
    np.testing.assert_allclose(ms_ssim(first, second), expected, rtol=1e-12)


def test_equal_images_score_one_opposite_ones_zero() -> None:
    images = pictures(6, 32, 4)
    np.testing.assert_allclose(ms_ssim(images, images), 1.0)
    np.testing.assert_array_equal(ms_ssim(images, 255 - images), 0.0)


def test_blocks_of_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pictures(9, 16, 5), pictures(9, 16, 6)
    before = ms_ssim(first, second)
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", 2 * 16 * 16)
    np.testing.assert_array_equal(ms_ssim(first, second), before)


def test_pairs_share_no_image_and_a_collapsed_set_is_more_alike() -> None:
    images = pictures(60, 16, 7)
    found = pair_similarity(images)
    assert found.value == pytest.approx(ms_ssim(images[:30], images[30:]).mean())
    assert found.low < found.value < found.high
    collapsed = np.concatenate([images[:10]] * 6)
    assert pair_similarity(collapsed).value > found.high


def test_interval_of_pairs_covers_the_mean_of_many_draws() -> None:
    found = [pair_similarity(pictures(40, 16, 100 + i)) for i in range(60)]
    mean = np.mean([one.value for one in found])
    assert np.mean([one.low <= mean <= one.high for one in found]) > 0.85
