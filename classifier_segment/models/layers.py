"""Layers that several backbones share."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("classifier_segment")
class LayerNormalization(keras.layers.LayerNormalization):
    """Keras' layer normalisation over the last axis, with a second derivative.

    Keras' own takes the variance from tf.nn.moments, which stops the gradient at the mean: the first derivative is
    right all the same, the second, through which a loss on saliency maps trains, is not.
    """

    def call(self, inputs: Any) -> Any:
        """Normalise [..., C]."""
        x = ops.cast(inputs, self.variable_dtype)
        offsets = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(offsets), axis=-1, keepdims=True)
        outputs = offsets * ops.rsqrt(variance + self.epsilon) * self.gamma + self.beta
        return ops.cast(outputs, self.compute_dtype)


def truncated_normal() -> keras.initializers.Initializer:
    """Return the start of most kernels: a new one each time, since one initializer always draws the same."""
    return keras.initializers.TruncatedNormal(stddev=0.02)


def dense(units: int, name: str, **options: Any) -> keras.layers.Dense:
    """Return a dense layer of a transformer, with its start."""
    return keras.layers.Dense(units, name=name, kernel_initializer=truncated_normal(), **options)


def dropped_branch(x: Any, rate: float, name: str) -> Any:
    """Leave out a whole residual branch [N, ...] of an image with probability `rate`, in training.

    Source: Huang et al. 2016, "Deep networks with stochastic depth", https://arxiv.org/abs/1603.09382.
    """
    if rate == 0:
        return x
    return keras.layers.Dropout(rate, noise_shape=(None, *[1] * (len(x.shape) - 1)), name=f"{name}.drop")(x)


def perceptron(x: Any, hidden: int, names: tuple[str, str]) -> Any:
    """Return two dense layers with GELU between, over the last axis: [..., C] -> [..., C]."""
    width = x.shape[-1]
    x = dense(hidden, names[0], activation="gelu")(x)
    return dense(width, names[1])(x)


def drop_rates(last: float, num_blocks: int) -> list[float]:
    """Return stochastic depth's rate of each block, from 0 up to `last` in equal steps."""
    return [last * number / max(num_blocks - 1, 1) for number in range(num_blocks)]
