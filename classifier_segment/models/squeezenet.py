"""SqueezeNet 1.0.

Source: Iandola et al. 2016, "SqueezeNet", https://arxiv.org/abs/1602.07360, table 1, without padding in the first
convolution and with maximum pooling that keeps the last row, as in torchvision. Layers bear torchvision's names, by
which `convert_weights` finds them.
"""

from dataclasses import dataclass
from typing import Any

import keras

_FIRST_KERNEL, _POOL, _STRIDE = 7, 3, 2


@dataclass(frozen=True)
class SqueezeNet:
    """Images [N, D, D, 3] -> maps [N, d, d, 2 * last expand]; d is 13 at D = 224.

    Attributes:
        first_filters: Of the first convolution.
        stages: Fire modules between two poolings, each (squeeze filters, filters of either expansion).
    """

    first_filters: int = 96
    stages: tuple[tuple[tuple[int, int], ...], ...] = (
        ((16, 64), (16, 64), (32, 128)),
        ((32, 128), (48, 192), (48, 192), (64, 256)),
        ((64, 256),),
    )

    @property
    def saliency_layer(self) -> str:
        """The last feature layer."""
        return f"features.{1 + sum(1 + len(stage) for stage in self.stages)}"

    @property
    def map_layer(self) -> str:
        """The same one."""
        return self.saliency_layer

    def backbone(self, image_dimension: int) -> keras.Model:
        """Return the network up to the maps before the head."""
        images = keras.Input((image_dimension, image_dimension, 3), name="images")
        x = _conv(self.first_filters, _FIRST_KERNEL, "features.0", strides=_STRIDE, padding="valid")(images)
        number = 2
        for stage in self.stages:
            x = _pooled(x, f"features.{number}")
            for squeeze, expand in stage:
                number += 1
                x = _fire(x, squeeze, expand, f"features.{number}")
            number += 1
        return keras.Model(images, x, name="backbone")

    def imagenet_head(self, features: Any, num_classes: int) -> Any:
        """Return logits [N, L], none below 0: a 1x1 convolution, ReLU, and the mean over places."""
        x = keras.layers.Dropout(0.5, name="head_dropout")(features)
        start = keras.initializers.RandomNormal(0.0, 0.01)
        x = keras.layers.Conv2D(
            num_classes, 1, activation="relu", kernel_initializer=start, name="classifier.1", dtype="float32"
        )(x)
        return keras.layers.GlobalAveragePooling2D(name="head_average", dtype="float32")(x)


def _conv(filters: int, size: int, name: str, **options: Any) -> keras.layers.Conv2D:
    placed = {"padding": "same"} | options
    return keras.layers.Conv2D(filters, size, activation="relu", kernel_initializer="he_uniform", name=name, **placed)


def _fire(x: Any, squeeze: int, expand: int, name: str) -> Any:
    x = _conv(squeeze, 1, f"{name}.squeeze")(x)
    sides = [_conv(expand, size, f"{name}.expand{size}x{size}")(x) for size in (1, 3)]
    return keras.layers.Concatenate(name=name)(sides)


def _pooled(x: Any, name: str) -> Any:
    # Rounded up: an even side gets one more row and column, which "same" adds at the end; an odd one needs none.
    padding = "same" if x.shape[1] % 2 == 0 else "valid"
    return keras.layers.MaxPooling2D(_POOL, _STRIDE, padding=padding, name=name)(x)
