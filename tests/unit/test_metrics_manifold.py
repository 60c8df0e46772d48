"""Precision, recall, density, coverage: against scikit-learn's neighbours, known answers, blocks, intervals."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from medsynth.metrics import manifold
from medsynth.metrics.intervals import block_numbers
from medsynth.metrics.manifold import manifold_estimates, neighbour_radii

NAMES = ("precision", "recall", "density", "coverage")


def features(num_images: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(num_images, 5)) * scale + shift).astype(np.float32)


def radii(values: np.ndarray, k: int) -> np.ndarray:
    distances, _ = NearestNeighbors(n_neighbors=k + 1).fit(values).kneighbors(values)
    return distances[:, k]  # the nearest one is the image itself


def by_definition(real: np.ndarray, fake: np.ndarray) -> tuple[float, ...]:
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    distances = cdist(fake, real)
    wide = distances <= radii(real, 5)
    return (
        float((distances <= radii(real, 3)).any(axis=1).mean()),
        float((cdist(real, fake) <= radii(fake, 3)).any(axis=1).mean()),
        float(wide.sum() / 5 / len(fake)),
        float(wide.any(axis=0).mean()),
    )


def values(real: np.ndarray, fake: np.ndarray, num_blocks: int = 0) -> tuple[float, ...]:
    found = manifold_estimates(real, fake, num_blocks=num_blocks)
    assert tuple(found) == NAMES
    return tuple(one.value for one in found.values())


@pytest.mark.parametrize(("num_fakes", "shift", "scale"), [(150, 0.0, 1.0), (97, 1.0, 0.6), (150, 0.5, 1.7)])
def test_values_are_those_of_the_definitions(num_fakes: int, shift: float, scale: float) -> None:
    real, fake = features(150, 0), features(num_fakes, 1, shift, scale)
    expected = by_definition(real, fake)
    assert values(real, fake) == pytest.approx(expected, abs=1e-12)
    assert values(real, fake, num_blocks=12) == pytest.approx(expected, abs=1e-12)


def test_the_same_set_scores_highest_and_a_distant_one_lowest() -> None:
    real = features(120, 2)
    precision, recall, density, coverage = values(real, real.copy())
    assert (precision, recall, coverage) == (1.0, 1.0, 1.0)
    assert density == pytest.approx(1.2), "each image lies in its own ball and in those of five others, on average"
    assert values(real, real + 50) == (0.0, 0.0, 0.0, 0.0)


def test_one_outlier_fools_precision_more_than_density() -> None:
    real = features(200, 3)
    real[0] = 30.0
    fake = features(200, 4) * 0.2 + 15.0  # between the outlier and the others, in its huge ball
    precision, _, density, _ = values(real, fake)
    assert precision == 1.0
    assert density < 0.25


def test_collapsed_fakes_are_precise_and_cover_little() -> None:
    real = features(200, 5)
    fake = np.repeat(real[:4], 50, axis=0) + features(200, 6) * 0.01
    precision, recall, _, coverage = values(real, fake)
    assert precision == 1.0
    assert max(recall, coverage) < 0.2


def test_blocks_of_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = features(130, 7), features(130, 8, shift=0.3)
    before = manifold_estimates(real, fake)
    monkeypatch.setattr(manifold, "_BYTES_AT_ONCE", 8 * 130 * 7)
    after = manifold_estimates(real, fake)
    for name in NAMES:
        ours, theirs = after[name], before[name]
        assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high), abs=1e-12)


def without_block(values: np.ndarray, block: int, num_blocks: int) -> np.ndarray:
    return values[block_numbers(len(values), num_blocks) != block]


def test_left_out_blocks_give_the_values_of_the_rest() -> None:
    real, fake = features(90, 9), features(75, 10, shift=0.4)
    without = np.array([by_definition(*(without_block(side, g, 5) for side in (real, fake))) for g in range(5)])
    assert len(np.unique(without[:, 2])) == 5
    errors = np.sqrt(4 / 5 * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    found = manifold_estimates(real, fake, num_blocks=5)
    for name, error in zip(NAMES, errors, strict=True):
        assert error > 0
        assert found[name].low == pytest.approx(found[name].value - 2.7764451 * error, rel=1e-6), name


def test_radii_hold_where_all_neighbours_are_of_one_block() -> None:
    """Copies of one image side by side fill a block: without it, the radius comes from far away."""
    centres = np.concatenate([np.zeros((40, 5)), features(60, 11) + 9]).astype(np.float64)
    blocks = np.repeat([0, 1, 2], [39, 1, 60])
    (found,) = neighbour_radii(centres, blocks, (3,), 3)
    assert found[0, 0] == 0.0
    for block in range(3):
        kept = blocks != block
        for image in range(len(centres)):
            others = np.delete(centres, image, axis=0)[np.delete(kept, image)]
            expected = np.sort(cdist(centres[image : image + 1], others)[0])[2] ** 2
            assert found[1 + block, image] == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_intervals_cover_the_mean_of_many_draws() -> None:
    found = [manifold_estimates(features(96, 2 * i), features(96, 2 * i + 1, shift=0.4)) for i in range(60)]
    for name in NAMES:
        mean = np.mean([one[name].value for one in found])
        assert 0.05 < mean < 1.0
        assert np.mean([one[name].low <= mean <= one[name].high for one in found]) > 0.88, name
