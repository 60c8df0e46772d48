"""How good scores are: AUROC per label, and intervals from resampled patients.

Everything here is numpy, so results can be compared on a machine without TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MINIMUM_CASES = 10
CONFIDENCE = 0.95
_RESAMPLES_AT_ONCE = 64  # keeps the working set of a label near the processor's cache


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; all NaN where it is not defined.

    Attributes:
        value: The estimate from all images.
        low: 2.5th percentile of the resampled estimates.
        high: 97.5th percentile.
        num_resamples: Resamples in which it was defined (both classes present).
    """

    value: float
    low: float
    high: float
    num_resamples: int


def auroc(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the area under the ROC curve, in [0, 1]; NaN where a class is missing.

    The probability that a positive scores above a negative, ties counting half.
    Never flipped: below 0.5 means worse than chance.

    Args:
        truth: 0 or 1, [N].
        scores: Any finite numbers, [N].

    Source: Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve".
    """
    weights = np.ones((1, np.size(truth)))
    return float(weighted_auroc(np.asarray(truth), np.asarray(scores), weights)[0])


def aurocs(truth: npt.NDArray[np.floating], scores: npt.NDArray[np.floating]) -> Floats:
    """Return the AUROC of every label, [L], for truth and scores [N, L]; NaN where a class is missing."""
    return np.array([auroc(truth[:, label], scores[:, label]) for label in range(truth.shape[1])])


def weighted_auroc(truth: npt.NDArray[np.floating], scores: npt.NDArray[np.floating], weights: Floats) -> Floats:
    """Return the AUROC for each row of weights, [R]; NaN where a class has no weight.

    Args:
        truth: 0 or 1, [N].
        scores: [N].
        weights: How often each image counts, [R, N].
    """
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    first_of_tie = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    is_positive = truth[order] > 0
    results = np.empty(len(weights))
    for start in range(0, len(weights), _RESAMPLES_AT_ONCE):
        chunk = weights[start : start + _RESAMPLES_AT_ONCE, order]  # [r, N], by ascending score
        positives, negatives = chunk * is_positive, chunk * ~is_positive
        if len(first_of_tie) < len(ordered):  # [r, N] -> [r, distinct scores]
            positives = np.add.reduceat(positives, first_of_tie, axis=1)
            negatives = np.add.reduceat(negatives, first_of_tie, axis=1)
        below = np.cumsum(negatives, axis=1)
        pairs = positives.sum(axis=1) * below[:, -1]
        # A positive wins against the negatives below it, and half against those of its own score.
        won = np.einsum("rn,rn->r", positives, below - 0.5 * negatives)
        results[start : start + len(chunk)] = np.divide(won, pairs, out=np.full(len(chunk), np.nan), where=pairs > 0)
    return results


def roc_curve(truth: npt.NDArray[np.floating], scores: npt.NDArray[np.floating]) -> Floats:
    """Return the ROC curve as [3, T]: true-positive rate, false-positive rate, threshold (score >= threshold).

    It begins at (0, 0, infinity) and has one point per distinct score. A label
    without both classes has rates of NaN.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order].astype(np.float64)
    last_of_tie = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    hits = np.cumsum(truth[order] > 0)[last_of_tie]
    false_alarms = last_of_tie + 1 - hits
    with np.errstate(invalid="ignore"):
        curve = [np.r_[0, hits] / hits[-1], np.r_[0, false_alarms] / false_alarms[-1]]
    if hits[-1] == 0 or false_alarms[-1] == 0:
        curve = [np.full(len(hits) + 1, np.nan)] * 2
    return np.stack([*curve, np.r_[np.inf, ordered[last_of_tie]]])


def sufficient_labels(truth: npt.NDArray[np.floating], minimum: int = MINIMUM_CASES) -> npt.NDArray[np.bool_]:
    """Return which labels [L] of truth [N, L] have at least `minimum` positives and as many negatives."""
    positives = (truth > 0).sum(axis=0)
    enough: npt.NDArray[np.bool_] = (positives >= minimum) & (len(truth) - positives >= minimum)
    return enough


