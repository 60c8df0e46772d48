"""A small ResNet, for trainings without ImageNet weights on small machines.

The published backbones are made for weights from ImageNet: drawn at random, they need more images and time than a
lesion dataset or a processor have (SqueezeNet's head ends in a ReLU, and mostly dies). This one learns from a few
hundred images, and its last maps are a quarter of the image's side, fine enough for saliency at small sizes.

Source: He et al. 2016, https://arxiv.org/abs/1512.03385, figure 2 and section 3.3 (basic blocks).
"""

from dataclasses import dataclass
from typing import Any

import keras

from medsynth.networks.densenet import BatchNormalization

_MOMENTUM, _EPSILON = 0.9, 1e-5  # torch's 0.1 is 0.9 here


@dataclass(frozen=True)
class ResNet:
    """Images [N, D, D, 3] -> vectors [N, last width].

    Attributes:
        width: Channels of the first stage; each later one has twice as many.
        depths: Basic blocks of each stage; every stage but the first halves its maps.
    """

    width: int = 32
    depths: tuple[int, ...] = (1, 2)

    @property
    def saliency_layer(self) -> str:
        """The last block."""
        return f"layer{len(self.depths)}.{self.depths[-1] - 1}.relu"

    @property
    def map_layer(self) -> str:
        """The same one."""
        return self.saliency_layer

    def backbone(self, image_dimension: int) -> keras.Model:
        """Return the network up to the mean over places."""
        images = keras.Input((image_dimension, image_dimension, 3), name="images")
        x = _conv(images, self.width, 3, "conv1", "bn1", strides=2)
        x = keras.layers.ReLU(name="relu")(x)
        for stage, depth in enumerate(self.depths):
            for number in range(depth):
                strides = 2 if stage and not number else 1
                x = _block(x, self.width << stage, f"layer{stage + 1}.{number}", strides)
        x = keras.layers.GlobalAveragePooling2D(name="average")(x)
        return keras.Model(images, x, name="backbone")

    def imagenet_head(self, features: Any, num_classes: int) -> Any:
        """Return logits [N, L]."""
        return keras.layers.Dense(num_classes, name="fc", dtype="float32")(features)


def _block(x: Any, filters: int, name: str, strides: int) -> Any:
    y = _conv(x, filters, 3, f"{name}.conv1", f"{name}.bn1", strides=strides)
    y = keras.layers.ReLU(name=f"{name}.relu1")(y)
    y = _conv(y, filters, 3, f"{name}.conv2", f"{name}.bn2")
    if x.shape[-1] != filters or strides > 1:
        x = _conv(x, filters, 1, f"{name}.downsample.0", f"{name}.downsample.1", strides=strides)
    return keras.layers.ReLU(name=f"{name}.relu")(keras.layers.Add(name=f"{name}.sum")([x, y]))


def _conv(x: Any, filters: int, size: int, name: str, norm: str, *, strides: int = 1) -> Any:
    """Return convolution without bias and batch normalisation."""
    conv = keras.layers.Conv2D(
        filters, size, strides, "same", use_bias=False, kernel_initializer="he_normal", name=name
    )
    return BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, name=norm)(conv(x))
