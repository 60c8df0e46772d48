"""Modes that fakes occupy and near-duplicates among them: generators of known collapse, the floor, the intervals."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import norm

from medsynth.errors import DataError
from medsynth.metrics import birthday, manifold, modes
from medsynth.metrics.birthday import birthday_estimates
from medsynth.metrics.intervals import Estimate, block_numbers
from medsynth.metrics.manifold import neighbour_radii
from medsynth.metrics.modes import different_bins, divergence, mode_estimates, num_modes

NUM_MODES, SIZE = 20, 30
CENTRES = np.random.default_rng(0).normal(size=(NUM_MODES, SIZE)) * 4


def mixture(num_images: int, seed: int, first_modes: int = NUM_MODES) -> np.ndarray:
    """Features of equally frequent modes, of which a collapsed generator has only the first ones."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, first_modes, num_images)
    return (CENTRES[chosen] + rng.normal(size=(num_images, SIZE))).astype(np.float32)


def repeated(num_images: int, seed: int, support: int) -> np.ndarray:
    """Features of a generator that makes only so many images, with a little noise."""
    rng = np.random.default_rng(seed)
    originals = mixture(support, seed + 1)
    return originals[rng.integers(0, support, num_images)] + rng.normal(size=(num_images, SIZE)) * 0.02


def share_that_holds(found: list[Estimate]) -> float:
    mean = np.mean([one.value for one in found])
    return float(np.mean([one.low <= mean <= one.high for one in found]))


@pytest.mark.parametrize(
    ("first_modes", "smallest", "largest"), [(20, 0.98, 1.03), (10, 0.42, 0.58), (5, 0.19, 0.31), (1, 0.03, 0.08)]
)
def test_modes_is_the_share_of_the_modes_that_a_generator_makes(
    first_modes: int, smallest: float, largest: float
) -> None:
    found = mode_estimates(mixture(600, 1), mixture(600, 2, first_modes))
    assert smallest < found["modes"].value < largest
    assert found["modes"].low < first_modes / NUM_MODES < found["modes"].high * 1.1
    assert (found["ndb"].value < 0.12) == (first_modes == NUM_MODES)
    assert found["ndb"].low <= found["ndb"].value <= found["ndb"].high


