"""Batch normalisation's derivatives, of first and second order, against double precision."""

import numpy as np
import pytest
import tensorflow as tf

from medsynth.networks import batch_norm
from medsynth.networks.batch_norm import GlobalBatchNormalization

EPSILON = 1e-5
GAMMA, BETA = np.array([1.0, 0.5, 2.0, 1.2]), np.array([0.1, -0.2, 0.3, 0.4])


def outputs_and_derivatives(normalise, x: tf.Tensor, weights: tf.Tensor) -> list[tf.Tensor]:
    """Return the outputs, the gradient of a score of them, and the gradient of a function of that one.

    R1 is such a function. The gradient by x has a mean of 0, and a function whose own gradient has so, too, would not
    show what is missing where the variance is taken for one that does not depend on x by its mean; a convolution before
    the layer makes it otherwise, as the weights do here.
    """
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            outputs = normalise(x)
            score = tf.reduce_sum(tf.math.softplus(tf.cast(outputs, x.dtype)) * weights)
        gradient = inner.gradient(score, x)
        penalty = tf.reduce_sum((weights * gradient) ** 2)
    return [outputs, gradient, outer.gradient(penalty, x)]


def by_definition(x: tf.Tensor) -> tf.Tensor:
    axes = list(range(len(x.shape) - 1))
    mean = tf.reduce_mean(x, axes)
    variance = tf.reduce_mean((x - mean) ** 2, axes)
    return (x - mean) / tf.sqrt(variance + EPSILON) * GAMMA + BETA


def layer(shape: tuple[int, ...], dtype: str = "float32") -> GlobalBatchNormalization:
    built = GlobalBatchNormalization(epsilon=EPSILON, dtype=dtype)
    built.build(shape)
    built.gamma.assign(GAMMA)
    built.beta.assign(BETA)
    return built


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("shape", [(9, 4), (3, 5, 5, 4)])
def test_both_derivatives_are_those_of_the_definition(shape: tuple[int, ...], in_graph: bool) -> None:
    random = np.random.default_rng(0)
    x, weights = random.normal(3, 2, shape), random.normal(size=shape)
    norm = layer(shape)

    def ours(x: tf.Tensor, weights: tf.Tensor) -> list[tf.Tensor]:
        return outputs_and_derivatives(lambda x: norm(x, training=True), x, weights)

    ours = tf.function(ours, autograph=False) if in_graph else ours
    found = ours(tf.constant(x, tf.float32), tf.constant(weights, tf.float32))
    expected = outputs_and_derivatives(by_definition, tf.constant(x), tf.constant(weights))
    for name, mine, true in zip(("outputs", "first", "second"), found, expected, strict=True):
        assert mine.dtype == tf.float32
        scale = np.abs(true).max()
        assert scale > 0.1
        np.testing.assert_allclose(mine, true, rtol=0, atol=2e-5 * scale, err_msg=name)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_in_one_operation_or_in_several(dtype: str, unbiased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x = tf.constant(np.random.default_rng(0).normal(3, 2, (3, 5, 5, 4)), tf.float32)
    calls: list[int] = []
    original = batch_norm.normalise_by_batch

    def counted(*arguments):
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(batch_norm, "normalise_by_batch", counted)
    fused, composed = layer(x.shape, dtype), layer(x.shape, dtype)
    fused.unbiased = composed.unbiased = unbiased
    outputs = [fused(x, training=True)]
    assert calls == [1]
    monkeypatch.setattr(batch_norm, "FUSED_RANK", 0)
    outputs.append(composed(x, training=True))
    assert calls == [1]
    assert outputs[0].dtype == outputs[1].dtype == fused.compute_dtype
    atol = 1e-5 if dtype == "float32" else 0.04  # a step of bfloat16 at 5
    np.testing.assert_allclose(*(tf.cast(output, tf.float32) for output in outputs), rtol=0, atol=atol)
    for mine, other in zip(fused.variables, composed.variables, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5)


@pytest.mark.parametrize("shape", [(50_000, 4), (50, 100, 10, 4)])
def test_a_spread_small_beside_the_mean_keeps_its_digits(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(50, 0.2, shape).astype(np.float32)
    norm = layer(shape)
    expected = by_definition(tf.constant(x, tf.float64))
    axes = tuple(range(x.ndim - 1))
    one_pass = np.mean(x**2, axis=axes) - np.mean(x, axis=axes) ** 2
    assert np.abs(one_pass / 0.2**2 - 1).max() > 0.02, "what E[x^2] - E[x]^2 would lose"
    np.testing.assert_allclose(norm(x, training=True), expected, rtol=0, atol=5e-3)
    np.testing.assert_allclose(norm.moving_variance, 0.99 + 0.01 * x.astype(np.float64).var(axis=axes), rtol=1e-5)
