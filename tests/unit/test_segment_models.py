"""Networks of classifier_segment: heads, sizes, randomness, and where weights come from."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from classifier_segment.models.attention import places_apart
from classifier_segment.models.classifier import DESIGNS as PUBLISHED
from classifier_segment.models.classifier import build_classifier
from classifier_segment.models.presets import PREPROCESSING
from classifier_segment.models.pretrained import PUBLISHED_NAMES, copy_keras_weights, load_pretrained, without_head
from classifier_segment.models.segmenters import AtrousConv2D, SegmenterSizes, build_segmenter
from classifier_segment.models.squeezenet import SqueezeNet
from classifier_segment.models.torchvision_weights import load_torchvision, read_state_dictionary, torchvision_key
from medsynth.errors import NetworkError, UsageError
from medsynth.networks.weights import save_weights
from tests.tiny_segment import DESIGNS, NUM_CLASSES, tiny_classifier

IMAGES = np.random.default_rng(1).random((2, 32, 32, 3)).astype(np.float32)


def state_dictionary(network, seed=2):
    """Return made-up arrays under torchvision's names, in torch's order of axes."""
    rng, arrays = np.random.default_rng(seed), {}
    for variable in network.weights:
        value = rng.random(variable.shape, np.float32)
        if variable.path.endswith("/kernel"):
            value = value.transpose((3, 2, 0, 1) if value.ndim == 4 else (1, 0))
        arrays[torchvision_key(variable.path)] = np.ascontiguousarray(value)
    return arrays


@pytest.mark.parametrize("name", DESIGNS)
def test_the_published_head(name):
    classifier = tiny_classifier(name)
    kinds = [type(layer).__name__ for layer in classifier.head.layers[1:]]
    if name == "squeezenet1_0":
        assert kinds == ["Dropout", "Conv2D", "GlobalAveragePooling2D"]
        assert classifier.head.get_layer("classifier.1").activation is keras.activations.relu
    else:
        assert kinds == ["Dropout", "Dense", "Dropout", "Dense"]
        assert classifier.head.get_layer("hidden").units == 64
    assert all(layer.rate == 0.5 for layer in classifier.head.layers if isinstance(layer, keras.layers.Dropout))
    assert classifier.network(IMAGES).shape == (2, NUM_CLASSES)
    assert len(classifier.backbone.get_layer(classifier.saliency_layer).output.shape) == 4


def test_every_backbone_has_its_preset():
    assert set(PREPROCESSING) == set(PUBLISHED) == {*PUBLISHED_NAMES.values(), "resnet_small"}
    assert [PREPROCESSING[name].resize for name in PUBLISHED_NAMES.values()] == [230, 256, 256, 246, 256]
    assert PREPROCESSING["swin_s"].at(112).resize == 123
    assert PREPROCESSING["swin_s"].at(112).interpolation == "bicubic"


def test_the_small_resnets_last_maps_are_a_quarter_of_the_image():
    classifier = build_classifier("resnet_small", 3, image_dimension=64)
    assert classifier.saliency_layer == classifier.map_layer
    assert classifier.backbone.get_layer(classifier.saliency_layer).output.shape == (None, 16, 16, 64)
    assert classifier.backbone.output.shape == (None, 64)


@pytest.mark.parametrize(("size", "places"), [(224, 13), (68, 3), (64, 3)])
def test_squeezenet_keeps_the_last_row_when_it_pools(size, places):
    """As torch's pooling that rounds up; 13 is the published average pool."""
    small = SqueezeNet(first_filters=2, stages=tuple(tuple((1, 1) for _ in stage) for stage in SqueezeNet().stages))
    assert small.saliency_layer == "features.12"
    assert small.backbone(size).output.shape[1:3] == (places, places)


def test_stochastic_depth_leaves_out_branches_in_training():
    keras.utils.set_random_seed(1)
    network = build_classifier(
        "swin_s", 2, image_dimension=32, design=PUBLISHED["swin_s"](width=8, depths=(2, 2), num_heads=(1, 2), window=2)
    ).backbone
    still, moving = network(IMAGES), [np.asarray(network(IMAGES, training=True)) for _ in range(6)]
    np.testing.assert_array_equal(network(IMAGES), still)
    assert len({values.tobytes() for values in moving}) > 1


