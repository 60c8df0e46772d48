"""Whether a map shows what the network uses: deletion, insertion, and what random weights do to it.

Everything here is numpy; a network is a function from images to scores.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, zoom
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

Floats = npt.NDArray[np.float32]
Curve = npt.NDArray[np.float64]
Scores = Callable[[Floats], npt.NDArray[np.floating]]


def removal_order(attribution: Floats, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the pixels of a map [H, W] from the most to the least important, as flat indices [H * W].

    Equal values come in random order: a map that is 0 in large parts would otherwise be read from top to bottom.
    """
    shuffled = rng.permutation(attribution.size)
    return shuffled[np.argsort(-attribution.ravel()[shuffled], kind="stable")]


def replaced(image: Floats, other: Floats, order: npt.NDArray[np.int64], num_steps: int) -> Floats:
    """Return num_steps + 1 images: 0, 1/num_steps, ... and at last all pixels of `image` taken from `other`.

    Args:
        image: [H, W, C].
        other: Like `image`.
        order: Which pixels come first, [H * W].
        num_steps: S.

    Returns:
        [S + 1, H, W, C].
    """
    num_pixels = len(order)
    rank = np.empty(num_pixels, np.int64)
    rank[order] = np.arange(num_pixels)
    limits = np.round(np.linspace(0, num_pixels, num_steps + 1)).astype(np.int64)
    # [S + 1, H * W] -> [S + 1, H, W, 1]
    is_other = (rank < limits[:, None]).reshape(num_steps + 1, *image.shape[:2], 1)
    return np.where(is_other, other, image)


def deletion_curve(
    image: Floats, removed: Floats, attribution: Floats, scores: Scores, num_steps: int, rng: np.random.Generator
) -> Curve:
    """Return the score while the most important pixels are removed first, [S + 1]; a good map makes it fall early.

    Args:
        image: [H, W, C].
        removed: The image in which nothing is left, like `image`.
        attribution: [H, W]; larger means more important.
        scores: Images [N, H, W, C] to scores [N].
        num_steps: S; the same number of pixels in each.
        rng: Orders equal values.

    Source: Petsiuk et al. 2018, "RISE", arXiv:1806.07421, section 4.1.
    """
    return np.asarray(scores(replaced(image, removed, removal_order(attribution, rng), num_steps)), np.float64)


def insertion_curve(
    image: Floats, start: Floats, attribution: Floats, scores: Scores, num_steps: int, rng: np.random.Generator
) -> Curve:
    """Return the score while the most important pixels are put in first, [S + 1]; a good map makes it rise early.

    Args:
        image: [H, W, C].
        start: The image to begin with, like `image`.
        attribution: [H, W]; larger means more important.
        scores: Images [N, H, W, C] to scores [N].
        num_steps: S.
        rng: Orders equal values.

    Source: Petsiuk et al. 2018, "RISE", arXiv:1806.07421, section 4.1.
    """
    return np.asarray(scores(replaced(start, image, removal_order(attribution, rng), num_steps)), np.float64)


def area_under(curve: Curve) -> float:
    """Return the area under scores at evenly spaced shares of pixels, [S + 1], by trapezoids: their mean level."""
    return float((curve[:-1] + curve[1:]).mean() / 2)


def blurred(image: Floats, sigma: float) -> Floats:
    """Return an image [H, W, C] behind a Gaussian blur of `sigma` pixels, the border repeated outwards."""
    return gaussian_filter(image, (sigma, sigma, 0), mode="nearest").astype(np.float32)


def random_map(dimension: int, cell: int, rng: np.random.Generator) -> Floats:
    """Return a map that knows nothing, [D, D] in [0, 1]: uniform noise on cells of `cell` pixels, joined linearly.

    Args:
        dimension: D.
        cell: Pixels a side; 1 gives every pixel a value of its own.
        rng: Draws the values.
    """
    values = rng.random((max(dimension // cell, 2),) * 2)
    factor = dimension / len(values)
    return zoom(values, factor, order=1, mode="nearest", grid_mode=True).astype(np.float32)


def rank_correlation(first: Floats, second: Floats) -> float:
    """Return Spearman's correlation of two maps, in [-1, 1]; NaN where one of them has a single value."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second, axis=None).statistic)


def map_similarity(first: Floats, second: Floats) -> float:
    """Return SSIM (Wang et al. 2004) of two maps, each scaled to [0, 1]; NaN where one of them has a single value."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    scaled = [((one - one.min()) / np.ptp(one)).astype(np.float64) for one in (first, second)]
    return float(structural_similarity(*scaled, data_range=1.0))
