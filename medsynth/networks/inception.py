"""Inception-v3, from the frozen graph of 2015 or with Keras' weights, read from files that the user has.

Source: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from medsynth.errors import NetworkError
from medsynth.networks.weights import load_backbone_weights

NUM_FEATURES = 2048
RESOLUTION = 299

_OLD_BATCH_NORM = "BatchNormWithGlobalNormalization"
_INPUT, _POOL, _LOGITS = "ExpandDims", "pool_3", "softmax/logits/MatMul"
# A graph is a program. These operations compute from numbers to numbers; none reads or writes a file.
_HARMLESS = frozenset({
    "Add", "AddV2", "AvgPool", "BiasAdd", "Cast", "CheckNumerics", "Concat", "ConcatV2", "Const", "Conv2D",
    "DecodeJpeg", "ExpandDims", "FusedBatchNorm", "FusedBatchNormV3", "Identity", "LRN", "MatMul", "MaxPool", "Mean",
    "Mul", "OnesLike", "Pack", "Pad", "Placeholder", "RealDiv", "Relu", "Reshape", "ResizeBilinear", "Rsqrt", "Shape",
    "Softmax", "Squeeze", "StridedSlice", "Sub",
})  # fmt: skip
Network = Callable[[Any], Any]
ClassWeights = npt.NDArray[np.float32]


def load_frozen_inception(path: Path, block_size: int) -> tuple[Network, ClassWeights]:
    """Return the network of the 2015 graph, and the weights of its classes.

    The graph resizes images to 299x299 itself, by bilinear interpolation with TensorFlow 1's corner rule.

    Args:
        path: classify_image_graph_def.pb.
        block_size: Images per call.

    Returns:
        A function from images [block_size, H, W, 3] in [0, 255] (any number type) to features
        [block_size, 2048], and float32 [2048, number of classes].

    Raises:
        NetworkError: No graph, another graph, or one with operations that the 2015 graph does not need.
    """
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
        # The weights of the classes are the second input of the last matrix product.
        weights_name = next(node for node in graph.node if node.name == _LOGITS).input[1].partition(":")[0]
        trunk, head = _upstream(graph, _POOL), _upstream(graph, weights_name)
        unknown = sorted({node.op for node in (*trunk.node, *head.node)} - _HARMLESS)
        if unknown:
            raise NetworkError(
                "The Inception graph of 2015 needs no such operations; the file is another graph and is not run.",
                received=", ".join(unknown),
                path=path,
            )
        images = [tf.TensorSpec([block_size, None, None, 3], tf.float32)]
        features = tf.compat.v1.wrap_function(lambda batch: _imported(trunk, {f"{_INPUT}:0": batch}, _POOL), images)
        class_weights = tf.compat.v1.wrap_function(lambda: _imported(head, {}, weights_name), [])().numpy()
    except (DecodeError, StopIteration, KeyError, IndexError, ValueError, tf.errors.OpError) as error:
        raise NetworkError(
            "The frozen Inception graph of 2015 (classify_image_graph_def.pb) was expected here.",
            received=(str(error) or f"no operation {_LOGITS}").splitlines()[0],
            path=path,
        ) from None
    if class_weights.ndim != 2 or len(class_weights) != NUM_FEATURES:
        raise NetworkError(
            f"Class weights of {NUM_FEATURES} features were expected.", received=class_weights.shape, path=path
        )

    def network(images: Any) -> Any:
        # [B, 1, 1, 2048] -> [B, 2048]
        return tf.reshape(features(tf.cast(images, tf.float32)), [block_size, NUM_FEATURES])

    return network, class_weights


def _upstream(graph: Any, name: str) -> Any:
    """Return the part of a graph that a node is computed from.

    Raises:
        KeyError: A node is missing.
    """
    nodes = {node.name: node for node in graph.node}
    found, waiting = {}, [name]
    while waiting:
        node = nodes[waiting.pop()]
        found[node.name] = node
        inputs = [given.removeprefix("^").partition(":")[0] for given in node.input]
        waiting += [given for given in inputs if given not in found]
    part = tf.compat.v1.GraphDef()
    part.versions.producer = tf.version.GRAPH_DEF_VERSION
    for node in found.values():
        part.node.extend(_modern(node) if node.op == _OLD_BATCH_NORM else [node])
    return part


def _modern(node: Any) -> list[Any]:
    """Return the nodes of today for a batch normalisation of 2015, which TensorFlow no longer runs."""
    values, mean, variance, offset, scale = node.input
    normalisation = tf.compat.v1.NodeDef(name=node.name, op="FusedBatchNormV3")
    nodes = [normalisation]
    if not node.attr["scale_after_normalization"].b:
        ones = tf.compat.v1.NodeDef(name=f"{node.name}/ones", op="OnesLike", input=[scale])
        ones.attr["T"].CopyFrom(node.attr["T"])
        nodes.append(ones)
        scale = ones.name
    normalisation.input.extend([values, scale, offset, mean, variance])
    for name in ("T", "U"):
        normalisation.attr[name].CopyFrom(node.attr["T"])
    normalisation.attr["epsilon"].f = node.attr["variance_epsilon"].f
    normalisation.attr["is_training"].b = False
    return nodes


def _imported(graph: Any, inputs: dict[str, Any], output: str) -> Any:
    (result,) = tf.graph_util.import_graph_def(graph, input_map=inputs, return_elements=[f"{output}:0"], name="")
    return result


def load_keras_inception(path: Path) -> tuple[Network, ClassWeights]:
    """Return keras.applications' Inception-v3 before its last layer, and the weights of that layer.

    Images are resized to 299x299 by bilinear interpolation (with a filter where they shrink) and scaled to [-1, 1].

    Args:
        path: Keras' weights with the top (1,000 ImageNet classes).

    Returns:
        A function from images [B, H, W, 3] in [0, 255] to features [B, 2048], and float32 [2048, 1000].

    Raises:
        NetworkError: Missing or damaged, or weights of another network.
    """
    full = keras.applications.InceptionV3(weights=None)
    load_backbone_weights(full, path)
    head = full.layers[-1]
    backbone = keras.Model(full.inputs, head.input)

    def network(images: Any) -> Any:
        resized = tf.image.resize(tf.cast(images, tf.float32), [RESOLUTION, RESOLUTION], antialias=True)
        return backbone(resized / 127.5 - 1.0, training=False)

    return network, head.kernel.numpy()
