"""Swin transformer, Swin-S.

Source: Liu et al. 2021, "Swin Transformer", https://arxiv.org/abs/2103.14030, figure 3. Layers bear torchvision's
names, by which `convert_weights` finds them.
"""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from classifier_segment.models.attention import WindowAttention
from classifier_segment.models.layers import (
    LayerNormalization,
    dense,
    drop_rates,
    dropped_branch,
    perceptron,
    truncated_normal,
)

_EPSILON = 1e-5


@keras.saving.register_keras_serializable("classifier_segment")
class Neighbourhoods(keras.layers.Layer):
    """Puts each 2x2 places into one: [N, H, W, C] -> [N, ceil(H / 2), ceil(W / 2), 4C], odd sides filled with 0."""

    def call(self, inputs: Any) -> Any:
        """Return them: upper left, lower left, upper right, lower right."""
        _, height, width, _ = inputs.shape
        x = ops.pad(inputs, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
        return ops.concatenate([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], axis=-1)


@dataclass(frozen=True)
class Swin:
    """Images [N, D, D, 3] -> vectors [N, 8 * width].

    Attributes:
        patch: Pixels a side of a patch; D is a multiple.
        width: Channels of the first stage; each further stage has twice as many.
        depths: Blocks of each stage.
        num_heads: Of each stage's attention.
        window: Places a side that attend to each other.
        stochastic_depth: Rate at which the last block's branches are left out in training; rates rise from 0 to it.
            Where a training goes through saliency maps, 0: the layer they are taken at lies on the last branch, and an
            image without that branch has an empty map.
    """

    patch: int = 4
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 18, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    stochastic_depth: float = 0.3

    @property
    def saliency_layer(self) -> str:
        """The last block's second normalisation."""
        return f"features.{2 * len(self.depths) - 1}.{self.depths[-1] - 1}.norm2"

    @property
    def map_layer(self) -> str:
        """The patches' normalisation, the end of the first feature layer."""
        return "features.0.2"

    def backbone(self, image_dimension: int) -> keras.Model:
        """Return the network up to the mean over places behind the last normalisation."""
        images = keras.Input((image_dimension, image_dimension, 3), name="images")
        x = keras.layers.Conv2D(
            self.width, self.patch, self.patch, name="features.0.0", kernel_initializer=truncated_normal()
        )(images)
        x = _norm("features.0.2")(x)
        rates = iter(drop_rates(self.stochastic_depth, sum(self.depths)))
        for stage, (depth, num_heads) in enumerate(zip(self.depths, self.num_heads, strict=True)):
            if stage:
                x = _halved(x, f"features.{2 * stage}")
            for number in range(depth):
                shift = self.window // 2 * (number % 2)
                x = self._block(x, f"features.{2 * stage + 1}.{number}", num_heads, shift, next(rates))
        x = _norm("norm")(x)
        return keras.Model(images, keras.layers.GlobalAveragePooling2D(name="average")(x), name="backbone")

    def imagenet_head(self, features: Any, num_classes: int) -> Any:
        """Return logits [N, L]."""
        return dense(num_classes, "head", dtype="float32")(features)

    def _block(self, x: Any, name: str, num_heads: int, shift: int, rate: float) -> Any:
        y = WindowAttention(num_heads, self.window, shift, name=f"{name}.attn")(_norm(f"{name}.norm1")(x))
        x = x + dropped_branch(y, rate, f"{name}.attn")
        y = perceptron(_norm(f"{name}.norm2")(x), 4 * x.shape[-1], (f"{name}.mlp.0", f"{name}.mlp.3"))
        return x + dropped_branch(y, rate, f"{name}.mlp")


def _norm(name: str) -> LayerNormalization:
    return LayerNormalization(epsilon=_EPSILON, name=name)


def _halved(x: Any, name: str) -> Any:
    width = 2 * x.shape[-1]
    x = _norm(f"{name}.norm")(Neighbourhoods(name=name)(x))
    return dense(width, f"{name}.reduction", use_bias=False)(x)