@pytest.mark.parametrize(("size", "num_images"), [(5, 100), (200, 100), (30, 400)])
def test_other_reals_score_near_the_ideal_however_many_features(size: int, num_images: int) -> None:
    """Bins of all reals would hold fewer new images where they are small: many features show it."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(5):
        found.append(mode_estimates(*rng.normal(size=(2, num_images, size)).astype(np.float32), num_blocks=0))
    assert np.mean([one["modes"].value for one in found]) == pytest.approx(1.0, abs=0.05)
    assert np.mean([one["ndb"].value for one in found]) == pytest.approx(0.05, abs=0.04)


def test_what_is_spread_otherwise_scores_less_than_what_only_lacks_modes() -> None:
    """Half of the modes as often as in the reals, or one of these far more often."""
    real, even = mixture(600, 1), mixture(600, 2, 10)
    uneven = np.concatenate([mixture(300, 3, 10), mixture(300, 4, 1)])
    values = [mode_estimates(real, fake, num_blocks=0)["modes"].value for fake in (even, uneven)]
    assert values[1] < 0.8 * values[0]


def test_divergence_is_nearly_unbiased_and_finite_without_reals() -> None:
    rng = np.random.default_rng(5)
    fakes, reals = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.25, 0.25, 0.25, 0.25])
    exact = float((fakes[:3] * np.log(fakes[:3] / reals[:3])).sum())
    counts = rng.multinomial(60, fakes, 4000).astype(float), rng.multinomial(30, reals, 4000).astype(float)
    assert divergence(*counts).mean() == pytest.approx(exact, abs=0.01)
    with np.errstate(divide="ignore", invalid="ignore"):
        naive = np.nansum(counts[0] / 60 * np.log(counts[0] / 60 / (counts[1] / 30)), axis=1)
    naive = naive[np.isfinite(naive)].mean()
    assert abs(naive - exact) > 0.03, "what the logarithms of counts would give"
    assert np.isfinite(divergence(np.array([5.0, 5.0]), np.array([10.0, 0.0])))


def test_bins_differ_by_the_two_proportion_test() -> None:
    statsmodels_z = (0.3 - 0.2) / np.sqrt(0.25 * 0.75 * (2 / 200))
    assert 2 * norm.sf(statsmodels_z) == pytest.approx(0.0209, abs=1e-4)
    assert different_bins(np.array([60.0, 140.0]), np.array([40.0, 160.0])) == 1.0
    assert different_bins(np.array([55.0, 145.0, 0.0]), np.array([40.0, 160.0, 0.0])) == 0.0
    assert different_bins(np.array([[10.0, 0.0], [3.0, 7.0]]), np.array([0.0, 10.0])).tolist() == [1.0, 0.0]


def test_left_out_blocks_are_left_out_of_the_counts() -> None:
    bins, blocks = np.array([0, 0, 1, 2, 2, 2]), block_numbers(6, 3)
    found = modes._counts(bins, blocks, 4, 3)
    assert found.tolist() == [[2, 1, 3, 0], [0, 1, 3, 0], [2, 0, 2, 0], [2, 1, 1, 0]]
    assert modes._counts(bins, blocks * 0, 4, 0).tolist() == [[2, 1, 3, 0]]


@pytest.mark.parametrize(("num_images", "expected"), [(48, 4), (10, 2), (999, 99), (10_000, 100)])
def test_number_of_modes_follows_from_n(num_images: int, expected: int) -> None:
    assert num_modes(num_images) == expected


def test_values_need_no_intervals_and_repeat_with_the_seed() -> None:
    real, fake = mixture(120, 1), mixture(110, 2, 10)
    first, again, bare = (
        mode_estimates(real, fake, seed=3),
        mode_estimates(real, fake, seed=3),
        mode_estimates(real, fake, seed=3, num_blocks=0),
    )
    assert first == again
    for name, one in first.items():
        assert one.value == pytest.approx(bare[name].value, rel=1e-12)
        assert one.low < one.value < one.high
        assert np.isnan(bare[name].low)


@pytest.mark.parametrize(("support", "num_images"), [(20, 144), (200, 144), (1000, 400)])
def test_support_of_a_generator_that_repeats_images_is_found(support: int, num_images: int) -> None:
    found = birthday_estimates(mixture(num_images, 1), repeated(num_images, 2, support))
    assert found["support"].low < support < found["support"].high
    assert found["support"].value == pytest.approx(support, rel=0.3)
    chance = 1 - (1 - 1 / support) ** (num_images - 1)
    assert found["birthday"].value == pytest.approx(chance, abs=0.12)


def test_as_many_other_reals_as_expected_have_a_near_duplicate() -> None:
    found = [birthday_estimates(mixture(200, 2 * i), mixture(200, 2 * i + 1), num_blocks=0) for i in range(20)]
    assert np.mean([one["birthday"].value for one in found]) == pytest.approx(0.05, abs=0.025)
    assert np.median([one["support"].value for one in found]) > 10 * 200


def test_no_duplicate_leaves_a_bounded_support_with_an_interval() -> None:
    real = mixture(100, 1)
    spread = np.random.default_rng(2).normal(size=(100, SIZE)) * 50
    found = birthday_estimates(real, spread)
    pairs = 100 * 99 / 2
    assert found["birthday"].value == 0.0
    assert (found["support"].value, found["support"].high) == pytest.approx((pairs, pairs))
    assert found["support"].low == pytest.approx(pairs / 3.6889, rel=1e-4), "the exact Poisson limit of no event"


def test_duplicates_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = mixture(90, 1), mixture(80, 2, 3) * 0.9
    groups = np.arange(90) // 3, np.arange(80) // 2

    def by_definition(keep: np.ndarray, keep_fake: np.ndarray) -> tuple[float, float]:
        distances = [cdist(side.astype(np.float64), side.astype(np.float64)) for side in (real[keep], fake[keep_fake])]
        for matrix, group in zip(distances, (groups[0][keep], groups[1][keep_fake]), strict=True):
            matrix[group[:, None] == group] = np.inf
        nearest = np.sort(distances[0].min(axis=1))
        near = distances[1] <= nearest[int(np.ceil(0.05 * len(nearest))) - 1] + 1e-9
        return near.any(axis=1).mean(), np.isfinite(distances[1]).sum() / 2 / (near.sum() / 2 + 1)

    names = ("birthday", "support")
    expected = by_definition(np.ones(90, bool), np.ones(80, bool))
    without = np.array([by_definition(block_numbers(90, 5) != g, block_numbers(80, 5) != g) for g in range(5)])
    error = np.sqrt(4 / 5 * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    assert 0 < expected[0] < 1
    assert error[0] > 0
    for bytes_at_once in (2**26, 8 * 90 * 7):
        monkeypatch.setattr(manifold, "_BYTES_AT_ONCE", bytes_at_once)
        found = birthday_estimates(real, fake, real_groups=groups[0], fake_groups=groups[1], num_blocks=5)
        assert tuple(found[name].value for name in names) == pytest.approx(expected, rel=1e-9)
        assert found["birthday"].high == pytest.approx(min(expected[0] + 2.7764451 * error[0], 1.0), rel=1e-6)


def test_images_of_one_patient_are_no_near_duplicates() -> None:
    """Frames of a patient are alike: they would set a threshold that finds nothing, or fill the floor."""
    rng = np.random.default_rng(7)
    groups = np.arange(200) // 5
    real, other = (np.repeat(mixture(40, seed), 5, axis=0) + rng.normal(size=(200, SIZE)) * 0.1 for seed in (1, 2))
    fake = mixture(200, 3, 1) * 0.8
    known = birthday_estimates(real, fake, real_groups=groups, num_blocks=0)
    unknown = birthday_estimates(real, fake, num_blocks=0)
    assert unknown["birthday"].value == 0.0
    assert known["birthday"].value > 0.5
    floor = birthday_estimates(real, other, real_groups=groups, fake_groups=groups, num_blocks=0)
    assert floor["birthday"].value < 0.3
    assert birthday_estimates(real, other, real_groups=groups, num_blocks=0)["birthday"].value == 1.0


@pytest.mark.parametrize("num_patients", [1, 2])
def test_too_few_patients_are_refused(num_patients: int) -> None:
    groups = np.minimum(np.arange(96), num_patients - 1)
    with pytest.raises(DataError, match=f"different patients.*Received: {num_patients} patient"):
        birthday_estimates(mixture(96, 1), mixture(96, 2), real_groups=groups)


def test_groups_are_no_neighbours_of_their_own() -> None:
    centres, groups, blocks = mixture(60, 1).astype(np.float64), np.arange(60) // 4, block_numbers(60, 3)
    (found,) = neighbour_radii(centres, blocks, (1,), 3, groups=groups)
    distances = cdist(centres, centres) ** 2
    distances[groups[:, None] == groups] = np.inf
    np.testing.assert_allclose(found[0], distances.min(axis=1), rtol=1e-8)
    np.testing.assert_allclose(found[2], distances[:, blocks != 1].min(axis=1), rtol=1e-8)


@pytest.mark.parametrize("first_modes", [20, 10])
def test_intervals_hold_the_mean_of_many_draws(first_modes: int) -> None:
    found = []
    for draw in range(20):
        sides = mixture(120, 2 * draw), mixture(120, 2 * draw + 1, first_modes)
        found.append(mode_estimates(*sides) | birthday_estimates(*sides))
    for name in found[0]:
        assert share_that_holds([one[name] for one in found]) >= 0.84, name


def test_a_poisson_interval_is_exact() -> None:
    assert birthday._poisson_interval(0) == pytest.approx((0.0, 3.6889), abs=1e-4)
    assert birthday._poisson_interval(10) == pytest.approx((4.7954, 18.3904), abs=1e-4)
