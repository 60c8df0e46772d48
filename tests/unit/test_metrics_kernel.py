"""KID: against scikit-learn's kernel, unbiased, the same in blocks, with intervals that cover."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel as sklearn_kernel

from medsynth.metrics import kernel
from medsynth.metrics.intervals import block_slices
from medsynth.metrics.kernel import block_sums, kid, kid_estimate, kid_subsets, polynomial_kernel


def features(num_images: int, seed: int, shift: float = 0.0, size: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(loc=shift, size=(num_images, size)).astype(np.float32)


def plain_kid(real: np.ndarray, fake: np.ndarray) -> float:
    """The definition, with whole matrices."""
    size = real.shape[1]
    own = []
    for one in (real, fake):
        values = sklearn_kernel(one.astype(np.float64), degree=3, gamma=1 / size, coef0=1)
        own.append((values.sum() - np.trace(values)) / (len(one) * (len(one) - 1)))
    both = sklearn_kernel(real.astype(np.float64), fake.astype(np.float64), degree=3, gamma=1 / size, coef0=1)
    return float(own[0] + own[1] - 2 * both.mean())


def test_kernel_is_that_of_scikit_learn() -> None:
    first, second = features(5, 0).astype(np.float64), features(7, 1).astype(np.float64)
    expected = sklearn_kernel(first, second, degree=3, gamma=1 / 6, coef0=1)
    np.testing.assert_allclose(polynomial_kernel(first, second), expected, rtol=1e-12)


def test_a_set_against_itself_keeps_the_pairs_of_equal_images_between_the_sets() -> None:
    real = features(50, 12)
    assert kid(real, real) == pytest.approx(plain_kid(real, real), rel=1e-10)
    assert kid(real, real) == kid(real, real.copy()) < 0


@pytest.mark.parametrize("num_fakes", [90, 131])
def test_value_is_that_of_the_definition(num_fakes: int) -> None:
    real, fake = features(90, 2), features(num_fakes, 3, shift=0.3)
    expected = plain_kid(real, fake)
    assert expected > 0.01
    assert kid(real, fake) == pytest.approx(expected, rel=1e-10)
    assert kid_estimate(real, fake).value == pytest.approx(expected, rel=1e-10)


def test_blocks_of_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = features(100, 4), features(90, 5, shift=0.1)
    before = kid_estimate(real, fake)
    heights = []
    monkeypatch.setattr(kernel, "_BYTES_AT_ONCE", 8 * 90 * 3)
    original = kernel.polynomial_kernel

    def noted(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        heights.append(len(first))
        return original(first, second)

    monkeypatch.setattr(kernel, "polynomial_kernel", noted)
    after = kid_estimate(real, fake)
    assert max(heights) <= 3, "the limit was to be felt"
    assert (after.value, after.low, after.high) == pytest.approx((before.value, before.low, before.high), rel=1e-9)


def test_the_limit_of_memory_holds_at_10_000_images() -> None:
    rows = kernel._BYTES_AT_ONCE // (8 * 10_000)
    assert 8 * 10_000 * rows <= 200e6
    assert rows > 100


def test_left_out_blocks_give_the_values_of_the_rest() -> None:
    real, fake = features(60, 6), features(48, 7, shift=0.2)
    without = np.array([
        plain_kid(np.delete(real, slice(10 * g, 10 * g + 10), axis=0), np.delete(fake, slice(8 * g, 8 * g + 8), axis=0))
        for g in range(6)
    ])  # fmt: skip
    error = np.sqrt(5 / 6 * np.sum((without - without.mean()) ** 2))
    found = kid_estimate(real, fake, num_blocks=6)
    assert found.high - found.value == pytest.approx(2.5705818 * error, rel=1e-6)


def test_block_sums_add_up_to_the_kernel_of_all_pairs() -> None:
    values = features(30, 8)
    blocks = block_slices(30, 4)
    whole = polynomial_kernel(values.astype(np.float64), values.astype(np.float64))
    np.fill_diagonal(whole, 0.0)
    expected = [[whole[a, b].sum() for b in blocks] for a in blocks]
    np.testing.assert_allclose(block_sums(values, None, blocks, blocks), expected, rtol=1e-12)


def test_unbiased_and_covered_where_both_sets_are_alike_and_where_not() -> None:
    """The true value is 0 without a shift; with one it is estimated from 4,000 images."""
    for shift in (0.0, 0.5):
        truth = 0.0 if shift == 0 else kid(features(4000, 1000), features(4000, 1001, shift=shift))
        found = [kid_estimate(features(96, 2 * i), features(96, 2 * i + 1, shift=shift)) for i in range(100)]
        values = np.array([one.value for one in found])
        assert abs(values.mean() - truth) < 4 * values.std() / 10
        assert np.mean([one.low <= truth <= one.high for one in found]) > 0.88
    assert truth > 0.05


def test_subsets_are_disjoint_and_their_interval_covers() -> None:
    real, fake = features(60, 9), features(60, 10, shift=0.5)
    found = kid_subsets(real, fake, subset_size=20)
    parts = [plain_kid(real[i : i + 6], fake[i : i + 6]) for i in range(0, 60, 6)]
    assert found.value == pytest.approx(np.mean(parts), rel=1e-9), "ten subsets at least, so of six images"
    covered = [kid_subsets(features(200, 2 * i), features(200, 2 * i + 1)) for i in range(100)]
    assert np.mean([one.low <= 0 <= one.high for one in covered]) > 0.88
