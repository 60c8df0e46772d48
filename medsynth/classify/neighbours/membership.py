"""Membership inference from synthetic images alone: can an attacker tell who was in the training data?

The attacker has the synthetic images and a candidate, and calls the candidate a member of the training data where a
synthetic image lies near. Here members are training images, and controls held-out images of other patients. Everything
is numpy and scipy, functions of distances, never of files; small distances speak for a member.

Two attacks, which differ in the distance that is handed over:

- the plain one: distance to the nearest synthetic image. Where train and held-out images differ in themselves (another
  hospital, a network that has seen the training images), it tells them apart even if nothing was learnt by heart.
- the calibrated one (`calibrated`): that distance against the distance to the nearest real image that is no member. If
  the synthetic images were new images of other patients, both would be draws of the same kind, so that what it finds
  comes from the synthetic images.

Sources: Chen et al. 2020, "GAN-Leaks", doi:10.1145/3372297.3417238 (full black box, section 4.2; calibration, section
4.5); Hilprecht et al. 2019, "Monte Carlo and Reconstruction Membership Inference Attacks against Generative Models",
doi:10.2478/popets-2019-0067; van Breugel et al. 2023, "DOMIAS", https://arxiv.org/abs/2302.12580 (density of the
synthetic against that of the real data). Rates at few false alarms: Carlini et al. 2022, https://arxiv.org/abs/2112.03570.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from medsynth.classify.evaluation.evaluate import Interval, interval, resample_weights
from medsynth.classify.evaluation.statistics import weighted_auroc
from medsynth.classify.neighbours.memorisation import halves, resampled_shares

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

LEVELS = (0.01, 0.05)
CONTROLS_FOR_LEVEL = {0.01: 300, 0.05: 20}  # in the half that sets the threshold
NUM_RESAMPLES = 1000
_RESAMPLES_AT_ONCE = 32


@dataclass(frozen=True)
class Scored:
    """Candidates of one kind.

    Attributes:
        distances: Small ones speak for a member, [N].
        patients: Of every candidate, counted from 0, [N].
    """

    distances: Floats
    patients: Numbers

    def __len__(self) -> int:
        return len(self.distances)

    def part(self, chosen: npt.NDArray[np.bool_]) -> "Scored":
        """Return the candidates that are marked, [N]."""
        return Scored(self.distances[chosen], np.unique(self.patients[chosen], return_inverse=True)[1])


@dataclass(frozen=True)
class Rate:
    """What an attack gets right and wrong at a threshold that some controls set.

    Attributes:
        level: Nominal share of controls called members.
        expected: Share of new controls that would be: k / (N + 1), where the threshold is the k-th smallest of N.
        num_setting: Controls that set the threshold, N.
        num_measured: Controls that did not, and on which false positives are counted.
        false_positives: Their share below the threshold.
        true_positives: Share of the members below it.
    """

    level: float
    expected: float
    num_setting: int
    num_measured: int
    false_positives: Interval
    true_positives: Interval


@dataclass(frozen=True)
class Attack:
    """How well members can be told from controls.

    Attributes:
        auc: Chance that a member is nearer than a control; 0.5 is a coin.
        num_members: Training images.
        num_controls: Held-out images.
        rates: By nominal level; those that have too few controls are missing.
        missing: Why a level is missing, by level.
    """

    auc: Interval
    num_members: int
    num_controls: int
    rates: dict[float, Rate]
    missing: dict[float, str]


def calibrated(to_synthetic: Floats, to_others: Floats) -> Floats:
    """Return distances to synthetic images against those to real images that are no members: [N] in [0, 1].

    It is d / (d + d'), which orders candidates as d / d' does and is defined for a copy of both (0.5).

    Args:
        to_synthetic: d, to the nearest synthetic image, [N].
        to_others: d', to the nearest real image of others, [N].
    """
    total = to_synthetic + to_others
    return np.divide(to_synthetic, total, out=np.full(len(total), 0.5), where=total > 0)


def measure_attack(
    members: Scored,
    controls: Scored,
    auc: Interval,
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Attack:
    """Return how well an attack tells members from controls.

    Thresholds are set on one half of the controls' patients, and false positives counted on the other half.

    Args:
        members: Training images.
        controls: Held-out images of other patients, two patients or more.
        auc: Of `bootstrapped_auc`, or of another way to its interval.
        seed: Of the halves and the intervals.
        num_resamples: For each interval.
    """
    rates, missing = {}, {}
    is_setting = halves(controls.patients, seed)
    setting, measured = controls.part(is_setting), controls.part(~is_setting)
    for level in LEVELS:
        if len(setting) < CONTROLS_FOR_LEVEL[level]:
            missing[level] = (
                f"A threshold at {level:.0%} false positives needs {CONTROLS_FOR_LEVEL[level]} controls or more in the "
                f"half that sets it; there are {len(setting)}."
            )
            continue
        rates[level] = _rate(members, setting, measured, level, seed, num_resamples)
    return Attack(auc, len(members), len(controls), rates, missing)


def auc_value(members: Scored, controls: Scored) -> float:
    """Return the chance that a member is nearer than a control, ties counting half."""
    truth, scores = _truth_and_scores(members, controls)
    return float(weighted_auroc(truth, scores, np.ones((1, len(truth))))[0])


def bootstrapped_auc(
    members: Scored, controls: Scored, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Interval:
    """Return `auc_value` with its interval: patients are drawn with replacement on both sides.

    It holds where the distances of one candidate do not depend on the other candidates.

    Args:
        members: Training images.
        controls: Held-out images.
        seed: The same seed gives the same interval.
        num_resamples: Draws of patients.
    """
    truth, scores = _truth_and_scores(members, controls)
    resampled = []
    for start in range(0, num_resamples, _RESAMPLES_AT_ONCE):
        seeds = np.random.default_rng((seed, start)).integers(2**31, size=2)
        num_draws = min(_RESAMPLES_AT_ONCE, num_resamples - start)
        weights = [
            resample_weights(side.patients, num_draws, int(draw))
            for side, draw in zip((members, controls), seeds, strict=True)
        ]
        resampled.append(weighted_auroc(truth, scores, np.concatenate(weights, axis=1)))
    return interval(auc_value(members, controls), np.concatenate(resampled))


def _truth_and_scores(members: Scored, controls: Scored) -> tuple[Floats, Floats]:
    truth = np.concatenate([np.ones(len(members)), np.zeros(len(controls))])
    return truth, -np.concatenate([members.distances, controls.distances])


def _rate(members: Scored, setting: Scored, measured: Scored, level: float, seed: int, num_resamples: int) -> Rate:
    rank = int(level * (len(setting) + 1) + 1e-9)
    threshold = np.sort(setting.distances)[rank - 1]
    shares = []
    for side in (measured, members):
        resampled = resampled_shares(
            side.distances, setting.distances, setting.patients, num_resamples, seed,
            level=rank / len(setting), num_independent=independent_number(side),
        )  # fmt: skip
        shares.append(interval(float((side.distances < threshold).mean()), resampled))
    return Rate(level, rank / (len(setting) + 1), len(setting), len(measured), *shares)


def independent_number(scored: Scored) -> float:
    """Return as how many independent images the images count, since those of one patient resemble each other.

    N / (1 + (m - 1) r): m is the mean number of images of an image's patient, r the correlation within patients, from
    the ranks of the distances, so that a rate near 0 does not leave it undefined.

    Source: Kish 1965, "Survey Sampling", section 5.4 (design effect); r from the analysis of variance, Donner 1986,
    doi:10.2307/1403259.
    """
    num_images = len(scored)
    sizes = np.bincount(scored.patients).astype(np.float64)
    sizes = sizes[sizes > 0]
    if len(sizes) in (1, num_images):
        return float(len(sizes))
    ranks = rankdata(scored.distances) - (num_images + 1) / 2
    sums = np.bincount(scored.patients, ranks)[np.bincount(scored.patients) > 0]
    between = float((sums**2 / sizes).sum()) / (len(sizes) - 1)
    within = (float((ranks**2).sum()) - float((sums**2 / sizes).sum())) / (num_images - len(sizes))
    mean_size = float((sizes**2).sum()) / num_images
    typical_size = (num_images - mean_size) / (len(sizes) - 1)
    spread = between + (typical_size - 1) * within
    correlation = 1.0 if spread <= 0 else min(max((between - within) / spread, 0.0), 1.0)
    return num_images / (1 + (mean_size - 1) * correlation)
