"""Layers of progressively grown GANs, NHWC, in keras.ops so that they run on every Keras backend.

All weights use the equalised learning rate: they start as N(0, 1) and are
multiplied by gain / sqrt(fan_in) at run time (Karras et al. 2018,
https://arxiv.org/abs/1710.10196, section 4.1).
"""

import math
from typing import Any

import keras
from keras import ops

LEAKY_RELU_SLOPE = 0.2


def leaky_relu(x: Any) -> Any:
    """Leaky ReLU of slope 0.2, any shape."""
    return ops.leaky_relu(x, negative_slope=LEAKY_RELU_SLOPE)


def upscale2d(x: Any, factor: int = 2) -> Any:
    """Repeat every pixel: [N, H, W, C] -> [N, H*factor, W*factor, C] (nearest neighbour)."""
    if factor == 1:
        return x
    _, height, width, channels = x.shape
    x = ops.reshape(x, (-1, height, 1, width, 1, channels))  # [N, H, 1, W, 1, C]
    x = ops.tile(x, (1, 1, factor, 1, factor, 1))  # [N, H, f, W, f, C]
    return ops.reshape(x, (-1, height * factor, width * factor, channels))  # [N, H*f, W*f, C]


def downscale2d(x: Any, factor: int = 2) -> Any:
    """Average blocks of pixels: [N, H, W, C] -> [N, H/factor, W/factor, C]."""
    if factor == 1:
        return x
    return ops.average_pool(x, factor, factor, padding="valid", data_format="channels_last")


def pixel_norm(x: Any, epsilon: float = 1e-8) -> Any:
    """Divide each channel vector by its root mean square; any shape, channels last.

    The mean is taken in float32, since epsilon vanishes beside 1 in bfloat16.

    Source: Karras et al. 2018, section 4.2.
    """
    wide = ops.cast(x, "float32")
    scale = ops.rsqrt(ops.mean(ops.square(wide), axis=-1, keepdims=True) + epsilon)
    return x * ops.cast(scale, x.dtype)


class ConditionalPixelNorm(keras.layers.Layer):
    """Pixel norm with a scale and a shift that the latents and labels decide.

    [N, H, W, C] and a condition [N, K] -> pixel_norm(x) * gamma + beta, [N, H, W, C], where gamma
    and beta [N, C] are each a linear function of the condition, with equalised weights [K, C] of
    gain 1 and biases that start at 0.

    Args:
        epsilon: Added to the mean square.

    Source: Schuette et al. 2021, cpD-GAN, after the conditional batch normalisation of
    Miyato & Koyama 2018, https://arxiv.org/abs/1802.05637.
    """

    def __init__(self, epsilon: float = 1e-8, **options: Any) -> None:
        super().__init__(**options)
        self.epsilon = epsilon

    def build(self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...]) -> None:
        num_channels, num_inputs = int(x_shape[-1] or 0), int(condition_shape[-1] or 0)
        self.weight_scale = 1 / math.sqrt(num_inputs)
        for name in ("beta", "gamma"):
            weight = self.add_weight(
                shape=(num_inputs, num_channels),
                initializer=keras.initializers.RandomNormal(0, 1),
                name=f"{name}_weight",
            )
            bias = self.add_weight(shape=(num_channels,), initializer="zeros", name=f"{name}_bias")
            setattr(self, f"{name}_weight", weight)
            setattr(self, f"{name}_bias", bias)

    def call(self, x: Any, condition: Any) -> Any:
        gamma, beta = (self._linear(name, condition, x.dtype) for name in ("gamma", "beta"))
        return pixel_norm(x, self.epsilon) * gamma + beta

    def _linear(self, name: str, condition: Any, dtype: Any) -> Any:
        weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
        # In float32: few numbers, and they scale whole feature maps.
        weight, bias = ops.cast(weight, "float32"), ops.cast(bias, "float32")
        y = ops.matmul(ops.cast(condition, "float32"), weight * self.weight_scale) + bias  # [N, C]
        return ops.cast(y[:, None, None, :], dtype)  # [N, 1, 1, C]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"epsilon": self.epsilon}


