"""DenseNet-121: keras.applications' own, with the suite's fast batch normalisation."""

import re
from dataclasses import dataclass
from typing import Any

import keras

from medsynth.networks.densenet import densenet121_backbone


@dataclass(frozen=True)
class DenseNet121:
    """Images [N, D, D, 3], D from 32 -> vectors [N, 1024]; keras.applications offers no other sizes.

    Attributes:
        batch_norm_momentum: Share of the moving statistics that a training step keeps; 0.9 is torch's 0.1.
    """

    batch_norm_momentum: float = 0.9

    @property
    def saliency_layer(self) -> str:
        """The last maps."""
        return "relu"

    @property
    def map_layer(self) -> str:
        """The same one."""
        return self.saliency_layer

    def backbone(self, image_dimension: int) -> keras.Model:
        """Return the network up to the mean over places."""
        return densenet121_backbone(image_dimension, self.batch_norm_momentum)

    def imagenet_head(self, features: Any, num_classes: int) -> Any:
        """Return logits [N, L]."""
        return keras.layers.Dense(num_classes, name="classifier", dtype="float32")(features)


def torchvision_name(name: str) -> str:
    """Return what torchvision calls keras.applications' layer `name`, or the name itself.

    Keras counts the first convolution as block 1, torchvision numbers dense blocks and transitions from 1.
    """
    first = {"conv1_conv": "features.conv0", "conv1_bn": "features.norm0", "bn": "features.norm5"}
    if name in first:
        return first[name]
    if match := re.fullmatch(r"conv(\d)_block(\d+)_([012])_(bn|conv)", name):
        block, layer, number, kind = match.groups()
        # Keras: 0_bn, 1_conv, 1_bn, 2_conv; torchvision: norm1, conv1, norm2, conv2.
        place = f"norm{int(number) + 1}" if kind == "bn" else f"conv{number}"
        return f"features.denseblock{int(block) - 1}.denselayer{layer}.{place}"
    if match := re.fullmatch(r"pool(\d)_(bn|conv)", name):
        return f"features.transition{int(match[1]) - 1}.{'norm' if match[2] == 'bn' else 'conv'}"
    return name
