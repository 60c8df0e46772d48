"""What networks that were made for ImageNet are fed with."""

from typing import Any

import tensorflow as tf

MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)


def normalised(images: Any, image_dimension: int) -> Any:
    """Return uint8 images [N, H, W, 1 or 3] as normalised float32 [N, D, D, 3], grey repeated.

    Values are divided by 255, resized with TensorFlow 1's corner rule (source pixel = target pixel * H / D), and
    normalised with ImageNet's mean and standard deviation: the input of the suite's classifiers.

    Args:
        images: uint8 [N, H, W, C].
        image_dimension: D.
    """
    resized = tf.raw_ops.ResizeBilinear(
        images=tf.cast(images, tf.float32) / 255.0,
        size=[image_dimension, image_dimension],
        align_corners=False,
        half_pixel_centers=False,
    )
    # [N, D, D, 1 or 3] -> [N, D, D, 3], by broadcasting over the channels
    return (resized - tf.constant(MEAN)) / tf.constant(STANDARD_DEVIATION)