def minibatch_standard_deviation(x: Any, group_size: int = 4, epsilon: float = 1e-8) -> Any:
    """Append the mean standard deviation over groups of samples: [N, H, W, C] -> [N, H, W, C+1].

    Group j holds the samples j, j + N/G, j + 2N/G, ... of G = min(group_size, N).

    Args:
        x: Activations; N must be a multiple of G.
        group_size: Samples per group, G.
        epsilon: Added to the variance.

    Source: Karras et al. 2018, section 3.
    """
    num_samples, height, width, channels = ops.shape(x)
    group_size = min(group_size, num_samples) if isinstance(num_samples, int) else group_size
    # [N, H, W, C] -> [G, N/G, H, W, C]
    y = ops.reshape(ops.cast(x, "float32"), (group_size, -1, height, width, channels))
    y = y - ops.mean(y, axis=0, keepdims=True)
    y = ops.sqrt(ops.mean(ops.square(y), axis=0) + epsilon)
    y = ops.mean(y, axis=(1, 2, 3), keepdims=True)  # [N/G, H, W, C] -> [N/G, 1, 1, 1]
    y = ops.tile(y, (group_size, height, width, 1))  # [N, H, W, 1]
    return ops.concatenate([x, ops.cast(y, x.dtype)], axis=-1)


@ops.custom_gradient
def _add_to_channels(x: Any, bias: Any) -> Any:
    """Add [C] to [..., C], with a gradient for the bias that bfloat16 does not ruin.

    TensorFlow's own sums it up in x's format where it cannot fuse it into a convolution:
    over the 65,536 pixels of 64 images in bfloat16 that is wrong by half of its length.
    A product with ones accumulates in float32.
    """

    def gradient(*arguments: Any, upstream: Any = None) -> tuple[Any, Any]:
        (upstream,) = arguments if upstream is None else (upstream,)
        flat = ops.reshape(upstream, (-1, x.shape[-1]))  # [..., C] -> [M, C]
        return upstream, ops.matmul(ops.ones_like(flat[:, 0]), flat)

    return ops.add(x, bias), gradient


class _Equalised(keras.layers.Layer):
    """A layer with one equalised weight and, optionally, a bias per output channel.

    Args:
        num_outputs: Output channels.
        gain: Multiplied on the weight; sqrt(2) suits a rectifier behind it.
        use_bias: Whether to add a bias, starting at 0.
    """

    def __init__(self, num_outputs: int, gain: float = math.sqrt(2), use_bias: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.num_outputs, self.gain, self.use_bias = num_outputs, gain, use_bias

    def _add_weights(self, shape: tuple[int, ...], fan_in: int) -> None:
        self.weight = self.add_weight(shape=shape, initializer=keras.initializers.RandomNormal(0, 1), name="weight")
        self.weight_scale = self.gain / math.sqrt(fan_in)
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.num_outputs,), initializer="zeros", name="bias")

    def _scaled_weight(self) -> Any:
        # Scaled in float32, then cast: bfloat16 would round the weight twice.
        return ops.cast(self.weight, "float32") * self.weight_scale

    def _add_bias(self, x: Any) -> Any:
        if not self.use_bias:
            return x
        if self.compute_dtype == "float32":
            return ops.add(x, self.bias)
        return _add_to_channels(x, ops.cast(self.bias, x.dtype))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_outputs": self.num_outputs,
            "gain": self.gain,
            "use_bias": self.use_bias,
        }


