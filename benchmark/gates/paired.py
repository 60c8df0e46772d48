"""Tested classifiers on the same real images: which labels have enough cases, and figures from the same resamples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.classify.evaluation.evaluate import (
    NUM_RESAMPLES,
    Evaluation,
    cluster_images,
    evaluate,
    resample_weights,
)
from medsynth.classify.evaluation.predictions import Predictions, require_same_rows
from medsynth.classify.evaluation.statistics import Floats, weighted_auroc
from medsynth.progress import Progress


@dataclass(frozen=True)
class PairedTest:
    """What K classifiers say of the same N real images.

    Attributes:
        names: L labels.
        truth: 0 or 1, [N, L].
        scores: [N, L] of each classifier, the reference first.
        clusters: The patient of every image, numbered from 0, [N]; single images where patients are not known.
        unit: "patients" or "images": what is counted and resampled.
    """

    names: tuple[str, ...]
    truth: Floats
    scores: tuple[Floats, ...]
    clusters: npt.NDArray[np.int64]
    unit: str

    @classmethod
    def of(cls, results: Sequence[Predictions]) -> "PairedTest":
        """Join tested classifiers, the reference first.

        Raises:
            DataError: They were not tested on the same images.
        """
        require_same_rows(results)
        first = results[0]
        clusters, unit = cluster_images(first.patients, len(first.paths))
        return cls(first.names, first.truth, tuple(result.scores for result in results), clusters, unit)

    @property
    def num_units(self) -> int:
        """Patients, or images where patients are not known."""
        return int(self.clusters.max()) + 1 if len(self.clusters) else 0

    def cases(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return how many patients have an image with each label, [L], and how many have one without it, [L]."""
        positive = self.truth > 0
        counts = [
            [len(np.unique(self.clusters[rows])) for rows in chosen.T] for chosen in (positive, ~positive)
        ]  # [2, L]
        with_label, without = np.array(counts, np.int64).reshape(2, len(self.names))
        return with_label, without

    def part(self, rows: npt.NDArray[np.bool_]) -> "PairedTest":
        """Return the test on some of the images, bool [N]."""
        clusters = np.unique(self.clusters[rows], return_inverse=True)[1]
        return PairedTest(self.names, self.truth[rows], tuple(one[rows] for one in self.scores), clusters, self.unit)

    def with_labels(self, columns: npt.NDArray[np.bool_]) -> "PairedTest":
        """Return the test of some of the labels, bool [L]."""
        names = tuple(name for name, is_kept in zip(self.names, columns, strict=True) if is_kept)
        scores = tuple(one[:, columns] for one in self.scores)
        return PairedTest(names, self.truth[:, columns], scores, self.clusters, self.unit)

    def evaluate(self, seed: int, progress: Progress | None = None) -> Evaluation:
        """Return every figure of all classifiers from the same resamples of patients."""
        return evaluate(
            self.truth, self.scores, self.clusters, num_resamples=NUM_RESAMPLES, seed=seed, progress=progress
        )

    def mean_aurocs(self, columns: npt.NDArray[np.bool_], seed: int) -> Floats:
        """Return the mean AUROC over some labels, bool [L], plain and then in every resample: [K, 1 + R]."""
        weights = np.vstack([np.ones(len(self.truth)), resample_weights(self.clusters, NUM_RESAMPLES, seed)])
        means = [
            np.mean([weighted_auroc(self.truth[:, one], scores[:, one], weights) for one in np.flatnonzero(columns)], 0)
            for scores in self.scores
        ]
        return np.array(means, np.float64)
