"""What training changes in the images of a batch, in the graph."""

from typing import Any

import tensorflow as tf


def random_flip(images: Any, seed: Any) -> Any:
    """Return images [N, H, W, C], each flipped left-right with probability 1/2.

    Args:
        images: Any type.
        seed: int tensor [2]; the same seed gives the same flips.
    """
    coins = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], tf.cast(seed, tf.int32))
    return tf.where(coins < 0.5, tf.reverse(images, axis=[2]), images)
