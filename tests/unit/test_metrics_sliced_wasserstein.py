"""Sliced Wasserstein distance: against scipy's distance, known answers, grey as colour, intervals."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from medsynth.errors import UsageError
from medsynth.metrics import sliced_wasserstein as module
from medsynth.metrics.intervals import block_numbers
from medsynth.metrics.sliced_wasserstein import (
    draw_patches,
    laplacian_pyramid,
    sliced_distance,
    sliced_wasserstein_estimates,
)


def images(num_images: int, seed: int, size: int = 16, spread: float = 40.0, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(128, spread, (num_images, size, size, channels)).clip(0, 255).astype(np.uint8)


def waves(num_images: int, seed: int, cycles: float, size: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6.28, (num_images, 1, 1))
    values = 128 + 60 * np.sin(2 * np.pi * cycles * np.arange(size) / size + phase) + rng.normal(
        0, 10, (num_images, size, size)
    )  # fmt: skip
    return values.clip(0, 255).astype(np.uint8)[..., None]


def test_the_levels_of_a_pyramid_add_up_to_the_image() -> None:
    pictures = images(3, 0, size=64, channels=3)
    levels = laplacian_pyramid(pictures, 3)
    assert [level.shape for level in levels] == [(3, 64, 64, 3), (3, 32, 32, 3), (3, 16, 16, 3)]
    whole = levels[2]
    for level in (levels[1], levels[0]):
        whole = level + module._enlarged(whole)
    np.testing.assert_allclose(whole, pictures, atol=1e-3)


def test_a_constant_image_is_only_in_the_coarsest_level() -> None:
    levels = laplacian_pyramid(np.full((1, 32, 32, 1), 77, np.uint8), 2)
    np.testing.assert_allclose(levels[0], 0.0, atol=1e-4)
    np.testing.assert_allclose(levels[1], 77.0, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_are_cut_out_by_channel_column_and_row(channels: int) -> None:
    level = np.random.default_rng(1).normal(size=(2, 20, 24, channels)).astype(np.float32)
    (patches,) = draw_patches([level], np.random.RandomState(5))
    rng = np.random.RandomState(5)
    columns, rows = rng.randint(3, 21, size=256), rng.randint(3, 17, size=256)
    cut = [level[i // 128, r - 3 : r + 4, c - 3 : c + 4] for i, (c, r) in enumerate(zip(columns, rows, strict=True))]
    expected = np.stack(cut).transpose(0, 3, 2, 1)  # [P, row, column, C] -> [P, C, column, row]
    expected = expected - expected.mean(axis=(0, 2, 3), keepdims=True)
    expected = expected / expected.std(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(patches, expected.reshape(256, -1), atol=1e-5)
    assert (columns.max(), rows.max()) == (20, 16), "up to the last place where a patch fits"


def test_distance_is_that_of_scipy_in_each_direction() -> None:
    first = np.random.default_rng(2).normal(size=(90, 4)).astype(np.float32)
    second = np.random.default_rng(3).normal(0.3, 1.4, size=(90, 4)).astype(np.float32)
    found = sliced_distance(first, second, np.random.RandomState(7))
    rng = np.random.RandomState(7)
    expected = []
    for _ in range(4):
        directions = rng.randn(4, 128)
        directions /= np.linalg.norm(directions, axis=0)
        expected += [wasserstein_distance(first @ one, second @ one) for one in directions.T]
    assert len(expected) == 512
    assert found == pytest.approx(np.mean(expected), rel=1e-5)


def test_grey_counts_as_three_equal_channels() -> None:
    real, fake = images(60, 4), images(60, 5, spread=60.0)
    grey = sliced_wasserstein_estimates(real, fake, seed=1, num_blocks=0)
    colour = sliced_wasserstein_estimates(*(np.repeat(side, 3, axis=3) for side in (real, fake)), seed=1, num_blocks=0)
    assert grey["swd"].value == pytest.approx(colour["swd"].value, rel=1e-4)


def test_each_level_down_to_16_has_a_row_and_sees_its_own_detail() -> None:
    """Waves of two and twelve cycles differ; two and two do not, at any level."""
    coarse, again, fine = waves(50, 6, 2), waves(50, 7, 2), waves(50, 8, 12)
    alike = sliced_wasserstein_estimates(coarse, again, seed=2, num_blocks=0)
    unlike = sliced_wasserstein_estimates(coarse, fine, seed=2, num_blocks=0)
    assert list(unlike) == ["swd", "swd_32", "swd_16"]
    for one in (alike, unlike):
        assert one["swd"].value == pytest.approx((one["swd_32"].value + one["swd_16"].value) / 2)
    assert unlike["swd_32"].value > 3 * alike["swd_32"].value
    assert unlike["swd_16"].value > 3 * alike["swd_16"].value


def test_a_set_against_itself_is_near_zero_and_the_seed_fixes_the_value() -> None:
    real = images(200, 9)
    same = sliced_wasserstein_estimates(real, real, seed=3, num_blocks=0)["swd"].value
    other = sliced_wasserstein_estimates(real, images(200, 10, spread=70.0), seed=3, num_blocks=0)["swd"].value
    # Other places are drawn from the same images, so the distance is small and not zero.
    assert 0 < same < other
    assert same == sliced_wasserstein_estimates(real, real, seed=3, num_blocks=0)["swd"].value
    assert same != sliced_wasserstein_estimates(real, real, seed=4, num_blocks=0)["swd"].value


def test_blocks_of_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = images(50, 11, size=32), images(50, 12, size=32, spread=50.0)
    monkeypatch.setattr(module, "DIRECTIONS_PER_REPEAT", 24)
    before = sliced_wasserstein_estimates(real, fake, seed=5)
    monkeypatch.setattr(module, "_IMAGES_AT_ONCE", 7)
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", 4 * 128 * 50 * 5)
    after = sliced_wasserstein_estimates(real, fake, seed=5)
    for name, one in before.items():
        assert (after[name].value, after[name].high) == pytest.approx((one.value, one.high), rel=1e-4)


def test_left_out_blocks_on_the_grid_give_the_distances_of_the_rest() -> None:
    rng = np.random.default_rng(13)
    first, second = rng.normal(size=600).astype(np.float32), rng.normal(0.2, 1.1, 600).astype(np.float32)
    found = module._left_out_distances(first, second, 6)
    blocks = block_numbers(600, 6)
    expected = [wasserstein_distance(first[blocks != g], second[blocks != g]) for g in range(6)]
    assert np.ptp(expected) > 0.005
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    np.testing.assert_allclose(found - found.mean(), expected - np.mean(expected), atol=1e-4)


def test_interval_covers_the_mean_of_many_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images differ in contrast, so that patches of one image are alike."""

    def draw(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        spread = rng.uniform(20, 60, (48, 1, 1, 1))
        return (128 + spread * rng.normal(size=(48, 16, 16, 1))).clip(0, 255).astype(np.uint8)

    monkeypatch.setattr(module, "DIRECTIONS_PER_REPEAT", 6)
    found = [sliced_wasserstein_estimates(draw(2 * i), draw(2 * i + 1) // 2, seed=i)["swd"] for i in range(24)]
    mean = np.mean([one.value for one in found])
    assert np.mean([one.low <= mean <= one.high for one in found]) > 0.8


@pytest.mark.parametrize(("first", "second"), [((8, 8), (8, 8)), ((8, 16), (9, 16))])
def test_small_images_and_unequal_sets_are_refused(first: tuple[int, int], second: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="at least 16x16"):
        sliced_wasserstein_estimates(images(first[0], 0, first[1]), images(second[0], 1, second[1]), seed=0)
