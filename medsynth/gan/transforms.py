"""Transforms of images with parameters for each image: moved, bent, recoloured, cut out.

All are affine in the images, and made of operations that TensorFlow differentiates any number of times;
its ImageProjectiveTransform is not used, since its gradient is not the transform's own.

Source: Karras et al. 2020, https://arxiv.org/abs/2006.06676, appendix B. Written from the paper.
"""

import functools
import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

# Low-pass filter of the wavelet sym6: orthonormal to its shifts by two, so that doubling the resolution
# and halving it again changes nothing (Daubechies 1992, Ten Lectures on Wavelets, table 6.3).
SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
_REACH = len(SYM6) // 2 - 1  # samples of doubled resolution that the filter needs before those of the first pixel
# The filter is not quite symmetric: its centre of mass lies 0.4 samples off its middle. Without regard to that,
# a quarter turn would shift an image by 0.4 pixels.
_CENTRE = sum(place * tap for place, tap in enumerate(SYM6)) / sum(SYM6)

Floats = npt.NDArray[np.float64]


def per_image(values: tf.Tensor) -> tf.Tensor:
    """[N] -> [N, 1, 1, 1], to act on images."""
    return values[:, tf.newaxis, tf.newaxis, tf.newaxis]


def move_pixels(images: tf.Tensor, flips: tf.Tensor, turns: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
    """Flip images, then turn them by right angles, then shift them; every pixel is a copy of one.

    Args:
        images: [N, R, R, C], R at least 2. Outside lies the reflection without the edge pixel.
        flips: bool [N], left to right.
        turns: int32 [N], 0 to 3 times 90 degrees counter-clockwise.
        shifts: int32 [N, 2], pixels down and to the right.
    """
    last = images.shape[1] - 1
    flips, turns = (values[:, tf.newaxis, tf.newaxis] for values in (flips, turns))  # [N, 1, 1]
    down, across = (shifts[:, axis, tf.newaxis, tf.newaxis] for axis in (0, 1))
    # For every pixel of the result, where it comes from: the last transform is undone first.
    rows = _reflect(tf.range(last + 1)[:, tf.newaxis] - down, last)  # [N, R, 1]
    columns = _reflect(tf.range(last + 1) - across, last)  # [N, 1, R]
    is_odd = turns % 2 == 1
    rows, columns = tf.where(is_odd, columns, rows), tf.where(is_odd, last - rows, columns)
    rows, columns = (tf.where(turns >= 2, last - places, places) for places in (rows, columns))
    return _take(images, rows, tf.where(flips, last - columns, columns))


def bend(images: tf.Tensor, matrices: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
    """Map images affinely about their centres, resampled at twice the resolution against aliasing.

    With the identity the images come back to rounding.

    Args:
        images: float32 [N, R, R, C], R at least 2. Outside lies the reflection without the edge pixel.
        matrices: float32 [N, 2, 2], row before column. They lead from the result to the source:
            what is seen at x from the centre was at matrix @ (x - shift).
        shifts: float32 [N, 2], pixels down and to the right.
    """
    size = images.shape[1]
    double, halve = _resampling_matrices(size)
    # Samples of the result at twice its resolution lie half a pixel apart, two to each pixel.
    samples = tf.constant((np.arange(halve.shape[1]) - _CENTRE) / 2 - (size - 1) / 2, tf.float32)
    down, across = (samples - shifts[:, axis, tf.newaxis] for axis in (0, 1))  # [N, G]
    rows, columns = (
        matrices[:, axis, 0, tf.newaxis, tf.newaxis] * down[:, :, tf.newaxis]
        + matrices[:, axis, 1, tf.newaxis, tf.newaxis] * across[:, tf.newaxis, :]
        + (size - 1) / 2
        for axis in (0, 1)
    )  # in pixels of the source, [N, G, G]
    doubled = _along_both_axes(images, double)  # [N, P, P, C]
    rows, columns = (2 * places + (_CENTRE - _REACH) for places in (rows, columns))  # in samples of it
    return _along_both_axes(_interpolate(doubled, rows, columns), halve)


def recolour(
    images: tf.Tensor,
    brightness: tf.Tensor,
    contrast: tf.Tensor,
    is_negative: tf.Tensor,
    hue: tf.Tensor | None = None,
    saturation: tf.Tensor | None = None,
) -> tf.Tensor:
    """Add to all values, scale them, turn the luma's sign, turn the hue, scale the chroma, in this order.

    All but the first scale the part of a pixel along the grey axis and scale and turn the part across it,
    so they are done at once. A grey image has the first part alone.

    Args:
        images: float32 [N, H, W, 1], or [N, H, W, 3] with the last two arguments.
        brightness: float32 [N], added.
        contrast: float32 [N], a factor.
        is_negative: bool [N], whether the luma changes sign.
        hue: float32 [N, 2], cosine and sine of the angle about the grey axis.
        saturation: float32 [N], a factor.
    """
    images += per_image(brightness)
    along = per_image(tf.where(is_negative, -contrast, contrast))
    if hue is None or saturation is None:
        return images * along
    luma = tf.reduce_mean(images, axis=-1, keepdims=True)
    chroma = images - luma
    # Turned by 90 degrees: the cross product of (1, 1, 1) / sqrt(3) and the chroma.
    turned = (tf.roll(chroma, 1, axis=-1) - tf.roll(chroma, -1, axis=-1)) / math.sqrt(3)
    chroma = chroma * per_image(hue[:, 0]) + turned * per_image(hue[:, 1])
    return luma * along + chroma * per_image(contrast * saturation)


def cut_out(images: tf.Tensor, centres: tf.Tensor, width: float) -> tf.Tensor:
    """Set a square of images [N, R, R, C] to 0.

    Args:
        images: The images.
        centres: float32 [N, 2], row before column, as shares of R; part of a square may lie outside.
        width: Of the square, as a share of R.
    """
    size = images.shape[1]
    places = tf.constant((np.arange(size) + 0.5) / size, tf.float32)
    down, across = (tf.abs(places - centres[:, axis, tf.newaxis]) < width / 2 for axis in (0, 1))  # [N, R]
    is_cut = down[:, :, tf.newaxis, tf.newaxis] & across[:, tf.newaxis, :, tf.newaxis]  # [N, R, R, 1]
    return tf.where(is_cut, 0.0, images)


def _reflect(places: tf.Tensor, last: int) -> tf.Tensor:
    """Fold any whole numbers into [0, last], as reflection without the edge does."""
    places = tf.math.floormod(places, 2 * last)
    return tf.minimum(places, 2 * last - places)


def _take(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Return the pixels of images [N, H, W, C] at places that broadcast to [..., N, K, L]: [..., N, K, L, C]."""
    num_images, height, width, num_channels = images.shape
    rows += tf.range(num_images)[:, tf.newaxis, tf.newaxis] * height
    return tf.gather(tf.reshape(images, (-1, num_channels)), rows * width + columns)  # from [N*H*W, C]


@functools.cache
def _resampling_matrices(size: int) -> tuple[Floats, Floats]:
    """Return the matrices that double and halve the resolution of one axis with the filter sym6.

    The first, [4 * (size - 1), size], yields one period of an image and its reflection; sample j lies at
    pixel (j + _REACH - _CENTRE) / 2. The second, [size, 2 * size + 10], takes samples of the same spacing
    from j = -_REACH on, as many as the pixels' filters reach.
    """
    taps = np.array(SYM6) * math.sqrt(0.5)  # of sum 1
    halve = np.zeros((size, 2 * (size + _REACH)))
    for pixel in range(size):
        halve[pixel, 2 * pixel : 2 * pixel + len(taps)] = taps
    period = 2 * (size - 1)
    double = np.zeros((2 * period, size))
    for place in range(period):
        for sample, tap in enumerate(taps, start=2 * place - _REACH):
            double[sample % (2 * period), min(place, period - place)] += 2 * tap
    return double, halve


def _along_both_axes(images: tf.Tensor, matrix: Floats) -> tf.Tensor:
    """Multiply both axes of images [N, H, H, C] by a matrix [K, H]: [N, K, K, C]."""
    _, size, _, num_channels = images.shape
    factor = tf.constant(matrix, tf.float32)
    length = factor.shape[0]
    x = tf.reshape(tf.transpose(images, (0, 3, 1, 2)), (-1, size, size))  # [N, H, H, C] -> [N*C, H, H]
    x = tf.matmul(tf.matmul(factor, x), factor, transpose_b=True)  # [N*C, K, K]
    x = tf.reshape(x, (-1, num_channels, length, length))  # [N, C, K, K]
    return tf.transpose(x, (0, 2, 3, 1))


def _interpolate(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Sample images [N, P, P, C], which repeat without end, at any places [N, G, G], bilinearly: [N, G, G, C]."""
    period = images.shape[1]
    top, left = tf.floor(rows), tf.floor(columns)
    down, right = rows - top, columns - left
    top, left = (tf.math.floormod(tf.cast(places, tf.int32), period) for places in (top, left))
    bottom, beside = (tf.where(places == period - 1, 0, places + 1) for places in (top, left))
    # All four neighbours at once, since the gradient of a gather fills an array as large as the images.
    neighbours = _take(images, tf.stack([top, top, bottom, bottom]), tf.stack([left, beside, left, beside]))
    up, before = 1 - down, 1 - right
    weights = tf.stack([up * before, up * right, down * before, down * right])  # [4, N, G, G]
    return tf.reduce_sum(neighbours * weights[..., tf.newaxis], axis=0)
