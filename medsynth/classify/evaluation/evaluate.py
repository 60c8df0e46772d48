"""How good classifiers are on the same images: every metric per label and as a mean, with intervals from resamples.

Everything here is numpy, so results can be compared on a machine without TensorFlow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from medsynth.classify.evaluation.calibration import ece_by_chance, weighted_ece
from medsynth.classify.evaluation.statistics import (
    Floats,
    Numbers,
    weighted_auroc,
    weighted_average_precision,
    weighted_brier,
    weighted_sensitivity,
    weighted_specificity,
)
from medsynth.progress import Progress

MINIMUM_CASES = 10
CONFIDENCE = 0.95
NUM_RESAMPLES = 1000
MEAN = -1  # the column of the mean over labels
ECE = "ece"


@dataclass(frozen=True)
class Metric:
    """One of the figures.

    Attributes:
        title: For people.
        weighted: Of truth [N], scores [N], weights [R, N] and threshold: the figure of every row of weights, [R].
    """

    title: str
    weighted: Callable[[Numbers, Numbers, Floats, float], Floats]


METRICS = {
    "auroc": Metric("AUROC", lambda truth, scores, weights, _: weighted_auroc(truth, scores, weights)),
    "average_precision": Metric(
        "average precision", lambda truth, scores, weights, _: weighted_average_precision(truth, scores, weights)
    ),
    "sensitivity": Metric("sensitivity", weighted_sensitivity),
    "specificity": Metric("specificity", weighted_specificity),
    "brier": Metric("Brier score", lambda truth, scores, weights, _: weighted_brier(truth, scores, weights)),
    ECE: Metric("calibration error", lambda truth, scores, weights, _: weighted_ece(truth, scores, weights)),
}


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval.

    Attributes:
        value: The estimate from all images; NaN where it is not defined.
        low: Lower end; NaN where there is no interval.
        high: Upper end.
        num_resamples: Resamples in which it was defined.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    num_resamples: int = 0


def auroc(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the AUROC of one label: `medsynth.classify.evaluation.statistics.weighted_auroc` with every image once."""
    return float(weighted_auroc(np.asarray(truth), np.asarray(scores), np.ones((1, np.size(truth))))[0])


def aurocs(truth: Numbers, scores: Numbers) -> Floats:
    """Return the AUROC of every label, [L], for truth and scores [N, L]; NaN where a class is missing."""
    return np.array([auroc(truth[:, label], scores[:, label]) for label in range(truth.shape[1])])


def sufficient_labels(truth: Numbers, minimum: int = MINIMUM_CASES) -> npt.NDArray[np.bool_]:
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
        return Interval(float(value))
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(value), float(low), float(high), len(defined))


def proportion(num_hits: float, num: float) -> Interval:
    """Return a share with its exact 95 % interval; undefined where `num` is 0.

    Numbers need not be whole, so that an effective sample size may be given.

    Source: Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404, by quantiles of the beta distribution.
    """
    if num <= 0:
        return Interval(float("nan"))
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, num_hits, num - num_hits + 1)) if num_hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, num_hits + 1, num - num_hits)) if num_hits < num else 1.0
    return Interval(num_hits / num, low, high)


def reflected_interval(value: float, resampled: Floats) -> Interval:
    """Return the interval of an estimate whose bias a resample repeats, from resampled estimates [R].

    Resampled values lie above the estimate as far as the estimate lies above the truth, so the percentile interval can
    miss both. Reflected at the estimate, [2 v - high, 2 v - low], it points the right way.

    Source: the basic bootstrap, Davison and Hinkley 1997, "Bootstrap Methods and their Application", section 5.2.
    """
    mirrored = interval(value, resampled)
    return Interval(value, 2 * value - mirrored.high, 2 * value - mirrored.low, mirrored.num_resamples)


