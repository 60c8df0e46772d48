"""Networks of classifier_segment: parameter counts of the original, and outputs of torchvision on the same weights."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier_segment.models.classifier import build_classifier
from classifier_segment.models.convnext import ConvNeXt
from classifier_segment.models.pretrained import PUBLISHED_NAMES
from classifier_segment.models.segmenters import SEGMENTERS, SegmenterSizes, build_segmenter
from classifier_segment.models.swin import Swin
from classifier_segment.models.torchvision_weights import load_torchvision
from classifier_segment.models.vision_transformer import VisionTransformer
from classifier_segment.saliency import SaliencyNetwork
from tests.golden_files import golden_files
from tests.torchvision_weights import LABELS, made_up_images, made_up_weight

BACKBONES = tuple(PUBLISHED_NAMES.values())
FILES = golden_files("classifier_segment*.npz")
RECORDED = Path(__file__).parents[1] / "recorded" / "torchvision.npz"
# The sizes that were recorded, where they are not the published ones.
SMALL = {
    "convnext_small": ConvNeXt(widths=(8, 16), depths=(2, 2)),
    "vit_b_16": VisionTransformer(patch=8, depth=2, num_heads=2, width=8, hidden=16),
    "swin_s": Swin(width=8, depths=(2, 2), num_heads=(2, 4), window=4),
}
SMALL_SEGMENTER = SegmenterSizes(depths=(1, 1, 2, 2))


def recorded(name):
    with np.load(RECORDED, allow_pickle=False) as data:
        return {key.removeprefix(f"{name}/"): data[key] for key in data.files if key.startswith(f"{name}/")}


def with_made_up_weights(network, found):
    """Give a network the weights of the state dictionary of those names and shapes; return what it has no place for."""
    shapes = json.loads(str(found["shapes"]))
    arrays = {name: made_up_weight(name, tuple(shape)) for name, shape in shapes.items()}
    return load_torchvision(network, arrays, RECORDED)


def number_of_parameters(network) -> int:
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_variables)


@pytest.mark.parametrize("name", [*BACKBONES, *SEGMENTERS])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_parameter_counts_are_the_recorded_ones(path, name):
    counts = json.loads(str(np.load(path)["param_counts"]))
    (expected,) = (count for key, count in counts.items() if key.startswith(f"{name}_1"))
    # In this scope shapes are made, and no values.
    with keras.StatelessScope(initialize_variables=False):
        if name in SEGMENTERS:
            network = build_segmenter(name, 64).network
        else:
            network = build_classifier(name, 1000, head="imagenet").network
        assert number_of_parameters(network) == expected


@pytest.mark.parametrize("name", BACKBONES)
def test_a_classifier_with_torchvisions_weights_is_torchvisions(name):
    found = recorded(name)
    classifier = build_classifier(
        name, found["logits"].shape[1], image_dimension=int(found["size"]), head="imagenet", design=SMALL.get(name)
    )
    assert with_made_up_weights(classifier.network, found) == ()
    images = made_up_images(int(found["size"]))
    saliency = SaliencyNetwork(classifier)(images, np.array(LABELS))
    assert found["logits"].std() > 0.1
    np.testing.assert_allclose(saliency.logits, found["logits"], rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(classifier.network(images), found["logits"], rtol=1e-4, atol=2e-5)
    if "evidence" in found:
        evidence = tf.reduce_sum(saliency.activations * saliency.gradients, axis=-1)
        np.testing.assert_allclose(evidence, found["evidence"], rtol=1e-3, atol=1e-3 * np.abs(found["evidence"]).max())
    else:
        assert name == "densenet121"


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenter_with_torchvisions_weights_is_torchvisions(name):
    found = recorded(name)
    logits = found["logits"].transpose(0, 2, 3, 1)
    segmenter = build_segmenter(name, int(found["size"]), logits.shape[-1], SMALL_SEGMENTER)
    assert with_made_up_weights(segmenter.network, found) == ()
    assert set(with_made_up_weights(segmenter.body, found)) == {"classifier.4.weight", "classifier.4.bias"}
    scale = logits.std()
    assert scale > 0.1
    images = made_up_images(int(found["size"]))
    np.testing.assert_allclose(segmenter.network(images) / scale, logits / scale, rtol=1e-3, atol=1e-4)