def cluster_images(patients: Sequence[str] | None, num_images: int) -> tuple[npt.NDArray[np.int64], str]:
    """Return the cluster of every image, [N], and what a cluster is.

    Images of one patient resemble each other, so patients are resampled where they are known, and
    single images otherwise.

    Returns:
        Cluster numbers from 0, and "patients" or "images".
    """
    if patients is None:
        return np.arange(num_images), "images"
    return np.unique(patients, return_inverse=True)[1], "patients"


def resample_weights(clusters: npt.NDArray[np.int64], num_resamples: int, seed: int) -> Floats:
    """Draw clusters with replacement and return how often each image counts, [R, N].

    Args:
        clusters: Cluster of every image, numbered from 0, [N].
        num_resamples: R.
        seed: The same seed gives the same resamples.
    """
    num_clusters = int(clusters.max()) + 1
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters), size=num_resamples)
    return counts[:, clusters].astype(np.float64)


def interval(value: float, resampled: Floats) -> Interval:
    """Return the percentile interval of resampled estimates [R], leaving out undefined ones.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
    """
    defined = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or len(defined) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(value), float(low), float(high), len(defined))


@dataclass(frozen=True)
class Evaluation:
    """AUROC of several classifiers on the same images.

    Attributes:
        labels: Interval of every classifier K and label L, [K][L].
        means: Interval of every classifier's mean over the sufficient labels, [K].
        label_differences: First classifier minus each one, [K][L].
        mean_differences: The same of the means, [K].
        sufficient: Which labels are in the mean, [L].
    """

    labels: list[list[Interval]]
    means: list[Interval]
    label_differences: list[list[Interval]]
    mean_differences: list[Interval]
    sufficient: npt.NDArray[np.bool_]


def evaluate(
    truth: npt.NDArray[np.floating],
    scores: Sequence[npt.NDArray[np.floating]],
    clusters: npt.NDArray[np.int64],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Compare classifiers on the same images, all from the same resamples.

    Labels with fewer than 10 positives or negatives are insufficient: they have
    no interval and are left out of the mean.

    Args:
        truth: 0 or 1, [N, L].
        scores: One [N, L] per classifier.
        clusters: As `cluster_images` returns them.
        num_resamples: R; 1000 resamples of 4000 images and 10 labels take about two seconds.
        seed: Of the resamples.
    """
    weights = resample_weights(clusters, num_resamples, seed)
    sufficient = sufficient_labels(truth)
    values = np.stack([aurocs(truth, score) for score in scores])  # [K, L]
    resampled = np.full((len(scores), truth.shape[1], num_resamples), np.nan)  # [K, L, R]
    for number, score in enumerate(scores):
        for label in np.flatnonzero(sufficient):
            resampled[number, label] = weighted_auroc(truth[:, label], score[:, label], weights)
    values_in_mean, resampled_in_mean = values[:, sufficient], resampled[:, sufficient]
    if sufficient.any():
        # A resample that lacks a class of one label is left out: a mean over other labels is another quantity.
        means, resampled_means = values_in_mean.mean(axis=1), resampled_in_mean.mean(axis=1)
    else:
        means, resampled_means = np.full(len(scores), np.nan), np.full((len(scores), num_resamples), np.nan)

    def intervals(estimates: Floats, samples: Floats) -> list[list[Interval]]:
        return [[interval(v, s) if ok else Interval(v, np.nan, np.nan, 0)
                 for v, s, ok in zip(row, rows, sufficient, strict=True)]
                for row, rows in zip(estimates, samples, strict=True)]  # fmt: skip

    return Evaluation(
        labels=intervals(values, resampled),
        means=[interval(v, s) for v, s in zip(means, resampled_means, strict=True)],
        label_differences=intervals(values[0] - values, resampled[0] - resampled),
        mean_differences=[
            interval(v, s) for v, s in zip(means[0] - means, resampled_means[0] - resampled_means, strict=True)
        ],
        sufficient=sufficient,
    )
