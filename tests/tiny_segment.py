"""Networks of classifier_segment small enough for tests."""

from pathlib import Path

import h5py
import numpy as np

from classifier_segment.models.classifier import build_classifier
from classifier_segment.models.convnext import ConvNeXt
from classifier_segment.models.resnet import ResNet
from classifier_segment.models.squeezenet import SqueezeNet
from classifier_segment.models.swin import Swin
from classifier_segment.models.vision_transformer import VisionTransformer

NUM_CLASSES = 3
DESIGNS = {
    "squeezenet1_0": SqueezeNet(first_filters=8, stages=(((4, 6),), ((4, 8),))),
    "convnext_small": ConvNeXt(widths=(6, 8), depths=(1, 2), stochastic_depth=0.0),
    "vit_b_16": VisionTransformer(patch=8, depth=2, num_heads=2, width=8, hidden=12),
    "swin_s": Swin(width=8, depths=(2, 2), num_heads=(2, 4), window=2, stochastic_depth=0.0),
    "resnet_small": ResNet(width=4),
}


def tiny_classifier(name="squeezenet1_0", image_dimension=32, **options):
    return build_classifier(name, NUM_CLASSES, image_dimension=image_dimension, design=DESIGNS[name], **options)


def weights_in(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    assert found
    return found
