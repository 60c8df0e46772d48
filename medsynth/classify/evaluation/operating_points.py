"""At which score a classifier says yes: chosen on its validation images, never on the test images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.classify.evaluation.statistics import Floats, Numbers, youden_threshold

RULE = "largest sensitivity + specificity - 1 (Youden's J); of equal ones the highest threshold; positive: score >= it"


@dataclass(frozen=True)
class OperatingPoints:
    """The threshold of every label, and where it was chosen.

    Attributes:
        thresholds: [L]; NaN where the validation images have one class only.
        chosen_on: The images, in words.
        num_images: How many.
        num_positives: Of every label among them, [L].
        as_in_training: Whether they are the very images that the trainer validated on; None where nothing says it.
    """

    thresholds: Floats
    chosen_on: str
    num_images: int
    num_positives: npt.NDArray[np.int64]
    as_in_training: bool | None = None


def choose_operating_points(
    truth: Numbers, scores: Numbers, chosen_on: str, *, as_in_training: bool | None = None
) -> OperatingPoints:
    """Choose the threshold of every label by Youden's J.

    Args:
        truth: Of the validation images, 0 or 1, [N, L].
        scores: [N, L].
        chosen_on: The images, in words.
        as_in_training: Whether the trainer validated on them.
    """
    thresholds = [youden_threshold(truth[:, label], scores[:, label]) for label in range(truth.shape[1])]
    num_positives = (truth > 0).sum(axis=0).astype(np.int64)
    return OperatingPoints(np.array(thresholds), chosen_on, len(truth), num_positives, as_in_training)
