"""Generator and discriminator of pairs: an image and a table's row from one latent.

Source: coronarography.ai 2023, whose networks are those with the default arguments.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
from keras import ops

from medsynth.networks.batch_norm import GlobalBatchNormalization

Pairing = Literal["sum", "projection"]
SLOPE, DROPOUT = 0.3, 0.3
_IMAGE_CHANNELS, _TABLE_UNITS, _JOINT_UNITS, _PROJECTION_UNITS = (256, 128, 64), (400, 200, 128, 64), 25, 200
_SHRINKING = 8  # of the image between its full size and the generator's first map

Draw = Callable[[Sequence[int]], Any]


class _PairNetwork(keras.Model):
    """A network of images and rows of one size.

    Args:
        resolution: Width and height of the images, S, a multiple of 8.
        num_columns: Numbers in a row, K.
        width: Factor of the published numbers of channels and units.
        num_channels: 1 for grey, 3 for colour; C.
    """

    def __init__(
        self, resolution: int, num_columns: int, width: float = 1.0, num_channels: int = 1, **options: Any
    ) -> None:
        super().__init__(**options, autocast=False)
        if resolution % _SHRINKING or num_columns < 1 or not width > 0:
            raise ValueError(f"no network of {resolution} pixels, {num_columns} columns and width {width}")
        self.resolution, self.num_columns, self.width, self.num_channels = resolution, num_columns, width, num_channels
        self.label_size = num_columns
        self.image_channels, self.table_units = self._scaled(_IMAGE_CHANNELS), self._scaled(_TABLE_UNITS)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the network again."""
        return super().get_config() | {
            "resolution": self.resolution,
            "num_columns": self.num_columns,
            "width": self.width,
            "num_channels": self.num_channels,
        }

    def _scaled(self, numbers: Sequence[int]) -> tuple[int, ...]:
        return tuple(math.ceil(number * self.width) for number in numbers)

    def _dense(self, units: int, name: str, **options: Any) -> keras.layers.Dense:
        return keras.layers.Dense(units, name=name, dtype=self.dtype_policy, **options)


class Generator(_PairNetwork):
    """Maps latents [N, latent_size] to images [N, S, S, C] in (-1, 1) and rows [N, K] in (0, 1).

    Both grow from one layer of the latent. Batch normalisation in training uses the statistics of the minibatch over
    all devices.

    Args:
        latent_size: Numbers of a latent.
        **options: As for both networks.
    """

    def __init__(self, *args: Any, latent_size: int = 100, **options: Any) -> None:
        super().__init__(*args, **options)
        self.latent_size = latent_size
        first, *_ = self.image_channels
        self.first_size = self.resolution // _SHRINKING
        self.trunk = self._dense(self.first_size**2 * first, "trunk", use_bias=False)
        self.trunk_norm = self._norm("trunk_norm")
        strides = (1, 2, 2)
        self.image_convs = [
            self._transposed(channels, stride, f"image_conv{number}")
            for number, (channels, stride) in enumerate(zip(self.image_channels, strides, strict=True))
        ]
        self.image_norms = [self._norm(f"image_norm{number}") for number in range(len(strides))]
        self.image_output = self._transposed(self.num_channels, 2, "image_output")
        self.table_layers = [self._dense(units, f"table_dense{i}") for i, units in enumerate(self.table_units)]
        self.table_norms = [self._norm(f"table_norm{number}") for number in range(len(self.table_units))]
        self.table_output = self._dense(self.num_columns, "table_output")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"latent_size": self.latent_size}

    def build(self, latents_shape: Any = None) -> None:
        """Make all weights."""
        num_features = self.first_size**2 * self.image_channels[0]
        self.trunk.build((None, self.latent_size))
        self.trunk_norm.build((None, num_features))
        size, num_inputs = self.first_size, self.image_channels[0]
        for conv, norm in zip(self.image_convs, self.image_norms, strict=True):
            conv.build((None, size, size, num_inputs))
            size, num_inputs = size * conv.strides[0], conv.filters
            norm.build((None, size, size, num_inputs))
        self.image_output.build((None, size, size, num_inputs))
        for dense, norm in zip(self.table_layers, self.table_norms, strict=True):
            dense.build((None, num_features))
            num_features = dense.units
            norm.build((None, num_features))
        self.table_output.build((None, num_features))
        self.built = True

    def call(self, latents: Any, rows: Any = None, stage: int = 0, fade: Any = 0.0, training: bool = False) -> Any:
        """Generate pairs.

        Args:
            latents: [N, latent_size], standard normal.
            rows: Not used, nor are `stage` and `fade`; every GAN of the suite is called alike.
            stage: See `rows`.
            fade: See `rows`.
            training: Whether to normalise by the minibatch, and move the stored statistics.

        Returns:
            Images and rows, float32.
        """
        common = _activate(self.trunk_norm(self.trunk(latents), training=training))
        size, channels = self.first_size, self.image_channels[0]
        image = ops.reshape(common, (-1, size, size, channels))  # [N, s*s*c] -> [N, s, s, c]
        for conv, norm in zip(self.image_convs, self.image_norms, strict=True):
            image = _activate(norm(conv(image), training=training))
        row = common
        for dense, norm in zip(self.table_layers, self.table_norms, strict=True):
            row = _activate(norm(dense(row), training=training))
        image, row = (ops.cast(x, "float32") for x in (self.image_output(image), self.table_output(row)))
        return ops.tanh(image), ops.sigmoid(row)

    def _norm(self, name: str) -> GlobalBatchNormalization:
        return GlobalBatchNormalization(name=name, dtype=self.dtype_policy)

    def _transposed(self, channels: int, stride: int, name: str) -> keras.layers.Conv2DTranspose:
        return keras.layers.Conv2DTranspose(
            channels, 5, strides=stride, padding="same", use_bias=False, name=name, dtype=self.dtype_policy
        )


