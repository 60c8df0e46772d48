"""How good scores are: functions of truth, scores and weights, all rows of weights at once.

A row of weights says how often each image counts. Ones give the plain figure, the counts of a resample the resampled
one, and weights are exactly repetitions: `tests/unit/test_classifier_statistics.py` holds every function against
scikit-learn on repeated images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.floating]
_RESAMPLES_AT_ONCE = 32  # keeps the working set of a label near the processor's cache


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Return the quotient of two arrays, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


@dataclass(frozen=True)
class _Ranking:
    """Weights by descending score, at each of the G distinct scores that positives have; a row per resample.

    Attributes:
        rows: Which rows of weights these are.
        positives: Weight of the positives of this score, [r, G].
        hits: Weight of the positives of this score or a higher one, [r, G].
        above: Weight of all images of a higher score, [r, G].
        called: Weight of all images of this score or a higher one, [r, G].
        total: Weight of all images, [r, 1].
    """

    rows: slice
    positives: Floats
    hits: Floats
    above: Floats
    called: Floats
    total: Floats

    @property
    def all_positives(self) -> Floats:
        """Weight of all positives, [r]."""
        return self.hits[:, -1]


def _rankings(truth: Numbers, scores: Numbers, weights: Floats) -> Iterator[_Ranking]:
    """Yield the rankings of a few rows of weights at a time; nothing where no image is positive."""
    order = np.argsort(-scores, kind="stable")
    ordered, is_positive = scores[order], truth[order] > 0
    first_of_tie = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    last_of_tie = np.r_[first_of_tie[1:], len(ordered)] - 1
    places = np.flatnonzero(is_positive)
    # Most scores belong to no positive, and what these functions need changes only where one does.
    ties, starts = np.unique(np.searchsorted(last_of_tie, places), return_index=True)
    if len(places) == 0:
        return
    for start in range(0, len(weights), _RESAMPLES_AT_ONCE):
        rows = slice(start, min(start + _RESAMPLES_AT_ONCE, len(weights)))
        ranked = weights[rows][:, order]  # [r, N], by descending score
        positives = np.add.reduceat(ranked[:, places], starts, axis=1)  # [r, G]
        running = np.cumsum(ranked, axis=1)
        called, first = running[:, last_of_tie[ties]], ranked[:, first_of_tie[ties]]
        above = running[:, first_of_tie[ties]] - first
        yield _Ranking(rows, positives, np.cumsum(positives, axis=1), above, called, running[:, -1:])


def weighted_auroc(truth: Numbers, scores: Numbers, weights: Floats) -> Floats:
    """Return the area under the ROC curve for each row of weights, [R], in [0, 1]; NaN where a class has no weight.

    The probability that a positive scores above a negative, ties counting half. Never flipped: below 0.5 means worse
    than chance.

    Args:
        truth: 0 or 1, [N].
        scores: Any finite numbers, [N].
        weights: How often each image counts, [R, N].

    Source: Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve".
    """
    results = np.full(len(weights), np.nan)
    for one in _rankings(truth, scores, weights):
        num_negatives = one.total[:, 0] - one.all_positives
        tied = one.called - one.above - one.positives
        # A positive wins against the negatives below it, and half against those of its own score.
        below = num_negatives[:, None] - (one.called - one.hits) + 0.5 * tied
        won = np.einsum("rg,rg->r", one.positives, below)
        results[one.rows] = divide(won, one.all_positives * num_negatives)
    return results


def weighted_average_precision(truth: Numbers, scores: Numbers, weights: Floats) -> Floats:
    """Return the average precision for each row of weights, [R], in [0, 1]; NaN where a class has no weight.

    The precision at every distinct score, weighted with the recall gained there; nothing is interpolated. A classifier
    that knows nothing reaches the share of positives.

    Args:
        truth: 0 or 1, [N].
        scores: Any finite numbers, [N].
        weights: How often each image counts, [R, N].

    Source: Manning, Raghavan and Schuetze 2008, "Introduction to Information Retrieval", section 8.4; ties as
    scikit-learn's `average_precision_score` takes them.
    """
    results = np.full(len(weights), np.nan)
    for one in _rankings(truth, scores, weights):
        precision = np.nan_to_num(divide(one.hits, one.called))  # no weight up to here: no recall is gained either
        gained = np.einsum("rg,rg->r", one.positives, precision)
        has_both = one.total[:, 0] > one.all_positives
        results[one.rows] = np.where(has_both, divide(gained, one.all_positives), np.nan)
    return results


def weighted_sensitivity(truth: Numbers, scores: Numbers, weights: Floats, threshold: float) -> Floats:
    """Return the share of positives with score >= threshold, [R], in [0, 1]; NaN without positives or threshold."""
    is_positive = truth > 0
    if np.isnan(threshold):
        return np.full(len(weights), np.nan)
    return divide(weights @ (is_positive & (scores >= threshold)).astype(np.float64), weights @ is_positive)


def weighted_specificity(truth: Numbers, scores: Numbers, weights: Floats, threshold: float) -> Floats:
    """Return the share of negatives with score < threshold, [R], in [0, 1]; NaN without negatives or threshold."""
    is_negative = ~(truth > 0)
    if np.isnan(threshold):
        return np.full(len(weights), np.nan)
    return divide(weights @ (is_negative & (scores < threshold)).astype(np.float64), weights @ is_negative)


def weighted_brier(truth: Numbers, scores: Numbers, weights: Floats) -> Floats:
    """Return the mean squared difference of score and truth, [R], in [0, 1]; NaN where scores are no probabilities.

    Source: Brier 1950, "Verification of forecasts expressed in terms of probability", for one label with two outcomes.
    """
    if not are_probabilities(scores):
        return np.full(len(weights), np.nan)
    return divide(weights @ (scores - (truth > 0)) ** 2, weights.sum(axis=1))


def are_probabilities(scores: Numbers) -> bool:
    """Return whether all scores lie in [0, 1]; others can be ranked, but not called calibrated or not."""
    return bool((scores >= 0).all() and (scores <= 1).all())


def roc_curve(truth: Numbers, scores: Numbers) -> Floats:
    """Return the ROC curve as [3, T]: true-positive rate, false-positive rate, threshold (score >= threshold).

    It begins at (0, 0, infinity) and has one point per distinct score. A label
    without both classes has rates of NaN.
    """
    hits, false_alarms, thresholds = _counts_by_score(truth, scores)
    if hits[-1] == 0 or false_alarms[-1] == 0:
        curve = [np.full(len(hits) + 1, np.nan)] * 2
    else:
        curve = [np.r_[0, hits] / hits[-1], np.r_[0, false_alarms] / false_alarms[-1]]
    return np.stack([*curve, np.r_[np.inf, thresholds]])


def precision_recall_curve(truth: Numbers, scores: Numbers) -> Floats:
    """Return precision, recall and threshold (score >= threshold) at every distinct score, the highest first: [3, T].

    Recall is NaN where no image is positive.
    """
    hits, false_alarms, thresholds = _counts_by_score(truth, scores)
    recall = hits / hits[-1] if hits[-1] else np.full(len(hits), np.nan)
    return np.stack([hits / (hits + false_alarms), recall, thresholds])


def youden_threshold(truth: Numbers, scores: Numbers) -> float:
    """Return the score at which sensitivity + specificity - 1 is largest; NaN where a class is missing.

    Of equal maxima the highest, which calls the fewest images positive. It is a score of one of these images, and an
    image with just this score is called positive.

    Args:
        truth: 0 or 1, [N].
        scores: [N].

    Source: Youden 1950, "Index for rating diagnostic tests".
    """
    hits, false_alarms, thresholds = _counts_by_score(truth, scores)
    num_positives, num_negatives = int(hits[-1]), int(false_alarms[-1])
    if num_positives == 0 or num_negatives == 0:
        return float("nan")
    # J times both numbers: whole numbers, so equal maxima are equal.
    return float(thresholds[np.argmax(hits * num_negatives - false_alarms * num_positives)])


def _counts_by_score(truth: Numbers, scores: Numbers) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Return positives and negatives of at least each distinct score, and these scores, the highest first: [T] each."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order].astype(np.float64)
    last_of_tie = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    hits = np.cumsum(truth[order] > 0, dtype=np.int64)[last_of_tie]
    return hits, last_of_tie + 1 - hits, ordered[last_of_tie]