class EqualizedDense(_Equalised):
    """Dense layer: [N, inputs] -> [N, num_outputs], weight [inputs, num_outputs]."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        num_inputs = int(input_shape[-1] or 0)
        self._add_weights((num_inputs, self.num_outputs), fan_in=num_inputs)

    def call(self, x: Any) -> Any:
        return self._add_bias(ops.matmul(x, ops.cast(self._scaled_weight(), x.dtype)))


class DenseTo4x4(_Equalised):
    """Dense layer onto the first feature maps: [N, inputs] -> [N, 4, 4, num_outputs].

    The weight is [inputs, num_outputs * 16], laid out channels first; the bias is
    one per feature map.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        num_inputs = int(input_shape[-1] or 0)
        self._add_weights((num_inputs, self.num_outputs * 16), fan_in=num_inputs)

    def call(self, x: Any) -> Any:
        x = ops.matmul(x, ops.cast(self._scaled_weight(), x.dtype))
        x = ops.reshape(x, (-1, self.num_outputs, 4, 4))  # [N, C*16] -> [N, C, 4, 4]
        return self._add_bias(ops.transpose(x, (0, 2, 3, 1)))  # [N, 4, 4, C]


class EqualizedConv2D(_Equalised):
    """Convolution of stride 1, padded to the same size: [N, H, W, inputs] -> [N, H, W, num_outputs].

    The weight is [kernel_size, kernel_size, inputs, num_outputs].
    """

    def __init__(self, num_outputs: int, kernel_size: int, **options: Any) -> None:
        super().__init__(num_outputs, **options)
        self.kernel_size = kernel_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        num_inputs = int(input_shape[-1] or 0)
        shape = (self.kernel_size, self.kernel_size, num_inputs, self.num_outputs)
        self._add_weights(shape, fan_in=self.kernel_size**2 * num_inputs)

    def call(self, x: Any) -> Any:
        kernel = ops.cast(self._scaled_weight(), x.dtype)
        return self._add_bias(ops.conv(x, kernel, strides=1, padding="same", data_format="channels_last"))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"kernel_size": self.kernel_size}


def _four_shifted_copies(kernel: Any) -> Any:
    """Pad a kernel [k, k, ., .] with zeros and add its four copies shifted by one: [k+1, k+1, ., .].

    A convolution with the result equals one with `kernel` at twice the
    resolution next to a 2x2 box filter (times 4).
    """
    padded = ops.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0)))
    return padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]


class UpscaleConv2D(EqualizedConv2D):
    """Nearest-neighbour upscaling and convolution in one: [N, H, W, inputs] -> [N, 2H, 2W, num_outputs].

    The weight is [kernel_size, kernel_size, num_outputs, inputs]. `fan_in_channels`
    says which of the two counts for the equalised scale: "inputs", or "outputs"
    as one of the published networks has it.
    """

    def __init__(self, num_outputs: int, kernel_size: int, fan_in_channels: str = "inputs", **options: Any) -> None:
        super().__init__(num_outputs, kernel_size, **options)
        self.fan_in_channels = fan_in_channels

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        num_inputs = int(input_shape[-1] or 0)
        shape = (self.kernel_size, self.kernel_size, self.num_outputs, num_inputs)
        channels = num_inputs if self.fan_in_channels == "inputs" else self.num_outputs
        self._add_weights(shape, fan_in=self.kernel_size**2 * channels)

    def call(self, x: Any) -> Any:
        kernel = ops.cast(_four_shifted_copies(self._scaled_weight()), x.dtype)
        x = ops.conv_transpose(x, kernel, strides=2, padding="same", data_format="channels_last")
        return self._add_bias(x)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"fan_in_channels": self.fan_in_channels}


class ConvDownscale2D(EqualizedConv2D):
    """Convolution and 2x2 averaging in one: [N, H, W, inputs] -> [N, H/2, W/2, num_outputs].

    The weight is [kernel_size, kernel_size, inputs, num_outputs].
    """

    def call(self, x: Any) -> Any:
        kernel = ops.cast(_four_shifted_copies(self._scaled_weight()) * 0.25, x.dtype)
        return self._add_bias(ops.conv(x, kernel, strides=2, padding="same", data_format="channels_last"))
