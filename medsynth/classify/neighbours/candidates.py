"""How near candidates for membership lie to synthetic images, and to real images that are no members."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.classify.evaluation.evaluate import Interval
from medsynth.classify.neighbours.membership import NUM_RESAMPLES, Floats, Numbers, Scored, bootstrapped_auc, calibrated
from medsynth.classify.neighbours.search import nearest_neighbours
from medsynth.progress import Progress

Features = npt.NDArray[np.float32]
NUM_FOLDS, _TURNS = 12, 3


@dataclass(frozen=True)
class BothSides:
    """The features of some images as they are, and of their mirror images.

    Attributes:
        direct: [N, D], in parts, gone through several times.
        mirrored: The same of the mirror images.
    """

    direct: Iterable[Features]
    mirrored: Iterable[Features]


@dataclass(frozen=True)
class Candidates:
    """Candidates for membership and their distances.

    Attributes:
        to_synthetic: To the nearest synthetic image, in either orientation, [N].
        to_folds: To the nearest held-out image of every fold of patients, in either orientation, [N, F].
        folds: Of every candidate, counted from 0, [N]: of a held-out image its own.
        patients: Of every candidate, counted from 0, [N].
    """

    to_synthetic: Floats
    to_folds: Floats
    folds: Numbers
    patients: Numbers

    @property
    def num_folds(self) -> int:
        """F."""
        return self.to_folds.shape[1]

    @property
    def plain(self) -> Scored:
        """For the attack that has the synthetic images alone."""
        return Scored(self.to_synthetic, self.patients)

    @property
    def calibrated(self) -> Scored:
        """For the attack that has real images of others, too."""
        return Scored(calibrated(self.to_synthetic, self.to_others()), self.patients)

    def to_others(self) -> Floats:
        """Return the distance to the nearest held-out image that is not of the candidate's fold, [N]."""
        is_own = np.arange(self.num_folds) == self.folds[:, None]
        return np.asarray(np.where(is_own, np.inf, self.to_folds).min(axis=1))

    def calibrated_by(self, chosen: npt.NDArray[np.bool_]) -> Scored:
        """Return what the calibrated attack goes by where the others are those of some folds, marked in [F]."""
        return Scored(calibrated(self.to_synthetic, self.to_folds[:, chosen].min(axis=1)), self.patients)


def measure_candidates(
    members: tuple[Iterable[Features], Numbers],
    controls: tuple[BothSides, Numbers],
    synthetic: BothSides,
    *,
    seed: int,
) -> tuple[Candidates, Candidates]:
    """Return the distances of members and of controls, in this order.

    The held-out images are controls and "others" at once. So patients are dealt to twelve folds, and a candidate's
    others are those of the other folds; members are dealt to folds, too, so that both see as many.

    Args:
        members: Features of the training images, and the patient of each.
        controls: Features of the held-out images, and the patient of each; three patients or more.
        synthetic: Features of the synthetic images.
        seed: Of the folds.
    """
    (member_features, member_patients), (control_sides, control_patients) = members, controls
    num_folds = min(NUM_FOLDS, int(control_patients.max()) + 1)
    rng = np.random.default_rng(seed)
    control_folds, member_folds = (
        (rng.permutation(int(patients.max()) + 1) % num_folds)[patients]
        for patients in (control_patients, member_patients)
    )
    sides = (synthetic.direct, synthetic.mirrored)
    others = [np.concatenate(list(side)) for side in (control_sides.direct, control_sides.mirrored)]
    found = []
    for features, patients, folds, name in (
        (member_features, member_patients, member_folds, "training"),
        (control_sides.direct, control_patients, control_folds, "held-out"),
    ):
        progress = Progress(f"comparing {name} images with synthetic and held-out ones", 1 + num_folds, "parts")
        to_synthetic = _nearest(features, sides)
        progress.advance()
        to_folds = np.empty((len(patients), num_folds))
        for fold in range(num_folds):
            to_folds[:, fold] = _nearest(features, [[side[control_folds == fold]] for side in others])
            progress.advance()
        progress.close()
        found.append(Candidates(to_synthetic, to_folds, folds, patients))
    return found[0], found[1]


def calibrated_auc(
    members: Candidates, controls: Candidates, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Interval:
    """Return the AUC of the calibrated attack with its interval.

    A third of the held-out patients are the others, the controls those of the two thirds left, each third in turn;
    value and ends of the interval are means over the three. Where controls are others for one another, as in
    `Candidates.calibrated`, they are not independent, and intervals of resampled patients are too narrow (measured:
    docs/verdict_privacy.md).

    Args:
        members: Training images.
        controls: Held-out images.
        seed: The same seed gives the same interval.
        num_resamples: Draws of patients for each third.
    """
    found = []
    for turn in range(_TURNS):
        is_other = np.arange(controls.num_folds) % _TURNS == turn
        left = controls.calibrated_by(is_other).part(~is_other[controls.folds])
        found.append(
            bootstrapped_auc(members.calibrated_by(is_other), left, seed=seed + turn, num_resamples=num_resamples)
        )
    value, low, high = np.mean([(one.value, one.low, one.high) for one in found], axis=0)
    return Interval(float(value), float(low), float(high), num_resamples)


def _nearest(queries: Iterable[Features], references: Sequence[Iterable[Features]]) -> Floats:
    """Return the distance of every query to the nearest of all references, [N]."""
    found = [nearest_neighbours(queries, reference, 1).distances[:, 0] for reference in references]
    return np.asarray(np.min(found, axis=0))
