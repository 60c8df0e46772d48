"""Real images as the networks take them."""

import tensorflow as tf

from medsynth.gan.layers import downscale2d, upscale2d


def prepare_reals(images: tf.Tensor, resolution: int, fade: tf.Tensor) -> tf.Tensor:
    """Turn stored images into network input at a level of detail.

    Args:
        images: uint8 [N, r, r, C] at the resolution in use.
        resolution: The networks' resolution, r times a power of two.
        fade: Weight of the 2x2-averaged copy, in [0, 1).

    Returns:
        float32 [N, resolution, resolution, C] in [-1, 1].

    Source: Karras et al. 2018, figure 2: real images fade as the networks do.
    """
    reals = tf.cast(images, tf.float32) * (2.0 / 255.0) - 1.0
    coarser = upscale2d(downscale2d(reals))
    reals = reals + (coarser - reals) * fade
    return upscale2d(reals, resolution // images.shape[1])
