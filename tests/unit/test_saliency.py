"""Class activation maps: by hand, empty ones, and the gradient that a training takes through them."""

import numpy as np
import pytest
import tensorflow as tf

from medsynth.networks.saliency import grad_cam, hires_cam, scaled_map


def arrays(seed: int, *shape: int):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def scaled(values):
    positive = np.maximum(values, 0)
    return (positive - positive.min()) / np.ptp(positive)


def test_both_formulas_by_hand():
    activations, gradients = arrays(1, 1, 4, 5, 3), arrays(2, 1, 4, 5, 3)
    by_place = sum(activations[0, :, :, k] * gradients[0, :, :, k] for k in range(3))
    by_channel = sum(activations[0, :, :, k] * gradients[0, :, :, k].mean() for k in range(3))
    assert np.abs(scaled(by_place) - scaled(by_channel)).max() > 0.1
    np.testing.assert_allclose(hires_cam(activations, gradients, (4, 5))[0], scaled(by_place), atol=1e-5)
    np.testing.assert_allclose(grad_cam(activations, gradients, (4, 5))[0], scaled(by_channel), atol=1e-5)


def test_both_are_one_where_the_gradient_is_the_same_everywhere():
    """As behind DenseNet's last map: an average over places, and one dense layer."""
    activations = arrays(3, 2, 7, 7, 8)
    gradients = np.broadcast_to(arrays(4, 2, 1, 1, 8), activations.shape)
    np.testing.assert_allclose(
        hires_cam(activations, gradients, (28, 28)), grad_cam(activations, gradients, (28, 28)), atol=1e-5
    )


@pytest.mark.parametrize("evidence", [np.zeros((1, 3, 3)), -np.ones((1, 3, 3)), np.full((1, 3, 3), 5.0)])
def test_a_map_without_a_difference_is_zero_and_finite(evidence):
    assert not np.any(scaled_map(evidence.astype(np.float32), (6, 6)))


def test_each_image_is_scaled_by_itself():
    evidence = np.abs(arrays(5, 3, 4, 4)) * np.float32([1, 100, 1e-3]).reshape(3, 1, 1)
    maps = np.asarray(scaled_map(evidence, (12, 8)))
    assert maps.shape == (3, 12, 8)
    np.testing.assert_allclose(maps.max(axis=(1, 2)), 1, atol=1e-4)
    np.testing.assert_array_equal(maps.min(axis=(1, 2)), 0)


@pytest.mark.parametrize("saliency", [hires_cam, grad_cam])
def test_a_loss_on_the_map_has_the_gradient_that_differences_show(saliency):
    """classifier_segment trains through the map, hence through the gradient that went into it."""
    images, kernel, dense = arrays(6, 2, 6, 6, 2), arrays(7, 3, 3, 2, 4), arrays(8, 4, 5)
    head = arrays(9, 5, 1)
    mask = (arrays(10, 2, 12, 12) > 0).astype(np.float32)

    def loss(weights):
        with tf.GradientTape() as inner:
            activations = tf.nn.softplus(tf.nn.conv2d(images, weights, 1, "SAME"))
            inner.watch(activations)
            # Something curved behind the layer, so that the inner gradient depends on the weights.
            scores = tf.nn.softplus(tf.reduce_mean(activations**2, axis=(1, 2)) @ dense) @ head
        maps = saliency(activations, inner.gradient(scores, activations), (12, 12))
        return tf.reduce_mean(maps * mask) - tf.reduce_mean(maps * (1 - mask))

    weights = tf.constant(kernel)
    with tf.GradientTape() as outer:
        outer.watch(weights)
        value = loss(weights)
    gradient = outer.gradient(value, weights).numpy()
    assert np.abs(gradient).max() > 1e-3
    direction = gradient / np.linalg.norm(gradient)
    step = 2e-3
    slope = (loss(weights + step * direction) - loss(weights - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, np.linalg.norm(gradient), rtol=0.05)
