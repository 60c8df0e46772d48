"""Whether synthetic images lie nearer to the training images than real images of other patients do.

Such real images, held out from the training, say how near to the training data an image lies that does not come from
it. Everything here is numpy and scipy, functions of distances, never of files.

Sources: distances to the nearest training image as a test for copies, among others Meehan et al. 2020, "A
Non-Parametric Test to Detect Data-Copying in Generative Models", https://arxiv.org/abs/2004.05675; the ratio of the
two nearest, Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94, section 7.1.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.classify.evaluation.evaluate import Interval, interval, proportion
from medsynth.classify.neighbours.search import Neighbours
from medsynth.errors import DataError

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

FALSE_ALARMS = 0.05
MINIMUM_HELD_OUT = 20
# Below this chance, that some images lie nearer than all held-out ones calls for a look at them.
_SMALL_CHANCE = 0.01
_RESAMPLES_AT_ONCE = 64


@dataclass(frozen=True)
class Comparison:
    """Nearest distances (or ratios) of synthetic images against those of held-out real ones.

    Attributes:
        threshold: 5th percentile of the held-out images' values.
        expected: Share of new images of other patients that would lie below it: k / (N + 1), where the threshold is
            the k-th smallest of N.
        share: Share of the synthetic images below it, with its interval.
        num_flagged: How many these are.
        num_images: Synthetic images.
        num_below_all: Synthetic images below every held-out image.
        below_all_expected: Of images of other patients, so many would be expected.
        below_all_chance: Chance of as many or more if the synthetic images were such, at most.
        median: Of the synthetic images.
        median_held_out: Of the held-out images.
    """

    threshold: float
    expected: float
    share: Interval
    num_flagged: int
    num_images: int
    num_below_all: int
    below_all_expected: float
    below_all_chance: float
    median: float
    median_held_out: float


def ratios(neighbours: Neighbours, patients: Numbers) -> Floats:
    """Return how much nearer the nearest training image is than the nearest one of another patient: [N] in [0, 1].

    Where all neighbours that were found are of one patient, the last of them stands for the other. 1 means that the
    nearest image is nothing special; a copy has nearly 0 wherever in the data it lies. Two distances of 0 give 1.

    Args:
        neighbours: At least two for each image.
        patients: Of every training image, counted from 0.
    """
    owners = patients[neighbours.numbers]
    is_other = owners != owners[:, :1]
    is_other[:, -1] = True
    other = np.take_along_axis(neighbours.distances, np.argmax(is_other, axis=1)[:, None], axis=1)[:, 0]
    return np.divide(neighbours.distances[:, 0], other, out=np.ones(len(other)), where=other > 0)


def threshold_of(held_out: Floats) -> float:
    """Return the 5th percentile of the held-out images' values [N]: the smallest that 5 % of them do not exceed."""
    return float(np.sort(held_out)[_rank(len(held_out)) - 1])


def _rank(num_values: int) -> int:
    return int(np.ceil(FALSE_ALARMS * num_values - 1e-9))


def compare(
    values: Floats, held_out: Floats, clusters: Numbers, *, num_resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Compare synthetic images with held-out real ones.

    The interval of the share has both uncertainties: held-out patients are drawn with replacement, which moves the
    threshold, and for each draw the share below it comes from its posterior under Jeffreys' prior. (Drawing synthetic
    images with replacement does the same, but gives an interval without width where no image lies below.)

    Args:
        values: Of the synthetic images, [M].
        held_out: Of the held-out images, [N], 20 or more.
        clusters: The patient of every held-out image, counted from 0, [N].
        num_resamples: Draws of patients.
        seed: The same seed gives the same interval.

    Raises:
        DataError: Fewer than 20 held-out images.

    Source: Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286 (Jeffreys' interval).
    """
    num_held_out, num_patients = len(held_out), int(clusters.max(initial=-1)) + 1
    if num_held_out < MINIMUM_HELD_OUT:
        raise DataError(
            f"A 5th percentile needs {MINIMUM_HELD_OUT} held-out real images or more.", received=num_held_out
        )
    threshold = threshold_of(held_out)
    num_flagged = int((values < threshold).sum())
    shares = resampled_shares(values, held_out, clusters, num_resamples, seed)
    num_below_all = int((values < held_out.min()).sum())
    # The chance that the smallest of M synthetic images and P patients' nearest images are all synthetic.
    places = np.arange(num_below_all)
    chance = np.prod((len(values) - places) / (len(values) + num_patients - places))
    return Comparison(
        threshold=threshold,
        expected=_rank(num_held_out) / (num_held_out + 1),
        share=interval(num_flagged / len(values), shares),
        num_flagged=num_flagged,
        num_images=len(values),
        num_below_all=num_below_all,
        below_all_expected=len(values) / (num_held_out + 1),
        below_all_chance=float(chance),
        median=float(np.median(values)),
        median_held_out=float(np.median(held_out)),
    )


def resampled_shares(
    values: Floats,
    held_out: Floats,
    clusters: Numbers,
    num_resamples: int,
    seed: int,
    *,
    level: float = FALSE_ALARMS,
    num_independent: float | None = None,
) -> Floats:
    """Return the share of values below the threshold for every draw of held-out patients, [R].

    Args:
        values: [M].
        held_out: Values that set the threshold, [N].
        clusters: The patient of every held-out image, counted from 0, [N].
        num_resamples: R.
        seed: The same seed gives the same shares.
        level: The threshold is the smallest value that this share of the held-out ones do not exceed.
        num_independent: As how many independent values the M count; None for all of them.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(held_out)
    ordered, ordered_clusters, ordered_values = held_out[order], clusters[order], np.sort(values)
    num_clusters = int(clusters.max()) + 1
    weight = 1.0 if num_independent is None else num_independent / len(values)
    shares = []
    for start in range(0, num_resamples, _RESAMPLES_AT_ONCE):
        num_draws = min(_RESAMPLES_AT_ONCE, num_resamples - start)
        draws = rng.multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters), size=num_draws)
        counts = np.cumsum(draws[:, ordered_clusters], axis=1)
        reached = counts >= level * counts[:, -1:] - 1e-9
        # The percentile is a value that was drawn, so the draws before it are no candidates.
        thresholds = ordered[np.argmax(reached & (counts > 0), axis=1)]
        below = np.searchsorted(ordered_values, thresholds, side="left")
        shares.append(rng.beta(weight * below + 0.5, weight * (len(values) - below) + 0.5))
    return np.concatenate(shares)


