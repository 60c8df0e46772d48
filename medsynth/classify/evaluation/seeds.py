"""Several seeds of a training, tested on the same images: means over seeds and their differences.

On the same test images two things vary that an interval must hold: which patients are in the test, and which seed a
network was trained with. That is the problem of studies with several readers and several cases (MRMC): the readers are
trained networks, each nested in what it was trained on. `difference_over_seeds` takes their analysis:

    variance = sum over groups of S^2 / K  +  what the choice of patients makes all networks miss together

S^2 is the variance of a metric over the K networks of a group on the test images at hand. It holds the seed, and that
seeds differ in which patients they get wrong; what is left for the patients is the covariance of different networks'
errors. Degrees of freedom by Satterthwaite, with the whole variance in the numerator (Hillis 2007).

Sources: Obuchowski and Rockette 1995, doi:10.1080/03610919508813243; nested readers: Obuchowski, Gallas and Hillis
2012, "Multi-reader ROC studies with split-plot designs", Academic Radiology 19:1508; Hillis 2007, doi:10.1002/sim.2532.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medsynth.classify.evaluation.evaluate import Interval
from medsynth.classify.evaluation.statistics import Floats


@dataclass(frozen=True)
class SeedInterval(Interval):
    """A mean over seeds, or the difference of two, with its 95 % interval.

    Attributes:
        degrees_of_freedom: Of Student's t; NaN where there is no interval.
    """

    degrees_of_freedom: float = float("nan")


def mean_over_seeds(values: Floats, resampled: Floats) -> SeedInterval:
    """Return the mean of one metric over K networks, with an interval that holds patients and seeds.

    Args:
        values: On the test images, [K].
        resampled: On resampled patients, the same for all networks, [K, R]; NaN where undefined.
    """
    return _interval_over_seeds([(1.0, values, resampled)])


def difference_over_seeds(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> SeedInterval:
    """Return the mean of the first group minus that of the second, with an interval that holds patients and seeds.

    A group of one network adds the choice of patients alone: what its seed does is not known.

    Args:
        first: values [K] and resampled [K, R], as `mean_over_seeds` takes them.
        second: Those of the other group, on the same test images and the same resamples.
    """
    return _interval_over_seeds([(1.0, *first), (-1.0, *second)])


def _interval_over_seeds(groups: Sequence[tuple[float, Floats, Floats]]) -> SeedInterval:
    """Return the sum of sign * mean over the groups, with its interval; see the top of this file."""
    value = float(sum(sign * values.mean() for sign, values, _ in groups))
    resampled = np.concatenate([rows for _, _, rows in groups])  # [networks, R]
    resampled = resampled[:, np.isfinite(resampled).all(axis=0)]
    largest = max(len(values) for _, values, _ in groups)
    if not np.isfinite(value) or resampled.shape[1] < 2 or largest < 2:
        return SeedInterval(value)
    errors, start, places = np.atleast_2d(np.cov(resampled)), 0, []
    of_seeds, of_patients = [], 0.0
    for _, values, _ in groups:
        num_networks = len(values)
        own = slice(start, start + num_networks)
        places.append(own)
        start += num_networks
        if num_networks == 1:
            of_patients += float(errors[own, own][0, 0])
            continue
        of_seeds.append((float(np.var(values, ddof=1)) / num_networks, num_networks - 1))
        # A network's own error is in S^2 already; what two of them share is not.
        shared = errors[own, own].sum() - np.trace(errors[own, own])
        of_patients += float(shared) / (num_networks * (num_networks - 1))
    if len(groups) == 2:
        of_patients += 2 * groups[0][0] * groups[1][0] * float(errors[places[0], places[1]].mean())
    variance = sum(part for part, _ in of_seeds) + max(0.0, of_patients)
    spread = sum(part**2 / degrees for part, degrees in of_seeds)
    degrees_of_freedom = float(variance**2 / spread) if spread > 0 else float("inf")
    half = float(stats.t.ppf(0.975, degrees_of_freedom) * np.sqrt(variance))
    return SeedInterval(value, value - half, value + half, resampled.shape[1], degrees_of_freedom)
