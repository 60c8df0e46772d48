"""Inception score: how sure a classifier is of each image, and how many classes it sees in all.

Source: Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 4.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr, softmax

from medsynth.metrics.intervals import Estimate, block_slices, mean_estimate

Floats = npt.NDArray[np.float64]
NUM_SPLITS = 10


def class_probabilities(features: npt.NDArray[np.floating], class_weights: npt.NDArray[np.floating]) -> Floats:
    """Return softmax(features @ class_weights), [N, K], for features [N, D] and weights [D, K].

    Without the classifier's bias, as the published scores have it: the first implementation took the matrix
    product alone, and every score since is comparable with it only so.
    """
    return np.asarray(softmax((features @ class_weights).astype(np.float64), axis=1))


def split_scores(probabilities: npt.NDArray[np.floating], num_splits: int = NUM_SPLITS) -> Floats:
    """Return exp(mean KL(p(y|x) || p(y))) of every split, [S], each in [1, K].

    Args:
        probabilities: [N, K], rows that add up to 1; N at least `num_splits`.
        num_splits: S runs of neighbouring images.
    """
    values = np.asarray(probabilities, np.float64)
    parts = (values[part] for part in block_slices(len(values), num_splits))
    return np.array([np.exp(rel_entr(part, part.mean(axis=0)).sum(axis=1).mean()) for part in parts])


def inception_score(probabilities: npt.NDArray[np.floating], num_splits: int = NUM_SPLITS) -> tuple[float, float]:
    """Return mean and (population) standard deviation of the splits' scores, as they are published."""
    scores = split_scores(probabilities, num_splits)
    return float(scores.mean()), float(scores.std())


def inception_score_estimate(probabilities: npt.NDArray[np.floating]) -> Estimate:
    """Return the mean score of ten splits and its interval.

    The splits share no image, so theirs is Student's t interval. (Resampling images would lower the score: copies
    make p(y) fit the images better.) The score rises with the number of images in a split.
    """
    return mean_estimate(split_scores(probabilities)).within(1.0)
