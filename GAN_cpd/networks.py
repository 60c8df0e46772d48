"""Generator and discriminator of constant resolution, each in three architectures.

Source: Schuette et al. 2021 (https://doi.org/10.1038/s41746-021-00507-3); the architectures
`skip`, `resnet` and `orig` are those of Karras et al. 2020 (https://arxiv.org/abs/1912.04958),
figure 7; the conditional discriminator is that of Mescheder et al. 2018
(https://arxiv.org/abs/1801.04406), section 6.
"""

import math
from typing import Any, Literal

import keras
from keras import ops

from medsynth.gan.layers import (
    ConditionalPixelNorm,
    ConvDownscale2D,
    DenseTo4x4,
    EqualizedConv2D,
    EqualizedDense,
    UpscaleConv2D,
    downscale2d,
    leaky_relu,
    minibatch_standard_deviation,
    pixel_norm,
    upscale2d,
)
from medsynth.gan.networks import PyramidNetwork, block_name

Architecture = Literal["skip", "resnet", "orig"]
_GAIN, _RESAMPLING_GAIN = 1.0, math.sqrt(2)


class Generator(PyramidNetwork):
    """Maps latents [N, latent_size] and labels [N, L] to images [N, R, R, C], about [-1, 1].

    Args:
        architecture: `skip` sums an image of every resolution, `resnet` adds a path around each
            block, `orig` has neither.
        **options: As for every PyramidNetwork.
    """

    def __init__(self, *args: Any, architecture: Architecture = "skip", **options: Any) -> None:
        super().__init__(*args, **options)
        self.architecture = architecture
        common = {"dtype": self.dtype_policy}
        self.first_dense = DenseTo4x4(self.nf(1), gain=_GAIN, name="4x4_dense", **common)
        self.convs: dict[int, list[keras.layers.Layer]] = {}
        self.skips: dict[int, UpscaleConv2D] = {}
        self.to_rgb: dict[int, EqualizedConv2D] = {}
        # The norm behind each layer, by the layer's name.
        self.norms = {"4x4_dense": ConditionalPixelNorm(self.pixel_norm_epsilon, name="4x4_dense_norm", **common)}
        for log2 in range(2, self.resolution_log2 + 1):
            name, channels = block_name(log2), self.nf(log2 - 1)
            if log2 == 2:
                self.convs[log2] = [EqualizedConv2D(channels, 3, gain=_GAIN, name=f"{name}_conv", **common)]
            else:
                # The published network counts the outputs where it means the inputs.
                up = {"gain": _RESAMPLING_GAIN, "fan_in_channels": "outputs", **common}
                self.convs[log2] = [
                    UpscaleConv2D(channels, 3, name=f"{name}_conv0_up", **up),
                    EqualizedConv2D(channels, 3, gain=_GAIN, name=f"{name}_conv1", **common),
                ]
                if architecture == "resnet":
                    self.skips[log2] = UpscaleConv2D(channels, 1, use_bias=False, name=f"{name}_skip", **up)
            for layer in self.convs[log2]:
                norm = ConditionalPixelNorm(self.pixel_norm_epsilon, name=f"{layer.name}_norm", **common)
                self.norms[layer.name] = norm
            if architecture == "skip" or log2 == self.resolution_log2:
                self.to_rgb[log2] = EqualizedConv2D(self.num_channels, 1, gain=_GAIN, name=f"{name}_to_rgb", **common)

    def build(self, latents_shape: Any = None, labels_shape: Any = None) -> None:
        """Make all weights."""
        condition_shape = (None, self.latent_size + self.label_size)
        self.first_dense.build(condition_shape)
        self.norms["4x4_dense"].build((None, 4, 4, self.nf(1)), condition_shape)
        for log2, layers in self.convs.items():
            num_inputs = [self.nf(max(log2 - 2, 1)), self.nf(log2 - 1)]
            for layer, channels in zip(layers, num_inputs, strict=False):
                layer.build((None, None, None, channels))
                self.norms[layer.name].build((None, None, None, self.nf(log2 - 1)), condition_shape)
            if log2 in self.skips:
                self.skips[log2].build((None, None, None, num_inputs[0]))
            if log2 in self.to_rgb:
                self.to_rgb[log2].build((None, None, None, self.nf(log2 - 1)))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"architecture": self.architecture}

    def call(self, latents: Any, labels: Any, stage: int = 0, fade: Any = 0.0) -> Any:
        """Generate images.

        Args:
            latents: [N, latent_size], standard normal.
            labels: [N, L], multi-hot.
            stage: Not used; every GAN of the suite is called alike.
            fade: Not used.

        Returns:
            float32 [N, R, R, C].
        """
        condition = ops.concatenate([latents, labels], axis=1) if self.label_size else latents
        x = ops.cast(pixel_norm(condition, self.pixel_norm_epsilon), self.compute_dtype)
        x = self._activate(self.first_dense, x, condition)
        images = None
        for log2, layers in self.convs.items():
            block_input = x
            for layer in layers:
                x = self._activate(layer, x, condition)
            if log2 in self.skips:
                x = (x + self.skips[log2](block_input)) / math.sqrt(2)
            if images is not None:
                images = upscale2d(images)
            if log2 in self.to_rgb:
                image = ops.cast(self.to_rgb[log2](x), "float32")
                images = image if images is None else images + image
        return images

    def _activate(self, layer: keras.layers.Layer, x: Any, condition: Any) -> Any:
        return self.norms[layer.name](leaky_relu(layer(x)), condition)


