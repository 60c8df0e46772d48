"""Generator and discriminator that grow with the level of detail.

Source: Schuette et al. 2021 (https://doi.org/10.1038/s41746-021-00507-3), after
Karras et al. 2018 (https://arxiv.org/abs/1710.10196), table 2 and appendix A.

The level of detail (lod) is 0 at full resolution, 1 at half of it, and so on; a
fraction fades between two resolutions. It is given as two values: `stage`, the
whole part, is a Python integer and decides which layers run; `fade`, the
fraction, is a tensor, so that one graph serves a whole growth stage.
"""

import math
from typing import Any

import keras
from keras import ops

from medsynth.gan.layers import (
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


class Generator(PyramidNetwork):
    """Maps latents [N, latent_size] and labels [N, L] to images [N, R, R, C], about [-1, 1]."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        common = {"dtype": self.dtype_policy}
        self.first_dense = DenseTo4x4(self.nf(1), gain=math.sqrt(2) / 4, name="4x4_dense", **common)
        self.convs: dict[int, list[keras.layers.Layer]] = {}
        self.to_rgb: dict[int, EqualizedConv2D] = {}
        for log2 in range(2, self.resolution_log2 + 1):
            name, channels = block_name(log2), self.nf(log2 - 1)
            if log2 == 2:
                self.convs[log2] = [EqualizedConv2D(channels, 3, name=f"{name}_conv", **common)]
            else:
                self.convs[log2] = [
                    UpscaleConv2D(channels, 3, name=f"{name}_conv0_up", **common),
                    EqualizedConv2D(channels, 3, name=f"{name}_conv1", **common),
                ]
            self.to_rgb[log2] = EqualizedConv2D(self.num_channels, 1, gain=1.0, name=f"to_rgb_{name}", **common)

    def build(self, latents_shape: Any = None, labels_shape: Any = None) -> None:
        """Make the weights of every resolution, those that the first call does not use too."""
        self.first_dense.build((None, self.latent_size + self.label_size))
        for log2, convolutions in self.convs.items():
            num_inputs = [self.nf(max(log2 - 2, 1)), self.nf(log2 - 1)]
            for convolution, channels in zip(convolutions, num_inputs, strict=False):
                convolution.build((None, None, None, channels))
            self.to_rgb[log2].build((None, None, None, self.nf(log2 - 1)))
        self.built = True

    def call(self, latents: Any, labels: Any, stage: int = 0, fade: Any = 0.0) -> Any:
        """Generate images at a level of detail.

        Args:
            latents: [N, latent_size], standard normal.
            labels: [N, L], multi-hot.
            stage: Whole part of the level of detail.
            fade: Its fraction, a scalar in [0, 1): the weight of the next coarser resolution.

        Returns:
            float32 [N, R, R, C] at full resolution, whatever the level of detail.
        """
        top = max(self.resolution_log2 - stage, 2)
        x = ops.concatenate([latents, labels], axis=1) if self.label_size else latents
        x = ops.cast(pixel_norm(x, self.pixel_norm_epsilon), self.compute_dtype)
        x = self._activate(self.first_dense(x))
        coarser = None
        for log2 in range(2, top + 1):
            if log2 == top and log2 > 2:
                coarser = upscale2d(self._image(x, log2 - 1))
            for convolution in self.convs[log2]:
                x = self._activate(convolution(x))
        images = self._image(x, top)
        if coarser is not None:
            images = images + (coarser - images) * ops.cast(fade, "float32")
        return upscale2d(images, self.resolution // 2**top)

    def _activate(self, x: Any) -> Any:
        return pixel_norm(leaky_relu(x), self.pixel_norm_epsilon)

    def _image(self, x: Any, log2: int) -> Any:
        return ops.cast(self.to_rgb[log2](x), "float32")


class Discriminator(PyramidNetwork):
    """Maps images [N, R, R, C] to scores [N, 1] and label logits [N, L], both float32."""

    def __init__(self, *args: Any, stddev_group_size: int = 4, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stddev_group_size = stddev_group_size
        common = {"dtype": self.dtype_policy}
        self.from_rgb: dict[int, EqualizedConv2D] = {}
        self.convs: dict[int, list[keras.layers.Layer]] = {}
        for log2 in range(self.resolution_log2, 1, -1):
            name = block_name(log2)
            self.from_rgb[log2] = EqualizedConv2D(self.nf(log2 - 1), 1, name=f"from_rgb_{name}", **common)
            if log2 > 2:
                self.convs[log2] = [
                    EqualizedConv2D(self.nf(log2 - 1), 3, name=f"{name}_conv0", **common),
                    ConvDownscale2D(self.nf(log2 - 2), 3, name=f"{name}_conv1_down", **common),
                ]
            else:
                self.convs[log2] = [EqualizedConv2D(self.nf(1), 3, name=f"{name}_conv", **common)]
        self.dense0 = EqualizedDense(self.nf(0), name="4x4_dense0", **common)
        self.dense1 = EqualizedDense(1 + self.label_size, gain=1.0, name="4x4_dense1", dtype="float32")

    def build(self, images_shape: Any = None) -> None:
        """Make the weights of every resolution, those that the first call does not use too."""
        for log2, convolutions in self.convs.items():
            self.from_rgb[log2].build((None, None, None, self.num_channels))
            # At 4x4 the minibatch standard deviation adds one channel.
            num_inputs = self.nf(log2 - 1) + (log2 == 2)
            for convolution in convolutions:
                convolution.build((None, None, None, num_inputs))
        self.dense0.build((None, self.nf(1) * 16))
        self.dense1.build((None, self.nf(0)))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"stddev_group_size": self.stddev_group_size}

    def call(self, images: Any, stage: int = 0, fade: Any = 0.0) -> tuple[Any, Any]:
        """Judge images at a level of detail.

        Args:
            images: float32 [N, R, R, C] at full resolution, about [-1, 1].
            stage: Whole part of the level of detail.
            fade: Its fraction, a scalar in [0, 1): the weight of the next coarser resolution.

        Returns:
            Scores [N, 1], high for real images, and label logits [N, L].
        """
        top = max(self.resolution_log2 - stage, 2)
        images = ops.cast(downscale2d(images, self.resolution // 2**top), self.compute_dtype)
        x = leaky_relu(self.from_rgb[top](images))
        for log2 in range(top, 2, -1):
            for convolution in self.convs[log2]:
                x = leaky_relu(convolution(x))
            if log2 == top:
                coarser = leaky_relu(self.from_rgb[log2 - 1](downscale2d(images)))
                x = x + (coarser - x) * ops.cast(fade, x.dtype)
        x = minibatch_standard_deviation(x, self.stddev_group_size)
        (convolution,) = self.convs[2]
        x = leaky_relu(convolution(x))
        x = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, self.nf(1) * 16))  # [N, 4, 4, nf] -> [N, nf*16]
        x = leaky_relu(self.dense0(x))
        outputs = self.dense1(ops.cast(x, "float32"))  # [N, 1 + L]
        return outputs[:, :1], outputs[:, 1:]
