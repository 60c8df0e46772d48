"""Extractors: which weights they ask for and refuse, and that features do not depend on blocks."""

import dataclasses
import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from medsynth.errors import NetworkError, UsageError
from medsynth.files import write_json
from medsynth.metrics.cache import FeatureCache
from medsynth.metrics.features import Extractor, load_extractor, require_extractor
from medsynth.networks.densenet import HEAD_NAME
from medsynth.networks.imagenet_input import preprocess
from tests.tiny_classifier import write_classifier


def images(num_images: int, size: int = 16, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_images, size, size, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_features_do_not_depend_on_what_follows_an_image(channels: int) -> None:
    extractor = load_extractor("random", block_size=8)
    pictures = images(21, channels=channels)
    features = extractor(pictures)
    assert (features.shape, features.dtype) == ((21, extractor.size), np.float32)
    np.testing.assert_array_equal(extractor(pictures[:16]), features[:16])
    np.testing.assert_allclose(load_extractor("random", block_size=5)(pictures), features, rtol=1e-5, atol=1e-6)
    assert extractor(pictures[:0]).shape == (0, extractor.size)
    assert np.ptp(features, axis=0).min() > 0


def test_grey_images_are_repeated_to_three_channels() -> None:
    extractor = load_extractor("random")
    grey = images(5)
    np.testing.assert_array_equal(extractor(grey), extractor(np.repeat(grey, 3, axis=3)))


def test_random_features_say_so_and_are_always_the_same() -> None:
    first, second = load_extractor("random"), load_extractor("random")
    assert "tests" in first.label
    assert first.digest == second.digest
    np.testing.assert_array_equal(first(images(3)), second(images(3)))
    assert first.class_weights is not None
    assert first.class_weights.shape[0] == first.size


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("inception-2015", "classify_image_graph_def.pb"),
        ("inception-keras", "inception_v3_weights_tf_dim_ordering_tf_kernels.h5"),
        ("densenet", "results of classifier_real"),
    ],
)
def test_missing_weights_are_explained(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"needs its weights, and nothing is downloaded.*{words}"):
        load_extractor(name)
    with pytest.raises(NetworkError, match=f"{words}.*Received: no such file"):
        load_extractor(name, tmp_path / "nothing")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match=r"one of inception-2015, .* Received: inception"):
        require_extractor("inception", None)


def small_frozen_graph(*, harmful: bool = False, scaled: bool = False) -> tf.compat.v1.GraphDef:
    """A graph with the names, shapes and old operations of the 2015 Inception, and one convolution."""
    rng = np.random.default_rng(1)
    with tf.Graph().as_default() as graph:
        v1 = tf.compat.v1
        contents = v1.placeholder(tf.string, [], name="DecodeJpeg/contents")
        decoded = tf.raw_ops.DecodeJpeg(contents=contents, channels=3, name="DecodeJpeg")
        decoded = tf.cast(decoded, tf.float32, name="Cast")
        batch = tf.expand_dims(decoded, 0, name="ExpandDims")
        resized = v1.image.resize_bilinear(batch, [299, 299], name="ResizeBilinear")
        pixels = tf.multiply(tf.subtract(resized, 128.0, name="Sub"), 1 / 128, name="Mul")
        kernel = tf.constant(rng.normal(size=(8, 8, 3, 2048)).astype(np.float32) / 14, name="conv/conv2d_params")
        values = tf.nn.conv2d(pixels, kernel, 37, "VALID", name="conv/Conv2D")
        norm = [
            tf.constant(rng.uniform(0.5, 1.5, 2048).astype(np.float32), name=f"conv/batchnorm/{i}") for i in range(4)
        ]
        values = tf.nn.relu(tf.raw_ops.IdentityN(input=[values, *norm], name="conv/batchnorm")[0], name="conv")
        halves = [tf.debugging.check_numerics(values[..., :1024], "first half"), values[..., 1024:]]
        values = tf.raw_ops.Concat(concat_dim=3, values=halves, name="join")
        if harmful:
            values += tf.strings.to_number(v1.read_file("/etc/hostname"))
        pool = tf.nn.avg_pool2d(values, values.shape[1:3], 1, "VALID", name="pool_3")
        rows = tf.reshape(pool, [1, 2048], name="pool_3/_reshape")
        weights = tf.constant(rng.normal(size=(2048, 12)).astype(np.float32), name="softmax/weights")
        logits = tf.add(tf.matmul(rows, weights, name="softmax/logits/MatMul"), 1.0, name="softmax/logits")
        tf.nn.softmax(logits, name="softmax")
    definition = graph.as_graph_def()
    (node,) = [node for node in definition.node if node.op == "IdentityN"]
    node.op = "BatchNormWithGlobalNormalization"  # which TensorFlow no longer makes, but reads in old graphs
    node.attr.clear()
    node.attr["T"].type = tf.float32.as_datatype_enum
    node.attr["variance_epsilon"].f = 0.001
    node.attr["scale_after_normalization"].b = scaled
    definition.versions.producer = 8
    return definition


def constant(graph: tf.compat.v1.GraphDef, name: str) -> np.ndarray:
    (node,) = [node for node in graph.node if node.name == name]
    return tf.make_ndarray(node.attr["value"].tensor)


