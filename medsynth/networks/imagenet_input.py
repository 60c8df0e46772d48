"""From stored pixels to what networks made for ImageNet are fed with, in the graph.

Source: Schuette et al. 2021 (classifier input); TensorFlow 1's default corner
rule for bilinear resizing (neither align_corners nor half-pixel centres).
"""

from typing import Any

import tensorflow as tf

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STANDARD_DEVIATION = (0.229, 0.224, 0.225)


def preprocess(images: Any, image_dimension: int, resize: str = "tf1_corner") -> Any:
    """Return uint8 images [N, H, W, 1 or 3] as normalised float32 [N, D, D, 3].

    Grey is repeated to three channels, values are divided by 255, resized
    bilinearly, and normalised with ImageNet's mean and standard deviation.

    Args:
        images: uint8 [N, H, W, C], C = 1 or 3.
        image_dimension: D.
        resize: `tf1_corner`, as published: source pixel = target pixel * H / D, which moves the image by up to
            half a pixel of the record and repeats its last row and column. Or `half_pixel`, which keeps centres.
    """
    scaled = tf.cast(images, tf.float32) / 255.0
    resized = tf.raw_ops.ResizeBilinear(
        images=scaled,
        size=[image_dimension, image_dimension],
        align_corners=False,
        half_pixel_centers=resize == "half_pixel",
    )
    # [N, D, D, 1 or 3] -> [N, D, D, 3], by broadcasting over the channels
    return (resized - tf.constant(IMAGENET_MEAN)) / tf.constant(IMAGENET_STANDARD_DEVIATION)
