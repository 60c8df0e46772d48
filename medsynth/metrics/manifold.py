"""Precision, recall, density and coverage: two sets of features compared by nearest neighbours.

A set's manifold is the union of balls around its images, each as wide as the distance to the image's
k-th nearest neighbour in the same set.

- precision: share of the fakes inside the reals' manifold (do synthetic images look real?)
- recall: share of the reals inside the fakes' manifold (does every kind of real image occur?)
- density: mean number of real balls that a fake lies in, over k; unlike precision not fooled by outliers; may exceed 1
- coverage: share of the real balls that hold a fake

Sources: Kynkaanniemi et al. 2019, https://arxiv.org/abs/1904.06991, equations 1-2 (precision, recall; k = 3);
Naeem et al. 2020, https://arxiv.org/abs/2002.09797, equations 5 and 9 (density, coverage; k = 5).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.metrics.intervals import NUM_BLOCKS, Estimate, block_numbers, jackknife_estimate

Features = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]

NEIGHBOURS_PRECISION, NEIGHBOURS_DENSITY = 3, 5
_BYTES_AT_ONCE = 64 * 2**20  # of distances in memory
# Neighbours that are remembered of an image, so that enough are left without those of one block.
_NEIGHBOURS_KEPT = 24
# Squared distances carry rounding errors of this share at most; a copy of the neighbour that sets a radius is inside.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Balls:
    """A set of features with the radii of its balls.

    Attributes:
        centres: float64 [N, D].
        blocks: The block of every centre, [N].
        radii: Squared radii, [1 + G, N]: of all images, then without each block.
    """

    centres: Matrix
    blocks: npt.NDArray[np.int64]
    radii: Matrix


def manifold_estimates(real: Features, fake: Features, *, num_blocks: int = NUM_BLOCKS) -> dict[str, Estimate]:
    """Return `precision`, `recall`, `density` and `coverage` with jackknife intervals.

    A bootstrap sample holds copies, and a copy is its own nearest neighbour, so the balls would shrink. Blocks of both
    sets are left out instead, radii and all. Where nothing changes without any block (a precision of 1, say), the
    interval has no width, which is not certainty.

    Args:
        real: [N, D], N above 5.
        fake: [M, D], M above 3.
        num_blocks: Blocks; 0 for values without intervals.
    """
    largest = {"density": np.inf}
    return {
        name: jackknife_estimate(values[0], values[1:]).within(0.0, largest.get(name, 1.0))
        for name, values in manifold_values(real, fake, num_blocks=num_blocks).items()
    }


def manifold_values(real: Features, fake: Features, *, num_blocks: int) -> dict[str, Matrix]:
    """Return `precision`, `recall`, `density` and `coverage` of all images, then without each pair of blocks: [1 + G].

    Args:
        real: [N, D], N above 5.
        fake: [M, D], M above 3.
        num_blocks: G, 0 or more.
    """
    sides = []
    for features in (real, fake):
        centres = np.asarray(features, np.float64)
        sides.append((centres, block_numbers(len(centres), max(num_blocks, 1))))
    narrow, wide = (
        neighbour_radii(*sides[0], (NEIGHBOURS_PRECISION, NEIGHBOURS_DENSITY), num_blocks),
        neighbour_radii(*sides[1], (NEIGHBOURS_PRECISION,), num_blocks),
    )
    real_narrow, real_wide = (Balls(*sides[0], radii) for radii in narrow)
    fake_narrow = Balls(*sides[1], wide[0])
    in_real, _, _ = _inside(real_narrow, *sides[1])
    in_fake, _, _ = _inside(fake_narrow, *sides[0])
    _, counts, held = _inside(real_wide, *sides[1])
    return {
        "precision": _shares(in_real, sides[1][1]),
        "recall": _shares(in_fake, sides[0][1]),
        "density": _shares(counts, sides[1][1]) / NEIGHBOURS_DENSITY,
        "coverage": _shares(held, sides[0][1]),
    }


def realism_scores(real: Features, fake: Features) -> Matrix:
    """Return how realistic each fake is, [M]: above 1 where it lies in a ball of the reals, without those of outliers.

    The largest, over the real images, of the radius of a real image's ball over the fake's distance to that image.
    Balls wider than the median one are left out, as they say nothing of images near them.

    Args:
        real: [N, D], N above 3.
        fake: [M, D].

    Source: Kynkaanniemi et al. 2019, https://arxiv.org/abs/1904.06991, section 5, equation 3 (k = 3).
    """
    centres, points = (np.asarray(features, np.float64) for features in (real, fake))
    (radii,) = neighbour_radii(centres, np.zeros(len(centres), np.int64), (NEIGHBOURS_PRECISION,), 0)
    narrow = radii[0] <= np.median(radii[0])
    norms = [np.einsum("nd,nd->n", values, values) for values in (points, centres[narrow])]
    scores = np.empty(len(points))
    for start, distances in distance_chunks(points, norms[0], centres[narrow], norms[1]):
        with np.errstate(divide="ignore", invalid="ignore"):  # a copy of a real image lies at no distance
            ratios = np.nan_to_num(radii[0, narrow] / distances, nan=np.inf)
        scores[start : start + len(distances)] = np.sqrt(ratios.max(axis=1))
    return scores


def neighbour_radii(
    centres: Matrix,
    blocks: npt.NDArray[np.int64],
    neighbours: tuple[int, ...],
    num_blocks: int,
    *,
    groups: npt.NDArray[np.int64] | None = None,
) -> list[Matrix]:
    """Return, for each k, the squared distance of every centre to its k-th nearest other centre.

    Args:
        centres: [N, D].
        blocks: The block of every centre, [N].
        neighbours: The k that are wanted.
        num_blocks: G.
        groups: Centres of one group, [N], are no neighbours of each other; None: each is a group of its own.

    Returns:
        [1 + G, N] for each k: with all centres, then without those of each block. Infinite where there are less.
    """
    num_images = len(centres)
    num_kept = min(_NEIGHBOURS_KEPT, num_images - 1)
    radii = [np.empty((1 + num_blocks, num_images)) for _ in neighbours]
    norms = np.einsum("nd,nd->n", centres, centres)
    for start, distances in distance_chunks(centres, norms, centres, norms):
        rows = np.arange(len(distances))
        forget_own(distances, start, groups)
        nearest = np.argpartition(distances, num_kept - 1, axis=1)[:, :num_kept]
        values = np.take_along_axis(distances, nearest, axis=1)
        order = np.argsort(values, axis=1)
        values = np.take_along_axis(values, order, axis=1)
        nearest_blocks = blocks[np.take_along_axis(nearest, order, axis=1)]
        stop = start + len(distances)
        for without in range(-1, num_blocks):
            ranks = np.cumsum(nearest_blocks != without, axis=1)
            for number, k in enumerate(neighbours):
                place = np.argmax(ranks >= k, axis=1)
                found = values[rows, place]
                for row in np.flatnonzero(ranks[:, -1] < k):  # its neighbours are all of this block
                    rest = distances[row, blocks != without]
                    found[row] = np.partition(rest, k - 1)[k - 1] if len(rest) >= k else np.inf
                radii[number][1 + without, start:stop] = found * (1.0 + _ROUNDING)
    return radii


def forget_own(distances: Matrix, start: int, groups: npt.NDArray[np.int64] | None) -> None:
    """Make the distances [rows, N] of images from `start` on to themselves, and to their group, infinite in place."""
    rows = np.arange(len(distances))
    distances[rows, start + rows] = np.inf
    if groups is not None:
        distances[groups[start : start + len(rows), None] == groups] = np.inf


def _inside(balls: Balls, points: Matrix, point_blocks: npt.NDArray[np.int64]) -> tuple[Matrix, Matrix, Matrix]:
    """Say which points lie in which balls, with all images and without each block of both sets.

    Args:
        balls: N balls.
        points: [M, D].
        point_blocks: The block of every point, [M].

    Returns:
        Whether a point is in any ball, and in how many, both [1 + G, M]; whether a ball holds a point, [1 + G, N].
    """
    num_rows = len(balls.radii)
    counts = np.zeros((num_rows, len(points)))
    held = np.zeros((num_rows, len(balls.centres)))
    widest = balls.radii.max(axis=0)
    norms = [np.einsum("nd,nd->n", values, values) for values in (points, balls.centres)]
    for start, distances in distance_chunks(points, norms[0], balls.centres, norms[1]):
        # Few pairs are near enough for any radius, so the rest of the work is on those alone.
        near, ball = np.nonzero(distances <= widest)
        pair_distances, point = distances[near, ball], near + start
        for row in range(num_rows):
            counted = pair_distances <= balls.radii[row, ball]
            counted &= (balls.blocks[ball] != row - 1) & (point_blocks[point] != row - 1)
            np.add.at(counts[row], point[counted], 1.0)
            held[row, ball[counted]] = 1.0
    return (counts > 0).astype(np.float64), counts, held


def distance_chunks(
    first: Matrix, first_norms: Matrix, second: Matrix, second_norms: Matrix
) -> Iterator[tuple[int, Matrix]]:
    """Yield (start, squared distances [rows, M] of `first` from `start` on), 64 MB at a time.

    Args:
        first: [N, D].
        first_norms: The squared length of each, [N].
        second: [M, D].
        second_norms: [M].
    """
    rows_at_once = max(_BYTES_AT_ONCE // (8 * len(second)), 1)
    for start in range(0, len(first), rows_at_once):
        part = slice(start, start + rows_at_once)
        distances = first[part] @ second.T
        distances *= -2.0
        distances += first_norms[part, None]
        distances += second_norms
        yield start, np.maximum(distances, 0.0, out=distances)


def _shares(values: Matrix, blocks: npt.NDArray[np.int64]) -> Matrix:
    """Return the mean of `values` [1 + G, N] over all images, and without each block over the others: [1 + G]."""
    means = [values[0].mean()]
    means += [values[row, blocks != row - 1].mean() for row in range(1, len(values))]
    return np.array(means)