def test_only_places_of_one_region_see_each_other():
    apart = places_apart((4, 4), 2, (1, 1))
    assert apart.shape == (4, 4, 4)
    assert not apart[0].any(), "the first window was whole before the shift"
    assert (apart[3] == 0).sum() == 4, "each place of the last one came from another corner"
    assert not places_apart((4, 2), 2, (1, 0))[0].any()


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
@pytest.mark.parametrize("size", [32, 50])
def test_segmenters_mark_every_pixel(name, size):
    segmenter = build_segmenter(name, size, sizes=SegmenterSizes(width=4, depths=(1, 1, 1, 1), hidden=8))
    assert segmenter.network(np.zeros((1, size, size, 3), np.float32)).shape == (1, size, size, 1)
    assert segmenter.body.output.shape[1:3] == (-(-size // 8), -(-size // 8))


@pytest.mark.parametrize("name", DESIGNS)
def test_torchvisions_file_and_keras_file_give_one_network(name, tmp_path):
    first, second = (tiny_classifier(name).backbone for _ in range(2))
    save_file(state_dictionary(first) | {"head.weight": np.ones((1, 1), np.float32)}, tmp_path / "a.safetensors")
    load_pretrained(first, name, tmp_path / "a.safetensors")
    save_weights(first, tmp_path / "a.weights.h5")
    assert np.abs(np.asarray(first(IMAGES)) - np.asarray(second(IMAGES))).max() > 1e-3
    load_pretrained(second, name, tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(second(IMAGES), first(IMAGES))


def test_what_has_no_place_is_named(tmp_path):
    backbone = tiny_classifier().backbone
    arrays = state_dictionary(backbone) | {"classifier.1.weight": np.ones(1, np.float32)}
    assert load_torchvision(backbone, arrays, tmp_path) == ("classifier.1.weight",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda arrays: arrays.pop("features.3.squeeze.bias"),
            r"1 of them are missing, such as features\.3\.squeeze\.bias",
        ),
        (
            lambda arrays: arrays.update({"features.0.bias": np.ones(9, np.float32)}),
            r"features\.0\.bias .*\(8,\).*Received: \(9,\)",
        ),
    ],
    ids=["missing", "other size"],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_set(change, message, tmp_path):
    backbone = tiny_classifier().backbone
    arrays, before = state_dictionary(backbone), backbone.get_weights()
    change(arrays)
    with pytest.raises(NetworkError, match=message):
        load_torchvision(backbone, arrays, tmp_path / "weights.safetensors")
    for old, new in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), (b"\x80\x04pickled", r"safetensors\.torch\.save_file")]
)
def test_files_that_are_no_safetensors_are_refused(content, message, tmp_path):
    path = tmp_path / "weights.pth"
    if content:
        path.write_bytes(content)
    with pytest.raises(NetworkError, match=message):
        read_state_dictionary(path)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match=r"convnext_small, squeezenet1_0.*Received: resnet18"):
        build_classifier("resnet18", 3)
    with pytest.raises(UsageError, match=r"fcn_resnet50, deeplabv3_resnet50.*Received: unet"):
        build_segmenter("unet", 64)
    with pytest.raises(UsageError, match=r"convnext_small and densenet121 only.*Received: imagenet"):
        load_pretrained(tiny_classifier().backbone, "squeezenet1_0", "imagenet")
    with pytest.raises(NetworkError, match="no such file"):
        load_pretrained(tiny_classifier("convnext_small").backbone, "convnext_small", "nothing.h5")


def test_keras_convnext_has_our_weights_in_our_order():
    with keras.StatelessScope(initialize_variables=False):
        original = keras.applications.ConvNeXtSmall(include_top=False, weights=None, input_shape=(32, 32, 3))
        theirs = [(weight.path.rpartition("/")[2], sorted(weight.shape)) for weight in original.weights]
        ours = [
            (weight.path.rpartition("/")[2], sorted(weight.shape))
            for weight in without_head("convnext_small", 32).weights
        ]
    assert len(ours) == 340
    for (their_kind, their_sides), (kind, sides) in zip(theirs, ours, strict=False):
        assert sides == their_sides
        assert kind == their_kind or (kind == "layer_scale" and their_kind.startswith("variable"))
    assert theirs[len(ours) :] == [("gamma", [768]), ("beta", [768])], "the normalisation that the head drops"


def test_weights_of_keras_are_copied_into_the_shapes_of_ours():
    network, other = (tiny_classifier("convnext_small").backbone for _ in range(2))
    turned = [
        keras.Variable(np.swapaxes(value, 2, 3) if np.ndim(value) == 4 and np.shape(value)[3] == 1 else value)
        for value in other.get_weights()
    ]
    assert any(tuple(theirs.shape) != tuple(ours.shape) for theirs, ours in zip(turned, network.weights, strict=True))
    copy_keras_weights(SimpleNamespace(weights=turned), network)
    np.testing.assert_array_equal(network(IMAGES), other(IMAGES))


@pytest.mark.parametrize(("height", "width", "rate"), [(9, 7, 2), (9, 7, 6), (9, 7, 8), (5, 12, 12), (4, 4, 36)])
def test_an_atrous_convolution_is_keras_own(height: int, width: int, rate: int) -> None:
    x = tf.random.stateless_normal([2, height, width, 3], (1, rate))
    found = []
    for kind in (keras.layers.Conv2D, AtrousConv2D):
        keras.utils.set_random_seed(1)
        layer = kind(4, 3, padding="same", dilation_rate=rate, use_bias=False)
        layer.build(x.shape)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            total = tf.reduce_sum(tf.square(y))
        found.append([y, *tape.gradient(total, [x, layer.kernel.value])])
    assert float(tf.reduce_max(tf.abs(found[0][0]))) > 0.1
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
