"""How far plain pixel values get: the yardstick that shows whether a data set is too easy."""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from medsynth.errors import DataError

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # scikit-learn's C, the inverse of the L2 penalty


def halve(images: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return the 2x2 means of images [N, H, W] as float32 [N, H/2, W/2]."""
    count, height, width = images.shape
    blocks = images.reshape(count, height // 2, 2, width // 2, 2)  # [N, H/2, 2, W/2, 2]
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def logistic_regression_auroc(
    images: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    patients: npt.NDArray[np.integer],
    seed: int,
    strengths: Sequence[float] = STRENGTHS,
) -> npt.NDArray[np.float64]:
    """Return the test AUROC of a logistic regression on standardised pixels, float64 [L].

    Patients are split 80 / 10 / 10 into train, valid and test; of the strengths of the
    penalty, the one with the best AUROC on the valid patients is taken for each label.

    Args:
        images: [N, H, W], any range.
        labels: [N, L], 0 or 1.
        patients: [N], one number per patient.
        seed: Of the split.
        strengths: Values of C to choose from.

    Raises:
        DataError: A label is the same in all images of a split.
    """
    numbers = np.random.RandomState(seed).permutation(np.unique(patients))
    bounds = [int(0.8 * len(numbers)), int(0.9 * len(numbers))]
    train, valid, test = (np.isin(patients, part) for part in np.split(numbers, bounds))
    for name, rows in (("train", train), ("valid", valid), ("test", test)):
        shares = labels[rows].mean(axis=0) if rows.any() else np.zeros(labels.shape[1])
        if not np.all((shares > 0) & (shares < 1)):
            raise DataError(f"The {name} patients need images with and without each label.", received=shares)
    pixels = images.reshape(len(images), -1)  # [N, H*W]
    pixels = StandardScaler().fit(pixels[train]).transform(pixels)
    aurocs = []
    for label in labels.T:
        scores = []
        for strength in strengths:
            model = LogisticRegression(C=strength, max_iter=200)
            with warnings.catch_warnings():
                # A weak penalty need not converge; the valid patients judge what came out.
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(pixels[train], label[train])
            logits = model.decision_function(pixels)
            scores.append([roc_auc_score(label[rows], logits[rows]) for rows in (valid, test)])
        aurocs.append(max(scores)[1])
    return np.array(aurocs)
