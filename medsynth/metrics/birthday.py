"""The birthday paradox: how many different images can a generator make, judging by the duplicates among a few of them?

Among n draws from S equally likely images n(n - 1)/(2S) pairs are expected to be copies. Two fakes count as copies here
where their features are nearer to each other than those of most real images of different patients: within the distance
that 5 % of the n real images have to their nearest neighbour of another patient.

- birthday: share of the fakes with a near-duplicate among the other fakes; 0.05 is the aim, at any n
- support: estimate of S, pairs / (duplicate pairs + 1)

Real images have near-duplicates in this sense too, so a support of about that of real images (the floor) or above says
only that the collapse, if any, is too small to be seen with n images. Fakes that vary less than the reals everywhere
have more near-duplicates as well.

Source: Arora and Zhang 2017, https://arxiv.org/abs/1706.08224, where people judge
the pairs nearest in pixels.
Estimate of S from counted pairs: as Chapman 1951 for marked animals; nearly unbiased where some pairs are expected.
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from medsynth.errors import DataError
from medsynth.metrics.intervals import (
    CONFIDENCE,
    NUM_BLOCKS,
    Estimate,
    block_numbers,
    block_slices,
    jackknife_estimate,
)
from medsynth.metrics.manifold import distance_chunks, forget_own, neighbour_radii

Features = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

SHARE_OF_REALS = 0.05


def birthday_estimates(
    real: Features,
    fake: Features,
    *,
    real_groups: Numbers | None = None,
    fake_groups: Numbers | None = None,
    num_blocks: int = NUM_BLOCKS,
) -> dict[str, Estimate]:
    """Return `birthday` (0 to 1) and `support` (1 to the number of pairs) with their intervals.

    Blocks of both sets are left out for the intervals, threshold and all; for `support` on a logarithmic scale, and
    widened to the exact interval of the Poisson number of pairs, which few or no pairs need.

    Args:
        real: [N, D].
        fake: [M, D].
        real_groups: The patient of each real image, [N]; pairs of one patient do not count. None: of each its own.
        fake_groups: The same where real images stand in for the fakes, [M].
        num_blocks: Blocks; 0 for values without intervals.

    Raises:
        DataError: So few patients that real images have no neighbours of another one.
    """
    centres = np.asarray(real, np.float64)
    blocks = block_numbers(len(centres), max(num_blocks, 1))
    thresholds = _thresholds(centres, blocks, real_groups, num_blocks)
    holders, found, possible = _duplicates(np.asarray(fake, np.float64), fake_groups, thresholds)
    logarithms = np.log(np.maximum(possible, 1.0) / (found + 1.0))
    support = jackknife_estimate(logarithms[0], logarithms[1:])
    # With nearly all pairs duplicates the estimate comes out a little below one image.
    value, low, high = (max(float(np.exp(end)), 1.0) for end in (support.value, support.low, support.high))
    if num_blocks:
        exact = _poisson_interval(found[0])
        with np.errstate(divide="ignore"):
            low, high = min(low, possible[0] / exact[1]), max(high, float(np.divide(possible[0], exact[0])))
    return {
        "birthday": jackknife_estimate(holders[0], holders[1:]).within(0.0, 1.0),
        "support": Estimate(value, low, high).within(1.0, max(float(possible[0]), 1.0)),
    }


def _thresholds(centres: Matrix, blocks: Numbers, groups: Numbers | None, num_blocks: int) -> Matrix:
    """Return the squared distance within which images are near-duplicates, of all reals and without each block."""
    (nearest,) = neighbour_radii(centres, blocks, (1,), num_blocks, groups=groups)
    kept = [np.ones(len(centres), bool), *(blocks != block for block in range(num_blocks))]
    found = [
        np.quantile(row[mask], SHARE_OF_REALS, method="inverted_cdf") for row, mask in zip(nearest, kept, strict=True)
    ]
    if not np.isfinite(found).all():
        raise DataError(
            "birthday and support compare real images of different patients, of which there must be several.",
            received=f"{1 if groups is None else len(np.unique(groups))} patient(s)",
        )
    return np.array(found)


def _duplicates(points: Matrix, groups: Numbers | None, thresholds: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Count near-duplicates, of all points and without each block.

    Args:
        points: [M, D].
        groups: Pairs of one group do not count, [M].
        thresholds: Squared distances, [1 + G].

    Returns:
        Share of the points that have one, pairs of near-duplicates, and pairs that could be: each [1 + G].
    """
    num_rows = len(thresholds)
    parts = [slice(0, 0), *block_slices(len(points), num_rows - 1)] if num_rows > 1 else [slice(0, 0)]
    holders, found, possible = np.zeros((3, num_rows))
    norms = np.einsum("md,md->m", points, points)
    for start, distances in distance_chunks(points, norms, points, norms):
        forget_own(distances, start, groups)
        places = start + np.arange(len(distances))
        eligible = np.isfinite(distances)
        for row, part in enumerate(parts):
            kept = (places < part.start) | (places >= part.stop)
            near = _without(distances <= thresholds[row], part)[kept]
            holders[row] += np.count_nonzero(near)
            found[row] += near.sum() / 2
            possible[row] += _without(eligible, part)[kept].sum() / 2
    sizes = len(points) - np.array([part.stop - part.start for part in parts])
    return holders / sizes, found, possible


def _without(pairs: npt.NDArray[np.bool_], part: slice) -> Numbers:
    """Return how many of the pairs [rows, M] hold in each row, [rows], leaving out some columns."""
    return np.asarray(np.count_nonzero(pairs, axis=1) - np.count_nonzero(pairs[:, part], axis=1))


def _poisson_interval(count: float) -> tuple[float, float]:
    """Return the exact interval of the mean of a Poisson number (Garwood 1936, doi:10.1093/biomet/28.3-4.437)."""
    tail = (1 - CONFIDENCE) / 2
    low = float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low, float(chi2.ppf(1 - tail, 2 * count + 2)) / 2
