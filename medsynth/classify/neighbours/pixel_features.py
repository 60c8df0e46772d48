"""Pixels in the place of a network's features, so that images can be compared where no network is at hand."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.data.near_duplicates import thumbnails
from medsynth.metrics.features import Extractor

PIXELS = "pixels"
_LARGEST_SIDE = 32


def pixel_extractor(resolution: int) -> Extractor:
    """Return an extractor whose features are an image's grey levels, less their mean: [N, D], 32x32 pixels at most.

    The cosine distance of two of them is 1 - r, with Pearson's correlation r of the pixels, so that brightness and
    contrast count nothing.

    Args:
        resolution: Of the images, a power of two.
    """
    side = min(resolution, _LARGEST_SIDE)
    label = f"pixels at {side}x{side} (correlation)"

    def network(images: Any) -> npt.NDArray[np.float32]:
        pixels = thumbnails(images, side).reshape(len(images), side * side)  # [n, side, side] -> [n, side * side]
        return pixels - pixels.mean(axis=1, keepdims=True)

    return Extractor(PIXELS, label, side * side, hashlib.sha256(label.encode()).hexdigest(), network)
