"""A backbone with a head, and the layers that its saliency maps are taken at.

Source: Parola et al. 2024 (heads, layers); the networks' own papers stand in their modules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import keras

from classifier_segment.models.convnext import ConvNeXt
from classifier_segment.models.densenet import DenseNet121
from classifier_segment.models.presets import PREPROCESSING, PUBLISHED_CROP, Preprocessing
from classifier_segment.models.resnet import ResNet
from classifier_segment.models.squeezenet import SqueezeNet
from classifier_segment.models.swin import Swin
from classifier_segment.models.vision_transformer import VisionTransformer
from medsynth.errors import UsageError

Head = Literal["published", "imagenet"]
_HIDDEN, _DROPOUT = 64, 0.5


class Design(Protocol):
    """A backbone of certain sizes."""

    @property
    def saliency_layer(self) -> str:
        """Where the published training takes its maps."""

    @property
    def map_layer(self) -> str:
        """Where the published pictures of maps are taken."""

    def backbone(self, image_dimension: int) -> keras.Model:
        """Return normalised images [N, D, D, 3] -> what a head takes."""

    def imagenet_head(self, features: Any, num_classes: int) -> Any:
        """Return logits [N, L] as the network was published with."""


DESIGNS: dict[str, Callable[[], Design]] = {
    "convnext_small": ConvNeXt,
    "squeezenet1_0": SqueezeNet,
    "vit_b_16": VisionTransformer,
    "swin_s": Swin,
    "densenet121": DenseNet121,
    "resnet_small": ResNet,
}


@dataclass(frozen=True)
class Classifier:
    """A network for classes and what is needed to look into it. All parts share their weights.

    Attributes:
        network: Normalised images [N, D, D, 3] -> logits [N, L].
        backbone: Normalised images -> what the head takes; its layers have the names below.
        head: That -> logits.
        saliency_layer: Name of the layer for the maps of a training.
        map_layer: Name of the layer for pictures of maps.
        preprocessing: From images in [0, 1] to normalised ones.
    """

    network: keras.Model
    backbone: keras.Model
    head: keras.Model
    saliency_layer: str
    map_layer: str
    preprocessing: Preprocessing


def build_classifier(
    name: str,
    num_classes: int,
    *,
    image_dimension: int = PUBLISHED_CROP,
    head: Head = "published",
    design: Design | None = None,
) -> Classifier:
    """Return a classifier with weights drawn at random (seed them with keras.utils.set_random_seed).

    The published head is dropout 0.5, 64 units, ReLU, dropout 0.5, one unit a class; SqueezeNet's is its own one.

    Args:
        name: A key of `DESIGNS`.
        num_classes: L.
        image_dimension: D.
        head: `published`, or `imagenet`, that of the ImageNet weights.
        design: Other sizes than the published ones.

    Raises:
        UsageError: No such backbone.
    """
    if name not in DESIGNS:
        raise UsageError(f"The backbones are {', '.join(DESIGNS)}.", received=name)
    design = design or DESIGNS[name]()
    backbone = design.backbone(image_dimension)
    features = keras.Input(backbone.output.shape[1:], name="features")
    own_head = head == "imagenet" or isinstance(design, SqueezeNet)
    logits = design.imagenet_head(features, num_classes) if own_head else _published_head(features, num_classes)
    head_network = keras.Model(features, logits, name="head")
    return Classifier(
        network=keras.Model(backbone.input, head_network(backbone.output), name=name),
        backbone=backbone,
        head=head_network,
        saliency_layer=design.saliency_layer,
        map_layer=design.map_layer,
        preprocessing=PREPROCESSING[name].at(image_dimension),
    )


def _published_head(features: Any, num_classes: int) -> Any:
    x = keras.layers.Dropout(_DROPOUT, name="first_dropout")(features)
    x = keras.layers.Dense(_HIDDEN, activation="relu", name="hidden")(x)
    x = keras.layers.Dropout(_DROPOUT, name="second_dropout")(x)
    return keras.layers.Dense(num_classes, name="logits", dtype="float32")(x)
