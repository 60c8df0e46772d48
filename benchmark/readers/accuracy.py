"""How often readers are right, and how sure that is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from scipy.stats import t as student_t

from medsynth.classify.evaluation.evaluate import Interval, proportion
from medsynth.classify.evaluation.statistics import weighted_auroc
from medsynth.metrics.intervals import CONFIDENCE

Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]
_TAIL = (1 - CONFIDENCE) / 2
_SAME = 1e-9  # values of resamples that differ by rounding alone


@dataclass(frozen=True)
class Skill:
    """What one reader, or all of them together, achieved.

    Attributes:
        num: Answers.
        num_correct: Right ones.
        accuracy: Share of right ones.
        sensitivity: Share of real images that were called real.
        specificity: Share of synthetic images that were called synthetic.
        auc: Probability that a real image looks more real to the reader than a synthetic one, by answer and
            confidence; None where confidences are missing.
        p_value: Exact binomial test, two-sided, against `chance`; None for all readers together, whose answers are not
            independent.
        chance: What as many of each answer would reach without looking, see `blind_accuracy`.
        share_called_real: How often the reader said so.
    """

    num: int
    num_correct: int
    accuracy: Interval
    sensitivity: Interval
    specificity: Interval
    auc: Interval | None
    p_value: float | None
    chance: float
    share_called_real: float


def reader_skill(is_real: Marks, called_real: Floats, confidence: Floats, weights: Floats) -> Skill:
    """Measure one reader.

    Args:
        is_real: [N].
        called_real: 1, 0 or NaN, [N].
        confidence: 1 to 3 or NaN, [N].
        weights: How often each item counts in each resample, [R, N], for the interval of the AUC.
    """
    answered = ~np.isnan(called_real)
    correct = answered & (called_real == is_real)
    num, num_correct = int(answered.sum()), int(correct.sum())
    real, synthetic = (
        proportion(int((correct & kind).sum()), int((answered & kind).sum())) for kind in (is_real, ~is_real)
    )
    chance = blind_accuracy(is_real, called_real[None])
    return Skill(
        num=num,
        num_correct=num_correct,
        accuracy=proportion(num_correct, num),
        sensitivity=real,
        specificity=synthetic,
        auc=_auc(is_real, called_real, confidence, weights),
        p_value=float(binomtest(num_correct, num, chance).pvalue),
        chance=chance,
        share_called_real=float(np.nanmean(called_real)),
    )


def blind_accuracy(is_real: Marks, called_real: Floats) -> float:
    """Return the accuracy that as many "real" and "synthetic" would reach if they were dealt without looking.

    It is 0.5 where half of the images are real, whatever word a reader prefers.

    Args:
        is_real: [N].
        called_real: 1, 0 or NaN, [J, N].
    """
    answered = ~np.isnan(called_real)
    share_real = float((answered & is_real).sum() / answered.sum())
    share_called = float(np.nanmean(called_real))
    return share_real * share_called + (1 - share_real) * (1 - share_called)


def _auc(is_real: Marks, called_real: Floats, confidence: Floats, weights: Floats) -> Interval | None:
    """Return the area under the ROC curve of -3 (certainly synthetic) to 3 (certainly real), or None.

    The interval comes from resampled items; where all of them give the same value (as where every real image scores
    above every synthetic one) it would have no width, and there is none.
    """
    answered = ~np.isnan(called_real)
    kinds = is_real[answered]
    if np.isnan(confidence[answered]).any() or kinds.all() or not kinds.any():
        return None
    scores = np.where(called_real == 1, confidence, -confidence)[answered]
    value = float(weighted_auroc(kinds.astype(float), scores, np.ones((1, len(kinds))))[0])
    return resampled_interval(value, weighted_auroc(kinds.astype(float), scores, weights[:, answered]))


def resampled_interval(value: float, resampled: Floats) -> Interval:
    """Return an estimate with its interval over resampled items; without one where all of them give the same value.

    Args:
        value: Of all items.
        resampled: Of every resample, [R]; those without a value (NaN) are passed over.
    """
    known = resampled[~np.isnan(resampled)]
    if len(known) == 0 or np.ptp(known) < _SAME:
        return Interval(value)
    low, high = np.quantile(known, (_TAIL, 1 - _TAIL))
    return Interval(value, float(low), float(high))


def pooled_skill(is_real: Marks, called_real: Floats) -> Skill:
    """Measure all readers together, [J, N]; intervals mind that readers saw the same images."""
    answered = ~np.isnan(called_real)
    correct = np.where(answered, called_real == is_real, np.nan)
    real, synthetic = (
        pooled_interval(correct[:, kind], np.ones(int(kind.sum()), bool)) for kind in (is_real, ~is_real)
    )
    return Skill(
        num=int(answered.sum()),
        num_correct=int(np.nansum(correct)),
        accuracy=pooled_interval(correct, is_real),
        sensitivity=real,
        specificity=synthetic,
        auc=None,
        p_value=None,
        chance=blind_accuracy(is_real, called_real),
        share_called_real=float(np.nanmean(called_real)),
    )


def pooled_interval(correct: Floats, is_real: Marks) -> Interval:
    """Return the share of right answers of several readers of the same items, with its 95 % interval.

    Answers to one item are alike, since some items are easier than others: so many answers say less than as many
    independent ones. The variance is that of items (of real and synthetic ones apart, whose numbers are fixed), the
    effective number of answers follows from it, and an exact interval from that; it is never taken for larger than the
    number of answers. It speaks of these readers on other images of the same kinds, not of other readers.

    Args:
        correct: 1, 0 or NaN where there is no answer, [J, N].
        is_real: [N].

    Source: Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data", Survey Methodology 24(2), 193-201.
    """
    answered = ~np.isnan(correct)
    num = int(answered.sum())
    if num == 0:
        return Interval(float("nan"))
    share = float(np.nansum(correct) / num)
    residuals = np.where(answered, correct - share, 0).sum(axis=0)
    seen = answered.any(axis=0)
    variance, freedom = 0.0, 0
    for kind in (is_real & seen, ~is_real & seen):
        size = int(kind.sum())
        if size > 1:
            variance += size / (size - 1) * float(((residuals[kind] - residuals[kind].mean()) ** 2).sum()) / num**2
            freedom += size - 1
    num_items = int(seen.sum())
    if share in {0.0, 1.0} or freedom == 0:
        effective = float(num_items)  # how alike answers to one item are cannot be seen: as if readers were one
    else:
        effective = min(share * (1 - share) / variance, num) if variance > 0 else float(num)
        # As published: the variance is an estimate, too.
        quantiles = student_t.ppf(1 - _TAIL, [max(num - 1, 1), freedom])
        effective *= float(quantiles[0] / quantiles[1]) ** 2
    interval = proportion(share * effective, effective)
    return Interval(share, interval.low, interval.high)


def holm(p_values: Floats) -> Floats:
    """Return p-values adjusted for their number, so that the chance of any false finding stays at the level.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted


def resampled_items(is_real: Marks, num_resamples: int, seed: int) -> Floats:
    """Return how often each item counts in each resample, [R, N]; real and synthetic ones are drawn apart."""
    generator = np.random.default_rng(seed)
    weights = np.zeros((num_resamples, len(is_real)))
    for kind in (is_real, ~is_real):
        places = np.flatnonzero(kind)
        weights[:, places] = generator.multinomial(len(places), np.full(len(places), 1 / len(places)), num_resamples)
    return weights
