"""Weights to start from: Keras' own by name, or a file."""

from pathlib import Path

import keras
import numpy as np

from classifier_segment.models.classifier import DESIGNS, build_classifier
from classifier_segment.models.segmenters import SEGMENTERS, build_segmenter
from classifier_segment.models.torchvision_weights import load_torchvision, read_state_dictionary
from medsynth.errors import NetworkError, UsageError
from medsynth.networks.weights import load_weights

IMAGENET = "imagenet"
# What the published command line calls each backbone's weights.
PUBLISHED_NAMES = {
    "ConvNeXt_Small_Weights.DEFAULT": "convnext_small",
    "SqueezeNet1_0_Weights.DEFAULT": "squeezenet1_0",
    "ViT_B_16_Weights.DEFAULT": "vit_b_16",
    "Swin_S_Weights.DEFAULT": "swin_s",
    "DenseNet121_Weights.DEFAULT": "densenet121",
}
KERAS_NAMES = {"convnext_small": "ConvNeXtSmall", "densenet121": "DenseNet121"}


def without_head(name: str, image_dimension: int) -> keras.Model:
    """Return what weight files hold: a classifier's backbone or a segmenter's body, freshly drawn.

    Raises:
        UsageError: No such model.
    """
    if name in SEGMENTERS:
        return build_segmenter(name, image_dimension).body
    if name not in DESIGNS:
        raise UsageError(f"The models are {', '.join((*DESIGNS, *SEGMENTERS))}.", received=name)
    return build_classifier(name, 1, image_dimension=image_dimension).backbone


def load_pretrained(network: keras.Model, name: str, source: str | Path) -> None:
    """Set the weights of a backbone or body.

    Args:
        network: As `Classifier.backbone` or `Segmenter.body`.
        name: Of the model, such as convnext_small.
        source: `imagenet` for the weights that Keras downloads or has in its cache (ConvNeXt and DenseNet); or a file:
            torchvision's state dictionary (*.safetensors), what `convert_weights.py` wrote (*.weights.h5), or a
            `notop` file of Keras (*.h5; ConvNeXt and DenseNet).

    Raises:
        UsageError: There are no such weights of Keras for this model.
        NetworkError: A file that is missing, damaged or of another network; or a download that failed.
    """
    path = Path(source)
    if path.suffix == ".safetensors":
        load_torchvision(network, read_state_dictionary(path), path)
    elif path.name.endswith(".weights.h5"):
        load_weights(network, path)
    else:
        _load_keras(network, name, source)


def _load_keras(network: keras.Model, name: str, source: str | Path) -> None:
    """Copy the weights of the same network in keras.applications."""
    if name not in KERAS_NAMES:
        raise UsageError(
            f"Keras has weights for {' and '.join(KERAS_NAMES)} only; give a .safetensors file of torchvision.",
            received=source,
        )
    if str(source) != IMAGENET and not Path(source).is_file():
        raise NetworkError("A file with pre-trained weights was expected here.", received="no such file", path=source)
    try:
        original = getattr(keras.applications, KERAS_NAMES[name])(
            include_top=False, weights=str(source), input_shape=network.input.shape[1:], pooling="avg"
        )
    except Exception as error:  # What Keras raises differs by cause: a download, HDF5, a shape.
        first_line = str(error).strip().splitlines()[0]
        raise NetworkError(f"The weights of {name} could not be loaded.", received=first_line, path=source) from error
    copy_keras_weights(original, network)


def copy_keras_weights(original: keras.Model, network: keras.Model) -> None:
    """Give a backbone the weights of the same one in keras.applications, which has them in the same order.

    ConvNeXt's depthwise kernels are [h, w, 1, C] there and [h, w, C, 1] here, and it ends in a normalisation that the
    published head drops.
    """
    for variable, value in zip(network.weights, original.weights, strict=False):
        variable.assign(np.asarray(value).reshape(variable.shape))
