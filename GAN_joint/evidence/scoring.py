"""Figures with intervals from resampled rows: how well values are read, how well classes are told apart."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from GAN_joint.evidence.pairs import FEWEST
from medsynth.classify.evaluation.evaluate import NUM_RESAMPLES, interval, resample_weights
from medsynth.classify.evaluation.statistics import Floats, Numbers, divide, weighted_auroc

Indices = npt.NDArray[np.int64]
# Of how often each row counts, [R, N]: the figure of every resample, [R].
Statistic = Callable[[Floats], Floats]
DECISION_METRICS = ("accuracy", "precision", "recall", "f1")
_RESAMPLES_AT_ONCE = 100  # all of them at once would fill the memory with weights


@dataclass(frozen=True)
class Score:
    """A figure with its 95 % interval.

    Attributes:
        value: From all rows; NaN where it is undefined.
        low: Lower end; NaN where there are too few rows for an interval.
        high: Upper end.
        num: Rows that it comes from.
        note: Why it is undefined, or has no interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    num: int = 0
    note: str = ""

    @property
    def is_defined(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)

    def is_above(self, level: float) -> bool:
        """Whether all of the interval lies above `level`."""
        return math.isfinite(self.low) and self.low > level


@dataclass(frozen=True)
class Resampled:
    """A figure and what it was in R resamples, [R]: NaN where it was undefined."""

    value: float
    values: Floats

    def score(self, num: int, note: str = "") -> Score:
        """Return it with its percentile interval, which is left out where a note says why there can be none."""
        if note or not math.isfinite(self.value):
            return Score(self.value, num=num, note=note)
        found = interval(self.value, self.values)
        return Score(found.value, found.low, found.high, num)


def resample(statistics: Sequence[Statistic], groups: Indices, seed: int) -> list[Resampled]:
    """Compute figures of all rows, and of 1,000 resamples of the groups that all figures share.

    Args:
        statistics: M of them.
        groups: Of every row, [N], from 0: rows of one group are drawn together.
        seed: Fixes the resamples.
    """
    values = [float(statistic(np.ones((1, len(groups))))[0]) for statistic in statistics]
    seeds = np.random.SeedSequence(seed).generate_state(NUM_RESAMPLES // _RESAMPLES_AT_ONCE)
    blocks = []
    for one in seeds:
        weights = resample_weights(groups, _RESAMPLES_AT_ONCE, int(one))
        blocks.append(np.stack([statistic(weights) for statistic in statistics]))
    return [Resampled(*found) for found in zip(values, np.concatenate(blocks, axis=1), strict=True)]


def weighted_r2(truth: Numbers, predicted: Numbers, weights: Floats) -> Floats:
    """Return the share of the variance that predictions explain, for each row of weights, [R], at most 1.

    1 - (sum of squared errors) / (sum of squared distances to the mean of these rows). 0: as good as saying this mean
    every time; below 0: worse. NaN where the truth does not vary.

    Args:
        truth: [N].
        predicted: [N].
        weights: How often each row counts, [R, N].
    """
    centred = truth - truth.mean()  # of all rows, for the sake of rounding
    total = weights.sum(axis=1)
    spread = weights @ centred**2 - divide((weights @ centred) ** 2, total)
    is_constant = spread <= 1e-12 * (weights @ centred**2 + 1e-300)
    errors = weights @ (np.asarray(truth, np.float64) - predicted) ** 2
    return 1 - divide(errors, np.where(is_constant, 0.0, spread))


def weighted_correlation(truth: Numbers, predicted: Numbers, weights: Floats) -> Floats:
    """Return Pearson's correlation for each row of weights, [R], in [-1, 1]; NaN where one of both does not vary.

    Args:
        truth: [N].
        predicted: [N].
        weights: How often each row counts, [R, N].
    """
    total = weights.sum(axis=1)
    first, second = (values - np.mean(values) for values in (np.asarray(truth, np.float64), predicted))

    def covariance(one: Numbers, other: Numbers) -> Floats:
        covered: Floats = weights @ (one * other) - divide((weights @ one) * (weights @ other), total)
        return covered

    spread = covariance(first, first).clip(0) * covariance(second, second).clip(0)
    return divide(covariance(first, second), np.sqrt(spread)).clip(-1, 1)


def weighted_decisions(truth: Numbers, called: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Return accuracy, precision, recall and F1 for each row of weights, [4, R], in [0, 1].

    Precision is NaN where nothing is called positive, recall where nothing is, and F1 where both are so.

    Args:
        truth: 0 or 1, [N].
        called: Whether a row is called positive, [N].
        weights: How often each row counts, [R, N].
    """
    is_positive = truth > 0
    hits = weights @ (is_positive & called)
    calls, positives = weights @ called, weights @ is_positive
    right = weights @ (is_positive == called)
    return np.stack(
        [
            divide(right, weights.sum(axis=1)),
            divide(hits, calls),
            divide(hits, positives),
            divide(2 * hits, calls + positives),
        ]
    )


def smaller_class(truth: Numbers) -> int:
    """Return how many rows the smaller of the two classes has."""
    num_positives = int(np.count_nonzero(truth > 0))
    return min(num_positives, len(truth) - num_positives)


def class_note(truth: Numbers) -> str:
    """Return why a figure of two classes is undefined or has no interval; empty where there are rows enough."""
    fewest = smaller_class(truth)
    if fewest == 0:
        return "one class only"
    return f"fewer than {FEWEST} of a class ({fewest})" if fewest < FEWEST else ""


def auroc_of(truth: Numbers, scores: Numbers) -> Statistic:
    """Return the AUROC of one label as a statistic; truth and scores [N], or [N, ...] with several of each row."""
    several = truth.size // len(truth)
    flat = truth.ravel().astype(np.float64), scores.ravel().astype(np.float64)
    return lambda weights: weighted_auroc(*flat, np.repeat(weights, several, axis=1))


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """Return the mean of statistics; NaN in a resample that lacks one of them."""
    return lambda weights: np.mean([statistic(weights) for statistic in statistics], axis=0)


def ratio_of(part: Resampled, whole: Resampled, chance: float) -> Resampled:
    """Return how much of the one's distance to chance the other has, each from its own rows."""
    values = divide(part.values - chance, np.maximum(whole.values - chance, 0.0))
    return Resampled((part.value - chance) / (whole.value - chance), values)
