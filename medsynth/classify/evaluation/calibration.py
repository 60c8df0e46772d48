"""Whether scores can be taken as probabilities: expected calibration error and reliability curves.

Bins are of equal mass: every bin holds about as many images as the next. With rare findings nearly all scores are
small, so that bins of equal width would put nearly all images into one; bins of equal mass also have the smaller bias
(Roelofs et al. 2022, "Mitigating bias in calibration error estimation", AISTATS).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.classify.evaluation.statistics import Floats, Numbers, are_probabilities, divide

NUM_BINS = 15  # Guo et al. 2017, "On calibration of modern neural networks"
# A bin's share of positives misses the truth by up to 0.11 (one standard error) with so many images.
FEWEST_IMAGES_PER_BIN = 20


def count_bins(num_images: int) -> int:
    """Return how many bins so many images are shared among: 15, or fewer where a bin would hold less than 20."""
    return max(1, min(NUM_BINS, num_images // FEWEST_IMAGES_PER_BIN))


def equal_mass_bins(scores: Numbers) -> npt.NDArray[np.int64]:
    """Return the bin of every image, [N], from 0 by ascending score.

    Images of equal score share a bin, so many equal scores make fewer and uneven bins.

    Args:
        scores: [N].
    """
    num_bins = count_bins(len(scores))
    firsts = np.sort(scores)[len(scores) * np.arange(1, num_bins) // num_bins]
    bins = np.searchsorted(np.unique(firsts), scores, side="right")
    return np.unique(bins, return_inverse=True)[1]


def _members(scores: Numbers) -> Floats:
    """Return 1 where an image is in a bin, [N, B]."""
    bins = equal_mass_bins(scores)
    return np.eye(bins.max() + 1)[bins]


def _deviations(truth: Numbers, scores: Numbers, weights: Floats) -> Floats:
    """Return, for each row of weights, a bin's summed score minus its positives, over the weight of all images: [R, B].

    Its sum without signs is the calibration error.
    """
    excess = _members(scores) * (scores - (truth > 0))[:, None]  # [N, B]
    return divide(weights @ excess, weights.sum(axis=1, keepdims=True))


def weighted_ece(truth: Numbers, scores: Numbers, weights: Floats) -> Floats:
    """Return the expected calibration error for each row of weights, [R], in [0, 1].

    The difference between mean score and share of positives in each bin, without its sign, averaged over the bins with
    the number of their images. The bins are those of all images; they are not drawn anew for a resample. Few images
    make it too large (see `ece_by_chance`).

    Args:
        truth: 0 or 1, [N].
        scores: Probabilities, [N]; NaN is returned where they are none.
        weights: How often each image counts, [R, N].

    Source: Naeini, Cooper and Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian binning".
    """
    if not are_probabilities(scores):
        return np.full(len(weights), np.nan)
    return np.abs(_deviations(truth, scores, weights)).sum(axis=1)


def ece_by_chance(truth: Numbers, scores: Numbers, weights: Floats) -> Floats:
    """Return the calibration errors that the choice of images alone makes, one for each resample, [R], in [0, 1].

    What the resampled bins deviate from the bins of all images: the scatter without the miscalibration. A calibrated
    classifier measures an error of this size, so one that is no larger shows nothing.

    Args:
        truth: 0 or 1, [N].
        scores: Probabilities, [N]; NaN is returned where they are none.
        weights: Resamples, [R, N].
    """
    if not are_probabilities(scores):
        return np.full(len(weights), np.nan)
    centre = _deviations(truth, scores, np.ones((1, len(scores))))
    return np.abs(_deviations(truth, scores, weights) - centre).sum(axis=1)


@dataclass(frozen=True)
class Reliability:
    """A reliability curve: B bins of equal mass.

    Attributes:
        mean_scores: Of the images of each bin, [B].
        shares: Share of positives in it, [B].
        low: 2.5th percentile of the resampled shares, [B].
        high: 97.5th percentile, [B].
        num_images: In each bin, [B].
    """

    mean_scores: Floats
    shares: Floats
    low: Floats
    high: Floats
    num_images: npt.NDArray[np.int64]


def reliability(truth: Numbers, scores: Numbers, weights: Floats) -> Reliability:
    """Return the reliability curve of one label with intervals from resamples.

    Args:
        truth: 0 or 1, [N].
        scores: Probabilities, [N].
        weights: Resamples, [R, N].
    """
    members = _members(scores)
    sizes = members.sum(axis=0)
    resampled = divide(weights @ (members * (truth > 0)[:, None]), weights @ members)  # [R, B]
    low, high = np.nanquantile(resampled, [0.025, 0.975], axis=0)
    return Reliability(scores @ members / sizes, (truth > 0) @ members / sizes, low, high, sizes.astype(np.int64))
