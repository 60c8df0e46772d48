"""Batch normalisation by the statistics of a whole minibatch, however many devices share it."""

from typing import Any

import keras
from keras import ops

FUSED_RANK = 4  # of what TensorFlow normalises in one operation: [N, H, W, C]


class GlobalBatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation over the last axis, with mean and variance over all devices.

    Keras' own `synchronized=True` takes the variance as E[x^2] - E[x]^2, which float32 rounds too much where the
    variance is small beside the mean; here it is E[(x - mean)^2] on any number of devices.

    Args:
        unbiased: Whether the stored variance grows by n / (n - 1), n values of a channel in the minibatch, as
            PyTorch stores it; what a minibatch is normalised by does not.
        **options: Of Keras' layer.

    Source: Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, algorithms 1 and 2 (the latter is unbiased).
    """

    def __init__(self, *, unbiased: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.unbiased = unbiased

    def get_config(self) -> dict[str, Any]:
        """Return what builds the layer again."""
        return super().get_config() | {"unbiased": self.unbiased}

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Normalise inputs of any shape; in training, move the stored statistics too."""
        if not training:
            return self._by_statistics(inputs, self.moving_mean, self.moving_variance)
        if keras.backend.backend() == "tensorflow" and len(inputs.shape) == FUSED_RANK and _several_devices() is None:
            x = ops.cast(inputs, self.compute_dtype)
            outputs, mean, kept = normalise_by_batch(x, self.gamma, self.beta, self.epsilon)
            kept = kept if self.unbiased else kept / _unbiasing(x)
        else:
            mean, variance = _moments(ops.cast(inputs, "float32"))
            outputs = self._by_statistics(inputs, mean, variance)
            kept = variance * _unbiasing(inputs) if self.unbiased else variance
        for stored, new in ((self.moving_mean, mean), (self.moving_variance, kept)):
            stored.assign(stored * self.momentum + new * (1 - self.momentum))
        return outputs

    def _by_statistics(self, inputs: Any, mean: Any, variance: Any) -> Any:
        x = ops.cast(inputs, "float32")
        outputs = ops.batch_normalization(x, mean, variance, -1, self.beta, self.gamma, self.epsilon)
        return ops.cast(outputs, self.compute_dtype)


def normalise_by_batch(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Normalise [N, H, W, C] over N, H, W of one device, in one operation of TensorFlow instead of nine.

    Args:
        x: Of any float type; statistics are float32.
        gamma: Scale [C].
        beta: Shift [C].
        epsilon: Added to the variance.

    Returns:
        What is normalised, in the type of `x`; the mean [C]; the unbiased variance [C].
    """
    import tensorflow as tf  # noqa: PLC0415  (networks also run on other backends)

    result = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=tf.convert_to_tensor(gamma),
        offset=tf.convert_to_tensor(beta),
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
        is_training=True,
    )
    return result.y, result.batch_mean, result.batch_variance


def _moments(x: Any) -> tuple[Any, Any]:
    """Return mean and variance [C] of x [..., C] over all devices, which hold equal shares.

    `ops.moments` will not do: its second derivatives on TensorFlow, which R1 takes, leave out that the mean depends
    on x.
    """
    axes = list(range(len(x.shape) - 1))
    over_devices = _mean_over_devices if _several_devices() else lambda value: value
    mean = over_devices(ops.mean(x, axes))
    return mean, over_devices(ops.mean(ops.square(x - mean), axes))


def _unbiasing(x: Any) -> Any:
    """Return n / (n - 1) for the n values of a channel of x [..., C] over all devices."""
    devices = _several_devices()
    num_devices = 1 if devices is None else devices.num_replicas_in_sync
    num_values = ops.cast(ops.prod(ops.shape(x)[:-1]) * num_devices, "float32")
    return num_values / ops.maximum(num_values - 1, 1)


def _several_devices() -> Any:
    """Return TensorFlow's replica context where several devices compute this, else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf  # noqa: PLC0415

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def _mean_over_devices(value: Any) -> Any:
    """Return the mean of the devices' values; each gets all of it, so its gradient is the mean of theirs.

    TensorFlow's own gradient of the sum over devices asks for the replica context of the forward pass, and a
    step that differentiates after an update in between has another one.
    """
    import tensorflow as tf  # noqa: PLC0415  (networks also run on other backends)

    @tf.custom_gradient
    def mean(value: Any) -> Any:
        devices = tf.distribute.get_replica_context()
        return devices.all_reduce("SUM", value) / devices.num_replicas_in_sync, _mean_over_devices

    return mean(value)
