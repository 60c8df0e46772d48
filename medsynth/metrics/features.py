"""Networks that turn images into features: which there are, how they are loaded, and how images pass through them.

Nothing is downloaded. A network whose weights are not there is an error that says which file to put where.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.data.tfrecords import Images
from medsynth.errors import NetworkError, UsageError
from medsynth.files import sha256_of
from medsynth.networks.trained_classifier import BEST_WEIGHTS, TRAIN_FOLDER, TrainedClassifier, read_classifier
from medsynth.progress import Progress

Floats = npt.NDArray[np.float32]

INCEPTION_2015, INCEPTION_KERAS, DENSENET, RANDOM = "inception-2015", "inception-keras", "densenet", "random"
EXTRACTORS = {
    INCEPTION_2015: "the published features: --weights classify_image_graph_def.pb, which lies in "
    "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz",
    INCEPTION_KERAS: "Inception-v3 of Keras: --weights inception_v3_weights_tf_dim_ordering_tf_kernels.h5, from "
    "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/",
    DENSENET: "features of your own domain: --weights data_dir/classification_results_res_<resolution>, the results "
    "of classifier_real",
    RANDOM: "a small network with random weights, for tests only",
}
CLASS_PROBABILITIES = (INCEPTION_2015, INCEPTION_KERAS, RANDOM)


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into features.

    Attributes:
        name: One of `EXTRACTORS`.
        label: What outputs call it; says where the features are no measure of quality.
        size: Features of an image, D.
        digest: SHA-256 of the weights, hexadecimal.
        network: Maps images [block_size, H, W, 3] in [0, 255] to [block_size, D].
        class_weights: float32 [D, K] of the classes that the network tells apart; None where it has none of ImageNet's.
        block_size: Images per call of the network.
    """

    name: str
    label: str
    size: int
    digest: str
    network: Callable[[Any], Any]
    class_weights: Floats | None = None
    block_size: int = 32

    def __call__(self, images: Images) -> Floats:
        """Return float32 features [N, D] of uint8 images [N, H, W, 1 or 3]; grey is repeated to three channels."""
        if len(images) == 0:
            return np.zeros((0, self.size), np.float32)
        return np.concatenate(list(self.blocks(images)))

    def blocks(self, images: Images) -> Iterator[Floats]:
        """Yield the features in blocks of `block_size` images, the last one smaller.

        The last bits of a convolution depend on the batch that it runs in, so every call of the network is a full
        block, the last one filled up with copies: the features of an image do not depend on what follows it.
        """
        for start in range(0, len(images), self.block_size):
            num_images = min(self.block_size, len(images) - start)
            rows = start + np.arange(self.block_size) % num_images
            block = np.broadcast_to(images[rows], (self.block_size, *images.shape[1:3], 3))
            yield np.asarray(self.network(block), np.float32)[:num_images]


def features_with_progress(extractor: Extractor, images: Images, what: str) -> Floats:
    """Return features [N, D] of images [N, H, W, C], and show how far that is.

    Args:
        extractor: The network.
        images: uint8.
        what: They are, for the person who watches.
    """
    progress = Progress(f"features of {what}", len(images), "images")
    blocks = [np.zeros((0, extractor.size), np.float32)]
    for block in extractor.blocks(images):
        blocks.append(block)
        progress.advance(len(block))
    progress.close()
    return np.concatenate(blocks)


def load_extractor(name: str, path: Path | None = None, *, block_size: int = 32) -> Extractor:
    """Return a feature extractor.

    Args:
        name: One of `EXTRACTORS`.
        path: Its weights: a file, or for `densenet` the results folder of classifier_real. `random` has none.
        block_size: Images per call of the network.

    Raises:
        UsageError: An unknown name, or no path where one is needed.
        NetworkError: Missing, damaged or other weights.
    """
    require_extractor(name, path)
    if name == RANDOM or path is None:
        return _random(block_size)
    return _LOADERS[name](path, block_size)


