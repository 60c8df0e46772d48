"""Spectral normalisation against singular values that numpy finds."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from medsynth.gan.spectral import SpectralConv2D, SpectralDense

LAYERS = {
    "convolution": lambda **options: SpectralConv2D(5, 4, strides=2, **options),
    "dense": lambda **options: SpectralDense(5, **options),
}
PLAIN = {
    "convolution": lambda **options: keras.layers.Conv2D(5, 4, strides=2, padding="same", **options),
    "dense": lambda **options: keras.layers.Dense(5, **options),
}
INPUTS = {"convolution": (2, 8, 8, 3), "dense": (2, 7)}
kinds = pytest.mark.parametrize("kind", LAYERS)


def inputs(kind: str) -> np.ndarray:
    return np.random.default_rng(0).normal(size=INPUTS[kind]).astype(np.float32)


def make(kind: str, **options: Any) -> Any:
    keras.utils.set_random_seed(3)
    layer = LAYERS[kind](**options)
    layer.build(INPUTS[kind])
    layer.kernel.assign(np.random.default_rng(1).normal(size=layer.kernel.shape))
    return layer


def matrix(layer: Any) -> np.ndarray:
    return np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1])


@kinds
def test_the_kernel_is_divided_by_its_largest_singular_value(kind: str) -> None:
    layer, x = make(kind), inputs(kind)
    stored = layer.kernel.numpy()
    largest = np.linalg.svd(matrix(layer))[1][0]
    assert largest > 2, "not normalised by chance"
    for _ in range(200):
        layer(x, training=True)
    plain = PLAIN[kind]()
    plain.build(INPUTS[kind])
    plain.kernel.assign(stored / largest)
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.kernel, stored)


@kinds
def test_an_iteration_is_that_of_the_paper_and_happens_in_training_alone(kind: str) -> None:
    layer, x = make(kind), inputs(kind)
    first, weights = layer.singular_vector.numpy(), matrix(layer).T  # [outputs, inputs], as the paper has it
    layer(x)
    np.testing.assert_array_equal(layer.singular_vector, first)
    layer(x, training=True)
    right = weights.T @ first
    left = weights @ (right / np.linalg.norm(right))
    np.testing.assert_allclose(layer.singular_vector, left / np.linalg.norm(left), rtol=1e-5)
    assert [weight.name for weight in layer.non_trainable_weights] == ["singular_vector"]


@kinds
def test_the_gradient_takes_the_singular_vectors_for_constants(kind: str) -> None:
    """Equation 12 of the paper: (G - sum(G * W/s) u v^T) / s, with G the gradient at the normalised weights."""
    layer, x = make(kind, use_bias=False), inputs(kind)
    for _ in range(200):
        layer(x, training=True)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x) ** 2)
    found = np.asarray(tape.gradient(total, layer.kernel.value)).reshape(matrix(layer).shape)
    plain = PLAIN[kind](use_bias=False)
    plain.build(INPUTS[kind])
    left, sizes, right = np.linalg.svd(matrix(layer), full_matrices=False)
    plain.kernel.assign(layer.kernel / sizes[0])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(plain(x) ** 2)
    gradient = np.asarray(tape.gradient(total, plain.kernel.value)).reshape(found.shape)
    along = (gradient * matrix(layer) / sizes[0]).sum()
    expected = (gradient - along * np.outer(left[:, 0], right[0])) / sizes[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert abs(along) > 0.01 * np.abs(gradient).max(), "else the term would not show"


@kinds
def test_bfloat16_computes_narrow_and_keeps_wide(kind: str) -> None:
    wide, narrow = make(kind), make(kind, dtype="mixed_bfloat16")
    x = inputs(kind)
    for layer in (wide, narrow):
        for _ in range(50):
            outputs = layer(x, training=True)
    assert outputs.dtype == tf.bfloat16
    assert narrow.kernel.dtype == narrow.singular_vector.dtype == "float32"
    np.testing.assert_array_equal(narrow.singular_vector, wide.singular_vector)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), wide(x), rtol=0.03, atol=0.03)


@kinds
def test_a_bias_is_added(kind: str) -> None:
    layer, x = make(kind), inputs(kind)
    without = np.asarray(layer(x))
    layer.bias.assign(np.arange(5.0))
    np.testing.assert_allclose(layer(x), without + np.arange(5.0), rtol=1e-5, atol=1e-5)