def halves(patients: Numbers, seed: int) -> npt.NDArray[np.bool_]:
    """Return which images are of the first half of the patients, [N]; no patient is in both.

    Args:
        patients: Of every image, counted from 0, [N].
        seed: Of the draw.
    """
    return np.random.default_rng(seed).permutation(int(patients.max()) + 1)[patients] % 2 == 0


def false_alarms(held_out: Floats, clusters: Numbers, *, seed: int = 0) -> Interval:
    """Return the share of held-out images below the 5th percentile of the others: half of the patients each.

    Args:
        held_out: [N].
        clusters: The patient of every image, counted from 0, [N]; at least two patients.
        seed: Of the halves.
    """
    half = halves(clusters, seed)
    hits = sum(int((held_out[part] < threshold_of(held_out[~part])).sum()) for part in (half, ~half))
    return proportion(hits, len(held_out))


@dataclass(frozen=True)
class PixelCounts:
    """How many images are copies of training images by their pixels.

    Attributes:
        synthetic: Of the synthetic images.
        held_out: Of the held-out real ones.
    """

    synthetic: int
    held_out: int


def verdict(comparison: Comparison, ratio: Comparison, pixels: PixelCounts | None = None) -> list[str]:
    """Return what was found, in plain sentences.

    Args:
        comparison: Of the distances.
        ratio: Of the ratios.
        pixels: Copies by their pixels; None where they were not looked for.
    """
    share = comparison.share
    lines = [
        f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}] of {comparison.num_images:,} synthetic images lie "
        "nearer to a training image than 95 % of the held-out real images do; "
        f"{comparison.expected:.1%} would be expected if they were as new as images of other patients.",
        f"{comparison.num_below_all:,} lie nearer than any held-out image does ({comparison.below_all_expected:.1f} "
        f"expected; chance of so many: {comparison.below_all_chance:.2g} at most).",
        f"{ratio.share.value:.1%} [{ratio.share.low:.1%}, {ratio.share.high:.1%}] have one training image that is so "
        f"much nearer than those of other patients as in 5 % of the held-out ({ratio.expected:.1%} expected); "
        f"{ratio.num_below_all:,} more so than any held-out image ({ratio.below_all_expected:.1f} expected; chance "
        f"{ratio.below_all_chance:.2g} at most).",
    ]
    if pixels is not None:
        lines.append(
            f"By their pixels, {pixels.synthetic:,} synthetic images are copies of a training image, and "
            f"{pixels.held_out:,} of the held-out real ones."
        )
    too_near = share.low > comparison.expected or ratio.share.low > ratio.expected
    some_too_near = min(comparison.below_all_chance, ratio.below_all_chance) < _SMALL_CHANCE
    if pixels is not None and pixels.synthetic > 0:
        lines.append("There are copies by their pixels: look at the first rows of nn.png.")
    elif too_near:
        lines.append("More than expected: synthetic images resemble single training images; nn.png shows the nearest.")
    elif some_too_near:
        lines.append("Few, but nearer than chance explains: look at the first rows of nn.png.")
    elif share.high < comparison.expected:
        lines.append(
            "Fewer than expected: these images lie further from the training data than real ones do, so the distances "
            "alone would miss copies that are as far off; the ratios, and how many planted copies were found, tell "
            "more."
        )
    else:
        lines.append("No sign of copies, as far as these embeddings can tell: see how many planted ones were found.")
    return lines
