"""Frechet distance between two sets of features (FID), and what it would be with infinitely many images.

FID = |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)) of the means and covariances of both sets.
Source: Heusel et al. 2017, https://arxiv.org/abs/1706.08500, equation 6 (Dowson and Landau 1982).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from medsynth.metrics.intervals import NUM_BLOCKS, Estimate, block_slices, jackknife_estimate

Features = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]

# Numbers of parts that the images are dealt to, and the weights of the mean distance of each in the extrapolation:
# the intercept of the least-squares line through (1, FID_1), (2, FID_2), (3, FID_3).
_PARTS = (1, 2, 3)
_INTERCEPT = np.array([4.0, 1.0, -2.0]) / 3.0


@dataclass(frozen=True)
class Moments:
    """Mean and scatter of a set of features.

    Attributes:
        num_images: N.
        mean: float64 [D].
        scatter: Sum of (x - mean)(x - mean)^T, float64 [D, D].
    """

    num_images: int
    mean: Matrix
    scatter: Matrix

    @property
    def covariance(self) -> Matrix:
        """The unbiased covariance, [D, D]."""
        return self.scatter / (self.num_images - 1)

    def without(self, part: "Moments") -> "Moments":
        """Return the moments of the images that are not in `part`, a subset."""
        num_left = self.num_images - part.num_images
        mean = (self.num_images * self.mean - part.num_images * part.mean) / num_left
        shift = part.mean - self.mean
        weight = part.num_images * self.num_images / num_left
        return Moments(num_left, mean, self.scatter - part.scatter - weight * np.outer(shift, shift))


def moments(features: Features) -> Moments:
    """Return the moments of features [N, D], N > 1, computed in float64."""
    values = np.asarray(features, np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    return Moments(len(values), mean, centred.T @ centred)


def covariance_factor(covariance: Matrix) -> Matrix:
    """Return L with L L^T = `covariance`, [D, D]: Cholesky's, or the symmetric root where that breaks down."""
    try:
        return np.asarray(scipy.linalg.cholesky(covariance, lower=True))
    except scipy.linalg.LinAlgError:  # fewer images than features: some eigenvalues are zero
        values, vectors = scipy.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def frechet_distance(real: Moments, fake: Moments, *, real_factor: Matrix | None = None) -> float:
    """Return the squared Frechet distance between two Gaussians, 0 or more, in squared units of the features.

    With C1 = L L^T, C1 C2 has the eigenvalues of the symmetric matrix L^T C2 L, whose square roots add up
    to the trace of (C1 C2)^(1/2). A symmetric eigenvalue problem needs no complex numbers and no offset on the
    diagonal; eigenvalues that rounding made negative count as zero.

    Args:
        real: Of one set, D features.
        fake: Of the other.
        real_factor: `covariance_factor(real.covariance)` where it is at hand already.
    """
    real_covariance, fake_covariance = real.covariance, fake.covariance
    factor = covariance_factor(real_covariance) if real_factor is None else real_factor
    product = factor.T @ fake_covariance @ factor
    eigenvalues = scipy.linalg.eigvalsh(product, overwrite_a=True, check_finite=False)
    root_trace = np.sqrt(np.maximum(eigenvalues, 0.0)).sum()
    shift = real.mean - fake.mean
    distance = shift @ shift + np.trace(real_covariance) + np.trace(fake_covariance) - 2.0 * root_trace
    return max(float(distance), 0.0)


def fid(real: Features, fake: Features) -> float:
    """Return the Frechet distance between features [N, D] and [M, D].

    It is biased: it falls with the number of images, so compare values of the same N and M only.
    """
    return frechet_distance(moments(real), moments(fake))


def fid_infinity(real: Features, fake: Features) -> float:
    """Return the Frechet distance extrapolated to infinitely many images in both sets; may be below zero.

    FID at N images is close to a + b / N, and a is what is sought. Here N, N/2 and N/3 images serve: the
    distance of all, and the mean distances of two halves and of three thirds, which share no image. Two
    things are unlike the paper: it draws 15 random subsets of one set and keeps the other whole, as it has
    50,000 images of each; disjoint parts scattered less in simulations, and real sets here are small too.

    Source: Chong and Forsyth 2020, https://arxiv.org/abs/1911.07023, section 3.
    """
    return frechet_estimates(real, fake, num_blocks=0)["fid_infinity"].value


def frechet_estimates(
    real: Features, fake: Features, *, extrapolate: bool = True, num_blocks: int = NUM_BLOCKS
) -> dict[str, Estimate]:
    """Return `fid` and, if asked for, `fid_infinity` with jackknife intervals.

    FID of a bootstrap sample is biased upwards by the copies in it, so blocks are left out instead: of `num_blocks`
    runs of neighbouring images, the real and the fake one of each number in turn.

    Args:
        real: [N, D].
        fake: [M, D].
        extrapolate: Whether `fid_infinity` is wanted; three times the work.
        num_blocks: Blocks; 0 for values without intervals.
    """
    parts = _PARTS if extrapolate else _PARTS[:1]
    rows = [_mean_distances(real, fake, num_parts, num_blocks) for num_parts in parts]
    values, left_out = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])  # [P], [P, G]
    found = {"fid": jackknife_estimate(values[0], left_out[0]).within(0.0)}
    if extrapolate:
        found["fid_infinity"] = jackknife_estimate(_INTERCEPT @ values, _INTERCEPT @ left_out)
    return found


def _mean_distances(real: Features, fake: Features, num_parts: int, num_blocks: int) -> tuple[float, Matrix]:
    """Return the mean distance over disjoint parts, and the same without each block, [G]."""
    wholes, left_out = [], []
    sides = block_slices(len(real), num_parts), block_slices(len(fake), num_parts)
    for real_part, fake_part in zip(*sides, strict=True):
        whole, without = _distances(real[real_part], fake[fake_part], num_blocks // num_parts)
        wholes.append(whole)
        left_out.append(without)
    # A block is in one part only; the others keep their distance without it.
    mean = float(np.mean(wholes))
    changes = [(value - whole) / num_parts for whole, part in zip(wholes, left_out, strict=True) for value in part]
    return mean, mean + np.array(changes)


def _distances(real: Features, fake: Features, num_blocks: int) -> tuple[float, list[float]]:
    """Return the distance of all, and the distances without each block."""
    both = moments(real), moments(fake)
    blocks: Iterable[tuple[slice, slice]] = (
        zip(block_slices(len(real), num_blocks), block_slices(len(fake), num_blocks), strict=True) if num_blocks else ()
    )
    without = [
        frechet_distance(both[0].without(moments(real[first])), both[1].without(moments(fake[second])))
        for first, second in blocks
    ]
    return frechet_distance(*both), without