@dataclass(frozen=True)
class Evaluation:
    """The metrics of K classifiers on the same images, and the same from R resamples.

    M metrics stand in the order of METRICS; of the L + 1 columns the last is the mean over labels.

    Attributes:
        values: [M, K, L + 1]; NaN where undefined.
        resampled: [M, K, L + 1, R]; NaN where undefined or insufficient.
        chance: Calibration errors that the choice of images alone makes, [K, L + 1, R].
        sufficient: Labels with enough cases for an interval, [L].
        in_mean: Labels in the mean of each metric: the sufficient ones for which all classifiers have a value, [M, L].
    """

    values: Floats
    resampled: Floats
    chance: Floats
    sufficient: npt.NDArray[np.bool_]
    in_mean: npt.NDArray[np.bool_]

    def estimate(self, metric: str, classifier: int, column: int) -> Interval:
        """Return a metric of one classifier with its interval.

        The calibration error's is reflected, and reaches down to 0 where a calibrated classifier could measure as much.

        Args:
            metric: A key of METRICS.
            classifier: Its number.
            column: Number of the label, or MEAN.
        """
        row = list(METRICS).index(metric)
        value, resampled = float(self.values[row, classifier, column]), self.resampled[row, classifier, column]
        if metric != ECE:
            return interval(value, resampled)
        mirrored = reflected_interval(value, resampled)
        if np.isnan(mirrored.low):
            return mirrored
        by_chance = interval(value, self.chance[classifier, column])
        low = 0.0 if value <= by_chance.high else max(0.0, mirrored.low)
        # A reader looks for the value inside its interval; a wider one covers no less.
        return Interval(value, low, max(value, mirrored.high), mirrored.num_resamples)

    def difference(self, metric: str, classifier: int, column: int) -> Interval:
        """Return the first classifier's metric minus that of another one, paired by the resamples.

        Args:
            metric: A key of METRICS.
            classifier: Number of the other one.
            column: Number of the label, or MEAN.
        """
        row = list(METRICS).index(metric)
        values, resampled = self.values[row, :, column], self.resampled[row, :, column]
        make = reflected_interval if metric == ECE else interval
        return make(float(values[0] - values[classifier]), resampled[0] - resampled[classifier])

    def num_in_mean(self, metric: str) -> int:
        """Return how many labels the mean of a metric is over."""
        return int(self.in_mean[list(METRICS).index(metric)].sum())


def evaluate(
    truth: Numbers,
    scores: Sequence[Numbers],
    clusters: npt.NDArray[np.int64],
    *,
    thresholds: Sequence[npt.ArrayLike] | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Compute every metric of classifiers on the same images, all from the same resamples.

    A label with one class only has no figures. One with fewer than 10 positives or negatives is insufficient: it has
    values without intervals, and is left out of the means. Thresholds are held fixed in the resamples.

    Args:
        truth: 0 or 1, [N, L].
        scores: One [N, L] per classifier.
        clusters: As `cluster_images` returns them.
        thresholds: Operating point of every label, [L] per classifier; NaN, or None, where none was chosen.
        num_resamples: R.
        seed: Of the resamples.
        progress: Is moved on by one for every label of every classifier.
    """
    num_labels = truth.shape[1]
    points = np.full((len(scores), num_labels), np.nan) if thresholds is None else np.asarray(thresholds, np.float64)
    weights = resample_weights(clusters, num_resamples, seed)
    once = np.ones((1, len(truth)))
    sufficient = sufficient_labels(truth)
    has_both = sufficient_labels(truth, minimum=1)
    values = np.full((len(METRICS), len(scores), num_labels + 1), np.nan)
    resampled = np.full((*values.shape, num_resamples), np.nan)
    chance = np.full(resampled.shape[1:], np.nan)
    for number, score in enumerate(scores):
        for label in range(num_labels):
            case = truth[:, label], score[:, label].astype(np.float64)
            for row, metric in enumerate(METRICS.values()):
                if has_both[label]:
                    values[row, number, label] = metric.weighted(*case, once, points[number, label])[0]
                if sufficient[label]:
                    resampled[row, number, label] = metric.weighted(*case, weights, points[number, label])
            if sufficient[label]:
                chance[number, label] = ece_by_chance(*case, weights)
            if progress is not None:
                progress.advance()
    # A mean over other labels is another quantity: all classifiers' means are over the same ones, and a resample that
    # lacks a class of one of them is left out.
    in_mean = sufficient & np.isfinite(values[:, :, :num_labels]).all(axis=1)
    for row, name in enumerate(METRICS):
        chosen = np.flatnonzero(in_mean[row])
        if len(chosen) == 0:
            continue
        values[row, :, MEAN] = values[row][:, chosen].mean(axis=1)
        resampled[row, :, MEAN] = resampled[row][:, chosen].mean(axis=1)
        if name == ECE:
            chance[:, MEAN] = chance[:, chosen].mean(axis=1)
    return Evaluation(values, resampled, chance, sufficient, in_mean)
