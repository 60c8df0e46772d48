"""ConvNeXt-Small.

keras.applications has it with grouped convolutions, each of which Keras compiles by XLA on CPUs; here they are
depthwise ones, the same operation. Its weights fit (`pretrained.py`), and so do torchvision's, whose names the layers
bear.

Source: Liu et al. 2022, "A ConvNet for the 2020s", https://arxiv.org/abs/2201.03545, figure 4.
"""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from classifier_segment.models.layers import (
    LayerNormalization,
    dense,
    drop_rates,
    dropped_branch,
    perceptron,
    truncated_normal,
)

_EPSILON, _KERNEL, _FIRST_SCALE = 1e-6, 7, 1e-6


@keras.saving.register_keras_serializable("classifier_segment")
class ScaledSum(keras.layers.Layer):
    """Adds a branch with a learned scale for each channel: [N, H, W, C] twice -> [N, H, W, C]."""

    def build(self, input_shape: Any) -> None:
        """Make the scales."""
        start = keras.initializers.Constant(_FIRST_SCALE)
        self.scale = self.add_weight(shape=(input_shape[0][-1],), initializer=start, name="layer_scale")

    def call(self, inputs: Any) -> Any:
        """Return the sum of the first and the scaled second."""
        trunk, branch = inputs
        return trunk + ops.cast(self.scale, branch.dtype) * branch


@dataclass(frozen=True)
class ConvNeXt:
    """Images [N, D, D, 3] -> vectors [N, last width].

    Attributes:
        widths: Channels of each stage.
        depths: Blocks of each stage.
        stochastic_depth: Rate at which the last block's branch is left out in training; rates rise from 0 to it.
    """

    widths: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (3, 3, 27, 3)
    stochastic_depth: float = 0.4

    @property
    def saliency_layer(self) -> str:
        """The last block."""
        return f"features.{2 * len(self.depths) - 1}.{self.depths[-1] - 1}"

    @property
    def map_layer(self) -> str:
        """The same one."""
        return self.saliency_layer

    def backbone(self, image_dimension: int) -> keras.Model:
        """Return the network up to the mean over places behind the last block."""
        images = keras.Input((image_dimension, image_dimension, 3), name="images")
        x = keras.layers.Conv2D(self.widths[0], 4, 4, name="features.0.0", kernel_initializer=truncated_normal())(
            images
        )
        x = _norm("features.0.1")(x)
        rates = iter(drop_rates(self.stochastic_depth, sum(self.depths)))
        for stage, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            if stage:
                x = _norm(f"features.{2 * stage}.0")(x)
                x = keras.layers.Conv2D(
                    width, 2, 2, name=f"features.{2 * stage}.1", kernel_initializer=truncated_normal()
                )(x)
            for number in range(depth):
                x = _block(x, f"features.{2 * stage + 1}.{number}", next(rates))
        return keras.Model(images, keras.layers.GlobalAveragePooling2D(name="average")(x), name="backbone")

    def imagenet_head(self, features: Any, num_classes: int) -> Any:
        """Return logits [N, L]; the published head drops this normalisation."""
        features = _norm("classifier.0")(features)
        return dense(num_classes, "classifier.2", dtype="float32")(features)


def _norm(name: str) -> LayerNormalization:
    return LayerNormalization(epsilon=_EPSILON, name=name)


def _block(x: Any, name: str, rate: float) -> Any:
    y = keras.layers.DepthwiseConv2D(
        _KERNEL, padding="same", name=f"{name}.block.0", depthwise_initializer=truncated_normal()
    )(x)
    y = perceptron(_norm(f"{name}.block.2")(y), 4 * x.shape[-1], (f"{name}.block.3", f"{name}.block.5"))
    return ScaledSum(name=name)([x, dropped_branch(y, rate, name)])
