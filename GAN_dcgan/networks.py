"""Generator and discriminator of grey frames.

Source: Szabo 2023, after Radford et al. 2016 (https://arxiv.org/abs/1511.06434); those networks are the ones of
128x128 pixels with the default arguments.
"""

import math
from typing import Any

import keras
from keras import ops

from medsynth.gan.layers import leaky_relu
from medsynth.networks.batch_norm import GlobalBatchNormalization

KERNEL, FIRST_SIZE = 4, 4
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

    Two convolutions halve the size, and one dense layer judges what they give; so at every size. The original ends in a
    sigmoid, which is part of the loss here.

    Args:
        **options: As for both networks.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.convs = [self._halving(self.features, "conv0"), self._halving(2 * self.features, "conv1")]
        self.norm = self._norm("norm1")
        # PyTorch's start of a dense layer: uniform within 1 / sqrt(inputs).
        start = keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
        self.logit = keras.layers.Dense(
            1, use_bias=False, kernel_initializer=start, name="logit", dtype=self.dtype_policy
        )

    def build(self, images_shape: Any = None) -> None:
        """Make all weights."""
        size, num_inputs = self.resolution, self.num_channels
        for conv in self.convs:
            conv.build((None, size, size, num_inputs))
            size, num_inputs = size // 2, conv.filters
        self.norm.build((None, size, size, num_inputs))
        self.logit.build((None, size * size * num_inputs))
        self.built = True

    def call(self, images: Any, rows: Any = None, stage: int = 0, fade: Any = 0.0, training: bool = False) -> Any:
        """Judge images.

        Args:
            images: [N, S, S, C] in [-1, 1].
            rows: Not used, nor are `stage` and `fade`; every GAN of the suite is called alike.
            stage: See `rows`.
            fade: See `rows`.
            training: Whether to normalise by the minibatch, and move the stored statistics.

        Returns:
            float32 [N, 1].
        """
        first, second = self.convs
        x = leaky_relu(first(images))
        x = leaky_relu(self.norm(second(x), training=training))
        x = ops.reshape(x, (-1, math.prod(x.shape[1:])))  # [N, s, s, 2f] -> [N, s*s*2f]
        return ops.cast(self.logit(x), "float32")

    def _halving(self, channels: int, name: str) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(channels, KERNEL, strides=2, padding="same", **self._conv_options(name))
