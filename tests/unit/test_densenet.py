"""The classifier's network, its weight files, and the batches it is fed."""

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from medsynth.errors import NetworkError
from medsynth.networks.densenet import BatchNormalization, build_densenet121
from medsynth.networks.weights import load_weights, save_weights


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return build_densenet121(32, 3)


def test_head_and_size_are_those_of_the_article(network):
    assert network.output_shape == (None, 3)
    assert network.layers[-1].name == "predictions"
    assert network.layers[-2].output.shape == (None, 1024)
    # 7,037,504 in DenseNet-121 without its top (Keras documentation), and the head
    assert network.count_params() == 7_037_504 + 1024 * 3 + 3


def test_weights_survive_under_any_name(network, tmp_path):
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    save_weights(network, tmp_path / "best_weights.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["best_weights.h5"]
    keras.utils.set_random_seed(1)
    other = build_densenet121(32, 3)
    before = np.asarray(other(images))
    load_weights(other, tmp_path / "best_weights.h5")
    assert not np.allclose(before, np.asarray(other(images)))
    np.testing.assert_array_equal(np.asarray(network(images)), np.asarray(other(images)))


@pytest.mark.parametrize("damage", ["truncated", "other network", "other head", "text", "missing"])
def test_unusable_weights_are_named(network, tmp_path, damage):
    path = tmp_path / "weights.h5"
    other_head = keras.layers.Dense(4, name="predictions")(network.layers[-2].output)
    save_weights(keras.Model(network.inputs, other_head) if damage == "other head" else network, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:50_000])
    elif damage == "other network":
        inputs = keras.Input([3])
        save_weights(keras.Model(inputs, keras.layers.Dense(3)(inputs)), path)
    elif damage == "text":
        path.write_text("weights")
    elif damage == "missing":
        path.unlink()
    with pytest.raises(NetworkError, match=r"weights\.h5"):
        load_weights(network, path)


@pytest.mark.parametrize("form", ["keras 2", "keras 3"])
def test_backbone_weights_of_both_forms_are_loaded(tmp_path, form):
    keras.utils.set_random_seed(3)
    backbone = keras.applications.DenseNet121(include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3))
    path = tmp_path / ("notop.h5" if form == "keras 2" else "notop.weights.h5")
    if form == "keras 2":
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, backbone)
    else:
        backbone.save_weights(path)
    keras.utils.set_random_seed(4)
    network = build_densenet121(32, 2, backbone_weights=path)
    for ours, theirs in zip(network.weights, backbone.weights, strict=False):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_fused_batch_normalisation_is_that_of_keras():
    rng = np.random.default_rng(0)
    images = rng.normal(3, 2, (16, 4, 4, 5)).astype(np.float32)
    layers = [kind(momentum=0.9, epsilon=1e-3) for kind in (BatchNormalization, keras.layers.BatchNormalization)]
    for layer in layers:
        layer.build(images.shape)
        layer.set_weights([rng.permutation(5) + 1.0, rng.permutation(5), np.zeros(5), np.ones(5)]
                          if layer is layers[0] else layers[0].get_weights())  # fmt: skip
    fused, plain = (np.asarray(layer(images, training=True)) for layer in layers)
    np.testing.assert_allclose(fused, plain, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layers[0].moving_mean, layers[1].moving_mean, rtol=1e-5)
    count = images[..., 0].size
    unbiased = 0.9 + (np.asarray(layers[1].moving_variance) - 0.9) * count / (count - 1)
    np.testing.assert_allclose(layers[0].moving_variance, unbiased, rtol=1e-4)
    layers[1].moving_variance.assign(layers[0].moving_variance)
    fused, plain = (np.asarray(layer(images, training=False)) for layer in layers)
    np.testing.assert_allclose(fused, plain, rtol=1e-4, atol=1e-4)


def test_mixed_precision_keeps_weights_and_head_in_float32():
    network = build_densenet121(32, 2, precision="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32", "the policy is put back"
    assert {variable.dtype for variable in network.variables} == {"float32"}
    assert network.layers[-1].compute_dtype == "float32"
    assert {layer.compute_dtype for layer in network.layers if isinstance(layer, keras.layers.Conv2D)} == {"bfloat16"}


def test_flips_depend_on_the_seed_alone_and_hit_half():
    from medsynth.classify.preprocess import random_flip

    images = np.arange(2.0)[None, None, :, None].repeat(2000, axis=0).astype(np.float32)
    flipped = np.asarray(random_flip(images, [5, 7]))
    np.testing.assert_array_equal(flipped, random_flip(images, [5, 7]))
    assert not np.array_equal(flipped, random_flip(images, [5, 8]))
    assert 0.45 < flipped[:, 0, 0, 0].mean() < 0.55
    assert (flipped.sum(axis=2) == 1).all()


def test_weighted_loss_is_its_formula():
    from medsynth.classify.trainer import weighted_binary_cross_entropy

    truth, scores = np.array([[1.0, 0.0]], np.float32), np.array([[0.8, 0.3]], np.float32)
    loss = weighted_binary_cross_entropy(np.array([[0.1, 0.9], [0.4, 0.6]]))(truth, scores)
    np.testing.assert_allclose(loss, [-(0.9 * np.log(0.8) + 0.4 * np.log(0.7)) / 2], rtol=1e-5)
