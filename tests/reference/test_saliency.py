"""HiResCAM and Grad-CAM against maps recorded from the original, of a small network whose weights are recorded too."""

import re

import numpy as np
import pytest
import tensorflow as tf

from medsynth.networks.saliency import grad_cam, hires_cam
from tests.golden_files import golden_files

FILES = golden_files("classifier_segment*.npz")
MAPS = {"cam/hirescam": hires_cam, "cam/gradcam": grad_cam}


def read(path):
    with np.load(path) as data:
        return {name: data[name] for name in data.files}


def numbers_of_layers(data) -> list[int]:
    return sorted(int(re.fullmatch(r"cam/w/(\d+)\.weight", name)[1]) for name in data if name.endswith(".weight"))


def adaptive_average_pool(values, size: int):
    """Torch's AdaptiveAvgPool2d: cell i averages rows floor(i h / size) up to ceil((i + 1) h / size)."""
    for axis in (1, 2):
        length = values.shape[axis]
        cells = [slice(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
        weights = np.zeros((size, length), np.float32)
        for row, cell in zip(weights, cells, strict=True):
            row[cell] = 1 / (cell.stop - cell.start)
        values = tf.experimental.numpy.moveaxis(tf.tensordot(values, weights, [[axis], [1]]), -1, axis)
    return values


def activations_of(data):
    """Convolution, ReLU, maximum of 2x2, ..., convolution, ReLU: NHWC, [N, h, w, K]."""
    values = tf.constant(data["cam/x_nchw"].transpose(0, 2, 3, 1))
    *convolutions, _ = numbers_of_layers(data)
    for number in convolutions:
        kernel = data[f"cam/w/{number}.weight"].transpose(2, 3, 1, 0)  # [out, in, h, w] -> [h, w, in, out]
        values = tf.nn.relu(tf.nn.conv2d(values, kernel, 1, "SAME") + data[f"cam/w/{number}.bias"])
        if number != convolutions[-1]:
            values = tf.nn.max_pool2d(values, 2, 2, "VALID")
    return values


def logits_of(data, activations):
    last = numbers_of_layers(data)[-1]
    weights = data[f"cam/w/{last}.weight"]
    side = round((weights.shape[1] / activations.shape[-1]) ** 0.5)
    pooled = tf.transpose(adaptive_average_pool(activations, side), [0, 3, 1, 2])  # NHWC -> NCHW, as torch flattens
    return tf.reshape(pooled, [len(pooled), -1]) @ weights.T + data[f"cam/w/{last}.bias"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_small_network_is_the_recorded_one(path):
    data = read(path)
    np.testing.assert_allclose(logits_of(data, activations_of(data)), data["cam/logits"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_maps_match_the_original(path, name):
    data = read(path)
    expected = data[name]
    assert expected.max() > 0.99
    activations = activations_of(data)
    with tf.GradientTape() as tape:
        tape.watch(activations)
        scores = tf.gather(logits_of(data, activations), data["cam/labels"], batch_dims=1)
    maps = MAPS[name](activations, tape.gradient(scores, activations), expected.shape[1:])
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)
