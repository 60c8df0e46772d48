"""Structural similarity of pairs of images at five scales; between synthetic images a measure of their variety.

Source: Wang et al. 2003, "Multiscale structural similarity for image quality assessment", equations 6-7; as a
measure of variety: Odena et al. 2017, https://arxiv.org/abs/1610.09585, section 4.2.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medsynth.metrics.intervals import Estimate, mean_estimate

Floats = npt.NDArray[np.float64]
WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
_WINDOW, _SIGMA = 11, 1.5
_LUMINANCE, _CONTRAST = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
_PIXELS_AT_ONCE = 2**20  # some ten arrays of this size in float64 are held at once


def ssim_and_contrast(first: npt.NDArray[np.number], second: npt.NDArray[np.number]) -> tuple[Floats, Floats]:
    """Return SSIM and its contrast-structure term of every pair, two [N], each at most 1.

    Gaussian window of 11 pixels and sigma 1.5, whole windows only; both shrink in proportion where an image
    is smaller than that.

    Args:
        first: [N, H, W, C], values in 0 to 255.
        second: The same shape.

    Source: Wang et al. 2004, "Image quality assessment", equations 13-16.
    """
    one, other = first.astype(np.float64), second.astype(np.float64)
    size = min(_WINDOW, *one.shape[1:3])
    window = _gaussian_window(size, _SIGMA * size / _WINDOW)
    mean_one, mean_other = _filtered(one, window), _filtered(other, window)
    variances = _filtered(one * one + other * other, window) - mean_one**2 - mean_other**2
    covariance = _filtered(one * other, window) - mean_one * mean_other
    contrast = (2.0 * covariance + _CONTRAST) / (variances + _CONTRAST)
    luminance = (2.0 * mean_one * mean_other + _LUMINANCE) / (mean_one**2 + mean_other**2 + _LUMINANCE)
    return (luminance * contrast).mean(axis=(1, 2, 3)), contrast.mean(axis=(1, 2, 3))


def ms_ssim(first: npt.NDArray[np.number], second: npt.NDArray[np.number]) -> Floats:
    """Return the multi-scale SSIM of every pair, [N], in [0, 1]; 1 for equal images.

    Args:
        first: [N, H, W, C], values in 0 to 255.
        second: The same shape; image i is compared with image i.
    """
    if len(first) == 0:
        return np.zeros(0)
    num_at_once = max(_PIXELS_AT_ONCE // int(np.prod(first.shape[1:])), 1)
    starts = range(0, len(first), num_at_once)
    blocks = [_ms_ssim(first[start : start + num_at_once], second[start : start + num_at_once]) for start in starts]
    return np.concatenate(blocks)


def pair_similarity(images: npt.NDArray[np.number]) -> Estimate:
    """Return the mean MS-SSIM of N / 2 pairs out of images [N, H, W, C], with its interval.

    Image i is paired with image i + N / 2: neighbours may show the same patient. No image is in two pairs, so the
    interval is Student's t for the mean over pairs.
    """
    half = len(images) // 2
    return mean_estimate(ms_ssim(images[:half], images[half : 2 * half])).within(0.0, 1.0)


def _ms_ssim(first: npt.NDArray[np.number], second: npt.NDArray[np.number]) -> Floats:
    result = np.ones(len(first))
    for scale, weight in enumerate(WEIGHTS):
        similarity, contrast = ssim_and_contrast(first, second)
        term = similarity if scale == len(WEIGHTS) - 1 else contrast
        result *= np.maximum(term, 0.0) ** weight  # a negative term has no such power
        first, second = _halved(first), _halved(second)
    return result


def _gaussian_window(size: int, sigma: float) -> Floats:
    places = np.arange(size) - (size - 1) / 2
    window = np.exp(-(places**2) / (2.0 * sigma**2))
    return np.asarray(window / window.sum())


def _filtered(images: Floats, window: Floats) -> Floats:
    """Return the window's means at every place where it fits into the image: [N, H - w + 1, W - w + 1, C]."""
    size = len(window)
    for axis in (1, 2):
        fitting = slice(size // 2, size // 2 + images.shape[axis] - size + 1)
        images = ndimage.correlate1d(images, window, axis=axis)
        images = images[:, fitting] if axis == 1 else images[:, :, fitting]
    return images


def _halved(images: npt.NDArray[np.number]) -> Floats:
    """Return the means of 2x2 pixels; an odd last row or column counts twice."""
    num_images, height, width, num_channels = images.shape
    padded = np.pad(images.astype(np.float64), ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    height, width = (height + 1) // 2, (width + 1) // 2
    # [N, 2h, 2w, C] -> [N, h, 2, w, 2, C] -> [N, h, w, C]
    return np.asarray(padded.reshape(num_images, height, 2, width, 2, num_channels).mean(axis=(2, 4)))
