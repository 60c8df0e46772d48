"""Layers in bfloat16: as exact as the format allows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from medsynth.gan.layers import ConvDownscale2D, DenseTo4x4, EqualizedConv2D, UpscaleConv2D

LAYERS = {
    "dense": (lambda dtype: DenseTo4x4(8, dtype=dtype), (64, 8)),
    "conv": (lambda dtype: EqualizedConv2D(8, 3, dtype=dtype), (64, 32, 32, 8)),
    "up": (lambda dtype: UpscaleConv2D(8, 3, dtype=dtype), (64, 16, 16, 8)),
    "down": (lambda dtype: ConvDownscale2D(8, 3, dtype=dtype), (64, 64, 64, 8)),
}


def bias_gradient(kind: str, precision: str) -> np.ndarray:
    make, shape = LAYERS[kind]
    layer = make(keras.DTypePolicy(precision))
    layer.build(shape)
    random = np.random.default_rng(1)
    layer.weight.assign(random.standard_normal(layer.weight.shape))
    inputs = tf.constant(random.standard_normal(shape), layer.compute_dtype)
    outputs = layer(inputs)
    assert outputs.dtype == layer.compute_dtype
    # Off zero in the mean, as gradients of a loss are: sums grow far beyond their terms.
    cotangents = tf.constant(random.standard_normal(outputs.shape) + 0.5, tf.float32)

    @tf.function(autograph=False)
    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.cast(layer(inputs), tf.float32) * cotangents)
        return tape.gradient(total, layer.bias.value)

    return gradient().numpy()


@pytest.mark.parametrize("kind", LAYERS)
def test_bias_gradients_survive_bfloat16(kind: str) -> None:
    exact, ours = (bias_gradient(kind, precision) for precision in ("float32", "mixed_bfloat16"))
    assert np.linalg.norm(exact) > 100
    assert np.linalg.norm(ours - exact) < 0.01 * np.linalg.norm(exact)
