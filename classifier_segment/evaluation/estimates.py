"""Metrics on all test images and on resamples of them, and the two files that hold them.

A resample draws groups of images, such as those of one patient, with replacement: images of a group resemble each
other, and so do several annotations of one image. Metrics are computed for all resamples at once, through how often
each image counts.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.classify.evaluation.evaluate import CONFIDENCE, Interval, cluster_images, interval, resample_weights
from medsynth.classify.evaluation.statistics import Floats, divide
from medsynth.classify.evaluation.summary import cell, number, table_lines
from medsynth.files import write_array, write_json

METRICS_JSON, RESAMPLES = "metrics.json", "resamples.npy"
_SEED = 0


@dataclass(frozen=True)
class Resamples:
    """How often each of N images counts in R resamples.

    Attributes:
        clusters: Group of every image, numbered from 0, [N].
        weights: [1 + R, N]; the first row counts every image once.
        are_groups: Whether groups were known; else every image is one of its own.
    """

    clusters: npt.NDArray[np.int64]
    weights: Floats
    are_groups: bool

    @property
    def num_clusters(self) -> int:
        """How many groups are drawn from."""
        return int(self.clusters.max()) + 1

    @property
    def sentence(self) -> str:
        """What a reader of an interval must know."""
        if self.num_clusters < 2:
            return "No intervals: there is one group of images only."
        kind = "groups of images" if self.are_groups else "images"
        text = f"95 % intervals from {len(self.weights) - 1:,} resamples of {self.num_clusters:,} {kind}"
        if self.are_groups:
            return f"{text} (of one patient, say)."
        return f"{text}: groups are not known. Where a patient has several images, the intervals are too narrow."

    def sum(self, values: npt.ArrayLike) -> Floats:
        """Return the sums of values [N] or [N, K] over the images of every resample, [1 + R] or [1 + R, K]."""
        total: Floats = self.weights @ np.asarray(values, np.float64)
        return total

    def mean(self, values: npt.ArrayLike, chosen: npt.NDArray[np.bool_] | None = None) -> Floats:
        """Return the means of values [N] over the images, or the chosen ones [N], of every resample; NaN without any.

        Values of images that are not chosen may be anything.
        """
        all_values = np.asarray(values, np.float64)
        counts = np.ones(len(all_values)) if chosen is None else chosen.astype(np.float64)
        kept = all_values if chosen is None else np.where(chosen, all_values, 0.0)
        return divide(self.sum(kept), self.sum(counts))


def draw_resamples(clusters: Sequence[str] | None, num_images: int, num_resamples: int) -> Resamples:
    """Draw the resamples of a test; the same groups give the same ones, so that two networks can be paired.

    Args:
        clusters: Group of every image; None where they are not known.
        num_images: N, from 1 on.
        num_resamples: R.
    """
    require_length("clusters", clusters, num_images)
    names = None if clusters is None else [str(name) for name in clusters]
    numbers, _ = cluster_images(names, num_images)
    weights = np.concatenate([np.ones((1, num_images)), resample_weights(numbers, num_resamples, _SEED)])
    return Resamples(numbers, weights, clusters is not None)


def require_length(what: str, values: Any, length: int) -> None:
    """Refuse arguments that do not belong together.

    Raises:
        ValueError: Another length than `length`, or `length` is 0.
    """
    if length == 0:
        raise ValueError("there are no images")
    if values is not None and len(values) != length:
        raise ValueError(f"{length} {what} were expected, not {len(values)}")


@dataclass(frozen=True)
class Estimates:
    """Metrics with their resampled values.

    Attributes:
        sampled: By the metric's name, [1 + R]: on all images, then on every resample; NaN where undefined.
        resamples: Of the images.
    """

    sampled: Mapping[str, Floats]
    resamples: Resamples

    def interval(self, name: str) -> Interval:
        """Return a metric with its 95 % percentile interval; without one where there is a single group of images."""
        value, resampled = float(self.sampled[name][0]), self.sampled[name][1:]
        return Interval(value) if self.resamples.num_clusters < 2 else interval(value, resampled)

    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Return value, low and high of every metric, as JSON holds them: None where undefined."""
        found = {name: self.interval(name) for name in self.sampled}
        return {
            name: {"value": number(one.value), "low": number(one.low), "high": number(one.high)}
            for name, one in found.items()
        }

    def notes(self) -> list[str]:
        """Return what a reader of the figures must know, a sentence each."""
        notes = [self.resamples.sentence]
        found = {name: self.interval(name) for name in self.sampled}
        num_resamples = len(self.resamples.weights) - 1
        partial = [
            f"{name} ({one.num_resamples:,} kept)"
            for name, one in found.items()
            if 0 < one.num_resamples < num_resamples
        ]
        if partial:
            notes.append(f"Undefined in some resamples, which are left out: {', '.join(partial)}.")
        flat = [name for name, one in found.items() if one.num_resamples and one.low == one.high]
        if flat:
            notes.append(f"No resample differed, which does not make the value certain: {', '.join(flat)}.")
        return notes

    def lines(self, titles: Mapping[str, str]) -> list[str]:
        """Return a text table of the metrics that `titles` names, a row each."""
        rows = [[title, cell(self.interval(name))] for name, title in titles.items()]
        return table_lines([["metric", "value [95 %]"], *rows])

    def write(self, folder: Path, facts: Mapping[str, Any], *, test: str) -> None:
        """Write metrics.json (last: where it is, all is) and resamples.npy, [M, R] in the order of its metrics.

        Args:
            folder: Is made where it is missing.
            facts: What else metrics.json says.
            test: Digest of what the metrics are about, see `digest_of`.
        """
        (folder / METRICS_JSON).unlink(missing_ok=True)
        write_array(folder / RESAMPLES, np.stack([row[1:] for row in self.sampled.values()]))
        write_json(
            folder / METRICS_JSON,
            {
                **facts,
                "metrics": self.metrics(),
                "intervals": {
                    "confidence": CONFIDENCE,
                    "resampled": "groups" if self.resamples.are_groups else "images",
                    "num_resampled": self.resamples.num_clusters,
                    "num_resamples": len(self.resamples.weights) - 1,
                },
                "test_sha256": test,
            },
        )


def digest_of(resamples: Resamples, *arrays: npt.NDArray[Any]) -> str:
    """Return a digest of a test: its truth, the groups of its images, and the number of resamples."""
    digest = hashlib.sha256()
    for one in (np.array(resamples.weights.shape), resamples.clusters, *arrays):
        digest.update(np.ascontiguousarray(one).tobytes())
    return digest.hexdigest()