@pytest.mark.parametrize("scaled", [False, True])
def test_frozen_graph_gives_pooled_features_and_class_weights(tmp_path: Path, scaled: bool) -> None:
    graph, path = small_frozen_graph(scaled=scaled), tmp_path / "classify_image_graph_def.pb"
    path.write_bytes(graph.SerializeToString())
    extractor = load_extractor("inception-2015", path, block_size=4)
    pictures = images(6, size=32)
    features = extractor(pictures)
    assert (features.shape, extractor.size) == ((6, 2048), 2048)
    assert extractor.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert extractor.class_weights is not None
    np.testing.assert_array_equal(extractor.class_weights, constant(graph, "softmax/weights"))
    # TensorFlow 1's corner rule: source pixel = target pixel * 32 / 299.
    resized = tf.compat.v1.image.resize_bilinear(np.repeat(pictures, 3, axis=3).astype(np.float32), [299, 299])
    values = tf.nn.conv2d((resized - 128) / 128, constant(graph, "conv/conv2d_params"), 37, "VALID")
    norm = [constant(graph, f"conv/batchnorm/{i}") for i in range(4)]
    if not scaled:
        norm[3] = np.ones_like(norm[3])
    values = tf.nn.relu(tf.nn.batch_normalization(values, *norm, 0.001))
    np.testing.assert_allclose(features, tf.reduce_mean(values, axis=(1, 2)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a graph", "frozen Inception graph of 2015"),
        (tf.Graph().as_graph_def().SerializeToString(), "frozen Inception graph of 2015"),
        (small_frozen_graph(harmful=True).SerializeToString(), "is not run. Received: ReadFile, StringToNumber"),
    ],
    ids=["bytes", "empty", "harmful"],
)
def test_other_graphs_are_refused_and_not_run(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(content)
    with pytest.raises(NetworkError, match=words):
        load_extractor("inception-2015", path)


def test_keras_inception_gives_the_features_before_its_last_layer(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    full = keras.applications.InceptionV3(weights=None)
    path = tmp_path / "inception.weights.h5"
    full.save_weights(path)
    extractor = load_extractor("inception-keras", path, block_size=2)
    pictures = images(2, size=48, channels=3)
    features = extractor(pictures)
    resized = tf.image.resize(pictures.astype(np.float32), [299, 299]) / 127.5 - 1.0
    probabilities = full(resized, training=False)
    head = full.layers[-1]
    logits = features @ head.kernel.numpy() + head.bias.numpy()
    np.testing.assert_allclose(tf.nn.softmax(logits), probabilities, rtol=1e-3)
    np.testing.assert_array_equal(extractor.class_weights, head.kernel.numpy())
    assert "not comparable with published FID" in extractor.label


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, keras.Model]:
    """What extractors read of a results folder of classifier_real, and its network."""
    results = tmp_path_factory.mktemp("data") / "classification_results_res_16"
    full = write_classifier(results, ("a", "b", "c"))
    return results, full


def test_densenet_gives_the_features_that_its_head_sees(classifier: tuple[Path, keras.Model]) -> None:
    results, full = classifier
    extractor = load_extractor("densenet", results, block_size=4)
    pictures = images(3)
    features = extractor(pictures)
    assert (features.shape, extractor.size) == ((3, 1024), 1024)
    head = full.get_layer(HEAD_NAME)
    expected = full(preprocess(pictures, 32), training=False)
    logits = features @ head.kernel.numpy() + head.bias.numpy()
    np.testing.assert_allclose(tf.sigmoid(logits), expected, rtol=1e-3)
    assert extractor.label == "DenseNet-121 trained on real images, random initialisation, input 32x32"
    assert extractor.class_weights is None


def test_a_classifier_without_settings_is_refused(tmp_path: Path) -> None:
    results = tmp_path / "results"
    (results / "train").mkdir(parents=True)
    (results / "train" / "best_weights.h5").write_bytes(b"weights")
    write_json(results / "train" / "config.json", {"train.image_dimension": 32})
    with pytest.raises(NetworkError, match="settings of a classifier's training"):
        load_extractor("densenet", results)


class Counting:
    """Counts the images that reach the network."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor, self.num_images = extractor, 0

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        self.num_images += len(pictures)
        return self.extractor(pictures)


def test_cache_knows_images_their_number_and_the_weights(tmp_path: Path) -> None:
    extractor, cache, pictures = load_extractor("random"), FeatureCache(tmp_path / "cache"), images(9)
    counting = Counting(extractor)
    first = cache.features(extractor, pictures, counting)
    np.testing.assert_array_equal(cache.features(extractor, pictures, counting), first)
    assert counting.num_images == 9
    cache.features(extractor, pictures[:8], counting)
    cache.features(extractor, pictures ^ 1, counting)
    cache.features(dataclasses.replace(extractor, digest="other"), pictures, counting)
    assert counting.num_images == 9 + 8 + 9 + 9
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    np.testing.assert_array_equal(cache.features(extractor, pictures, counting), first)
    assert counting.num_images == 44, "a damaged file is computed anew"
    FeatureCache(None).features(extractor, pictures, counting)
    assert counting.num_images == 53
