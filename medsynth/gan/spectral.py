"""Layers whose weights are divided by their largest singular value, in keras.ops so that they run on every backend.

A network of such layers changes by no more than its input does (up to the number of layers that reach a pixel), so a
discriminator cannot become arbitrarily steep. Keras' own SpectralNormalization overwrites the weights with the
normalised ones, and leaves the norm out of the gradient.

Source: Miyato et al. 2018, Spectral Normalization for Generative Adversarial Networks,
https://arxiv.org/abs/1802.05957, equations 8 and 12, algorithm 1.
"""

from typing import Any

import keras
from keras import ops

_SMALLEST = 1e-12


class _Spectral(keras.layers.Layer):
    """A linear layer; each call in training is one step of power iteration.

    Args:
        num_outputs: Channels or units.
        use_bias: Whether to add a bias, starting at 0.
        kernel_initializer: Start of the kernel.
    """

    def __init__(
        self, num_outputs: int, *, use_bias: bool = True, kernel_initializer: Any = "glorot_uniform", **options: Any
    ) -> None:
        super().__init__(**options)
        self.num_outputs, self.use_bias = num_outputs, use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def _add_weights(self, kernel_shape: tuple[int, ...]) -> None:
        # Not cast to the compute type: a norm of rounded weights would be that of others.
        self.kernel = self.add_weight(
            shape=kernel_shape, initializer=self.kernel_initializer, name="kernel", autocast=False
        )
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.num_outputs,), initializer="zeros", name="bias")
        # The left singular vector's estimate, which starts at random.
        self.singular_vector = self.add_weight(
            shape=(self.num_outputs,),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
            trainable=False,
            name="singular_vector",
            autocast=False,
        )

    def _normalised_kernel(self, training: bool) -> Any:
        """Return the kernel over its largest singular value, in the compute type; in training, improve the estimate.

        The singular vectors count as constants in the gradient, as in the paper.
        """
        matrix = ops.reshape(self.kernel, (-1, self.num_outputs))  # [..., outputs] -> [inputs, outputs]
        constant = ops.stop_gradient(matrix)
        right = _unit(ops.matmul(constant, self.singular_vector))  # [inputs]
        left = _unit(ops.matmul(right, constant))  # [outputs]
        if training:
            self.singular_vector.assign(left)
        largest = ops.sum(ops.matmul(ops.stop_gradient(right), matrix) * ops.stop_gradient(left))
        return ops.cast(self.kernel / largest, self.compute_dtype)

    def _add_bias(self, outputs: Any) -> Any:
        return ops.add(outputs, ops.cast(self.bias, outputs.dtype)) if self.use_bias else outputs

    def get_config(self) -> dict[str, Any]:
        """Return what builds the layer again."""
        return super().get_config() | {
            "num_outputs": self.num_outputs,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


class SpectralConv2D(_Spectral):
    """Convolution: [N, H, W, inputs] -> [N, H / strides, W / strides, num_outputs], padded.

    The kernel is [kernel_size, kernel_size, inputs, num_outputs], normalised as a matrix of num_outputs columns.

    Args:
        num_outputs: Channels.
        kernel_size: Width and height of the kernel.
        strides: Pixels from one place to the next.
        **options: `use_bias`, `kernel_initializer`, and those of every layer.
    """

    def __init__(self, num_outputs: int, kernel_size: int, strides: int = 1, **options: Any) -> None:
        super().__init__(num_outputs, **options)
        self.kernel_size, self.strides = kernel_size, strides

    def build(self, input_shape: Any) -> None:
        """Make all weights."""
        self._add_weights((self.kernel_size, self.kernel_size, int(input_shape[-1]), self.num_outputs))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Convolve."""
        kernel = self._normalised_kernel(training)
        outputs = ops.conv(inputs, kernel, strides=self.strides, padding="same", data_format="channels_last")
        return self._add_bias(outputs)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the layer again."""
        return super().get_config() | {"kernel_size": self.kernel_size, "strides": self.strides}


class SpectralDense(_Spectral):
    """Dense layer: [N, inputs] -> [N, num_outputs], its kernel [inputs, num_outputs] normalised.

    Args:
        num_outputs: Units.
        **options: `use_bias`, `kernel_initializer`, and those of every layer.
    """

    def build(self, input_shape: Any) -> None:
        """Make all weights."""
        self._add_weights((int(input_shape[-1]), self.num_outputs))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Multiply."""
        return self._add_bias(ops.matmul(inputs, self._normalised_kernel(training)))


def _unit(vector: Any) -> Any:
    return vector / ops.maximum(ops.norm(vector), _SMALLEST)