class Discriminator(PyramidNetwork):
    """Maps images [N, R, R, C] and labels [N, L] to scores [N, 1], float32.

    The score is the sum of those of L outputs whose label is present (without labels: of one output).

    Args:
        architecture: `skip` feeds the image in at every resolution, `resnet` adds a path around
            each block, `orig` has neither.
        stddev_group_size: Samples of a group of the minibatch standard deviation.
        **options: As for every PyramidNetwork.
    """

    def __init__(
        self, *args: Any, architecture: Architecture = "resnet", stddev_group_size: int = 4, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.architecture, self.stddev_group_size = architecture, stddev_group_size
        common = {"dtype": self.dtype_policy}
        self.from_rgb: dict[int, EqualizedConv2D] = {}
        self.convs: dict[int, list[keras.layers.Layer]] = {}
        self.skips: dict[int, ConvDownscale2D] = {}
        for log2 in range(self.resolution_log2, 1, -1):
            name = block_name(log2)
            if architecture == "skip" or log2 == self.resolution_log2:
                self.from_rgb[log2] = EqualizedConv2D(
                    self.nf(log2 - 1), 1, gain=_GAIN, name=f"{name}_from_rgb", **common
                )
            if log2 == 2:
                self.convs[log2] = [EqualizedConv2D(self.nf(1), 3, gain=_GAIN, name=f"{name}_conv", **common)]
                continue
            down = {"gain": _RESAMPLING_GAIN, **common}
            self.convs[log2] = [
                EqualizedConv2D(self.nf(log2 - 1), 3, gain=_GAIN, name=f"{name}_conv0", **common),
                ConvDownscale2D(self.nf(log2 - 2), 3, name=f"{name}_conv1_down", **down),
            ]
            if architecture == "resnet":
                self.skips[log2] = ConvDownscale2D(self.nf(log2 - 2), 1, use_bias=False, name=f"{name}_skip", **down)
        self.dense0 = EqualizedDense(self.nf(0), gain=_GAIN, name="4x4_dense0", **common)
        self.output_dense = EqualizedDense(max(self.label_size, 1), gain=_GAIN, name="output", dtype="float32")

    def build(self, images_shape: Any = None, labels_shape: Any = None) -> None:
        """Make all weights."""
        for log2, layers in self.convs.items():
            if log2 in self.from_rgb:
                self.from_rgb[log2].build((None, None, None, self.num_channels))
            # At 4x4 the minibatch standard deviation adds one channel.
            num_inputs = self.nf(log2 - 1) + (log2 == 2)
            for layer in layers:
                layer.build((None, None, None, num_inputs))
            if log2 in self.skips:
                self.skips[log2].build((None, None, None, num_inputs))
        self.dense0.build((None, self.nf(1) * 16))
        self.output_dense.build((None, self.nf(0)))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "architecture": self.architecture,
            "stddev_group_size": self.stddev_group_size,
        }

    def call(self, images: Any, labels: Any, stage: int = 0, fade: Any = 0.0) -> Any:
        """Judge images.

        Args:
            images: float32 [N, R, R, C], about [-1, 1].
            labels: [N, L], multi-hot.
            stage: Not used; every GAN of the suite is called alike.
            fade: Not used.

        Returns:
            Scores [N, 1], high for real images.
        """
        images = ops.cast(images, self.compute_dtype)
        x = None
        for log2, layers in self.convs.items():
            if log2 in self.from_rgb:
                y = leaky_relu(self.from_rgb[log2](images))
                x = y if x is None else x + y
            if log2 == 2:
                break
            block_input = x
            for layer in layers:
                x = leaky_relu(layer(x))
            if log2 in self.skips:
                x = (x + self.skips[log2](block_input)) / math.sqrt(2)
            if self.architecture == "skip":
                images = downscale2d(images)
        x = minibatch_standard_deviation(x, self.stddev_group_size)
        (convolution,) = self.convs[2]
        x = leaky_relu(convolution(x))
        x = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, self.nf(1) * 16))  # [N, 4, 4, nf] -> [N, nf*16]
        x = leaky_relu(self.dense0(x))
        outputs = self.output_dense(ops.cast(x, "float32"))  # [N, L], or [N, 1] without labels
        return ops.sum(outputs * labels, axis=1, keepdims=True) if self.label_size else outputs
