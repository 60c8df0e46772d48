"""Intervals for metrics of image sets, for which the plain bootstrap is wrong.

Drawing images with replacement puts copies into a set. A distance between distributions (FID, KID, SWD)
grows by that, and a copy is its own nearest neighbour, so the resampled values of such metrics do not
scatter around the value but beside it. Two methods that leave no copies are used instead:

- `jackknife_estimate`: a twelfth of the images of both sets is left out, each twelfth in turn.
- `mean_estimate`: for a mean over parts that share no image, Student's t interval of that mean.

Both speak of the metric at this number of images: another draw of as many images would give a value inside the
interval's width of this one. What the number of images itself does to the value (the bias of FID, say) is no
part of them.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

CONFIDENCE = 0.95
# Twelve can be dealt to 1, 2, 3 and 4 equal parts, which the extrapolation of FID wants.
NUM_BLOCKS = 12


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval.

    Attributes:
        value: From all images.
        low: Lower end of the interval; NaN where none was asked for.
        high: Upper end.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    def within(self, smallest: float, largest: float = math.inf) -> "Estimate":
        """Return the estimate with its interval cut to the values that the metric can have."""
        low, high = (float(np.clip(end, smallest, largest)) for end in (self.low, self.high))
        return Estimate(self.value, low, high)


def block_slices(num_images: int, num_blocks: int) -> list[slice]:
    """Return `num_blocks` runs of neighbouring images that share `num_images` as evenly as possible."""
    ends = [num_images * number // num_blocks for number in range(num_blocks + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]


def block_numbers(num_images: int, num_blocks: int) -> npt.NDArray[np.int64]:
    """Return the block of every image, [N], counted from 0: the same blocks as `block_slices`."""
    sizes = [part.stop - part.start for part in block_slices(num_images, num_blocks)]
    return np.repeat(np.arange(num_blocks), sizes)


def jackknife_estimate(value: float, left_out: Sequence[float] | npt.NDArray[np.float64]) -> Estimate:
    """Return the interval of `value` from its values without each of G blocks of images.

    The standard error is sqrt((G - 1) / G * sum of squared deviations of the left-out values from their
    mean); the interval is symmetric, with Student's t of G - 1 degrees of freedom. On average such a
    standard error is too large rather than too small (Efron and Stein 1981, doi:10.1214/aos/1176345462).

    Args:
        value: The metric of all images.
        left_out: The metric without each block, [G]; both sets lose their block of that number, so that
            what is left out is a pair of blocks, and the pairs are independent of each other. None: no interval.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 11; blocks: Kuensch 1989.
    """
    values = np.asarray(left_out, np.float64)
    if len(values) == 0:
        return Estimate(float(value))
    num_blocks = len(values)
    error = math.sqrt((num_blocks - 1) / num_blocks * float(((values - values.mean()) ** 2).sum()))
    return _t_interval(float(value), error, num_blocks - 1)


def mean_estimate(parts: npt.ArrayLike) -> Estimate:
    """Return the mean of values from independent parts, [P], with Student's t interval.

    Args:
        parts: A value per part; no image belongs to two parts. One part has no interval.
    """
    values = np.asarray(parts, np.float64)
    if len(values) < 2:
        return Estimate(float(values.mean()))
    return _t_interval(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)), len(values) - 1)


def _t_interval(value: float, error: float, degrees_of_freedom: int) -> Estimate:
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, degrees_of_freedom)) * error
    return Estimate(value, value - half, value + half)
