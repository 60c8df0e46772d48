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

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medsynth.classify.evaluation.evaluate import Interval
from medsynth.classify.evaluation.statistics import Floats


@dataclass(frozen=True)
class SeedInterval(Interval):
    """A mean over seeds, or a sum of such means, with its 95 % interval.

    Attributes:
        degrees_of_freedom: Of Student's t; NaN where there is no interval.
        seed_variance: What the seeds add to the variance of the value; NaN where there is no interval.
        patient_variance: What the choice of patients adds.
    """

    degrees_of_freedom: float = float("nan")
    seed_variance: float = float("nan")
    patient_variance: float = float("nan")


def mean_over_seeds(values: Floats, resampled: Floats) -> SeedInterval:
    """Return the mean of one metric over K networks, with an interval that holds patients and seeds.

    Args:
        values: On the test images, [K].
        resampled: On resampled patients, the same for all networks, [K, R]; NaN where undefined.
    """
    return combination_over_seeds([(1.0, values, resampled)])


def difference_over_seeds(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> SeedInterval:
    """Return the mean of the first group minus that of the second, with an interval that holds patients and seeds.

    A group of one network adds the choice of patients alone: what its seed does is not known.

    Args:
        first: values [K] and resampled [K, R], as `mean_over_seeds` takes them.
        second: Those of the other group, on the same test images and the same resamples.
    """
    return combination_over_seeds([(1.0, *first), (-1.0, *second)])


def combination_over_seeds(groups: Sequence[tuple[float, Floats, Floats]]) -> SeedInterval:
    """Return the sum of factor * mean over groups of networks, with its interval; see the top of this file.

    A slope over settings is such a sum. No network is in two groups; a group of one adds the choice of patients alone,
    and where all have one there is no interval.

    Args:
        groups: Of each its factor, values [K] and resampled [K, R]; column r of all is the same draw of patients.
    """
    value = float(sum(factor * values.mean() for factor, values, _ in groups))
    resampled = np.concatenate([rows for _, _, rows in groups])  # [networks, R]
    resampled = resampled[:, np.isfinite(resampled).all(axis=0)]
    sizes = [len(values) for _, values, _ in groups]
    if not np.isfinite(value) or resampled.shape[1] < 2 or max(sizes) < 2:
        return SeedInterval(value)
    of_seeds = [
        (factor**2 * float(np.var(values, ddof=1)) / len(values), len(values) - 1)
        for factor, values, _ in groups
        if len(values) > 1
    ]
    factors = np.array([factor for factor, _, _ in groups])
    of_patients = max(0.0, float(factors @ patient_covariance(resampled, sizes) @ factors))
    seed_variance = sum(part for part, _ in of_seeds)
    variance = seed_variance + of_patients
    spread = sum(part**2 / degrees for part, degrees in of_seeds)
    degrees_of_freedom = float(variance**2 / spread) if spread > 0 else float("inf")
    half = float(stats.t.ppf(0.975, degrees_of_freedom) * np.sqrt(variance))
    return SeedInterval(
        value, value - half, value + half, resampled.shape[1], degrees_of_freedom, seed_variance, of_patients
    )


def patient_covariance(resampled: Floats, sizes: Sequence[int]) -> Floats:
    """Return how the choice of patients moves the means of G groups of networks together, [G, G].

    Args:
        resampled: The networks of the first group, then those of the next, [networks, R]; all finite.
        sizes: Networks in each group.
    """
    errors = np.atleast_2d(np.cov(resampled))
    starts = np.cumsum([0, *sizes])
    places = [slice(start, stop) for start, stop in itertools.pairwise(starts)]
    covariance = np.array([[errors[first, second].mean() for second in places] for first in places])
    for number, (place, size) in enumerate(zip(places, sizes, strict=True)):
        if size > 1:
            # A network's own error is in S^2 already; what two of them share is not.
            shared = errors[place, place].sum() - np.trace(errors[place, place])
            covariance[number, number] = shared / (size * (size - 1))
    return covariance
