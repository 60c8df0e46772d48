"""Sliced Wasserstein distance between patches of two sets of images, at each level of a Laplacian pyramid.

Source: Karras et al. 2018, https://arxiv.org/abs/1710.10196, section 5; Rabin et al. 2011, "Wasserstein
barycenter and its application to texture mixing" (slices); Burt and Adelson 1983 (pyramid).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medsynth.errors import UsageError
from medsynth.metrics.intervals import NUM_BLOCKS, Estimate, block_slices, jackknife_estimate

Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

SMALLEST_RESOLUTION = 16
PATCH = 7
PATCHES_PER_IMAGE = 128
NUM_REPEATS, DIRECTIONS_PER_REPEAT = 4, 128
SCALE = 1e3  # the unit in which the distance is published

# In one pass: rounding between two passes of five would show in the last bits of the recorded levels.
_FILTER = np.outer([1.0, 4.0, 6.0, 4.0, 1.0], [1.0, 4.0, 6.0, 4.0, 1.0]) / 256.0
_IMAGES_AT_ONCE = 256
_BYTES_AT_ONCE = 64 * 2**20  # of projections in memory
_NUM_BINS = 4096  # of the cumulative distributions that the intervals come from


def laplacian_pyramid(images: npt.NDArray[np.generic], num_levels: int) -> list[Floats]:
    """Return the levels of a Laplacian pyramid, finest first: float32 [N, H / 2^i, W / 2^i, C].

    Each level is what the next coarser one lacks; the last is the image itself, smoothed. 5x5 binomial filter,
    mirrored borders.

    Args:
        images: [N, H, W, C], H and W divisible by 2^(num_levels - 1).
        num_levels: At least 1.
    """
    levels = [images.astype(np.float32)]
    for _ in range(1, num_levels):
        levels.append(_smoothed(levels[-1], 1.0)[:, ::2, ::2])
        levels[-2] = levels[-2] - _enlarged(levels[-1])
    return levels


def draw_patches(levels: list[Floats], rng: np.random.RandomState) -> list[Floats]:
    """Return 128 patches of 7x7 pixels of every image and level, normalised: float32 [128 N, C * 49] each.

    Every channel has mean 0 and standard deviation 1 over all patches of a level. A patch is laid out by channel,
    column, row, and columns are drawn before rows: the order in which the recorded distances drew them.

    Args:
        levels: [N, h, w, C] each, h and w at least 7.
        rng: Of the places.
    """
    return [_normalised(_patches(level, *_draw_places(level.shape[:3], rng))) for level in levels]


def sliced_distance(first: Floats, second: Floats, rng: np.random.RandomState, *, copies: int = 1) -> float:
    """Return the mean 1-D Wasserstein distance of two equally large sets of patches over 4 x 128 random directions.

    Args:
        first: [P, D].
        second: [P, D].
        rng: Of the directions.
        copies: Equal channels that each patch stands for (3 where grey images count as colour).
    """
    return _distances(first, second, rng, copies, num_blocks=0)[0]


def sliced_wasserstein_estimates(
    real: npt.NDArray[np.uint8], fake: npt.NDArray[np.uint8], *, seed: int, num_blocks: int = NUM_BLOCKS
) -> dict[str, Estimate]:
    """Return the distance times 1,000, `swd`: the mean over the levels, which have rows `swd_<resolution>` down to 16.

    Grey images count as three equal channels, as published. Blocks of images are left out for the intervals, since
    copies in a bootstrap sample would add to the distance. Directions are not part of the intervals; the
    same ones serve every call with the same seed.

    Args:
        real: [N, R, R, C].
        fake: The same shape.
        seed: Of patches and directions.
        num_blocks: Blocks; 0 for values without intervals.

    Raises:
        UsageError: Images below 16x16, or sets of different sizes.
    """
    resolution = real.shape[1]
    if resolution < SMALLEST_RESOLUTION or real.shape != fake.shape:
        raise UsageError(
            f"swd compares two sets of as many images of at least {SMALLEST_RESOLUTION}x{SMALLEST_RESOLUTION} pixels.",
            received=f"images {real.shape} and {fake.shape}",
        )
    num_levels = resolution.bit_length() - SMALLEST_RESOLUTION.bit_length() + 1
    copies = 3 if real.shape[3] == 1 else 1
    rng = np.random.RandomState(seed)
    found: dict[str, Estimate] = {}
    values, left_out = [], []
    for level in range(num_levels):
        # One level at a time: the patches of 10,000 images take 250 MB a channel.
        real_patches, fake_patches = (_normalised(_level_patches(images, level, rng)) for images in (real, fake))
        value, without = _distances(real_patches, fake_patches, rng, copies, num_blocks)
        values.append(SCALE * value)
        left_out.append(SCALE * without)
        found[f"swd_{resolution >> level}"] = jackknife_estimate(values[-1], left_out[-1]).within(0.0)
    mean = jackknife_estimate(float(np.mean(values)), np.mean(left_out, axis=0)).within(0.0)
    return {"swd": mean} | (found if num_levels > 1 else {})


def _level_patches(images: npt.NDArray[np.uint8], level: int, rng: np.random.RandomState) -> Floats:
    """Return the patches of one level, [128 N, C, 7, 7], of which the pyramid is made for 256 images at a time."""
    num_images, resolution, _, num_channels = images.shape
    side = resolution >> level
    places = _draw_places((num_images, side, side), rng)
    patches = np.empty((PATCHES_PER_IMAGE * num_images, num_channels, PATCH, PATCH), np.float32)
    is_last = side == SMALLEST_RESOLUTION
    for start in range(0, num_images, _IMAGES_AT_ONCE):
        part = images[start : start + _IMAGES_AT_ONCE]
        finest = laplacian_pyramid(part, level + (1 if is_last else 2))[level]
        chosen = slice(PATCHES_PER_IMAGE * start, PATCHES_PER_IMAGE * (start + len(part)))
        patches[chosen] = _patches(finest, places[0][chosen], places[1][chosen])
    return patches


def _draw_places(shape: tuple[int, ...], rng: np.random.RandomState) -> tuple[npt.NDArray[np.int64], ...]:
    """Return columns and rows of the middles of 128 patches of every image, two [128 N]; `shape` is (N, H, W)."""
    num_images, height, width = shape
    margin, num_patches = PATCH // 2, PATCHES_PER_IMAGE * num_images
    return rng.randint(margin, width - margin, size=num_patches), rng.randint(margin, height - margin, size=num_patches)


def _patches(level: Floats, columns: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Floats:
    """Return the patches around these middles, [128 N, C, 7, 7], by column and then row."""
    # [N, h, w, C] -> [N, h - 6, w - 6, C, row, column]
    windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH, PATCH), axis=(1, 2))
    margin = PATCH // 2
    images = np.repeat(np.arange(len(level)), PATCHES_PER_IMAGE)
    return windows[images, rows - margin, columns - margin].swapaxes(2, 3)


def _normalised(patches: Floats) -> Floats:
    """Return patches [P, C, 7, 7] as [P, C * 49], every channel with mean 0 and standard deviation 1, in place."""
    patches -= patches.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    variance = np.einsum("pcxy,pcxy->c", patches, patches, dtype=np.float64) * (patches.shape[1] / patches.size)
    variance[variance == 0] = 1.0  # images of one colour
    patches /= np.sqrt(variance).astype(np.float32)[:, None, None]
    return patches.reshape(len(patches), -1)


def _distances(
    first: Floats, second: Floats, rng: np.random.RandomState, copies: int, num_blocks: int
) -> tuple[float, Matrix]:
    """Return the mean distance over all directions, and the same without each block of images, [G]."""
    total, left_out, count = 0.0, np.zeros(num_blocks), 0
    for _ in range(NUM_REPEATS):
        directions = rng.randn(copies * first.shape[1], DIRECTIONS_PER_REPEAT)
        directions /= np.sqrt(np.square(directions).sum(axis=0))
        # Equal channels see the sum of their directions. [copies * D, 128] -> [copies, D, 128] -> [D, 128]
        directions = directions.reshape(copies, -1, DIRECTIONS_PER_REPEAT).sum(axis=0).astype(np.float32)
        for projections in _projections((first, second), directions):
            if num_blocks:
                left_out += sum(_left_out_distances(*pair, num_blocks) for pair in zip(*projections, strict=True))
            for values in projections:
                values.sort(axis=1)
            gaps = np.abs(projections[0] - projections[1])
            total += float(gaps.mean(axis=1, dtype=np.float64).sum())
            count += len(gaps)
    return total / count, left_out / count


def _projections(patches: tuple[Floats, Floats], directions: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Yield both sets projected on a few directions at a time, two [d, P]."""
    num_at_once = max(_BYTES_AT_ONCE // (4 * len(patches[0])), 1)
    for start in range(0, directions.shape[1], num_at_once):
        chosen = directions[:, start : start + num_at_once].T
        yield chosen @ patches[0].T, chosen @ patches[1].T


def _left_out_distances(first: Floats, second: Floats, num_blocks: int) -> Matrix:
    """Return the distance of two sets of numbers [P] without each block, [G], on a grid of 4,096 places.

    The distance is the area between the two cumulative distributions, and those of the rest follow from those of
    the blocks, so that nothing is sorted again.
    """
    lowest = min(first.min(), second.min())
    width = max(max(first.max(), second.max()) - lowest, np.float32(1e-30)) / _NUM_BINS
    rests = []
    for values in (first, second):
        places = np.minimum((values - lowest) / width, _NUM_BINS - 1).astype(np.int64)
        blocks = [places[part] for part in block_slices(len(places), num_blocks)]
        counts = np.stack([np.bincount(block, minlength=_NUM_BINS) for block in blocks])  # [G, bins]
        rests.append(np.cumsum(counts.sum(axis=0) - counts, axis=1) / (len(places) - counts.sum(axis=1)[:, None]))
    return np.asarray(np.abs(rests[0] - rests[1]).sum(axis=1) * width)


def _smoothed(images: Floats, gain: float) -> Floats:
    """Return images [N, H, W, C] under the 5x5 binomial filter times `gain`."""
    return np.asarray(ndimage.correlate(images, gain * _FILTER[None, :, :, None], mode="mirror"), np.float32)


def _enlarged(images: Floats) -> Floats:
    """Return images [N, h, w, C] at twice the size: zeros between the pixels, smoothed, four times as bright."""
    num_images, height, width, num_channels = images.shape
    spread = np.zeros((num_images, 2 * height, 2 * width, num_channels), np.float32)
    spread[:, ::2, ::2] = images
    return _smoothed(spread, 4.0)