class Discriminator(_PairNetwork):
    """Maps images [N, S, S, C] and rows [N, K] to logits [N, 1], high for real pairs.

    As published, nothing but linear layers follow where image and row meet, so that the logit is f(image) + g(row): it
    says whether the image looks real and whether the row does, and cannot say whether they belong together.
    `projection` adds the inner product of a projection of each (after Miyato and Koyama 2018,
    https://arxiv.org/abs/1802.05637, equation 3), which can.

    Args:
        pairing: How image and row meet: sum (published) or projection.
        dropout: Share of every layer's outputs that dropout sets to zero, in [0, 1).
        **options: As for both networks.
    """

    def __init__(self, *args: Any, pairing: Pairing = "sum", dropout: float = DROPOUT, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pairing, self.dropout = pairing, dropout
        channels = (*reversed(self.image_channels), self.image_channels[0])
        self.image_convs = [
            keras.layers.Conv2D(
                number, 5, strides=stride, padding="same", name=f"image_conv{i}", dtype=self.dtype_policy
            )
            for i, (number, stride) in enumerate(zip(channels, (2, 2, 2, 1), strict=True))
        ]
        self.table_layers = [self._dense(units, f"table_dense{i}") for i, units in enumerate(self.table_units)]
        (joint_units,) = self._scaled([_JOINT_UNITS])
        self.joint = self._dense(joint_units, "joint_dense")  # published without an activation
        self.logit = self._dense(1, "logit")
        self.projections = []
        if pairing == "projection":
            (units,) = self._scaled([_PROJECTION_UNITS])
            self.projections = [self._dense(units, f"{part}_projection") for part in ("image", "row")]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"pairing": self.pairing, "dropout": self.dropout}

    def build(self, images_shape: Any = None) -> None:
        """Make all weights."""
        size, num_inputs = self.resolution, self.num_channels
        for conv in self.image_convs:
            conv.build((None, size, size, num_inputs))
            size, num_inputs = size // conv.strides[0], conv.filters
        num_features = self.num_columns
        for dense in self.table_layers:
            dense.build((None, num_features))
            num_features = dense.units
        sizes = size * size * num_inputs, num_features
        self.joint.build((None, sum(sizes)))
        self.logit.build((None, self.joint.units))
        for projection, num_features in zip(self.projections, sizes, strict=False):
            projection.build((None, num_features))
        self.built = True

    def call(self, images: Any, rows: Any, draw: Draw | None = None, stage: int = 0, fade: Any = 0.0) -> Any:
        """Judge pairs.

        Args:
            images: [N, S, S, C] in [-1, 1].
            rows: [N, K] in [0, 1].
            draw: Gives uniform numbers [N, *shape] for dropout's masks; without it nothing is dropped.
            stage: Not used, nor is `fade`; every GAN of the suite is called alike.
            fade: See `stage`.

        Returns:
            float32 [N, 1].
        """
        image = images
        for conv in self.image_convs:
            image = self._drop(_activate(conv(image)), draw)
        row = rows
        for dense in self.table_layers:
            row = self._drop(_activate(dense(row)), draw)
        size, channels = image.shape[1], image.shape[3]
        flat = ops.reshape(image, (-1, size * size * channels))  # [N, s, s, c] -> [N, s*s*c]
        joint = self._drop(self.joint(ops.concatenate([flat, row], axis=1)), draw)
        logit = ops.cast(self.logit(joint), "float32")
        if self.projections:
            of_image, of_row = self.projections
            products = ops.cast(of_image(flat) * of_row(row), "float32")
            logit += ops.sum(products, axis=1, keepdims=True) / math.sqrt(products.shape[1])
        return logit

    def _drop(self, x: Any, draw: Draw | None) -> Any:
        """Set a share to zero and scale the rest, so that the mean stays (Srivastava et al. 2014)."""
        if draw is None or self.dropout == 0:
            return x
        kept = ops.cast(draw(tuple(x.shape[1:])) >= self.dropout, x.dtype)
        return x * kept / (1 - self.dropout)


def _activate(x: Any) -> Any:
    return ops.leaky_relu(x, SLOPE)