def require_extractor(name: str, path: Path | None) -> None:
    """Refuse an unknown extractor or missing weights, before TensorFlow is loaded.

    Raises:
        UsageError: An unknown name, or no path.
        NetworkError: Nothing at that path.
    """
    if name not in EXTRACTORS:
        raise UsageError(f"--features is one of {', '.join(EXTRACTORS)}.", received=name)
    if name == RANDOM:
        return
    if path is None:
        raise UsageError(
            f"--features {name} needs its weights, and nothing is downloaded: {EXTRACTORS[name]}.",
            received="no --weights",
        )
    needed = path / TRAIN_FOLDER / BEST_WEIGHTS if name == DENSENET else path
    if not needed.is_file():
        raise NetworkError(
            f"The weights for --features {name} were expected here: {EXTRACTORS[name]}.",
            received="a folder" if needed.is_dir() else "no such file",
            path=needed,
        )


def _compiled(network: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import tensorflow as tf  # noqa: PLC0415  (names and messages need no TensorFlow)

    compiled: Callable[[Any], Any] = tf.function(network, autograph=False)
    return compiled


def _inception_2015(path: Path, block_size: int) -> Extractor:
    from medsynth.networks.inception import NUM_FEATURES, load_frozen_inception  # noqa: PLC0415

    network, class_weights = load_frozen_inception(path, block_size)
    label = "Inception 2015, pool3 (published FID)"
    return Extractor(
        INCEPTION_2015, label, NUM_FEATURES, sha256_of(path), _compiled(network), class_weights, block_size
    )


def _inception_keras(path: Path, block_size: int) -> Extractor:
    from medsynth.networks.inception import NUM_FEATURES, load_keras_inception  # noqa: PLC0415

    network, class_weights = load_keras_inception(path)
    label = "Inception-v3 of Keras (not comparable with published FID)"
    return Extractor(
        INCEPTION_KERAS, label, NUM_FEATURES, sha256_of(path), _compiled(network), class_weights, block_size
    )


def _densenet(path: Path, block_size: int) -> Extractor:
    return classifier_extractor(read_classifier(path), block_size=block_size)


def classifier_extractor(trained: TrainedClassifier, *, block_size: int = 32) -> Extractor:
    """Return the last features of a trained classifier before its head, [N, 1024], in float32.

    Args:
        trained: The classifier.
        block_size: Images per call of the network.

    Raises:
        NetworkError: Its weights are missing, damaged or of another network.
    """
    import keras  # noqa: PLC0415

    from medsynth.networks.densenet import HEAD_NAME  # noqa: PLC0415
    from medsynth.networks.imagenet_input import preprocess  # noqa: PLC0415

    full = trained.build("float32")
    backbone = keras.Model(full.input, full.get_layer(HEAD_NAME).input)

    def network(images: Any) -> Any:
        return backbone(preprocess(images, trained.image_dimension, trained.resize), training=False)

    size = int(backbone.output.shape[-1])
    label = trained.description
    return Extractor(DENSENET, label, size, trained.weights_digest(), _compiled(network), None, block_size)


def _random(block_size: int) -> Extractor:
    """Return three strided convolutions with weights of a fixed seed and their means, [N, 64], for any image size."""
    import tensorflow as tf  # noqa: PLC0415

    rng = np.random.default_rng(0)
    channels = (3, 16, 32, 64)
    kernels = [
        (rng.normal(size=(3, 3, c, d)) * np.sqrt(2.0 / (9 * c))).astype(np.float32)
        for c, d in itertools.pairwise(channels)
    ]
    class_weights = rng.normal(size=(channels[-1], 10)).astype(np.float32)
    digest = hashlib.sha256(b"".join(kernel.tobytes() for kernel in kernels)).hexdigest()

    def network(images: Any) -> Any:
        values = tf.cast(images, tf.float32) / 127.5 - 1.0
        for kernel in kernels:
            values = tf.nn.leaky_relu(tf.nn.conv2d(values, kernel, 2, "SAME"))
        return tf.reduce_mean(values, axis=(1, 2))

    label = "random network (for tests; says nothing about quality)"
    return Extractor(RANDOM, label, channels[-1], digest, _compiled(network), class_weights, block_size)


_LOADERS = {INCEPTION_2015: _inception_2015, INCEPTION_KERAS: _inception_keras, DENSENET: _densenet}
