"""Generator and discriminator of grey frames.

Source: Szabo 2023, after Radford et al. 2016 (https://arxiv.org/abs/1511.06434); those networks are the ones of
128x128 pixels with the default arguments.
"""

import math
from typing import Any, Literal

import keras
from keras import ops

from medsynth.gan.layers import leaky_relu, minibatch_standard_deviation
from medsynth.gan.spectral import SpectralConv2D, SpectralDense
from medsynth.networks.batch_norm import GlobalBatchNormalization

KERNEL, FIRST_SIZE = 4, 4
DiscriminatorNorm = Literal["batch", "spectral", "none"]
Head = Literal["flatten", "average"]
_FIRST_FACTOR = 8  # of the features: channels of the generator's first maps
# Of PyTorch: a momentum of 0.1 there is 0.9 here, and the stored variance is the unbiased one.
_NORM: dict[str, Any] = {"momentum": 0.9, "epsilon": 1e-5, "unbiased": True}


class _FrameNetwork(keras.Model):
    """A network of square images of one size.

    Args:
        resolution: Width and height of the images, S, a power of two from 16.
        features: Overall multiplier of the channels, f.
        num_channels: 1 for grey, 3 for colour; C.
    """

    def __init__(self, resolution: int = 128, features: int = 64, num_channels: int = 1, **options: Any) -> None:
        super().__init__(**options, autocast=False)
        if resolution < 16 or resolution & (resolution - 1) or features < 1:
            raise ValueError(f"no network of {resolution} pixels and {features} features")
        self.resolution, self.features, self.num_channels = resolution, features, num_channels
        self.label_size = 0

    def get_config(self) -> dict[str, Any]:
        """Return what builds the network again."""
        return super().get_config() | {
            "resolution": self.resolution,
            "features": self.features,
            "num_channels": self.num_channels,
        }

    def _norm(self, name: str) -> GlobalBatchNormalization:
        # DCGAN's own start.
        gamma = keras.initializers.RandomNormal(1.0, 0.02)
        return GlobalBatchNormalization(name=name, gamma_initializer=gamma, dtype=self.dtype_policy, **_NORM)

    def _conv_options(self, name: str) -> dict[str, Any]:
        start = keras.initializers.RandomNormal(0.0, 0.02)
        return {"kernel_initializer": start, "use_bias": False, "name": name, "dtype": self.dtype_policy}


