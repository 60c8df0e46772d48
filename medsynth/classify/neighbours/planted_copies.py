"""How many copies of training images the test for memorisation finds: some are planted and looked for."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medsynth.classify.evaluation.evaluate import Interval, proportion
from medsynth.classify.neighbours.memorisation import Comparison
from medsynth.classify.neighbours.pixel_copies import PixelSearch
from medsynth.classify.neighbours.training_images import Found, TrainingImages
from medsynth.data.alterations import REDRAWN, RESAVED, Alteration
from medsynth.metrics.cache import FeatureCache

ALTERATIONS: Mapping[str, Alteration] = RESAVED | REDRAWN


@dataclass(frozen=True)
class Detection:
    """How many planted copies of one kind were found, each a share with its exact 95 % interval.

    Attributes:
        alteration: What was done to the images.
        num_planted: How many.
        by_distance: Flagged by their distance to the nearest training image, at 5 % false alarms.
        by_ratio: Flagged by the ratio of distances, at 5 % false alarms.
        nearer_than_all: Nearer to a training image than every held-out image.
        original_found: Whose nearest training image is the original, or equal to it.
        by_pixels: Copies by their pixels; None where images are too small for that.
    """

    alteration: str
    num_planted: int
    by_distance: Interval
    by_ratio: Interval
    nearer_than_all: Interval
    original_found: Interval
    by_pixels: Interval | None


def find_planted(
    training: TrainingImages,
    cache: FeatureCache,
    pixels: PixelSearch | None,
    held_out: Found,
    thresholds: tuple[Comparison, Comparison],
    *,
    num_planted: int,
    seed: int,
) -> list[Detection]:
    """Plant copies of training images in every alteration, and look for them as for any synthetic image.

    Args:
        training: The training images.
        cache: Keeps the copies' features.
        pixels: The same images for the comparison of pixels; None where they are too small.
        held_out: Of the held-out images.
        thresholds: Of distances and of ratios.
        num_planted: Copies of each kind; all training images where there are fewer.
        seed: Of the choice of images and of what happens to them.
    """
    num_planted = min(num_planted, len(training.records))
    chosen = np.sort(np.random.default_rng(seed).choice(len(training.records), num_planted, replace=False))
    originals = training.records.read(chosen)
    stacks = []
    for number, alteration in enumerate(ALTERATIONS.values()):
        rng = np.random.default_rng((seed, number))
        stacks.append(np.stack([alteration(image, rng) for image in originals]))
    found = training.near_images(stacks, cache, "planted copies")
    distances, numbers = found.distances, found.neighbours.numbers[:, 0]
    same = _shown_twice(training, numbers, np.tile(chosen, len(stacks)))
    marks = {
        "by_distance": distances < thresholds[0].threshold,
        "by_ratio": found.ratios < thresholds[1].threshold,
        "nearer_than_all": distances < held_out.distances.min(),
        "original_found": same,
    }
    detections = []
    for number, name in enumerate(ALTERATIONS):
        rows = slice(number * num_planted, (number + 1) * num_planted)
        shares = {key: proportion(int(mark[rows].sum()), num_planted) for key, mark in marks.items()}
        by_pixels = None
        if pixels is not None:
            by_pixels = proportion(int(pixels.in_images(stacks[number]).is_copy.sum()), num_planted)
        detections.append(Detection(name, num_planted, **shares, by_pixels=by_pixels))
    return detections


def _shown_twice(training: TrainingImages, numbers: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return whether records [n] are the expected ones, or hold the same pixels."""
    same = numbers == expected
    for row in np.flatnonzero(~same):
        first, second = training.records.read([numbers[row], expected[row]])
        same[row] = bool((first == second).all())
    return same


def describe_detections(detections: list[Detection], alarms: Interval | None) -> list[str]:
    """Return the table of what was found, a line each.

    Args:
        detections: As `find_planted` returns them.
        alarms: Share of held-out images beyond the threshold of others; None where there is one patient.
    """
    if not detections:
        return []
    lines = [
        f"Planted copies of {detections[0].num_planted} training images, and how many the test flags at 5 % false "
        "alarms [95 % interval]:",
        f"{'copy':34s}{'by distance':>18s}{'by ratio':>18s}{'by pixels':>18s}{'nearer than all':>17s}"
        f"{'original found':>16s}",
    ]
    for one in detections:
        shares = (one.by_distance, one.by_ratio, one.by_pixels)
        cells = "".join(f"{'-' if share is None else _percent(share):>18s}" for share in shares)
        lines.append(f"{one.alteration:34s}{cells}{one.nearer_than_all.value:17.0%}{one.original_found.value:16.0%}")
    if alarms is not None:
        lines.append(f"{'none (held-out, other half)':34s}{_percent(alarms):>18s}")
    return lines


def _percent(share: Interval) -> str:
    return f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"
