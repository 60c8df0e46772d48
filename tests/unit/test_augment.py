"""Augmentation: each transform against numpy and scipy, how often it happens, gradients, and the controller."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from scipy.spatial.transform import Rotation

from medsynth.config import from_json, override
from medsynth.errors import UsageError
from medsynth.gan import augment as augment_module
from medsynth.gan.augment import (
    AugmentConfig,
    _Draws,
    _Transform,
    adjusted_probability,
    augment,
    check_augment,
    score_sign_mean,
)
from medsynth.gan.transforms import SYM6, bend, cut_out, move_pixels, recolour

TRANSFORMS = ("x_flip", "quarter_turns", "translation", "geometry", "colour", "noise", "cutout")
SEED = tf.constant([3, 5], tf.int64)


def only(*names: str) -> AugmentConfig:
    return AugmentConfig(mode="adaptive", **{name: name in names for name in TRANSFORMS})


EVERYTHING = only(*TRANSFORMS)


def noise_images(num_images: int, size: int, num_channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (num_images, size, size, num_channels)).astype(np.float32)


def smooth_image(size: int) -> np.ndarray:
    """A few blobs, off the centre and unlike their mirror images: float64 [size, size]."""
    rows, columns = np.mgrid[:size, :size] / size
    blobs = ((0.3, 0.35, 0.15, 1.0), (0.6, 0.7, 0.2, -0.8), (0.8, 0.25, 0.12, 0.6))
    return sum(a * np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / (2 * w**2)) for r, c, w, a in blobs)


# Moving pixels.


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (0, -2), (-7, 5)])
def test_pixels_move_as_numpy_moves_them(is_flipped: bool, turns: int, shift: tuple[int, int]) -> None:
    image = noise_images(1, 8, 2)[0]
    expected = np.rot90(image[:, ::-1] if is_flipped else image, turns)
    padded = np.pad(expected, ((7, 7), (7, 7), (0, 0)), mode="reflect")
    expected = padded[7 - shift[0] : 15 - shift[0], 7 - shift[1] : 15 - shift[1]]
    parameters = (tf.constant([value]) for value in (is_flipped, turns, shift))
    moved = move_pixels(tf.constant(image[np.newaxis]), *parameters)
    np.testing.assert_array_equal(moved[0], expected)


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("x_flip", lambda x: [x, x[:, ::-1]]),
        ("quarter_turns", lambda x: [np.rot90(x, k) for k in range(4)]),
        # 16 pixels move by -2 to 2; the two ends are half as likely as what lies between.
        ("translation", lambda x: [np.pad(x, ((2, 2), (2, 2), (0, 0)), "reflect")[2 - i : 18 - i, 2 - j : 18 - j]
                                   for i in range(-2, 3) for j in range(-2, 3)]),
    ],
)  # fmt: skip
def test_every_move_is_an_exact_copy_and_as_likely_as_it_should_be(name: str, candidates) -> None:
    image = noise_images(1, 16)[0]
    num_images = 1600
    moved = augment(tf.repeat(image[np.newaxis], num_images, 0), 1.0, SEED, only(name)).numpy()
    possible = np.stack(candidates(image))
    hits = (moved[:, np.newaxis] == possible).all(axis=(2, 3, 4))
    np.testing.assert_array_equal(hits.sum(axis=1), 1)
    ends = np.array([0.5, 1, 1, 1, 0.5]) / 4
    shares = np.outer(ends, ends).ravel() if name == "translation" else np.full(len(possible), 1 / len(possible))
    assert (np.abs(hits.mean(axis=0) - shares) < 5 * np.sqrt(shares * (1 - shares) / num_images)).all()


# Bending.


def test_the_filter_is_the_wavelets() -> None:
    taps = np.array(SYM6)
    assert len(taps) == 12
    for shift in range(6):
        assert taps[2 * shift :] @ taps[: 12 - 2 * shift] == pytest.approx(float(shift == 0), abs=1e-10)
    # Six vanishing moments of the high-pass filter, on places from -1 to 1 for the sake of rounding.
    places, signs = np.linspace(-1, 1, 12), (-1.0) ** np.arange(12)
    assert taps.sum() == pytest.approx(math.sqrt(2))
    for power in range(6):
        assert (signs * taps) @ places**power == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("size", [4, 8, 32])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_identity_bends_nothing(size: int, num_channels: int) -> None:
    images = noise_images(2, size, num_channels)
    bent = bend(tf.constant(images), tf.eye(2, batch_shape=[2]), tf.zeros((2, 2)))
    np.testing.assert_allclose(bent, images, atol=1e-4)


def rotation_matrix(degrees: float) -> np.ndarray:
    return Rotation.from_euler("z", degrees, degrees=True).as_matrix()[:2, :2]


BENDS = {
    "rotation": (rotation_matrix(33), (0, 0)),
    "quarter": (rotation_matrix(90), (0, 0)),
    "shrunk": (np.eye(2) * 1.4, (0, 0)),
    "enlarged": (np.eye(2) / 1.3, (0, 0)),
    "stretched": (np.diag([0.8, 1.25]), (0, 0)),
    "shifted": (np.eye(2), (3.3, -5.6)),
    "far outside": (np.eye(2), (70.25, -130.5)),
    "all": (rotation_matrix(20) @ np.diag([0.7, 1.1]) @ rotation_matrix(-75), (2.5, 4.25)),
}


@pytest.mark.parametrize("kind", BENDS)
def test_smooth_images_bend_as_scipy_bends_them(kind: str) -> None:
    matrix, shift = BENDS[kind]
    image = smooth_image(48)
    centre = np.full(2, 47 / 2)
    offset = centre - matrix @ (centre + shift)
    expected = scipy.ndimage.affine_transform(image, matrix, offset, order=3, mode="mirror")
    assert np.abs(expected - image).max() > 0.3
    bent = bend(
        tf.constant(image[np.newaxis, ..., np.newaxis], tf.float32),
        tf.constant(matrix[np.newaxis], tf.float32),
        tf.constant([shift], tf.float32),
    )
    # Reflection makes a crease at the edge, which the filter smooths.
    difference = np.abs(bent[0, ..., 0] - expected)
    assert difference.mean() < 0.0007
    assert difference.max() < 0.01


def test_shrinking_does_not_alias() -> None:
    stripes = np.tile([1.0, -1.0], 16)
    images = np.broadcast_to(stripes[:, np.newaxis], (32, 32)).astype(np.float32)
    matrix = np.eye(2, dtype=np.float32) * 1.5
    shrunk = bend(tf.constant(images[np.newaxis, ..., np.newaxis]), tf.constant(matrix[np.newaxis]), tf.zeros((1, 2)))
    naive = scipy.ndimage.affine_transform(images, matrix, -0.25 * 31, order=1, mode="mirror")
    assert np.abs(naive).mean() > 0.4
    assert np.abs(shrunk).mean() < 0.1


def test_bends_are_as_strong_as_in_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(augment_module, "bend", lambda x, matrices, shifts: calls.append((matrices, shifts)) or x)
    num_images = 4000
    augment(tf.zeros((num_images, 16, 16, 1)), 1.0, SEED, only("geometry"))
    ((matrices, shifts),) = calls
    left, scales, right = np.linalg.svd(matrices)
    zoom, stretch = np.log2(scales.prod(axis=1)) / 2, np.log2(scales[:, 0] / scales[:, 1]) / 2
    # With probability 1 both rotations always happen, by any angle, and nothing mirrors.
    np.testing.assert_allclose(np.linalg.det(matrices), scales.prod(axis=1), rtol=1e-4)
    angles = np.arctan2(*np.moveaxis((left @ right)[:, 1::-1, 0], 1, 0))
    assert np.abs(np.exp(1j * angles).mean()) < 5 / math.sqrt(num_images)
    for values, deviation in (
        (zoom, 0.2),
        (stretch, 0.2),
        (shifts / 16, 0.125),
    ):
        assert np.sqrt(np.mean(np.square(values))) == pytest.approx(deviation, rel=0.06)
    assert np.abs(zoom.mean()) < 0.015
    assert np.abs(np.mean(shifts)) < 0.15


# Colour, noise, cutout.


def test_brightness_contrast_and_negatives_of_grey_images_are_exact() -> None:
    images = noise_images(4, 8)
    brightness, contrast = np.float32([0, 0.25, 0, -0.5]), np.float32([1, 1, 2, 0.5])
    is_negative = np.array([False, False, True, True])
    recoloured = recolour(tf.constant(images), tf.constant(brightness), tf.constant(contrast), tf.constant(is_negative))
    expected = [images[0], images[1] + np.float32(0.25), -2 * images[2], -np.float32(0.5) * (images[3] - 0.5)]
    np.testing.assert_array_equal(recoloured, expected)


@pytest.mark.parametrize(
    ("brightness", "contrast", "is_negative", "hue", "saturation"),
    [
        (0.3, 1.0, False, 0.0, 1.0),
        (0.0, 1.7, False, 0.0, 1.0),
        (0.0, 1.0, True, 0.0, 1.0),
        (0.0, 1.0, False, 1.1, 1.0),
        (0.0, 1.0, False, 0.0, 0.4),
        (-0.2, 0.6, True, -2.0, 1.9),
    ],
)
def test_rgb_images_are_recoloured_as_by_matrices(
    brightness: float, contrast: float, is_negative: bool, hue: float, saturation: float
) -> None:
    images = noise_images(2, 8, 3)
    axis = np.full(3, 1 / math.sqrt(3))
    along = np.outer(axis, axis)
    matrix = (along + saturation * (np.eye(3) - along)) @ Rotation.from_rotvec(hue * axis).as_matrix()
    matrix = matrix @ (np.eye(3) - 2 * is_negative * along) * contrast
    values = (brightness, contrast, is_negative, [math.cos(hue), math.sin(hue)], saturation)
    numbers = (tf.constant([value] * 2) for value in values)
    recoloured = recolour(tf.constant(images), *numbers)
    np.testing.assert_allclose(recoloured, (images + brightness) @ matrix.T, atol=1e-6)


def test_hue_and_saturation_leave_grey_images_alone() -> None:
    grey = noise_images(64, 8)
    rgb = augment(tf.repeat(grey, 3, axis=-1), 0.7, SEED, only("colour")).numpy()
    assert np.abs(rgb - np.repeat(grey, 3, axis=-1)).max() > 0.1
    np.testing.assert_allclose(rgb, np.repeat(augment(tf.constant(grey), 0.7, SEED, only("colour")), 3, -1), atol=1e-5)


def test_recolouring_is_as_strong_and_as_frequent_as_in_the_paper() -> None:
    num_images, probability = 6000, 0.5
    levels = np.tile(np.float32([0, 1]), 2).reshape(1, 2, 2, 1).repeat(num_images, 0)
    recoloured = augment(tf.constant(levels), probability, SEED, only("colour")).numpy()
    low, high = recoloured[:, 0, 0, 0], recoloured[:, 0, 1, 0]
    factor = high - low
    shift = low / factor
    is_shifted, is_scaled = shift != 0, np.abs(np.abs(factor) - 1) > 1e-6
    tolerance = 5 * math.sqrt(0.25 / num_images)
    assert is_shifted.mean() == pytest.approx(probability, abs=tolerance)
    assert is_scaled.mean() == pytest.approx(probability, abs=tolerance)
    assert (factor < 0).mean() == pytest.approx(probability / 2, abs=tolerance)
    assert (is_shifted & is_scaled).mean() == pytest.approx(probability**2, abs=tolerance)
    assert shift[is_shifted].std() == pytest.approx(0.2, rel=0.06)
    assert np.log2(np.abs(factor[is_scaled])).std() == pytest.approx(0.5, rel=0.06)


def test_noise_has_a_strength_of_its_own_in_each_image() -> None:
    images = noise_images(400, 16)
    noise = augment(tf.constant(images), 1.0, SEED, only("noise")) - images
    deviations = np.std(noise, axis=(1, 2, 3))
    assert np.sqrt(np.mean(deviations**2)) == pytest.approx(0.1, rel=0.15)
    assert deviations.min() < 0.02
    assert deviations.max() > 0.15


def test_a_square_of_half_the_width_is_cut_out_anywhere() -> None:
    cut = cut_out(tf.ones((2, 8, 8, 1)), tf.constant([[0.5, 0.5], [0.0, 0.75]]), 0.5).numpy()[..., 0]
    expected = np.ones((2, 8, 8))
    expected[0, 2:6, 2:6] = 0
    expected[1, :2, 4:] = 0
    np.testing.assert_array_equal(cut, expected)
    num_images = 1000
    where = augment(tf.ones((num_images, 16, 16, 1)), 1.0, SEED, only("cutout")).numpy()[..., 0] == 0
    places = (np.arange(16) + 0.5) / 16
    chance = np.minimum(places + 0.25, 1) - np.maximum(places - 0.25, 0)
    tolerance = 5 * math.sqrt(0.25 / num_images)
    np.testing.assert_allclose(where.mean(axis=0), np.outer(chance, chance), atol=tolerance)
    assert where.sum(axis=(1, 2)).max() == 64


# How often, which draws.


@pytest.mark.parametrize("num_channels", [1, 3])
@pytest.mark.parametrize("config", [EVERYTHING, *(only(name) for name in TRANSFORMS)], ids=("all", *TRANSFORMS))
def test_probability_0_changes_no_bit(config: AugmentConfig, num_channels: int) -> None:
    images = noise_images(4, 16, num_channels)
    images[0, :4] = -0.0
    run = tf.function(lambda x, p: augment(x, p, SEED, config), autograph=False)
    assert run(tf.constant(images), tf.constant(0.0)).numpy().tobytes() == images.tobytes()
    assert run(tf.constant(images), tf.constant(1.0)).numpy().tobytes() != images.tobytes()


# Of images that are chosen for it, half are flipped, a quarter turned by 0 degrees, and at 8x8 a quarter moved
# by 0 pixels. Each of the chances of a bend: scale, stretch, shift, and any of the two rotations.
@pytest.mark.parametrize("probability", [0.2, 0.6])
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("x_flip", lambda p: p / 2),
        ("quarter_turns", lambda p: p * 3 / 4),
        ("translation", lambda p: p * 3 / 4),
        ("geometry", lambda p: 1 - (1 - p) ** 4),
        ("colour", lambda p: 1 - (1 - p) ** 2 * (1 - p / 2)),
        ("noise", lambda p: p),
        ("cutout", lambda p: p),
    ],
)
def test_images_are_altered_as_often_as_the_probability_says(name: str, share, probability: float) -> None:
    num_images = 3000
    images = noise_images(num_images, 8)
    altered = augment(tf.constant(images), probability, SEED, only(name)).numpy() != images
    expected = share(probability)
    tolerance = 5 * math.sqrt(expected * (1 - expected) / num_images)
    assert altered.any(axis=(1, 2, 3)).mean() == pytest.approx(expected, abs=tolerance)


def test_transforms_are_drawn_independently() -> None:
    num_images = 4000
    draws = _Draws(tf.constant(0.5), SEED, num_images, 0, num_images)
    happens = np.stack([draws.happens(transform).numpy() for transform in _Transform])
    values = np.stack([draws.uniform(transform).numpy() for transform in _Transform])
    correlations = np.corrcoef(np.concatenate([happens, values])) - np.eye(2 * len(_Transform))
    assert np.abs(correlations).max() < 6 / math.sqrt(num_images)


def test_the_same_seed_gives_the_same_images_and_another_others() -> None:
    images = tf.constant(noise_images(8, 16))
    first, same = (augment(images, 0.6, SEED, EVERYTHING).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, same)
    for seed in ([3, 6], [4, 5], [5, 3], [3, 5 + 2**32]):
        other = augment(images, 0.6, tf.constant(seed, tf.int64), EVERYTHING).numpy()
        assert (other != first).any(axis=(1, 2, 3)).all(), seed


@pytest.mark.parametrize("num_shards", [2, 12])
@pytest.mark.parametrize("num_channels", [1, 3])
@pytest.mark.parametrize("has_geometry", [False, True])
def test_shards_give_what_the_whole_gives(num_shards: int, num_channels: int, has_geometry: bool) -> None:
    config = dataclasses.replace(EVERYTHING, geometry=has_geometry)
    images = noise_images(12, 32, num_channels)
    num_local = 12 // num_shards
    run = tf.function(lambda x: augment(x, 0.7, SEED, config), autograph=False)
    whole = run(tf.constant(images)).numpy()

    @tf.function(autograph=False)
    def share(part: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        altered = augment(part, 0.7, SEED, config, first=first, num_global=12)
        assert altered.shape == part.shape
        return altered

    parts = [share(tf.constant(images[i : i + num_local]), tf.constant(i)) for i in range(0, 12, num_local)]
    assert (whole != images).any(axis=(1, 2, 3)).all()
    if has_geometry:
        # The last bits of a product of matrices depend on how many are multiplied at once.
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=2e-6)
    else:
        np.testing.assert_array_equal(np.concatenate(parts), whole)


# Gradients.


@pytest.mark.parametrize("config", [EVERYTHING, *(only(name) for name in TRANSFORMS)], ids=("all", *TRANSFORMS))
def test_the_gradient_is_the_adjoint(config: AugmentConfig) -> None:
    images, directions, cotangents = (noise_images(6, 12, 3, seed) for seed in range(3))
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        altered = augment(x, 0.7, SEED, config)
        product = tf.reduce_sum(altered * cotangents, axis=(1, 2, 3))
    gradients = tape.gradient(product, x).numpy()
    # All transforms are affine, so that a finite difference is exact but for rounding, however far apart.
    difference = augment(x + directions, 0.7, SEED, config).numpy() - altered.numpy()
    forward = np.sum(difference * cotangents, axis=(1, 2, 3))
    assert (altered.numpy() != images).any()
    np.testing.assert_allclose(np.sum(gradients * directions, axis=(1, 2, 3)), forward, atol=2e-3)


@pytest.mark.parametrize("num_channels", [1, 3])
def test_second_derivatives_agree_with_finite_differences(num_channels: int) -> None:
    """As in a gradient penalty: the norm of a gradient through a nonlinear network, differentiated by images."""
    images, directions = (noise_images(3, 12, num_channels, seed) for seed in range(2))
    weights = tf.constant(noise_images(4, 12, num_channels, 2))  # [4, 12, 12, C]

    @tf.function(autograph=False)
    def penalty(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            altered = augment(x, 0.8, SEED, EVERYTHING)
            scores = tf.reduce_sum(tf.tanh(tf.einsum("nhwc,khwc->nk", altered, weights) / 4))
        gradients = tape.gradient(scores, x)
        return tf.reduce_sum(tf.square(tf.norm(tf.reshape(gradients, (3, -1)), axis=1) - 1))

    @tf.function(autograph=False)
    def second(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = penalty(x)
        return tape.gradient(value, x)

    along = float(np.sum(second(tf.constant(images)) * directions))
    step = 5e-3
    after, before = (float(penalty(tf.constant(images + sign * step * directions))) for sign in (1, -1))
    assert abs(along) > 0.05
    assert along == pytest.approx((after - before) / (2 * step), rel=0.02)


# The controller.


@pytest.mark.parametrize(
    ("probability", "sign_mean", "expected"),
    [
        (0.5, 0.9, 0.502),
        (0.5, 0.1, 0.498),
        (0.5, -1.0, 0.498),
        (0.001, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (0.999, 1.0, 1.0),
        (1.0, 1.0, 1.0),
        (0.3, math.nan, 0.3),
    ],
)
def test_the_probability_moves_against_the_sign_and_stops_at_0_and_1(
    probability: float, sign_mean: float, expected: float
) -> None:
    config = AugmentConfig(mode="adaptive", speed_kimg=500)
    adjust = tf.function(lambda p, sign: adjusted_probability(p, sign, 1000, config), autograph=False)
    adjusted = adjust(tf.constant(probability), tf.constant(sign_mean))
    assert adjusted.dtype == tf.float32
    assert float(adjusted) == pytest.approx(expected, abs=1e-7)
    assert float(adjusted_probability(probability, sign_mean, 1000, config)) == float(adjusted)


def test_the_whole_way_takes_the_images_that_the_speed_says() -> None:
    config = AugmentConfig(mode="adaptive", speed_kimg=2, interval=4)
    path = [0.0]
    while path[-1] < 1:
        path.append(float(adjusted_probability(path[-1], 1.0, 4 * 10, config)))
    assert len(path) - 1 == pytest.approx(2000 / 40, abs=1)
    assert path == sorted(path)


def test_at_the_target_the_probability_stays() -> None:
    config = AugmentConfig(mode="adaptive", target=0.5)
    assert float(adjusted_probability(0.25, 0.5, 1000, config)) == 0.25


def test_signs_are_those_of_the_scores_or_of_their_place_between_the_means() -> None:
    reals, fakes = tf.constant([[3.0], [1.0], [-1.0], [2.0]]), tf.constant([[-1.0], [0.0], [-1.0], [-2.0]])
    assert float(score_sign_mean(reals, fakes, loss_has_zero=True)) == pytest.approx(0.5)
    assert float(score_sign_mean(reals, fakes + 9, loss_has_zero=True)) == pytest.approx(0.5)
    # The border lies at (1.25 - 1) / 2; a constant added to all scores moves it along.
    for constant in (0.0, -70.0, 70.0):
        assert float(score_sign_mean(reals + constant, fakes + constant, loss_has_zero=False)) == pytest.approx(0.5)
    assert float(score_sign_mean(reals - 70, fakes - 70, loss_has_zero=True)) == -1
    assert float(score_sign_mean(reals, fakes - 9, loss_has_zero=False)) == 1
    assert float(score_sign_mean(reals[:3], reals[:3], loss_has_zero=False)) == pytest.approx(0, abs=1e-6)
    assert math.isnan(score_sign_mean(reals * math.nan, fakes, loss_has_zero=True))


# Settings.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probability": -0.1}, "augment.probability must be between 0 and 1. Received: -0.1"),
        ({"probability": 1.1}, "augment.probability must be between"),
        ({"probability": math.nan}, "augment.probability must be between"),
        ({"target": 1.0}, "augment.target must be at least 0 and below 1"),
        ({"target": -0.5}, "augment.target must be"),
        ({"speed_kimg": 0.0}, "augment.speed_kimg must be above 0"),
        ({"speed_kimg": math.inf}, "augment.speed_kimg must be above 0"),
        ({"interval": 0}, "augment.interval must be at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AugmentConfig(**changes)


@pytest.mark.parametrize(
    ("config", "num_channels", "message"),
    [
        (AugmentConfig(probability=0.3), 1, "no effect with augment.mode=off.*Received: 0.3"),
        (AugmentConfig(target=0.3), 1, "augment.target has no effect with augment.mode=off.*Received: 0.3"),
        (AugmentConfig(noise=True), 3, "augment.noise has no effect with augment.mode=off"),
        (AugmentConfig(mode="fixed"), 1, "augment.mode=fixed and augment.probability=0 no image is ever altered"),
        (only(), 1, "augment.mode=adaptive at least one transform must be on"),
        (dataclasses.replace(only(), mode="fixed", probability=0.5), 1, "augment.mode=fixed at least one"),
        (AugmentConfig(mode="adaptive"), 2, "augment.colour is for images of 1 or 3 channels.*Received: 2"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(
    config: AugmentConfig, num_channels: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_augment(config, num_channels)


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(),
        only(*TRANSFORMS),
        AugmentConfig(mode="fixed", probability=1.0),
    ],
)
def test_other_settings_are_taken(config: AugmentConfig) -> None:
    for num_channels in (1, 3):
        check_augment(config, num_channels)
    if config.mode != "off":
        check_augment(dataclasses.replace(config, colour=False, geometry=True), 2)


def test_the_order_of_assignments_does_not_matter() -> None:
    for assignments in (["mode=fixed", "probability=0.5"], ["probability=0.5", "mode=fixed"]):
        check_augment(override(AugmentConfig(), assignments), 1)


def test_settings_survive_json() -> None:
    assert from_json(AugmentConfig, dataclasses.asdict(EVERYTHING)) == EVERYTHING
    with pytest.raises(UsageError, match="mode takes one of off, fixed, adaptive"):
        override(AugmentConfig(), ["mode=on"])


def test_colour_of_two_channels_is_refused_where_it_would_be_applied() -> None:
    with pytest.raises(UsageError, match=r"augment.colour is for images of 1 or 3 channels"):
        augment(tf.zeros((2, 8, 8, 2)), 0.5, SEED, only("colour"))
    assert augment(tf.zeros((2, 8, 8, 2)), 0.5, SEED, only("geometry", "quarter_turns")).shape == (2, 8, 8, 2)
