"""Learning curves as inverse power laws, a - b * n^-c.

Source: Cortes et al. 1994, "Learning curves: asymptotic values and rate of convergence", NIPS 6; for classifiers in
medicine Figueroa et al. 2012, doi:10.1186/1472-6947-12-8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.grid_report.measure import Group
from medsynth.classify.evaluation.evaluate import interval
from medsynth.classify.evaluation.seeds import patient_covariance
from medsynth.classify.evaluation.statistics import Floats
from medsynth.metrics.intervals import Estimate

LEAST_SIZES = 4  # three parameters, and one size more to be wrong about
NUM_DRAWS = 500
# Published exponents of classifiers lie from 0.1 to 1.
_EXPONENTS = np.geomspace(0.02, 4, 400)


@dataclass(frozen=True)
class PowerLaw:
    """A fitted curve and others that the data allow.

    Attributes:
        parameters: a, b and c, [3]; a is what the curve approaches, at most 1.
        draws: The same, fitted to other draws of patients and seeds, [D, 3].
        largest_miss: Largest distance of a measured value from the curve.
    """

    parameters: Floats
    draws: Floats
    largest_miss: float

    def at(self, size: float) -> Estimate:
        """Return the value of the curve at `size` with its 95 % band."""
        value = float(_values(self.parameters[None], np.array([size]))[0, 0])
        found = interval(value, _values(self.draws, np.array([size]))[:, 0])
        return Estimate(value, found.low, found.high)


def fit_power_law(sizes: Sequence[int], groups: Sequence[Group], seed: int = 0) -> PowerLaw:
    """Fit the means of groups of networks, one for each size, by least squares.

    The band is a parametric bootstrap: normal draws with the covariance that the choice of patients gives the means,
    and scatter of the seeds, pooled over the sizes, by Student's t. Where all groups have one seed, it holds patients
    alone.

    Args:
        sizes: At least LEAST_SIZES, rising.
        groups: Of each size, with finite values.
        seed: Of the draws.
    """
    places, weights = np.array(sizes, np.float64), np.array([len(group.values) for group in groups], np.float64)
    means = np.array([group.values.mean() for group in groups])
    parameters = fit_curves(places, means[None], weights)
    misses = np.abs(_values(parameters, places)[0] - means)
    draws = fit_curves(places, _draw_means(means, groups, seed), weights)
    return PowerLaw(parameters[0], draws, float(misses.max()))


def fit_curves(sizes: Floats, values: Floats, weights: Floats) -> Floats:
    """Return a, b and c of the curve through each row of values, [D, 3], with a <= 1 and b >= 0.

    For a given c the rest is a straight line in n^-c, so only c is searched for (variable projection, Golub and Pereyra
    1973): no start to choose, and nothing that does not converge.

    Args:
        sizes: [S].
        values: [D, S].
        weights: Of the sizes, [S].
    """
    smallest = sizes.min()
    x = (sizes / smallest) ** -_EXPONENTS[:, None]  # [C, S]
    share = weights / weights.sum()
    mean_x, mean_y = x @ share, values @ share  # [C], [D]
    spread = ((x - mean_x[:, None]) ** 2) @ share
    slope = -((values - mean_y[:, None]) * share) @ (x - mean_x[:, None]).T / spread  # [D, C]
    slope = np.maximum(slope, 0.0)
    level = mean_y[:, None] + slope * mean_x
    through_one = ((1 - values) * share) @ x.T / ((x**2) @ share)
    slope = np.where(level > 1, np.maximum(through_one, 0.0), slope)
    level = np.minimum(level, 1.0)
    misses = values[:, None] - level[..., None] + slope[..., None] * x  # [D, C, S]
    best = ((misses**2) @ share).argmin(axis=1)
    rows = np.arange(len(values))
    exponents = _EXPONENTS[best]
    return np.stack([level[rows, best], slope[rows, best] * smallest**exponents, exponents], axis=1)


def _values(parameters: Floats, sizes: npt.NDArray[np.float64]) -> Floats:
    """Return the curves [D, 3] at sizes [S], [D, S]."""
    level, factor, exponent = parameters.T[..., None]
    return np.asarray(level - factor * sizes**-exponent)


def _draw_means(means: Floats, groups: Sequence[Group], seed: int) -> Floats:
    """Return what the means [S] may have been with other patients and seeds, [NUM_DRAWS, S]."""
    rng = np.random.default_rng(seed)
    resampled = np.concatenate([group.resampled for group in groups])
    resampled = resampled[:, np.isfinite(resampled).all(axis=0)]
    counts = np.array([len(group.values) for group in groups])
    values, vectors = np.linalg.eigh(patient_covariance(resampled, counts.tolist()))
    root = vectors * np.sqrt(np.maximum(values, 0.0))  # differences of estimates may be no covariance by a little
    of_patients = rng.normal(size=(NUM_DRAWS, len(means))) @ root.T
    degrees = int((counts - 1).sum())
    if degrees == 0:
        return means + of_patients
    pooled = sum(float(((group.values - group.values.mean()) ** 2).sum()) for group in groups) / degrees
    scale = np.sqrt(pooled / counts / (rng.chisquare(degrees, size=(NUM_DRAWS, 1)) / degrees))
    return np.asarray(means + of_patients + scale * rng.normal(size=(NUM_DRAWS, len(means))))
