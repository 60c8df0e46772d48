"""How well masks are found: pooled over all pixels, as published, and as means over images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from classifier_segment.evaluation.estimates import (
    Estimates,
    digest_of,
    draw_resamples,
    require_length,
)
from classifier_segment.evaluation.image_report import ImageReport
from medsynth.classify.evaluation.evaluate import NUM_RESAMPLES
from medsynth.classify.evaluation.statistics import Floats
from medsynth.classify.evaluation.summary import cell, table_lines
from medsynth.data.wording import counted

EPSILON = 1e-5  # published; added to numerator and denominator


class PixelCounts(NamedTuple):
    """Pixels by what they are and what they were called, arrays of one shape.

    Attributes:
        hits: Lesion, called lesion.
        false_alarms: None, called lesion.
        misses: Lesion, called none.
        rest: None, called none.
    """

    hits: Floats
    false_alarms: Floats
    misses: Floats
    rest: Floats


def _share(part: Floats, whole: Floats) -> Floats:
    return (part + EPSILON) / (whole + EPSILON)


METRICS: Mapping[str, Callable[[PixelCounts], Floats]] = {
    "pixel_accuracy": lambda one: _share(one.hits + one.rest, one.hits + one.rest + one.false_alarms + one.misses),
    "dice": lambda one: _share(2 * one.hits, 2 * one.hits + one.false_alarms + one.misses),
    "precision": lambda one: _share(one.hits, one.hits + one.false_alarms),
    "specificity": lambda one: _share(one.rest, one.rest + one.false_alarms),
    "recall": lambda one: _share(one.hits, one.hits + one.misses),
    "jaccard": lambda one: _share(one.hits, one.hits + one.false_alarms + one.misses),
}
TITLES = {name: name.replace("_", " ").replace("dice", "Dice").replace("jaccard", "Jaccard") for name in METRICS}
# Endings of a metric's name, and what it is over.
FORMS = {"pooled": "all pixels", "mean": "mean over images", "mean_lesion": "mean over images with a lesion"}


@dataclass(frozen=True)
class SegmentationReport(ImageReport):
    """How well masks were found; the metrics go by `<metric>_<form>`, the keys of `METRICS` and `FORMS`.

    Attributes:
        counts: Pixels of every image, [N] each.
    """

    counts: PixelCounts

    @property
    def num_without_lesion(self) -> int:
        """Images whose true mask is empty."""
        return int((~self.has_lesion).sum())

    @property
    def num_missed(self) -> int:
        """Images with a lesion whose predicted mask is empty."""
        return int((self.has_lesion & self.is_empty).sum())

    def notes(self) -> list[str]:
        """Return what a reader of the figures must know, a sentence each."""
        notes = self.estimates.notes()
        if self.num_without_lesion:
            num_right = int((~self.has_lesion & self.is_empty).sum())
            notes.append(
                f"No lesion in {counted(self.num_without_lesion, 'image')}, of which {num_right:,} were left empty: "
                "their Dice is 1, that of the others about 0, and their recall 1."
            )
        if self.num_missed:
            notes.append(f"With a lesion but nothing found: {counted(self.num_missed, 'image')}; precision 1 there.")
        return notes

    def describe(self) -> str:
        """Return a short text for the log: a row for each metric, and the notes."""
        rows = [["metric", *(f"{title} [95 %]" for title in FORMS.values())]]
        for name, title in TITLES.items():
            rows.append([title, *(cell(self.estimates.interval(f"{name}_{form}")) for form in FORMS)])
        heading = f"masks of {counted(len(self.names), 'image')}"
        return "\n".join([heading, "", *table_lines(rows), "", *self.notes()]) + "\n"

    def facts(self) -> dict[str, Any]:
        """Return what metrics.json says beside the metrics."""
        return {
            "num_images": len(self.names),
            "num_without_lesion": self.num_without_lesion,
            "num_missed": self.num_missed,
            "notes": self.notes(),
        }

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of per_image.csv, [N] each."""
        areas = {name: values.astype(np.int64) for name, values in self.counts._asdict().items()}
        return {**super().columns(), **areas}


def segmentation_report(
    truth: npt.NDArray[np.bool_],
    predicted: npt.NDArray[np.bool_],
    names: Sequence[str],
    clusters: Sequence[str] | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
) -> SegmentationReport:
    """Return pixel accuracy, Dice, precision, specificity, recall and Jaccard, with intervals from groups of images.

    Each one pooled over all pixels, as published, in which large lesions count most; as a mean over images; and as a
    mean over the images with a lesion. 1e-5 is added to numerators and denominators, so that 0 of 0 is 1.

    Args:
        truth: True on the lesion, [N, S, S].
        predicted: What was found, [N, S, S].
        names: Of the images, N.
        clusters: Group of every image, N texts; see `classification_report`.
        num_resamples: Of the bootstrap.

    Raises:
        ValueError: Arguments that do not belong together.

    Source: Parola et al. 2024; Dice 1945; Jaccard 1901.
    """
    require_length("masks", truth, len(names))
    if truth.shape != predicted.shape or truth.dtype != np.bool_ or predicted.dtype != np.bool_:
        raise ValueError(f"bool masks of one shape were expected, not {truth.shape} and {predicted.shape}")
    counts = _count_pixels(truth, predicted)
    per_image = {name: metric(counts) for name, metric in METRICS.items()}
    has_lesion = counts.hits + counts.misses > 0
    resamples = draw_resamples(clusters, len(names), num_resamples)
    pooled = PixelCounts(*(resamples.sum(one) for one in counts))
    sampled = {}
    for name, metric in METRICS.items():
        sampled[f"{name}_pooled"] = metric(pooled)
        sampled[f"{name}_mean"] = resamples.mean(per_image[name])
        sampled[f"{name}_mean_lesion"] = resamples.mean(per_image[name], has_lesion)
    return SegmentationReport(
        tuple(names),
        per_image,
        has_lesion,
        counts.hits + counts.false_alarms == 0,
        Estimates(sampled, resamples),
        digest_of(resamples, np.packbits(truth)),
        counts,
    )


def _count_pixels(truth: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_]) -> PixelCounts:
    """Return the counts of every image, [N] each, of masks [N, S, S]."""
    hits, lesion, called = (
        np.count_nonzero(one, axis=(1, 2)).astype(np.float64) for one in (truth & predicted, truth, predicted)
    )
    pixels = float(np.prod(truth.shape[1:]))
    return PixelCounts(hits, called - hits, lesion - hits, pixels - lesion - called + hits)