class Generator(_FrameNetwork):
    """Maps latents [N, latent_size] to images [N, S, S, C] in (-1, 1).

    A transposed convolution makes 8f maps of 4x4, each further one doubles the size and halves the maps, the last one
    gives the image: at 128x128 8f, 4f, 2f, f, f/2. Other sizes have fewer or more of the last hidden levels.

    Args:
        latent_size: Numbers of a latent.
        **options: As for both networks.
    """

    def __init__(self, *args: Any, latent_size: int = 100, **options: Any) -> None:
        super().__init__(*args, **options)
        self.latent_size = latent_size
        num_levels = int(math.log2(self.resolution // FIRST_SIZE))
        channels = [max(_FIRST_FACTOR * self.features >> level, 1) for level in range(num_levels)]
        self.convs = [
            self._transposed(number, f"conv{level}", first=level == 0) for level, number in enumerate(channels)
        ]
        self.norms = [self._norm(f"norm{level}") for level in range(num_levels)]
        self.image = self._transposed(self.num_channels, "image")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"latent_size": self.latent_size}

    def build(self, latents_shape: Any = None) -> None:
        """Make all weights."""
        size, num_inputs = 1, self.latent_size
        for conv, norm in zip(self.convs, self.norms, strict=True):
            conv.build((None, size, size, num_inputs))
            size, num_inputs = FIRST_SIZE if size == 1 else 2 * size, conv.filters
            norm.build((None, size, size, num_inputs))
        self.image.build((None, size, size, num_inputs))
        self.built = True

    def call(self, latents: Any, rows: Any = None, stage: int = 0, fade: Any = 0.0, training: bool = False) -> Any:
        """Generate images.

        Args:
            latents: [N, latent_size], standard normal.
            rows: Not used, nor are `stage` and `fade`; every GAN of the suite is called alike.
            stage: See `rows`.
            fade: See `rows`.
            training: Whether to normalise by the minibatch, and move the stored statistics.

        Returns:
            float32.
        """
        x = ops.reshape(latents, (-1, 1, 1, self.latent_size))  # [N, Z] -> [N, 1, 1, Z]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = leaky_relu(norm(conv(x), training=training))
        return ops.tanh(ops.cast(self.image(x), "float32"))

    def _transposed(self, channels: int, name: str, *, first: bool = False) -> keras.layers.Conv2DTranspose:
        # "same" is PyTorch's padding of 1 at this kernel and stride.
        place: dict[str, Any] = {"padding": "valid"} if first else {"padding": "same", "strides": 2}
        return keras.layers.Conv2DTranspose(channels, KERNEL, **place, **self._conv_options(name))


class Discriminator(_FrameNetwork):
    """Maps images [N, S, S, C] to logits [N, 1], high for real ones.

    Convolutions halve the size, and one dense layer judges what they give. Published are two convolutions at every
    size, the second one batch-normalised, and a weight for every place of the last maps, so that its strength grows
    with the size. The original ends in a sigmoid, which is part of the loss here.

    Args:
        num_levels: Convolutions, with f, 2f, 4f, 8f, 8f... maps; the last maps have 4x4 places or more.
        norm: What keeps it in bounds: `batch`, batch normalisation behind each convolution but the first, without
            biases; `spectral`, spectral normalisation of all weights; or `none`. The last two come with biases.
        head: What the dense layer sees: `flatten`, every place of the last maps by itself, or `average`, the mean of
            each map (Lin et al. 2014, https://arxiv.org/abs/1312.4400, section 3.2).
        stddev_group_size: Samples whose standard deviation is one more of the last maps; 1 leaves it out.
        **options: As for both networks.
    """

    def __init__(
        self,
        *args: Any,
        num_levels: int = 2,
        norm: DiscriminatorNorm = "batch",
        head: Head = "flatten",
        stddev_group_size: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        if num_levels < 1 or self.resolution >> num_levels < FIRST_SIZE:
            raise ValueError(f"no discriminator of {num_levels} levels for {self.resolution} pixels")
        self.num_levels, self.norm, self.head, self.stddev_group_size = num_levels, norm, head, stddev_group_size
        self.convs = [self._halving(level) for level in range(num_levels)]
        self.norms = [self._norm(f"norm{level}") for level in range(1, num_levels)] if norm == "batch" else []
        # PyTorch's start of a dense layer: uniform within 1 / sqrt(inputs).
        start = keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
        dense = SpectralDense if norm == "spectral" else keras.layers.Dense
        self.logit = dense(1, use_bias=norm != "batch", kernel_initializer=start, name="logit", dtype=self.dtype_policy)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_levels": self.num_levels,
            "norm": self.norm,
            "head": self.head,
            "stddev_group_size": self.stddev_group_size,
        }

    def build(self, images_shape: Any = None) -> None:
        """Make all weights."""
        size, num_inputs = self.resolution, self.num_channels
        for level, conv in enumerate(self.convs):
            conv.build((None, size, size, num_inputs))
            size, num_inputs = size // 2, self._num_maps(level)
            if level and self.norms:
                self.norms[level - 1].build((None, size, size, num_inputs))
        num_inputs += self.stddev_group_size > 1
        self.logit.build((None, num_inputs if self.head == "average" else size * size * num_inputs))
        self.built = True

    def call(self, images: Any, rows: Any = None, stage: int = 0, fade: Any = 0.0, training: bool = False) -> Any:
        """Judge images.

        Args:
            images: [N, S, S, C] in [-1, 1]; N is a multiple of `stddev_group_size` or below it.
            rows: Not used, nor are `stage` and `fade`; every GAN of the suite is called alike.
            stage: See `rows`.
            fade: See `rows`.
            training: Whether to normalise by the minibatch, and move the stored statistics and singular vectors.

        Returns:
            float32 [N, 1].
        """
        # Only the layers of spectral normalisation know of training.
        mode = {"training": training} if self.norm == "spectral" else {}
        x = images
        for level, conv in enumerate(self.convs):
            x = conv(x, **mode)
            if level and self.norms:
                x = self.norms[level - 1](x, training=training)
            x = leaky_relu(x)
        if self.stddev_group_size > 1:
            x = minibatch_standard_deviation(x, self.stddev_group_size)
        return ops.cast(self.logit(self._vectors(x), **mode), "float32")

    def _vectors(self, x: Any) -> Any:
        if self.head == "average":
            return ops.mean(ops.cast(x, "float32"), axis=(1, 2))  # [N, s, s, C] -> [N, C]
        return ops.reshape(x, (-1, math.prod(x.shape[1:])))  # [N, s, s, C] -> [N, s*s*C]

    def _num_maps(self, level: int) -> int:
        return min(2**level, _FIRST_FACTOR) * self.features

    def _halving(self, level: int) -> keras.layers.Layer:
        options = self._conv_options(f"conv{level}") | {"use_bias": self.norm != "batch", "strides": 2}
        if self.norm == "spectral":
            return SpectralConv2D(self._num_maps(level), KERNEL, **options)
        return keras.layers.Conv2D(self._num_maps(level), KERNEL, padding="same", **options)
