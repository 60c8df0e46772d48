"""Attribution maps of a classifier: four methods computed through tf-explain, and HiResCAM.

What tf-explain 0.3.1 computes is called where it is right; what it draws is not used. Its faults, and what is done here
instead (tests/unit/test_explain.py shows each):

- Maps are returned as colour or grey pictures only. Gradients are standardised over the whole batch, times 255, and
  cast to uint8: what lies below the mean or above one standard deviation is lost. Here every map is float32, of its
  image alone.
- Classes compete: SmoothGrad differentiates a categorical cross-entropy, in which another label's score changes the
  map of this one. Here, as in the paper, the score of the one label is differentiated.
- Scores are probabilities, whose gradient is 0 where a sigmoid is saturated. Here they are logits.
- Integrated gradients lack the factor (image - baseline), and their sum gives both ends of the path full weight.
- Grad-CAM keeps only positive gradients unless told otherwise, and lacks the ReLU.
- Occlusion paints 127.5, which is grey only where pixels go from 0 to 255. Here networks take such pixels.
- Noise comes from numpy's global generator. Here its state is set for an image, and put back.
"""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tf_explain.core.grad_cam import GradCAM
from tf_explain.core.integrated_gradients import IntegratedGradients
from tf_explain.core.occlusion_sensitivity import OcclusionSensitivity
from tf_explain.core.smoothgrad import SmoothGrad

from medsynth.classify.config import ExplainConfig
from medsynth.classify.explain import methods
from medsynth.networks.densenet import HEAD_NAME
from medsynth.networks.imagenet_input import IMAGENET_MEAN, IMAGENET_STANDARD_DEVIATION
from medsynth.networks.saliency import hires_cam, scaled_map

Floats = npt.NDArray[np.float32]
# Places in DenseNet-121 that everything passes through, the last one first.
_CAM_LAYERS = ("relu", "pool4_relu", "pool3_relu", "pool2_relu")
_MEAN, _DEVIATION = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_STANDARD_DEVIATION, np.float32)
_FEWEST_PLACES = 7  # a side, as the last map has at the published 224 pixels


class Explainer:
    """Computes maps and scores of one classifier.

    Images are float32 [D, D, 3] in [0, 255]. Maps are float32 [D, D], larger where a pixel speaks more for the label:
    Grad-CAM and HiResCAM in [0, 1]; occlusion the fall of the logit behind a grey patch; SmoothGrad the size of the
    gradient, which has no sign; integrated gradients the share of the logit, which adds up to logit(image) -
    logit(black).

    Args:
        classifier: Normalised images [N, D, D, 3] to probabilities [N, L] by a dense layer named `predictions`.
        config: [XPLAIN].
        cam_layer: Name of the layer that Grad-CAM and HiResCAM look at; see `choose_cam_layer`.
    """

    def __init__(self, classifier: keras.Model, config: ExplainConfig, cam_layer: str) -> None:
        self.config, self.cam_layer = config, cam_layer
        self.removed = mean_grey(classifier.inputs[0].shape[1])
        self._on_normalised = logit_network(classifier)
        self._on_pixels = _with_pixel_input(self._on_normalised)
        # jit_compile stays off: XLA is tens of times slower on CPUs.
        self._logits = tf.function(lambda images: self._on_pixels(images, training=False), autograph=False)
        self._activations_and_gradients = tf.function(self._cam_parts, autograph=False)
        self._maps = {
            methods.GRAD_CAM: self._grad_cam,
            methods.HIRES_CAM: self._hires_cam,
            methods.OCCLUSION: self._occlusion,
            methods.SMOOTH_GRAD: self._smooth_grad,
            methods.INTEGRATED_GRADIENTS: self._integrated_gradients,
        }

    def map_of(self, method: str, image: Floats, label: int, seed: int = 0) -> Floats:
        """Return the map of one image.

        Args:
            method: A key of `methods.METHODS`.
            image: [D, D, 3] in [0, 255].
            label: Its number.
            seed: Of SmoothGrad's noise.
        """
        return np.asarray(self._maps[method](image, label, seed), np.float32)

    def logits(self, images: Floats) -> Floats:
        """Return the logits [N, L] of images [N, D, D, 3] in [0, 255]."""
        return np.concatenate(
            [np.asarray(self._logits(block))[:num_images] for block, num_images in self._blocks(images)]
        )

    def probabilities(self, images: Floats, label: int) -> npt.NDArray[np.float64]:
        """Return the probabilities of a label, [N] in [0, 1], for images [N, D, D, 3] in [0, 255]."""
        return 1 / (1 + np.exp(-self.logits(images)[:, label].astype(np.float64)))

    @contextlib.contextmanager
    def random_weights(self, seed: int) -> Iterator[None]:
        """Give the network weights drawn anew in every layer, and its own ones back at the end."""
        trained = self._on_normalised.get_weights()
        self._on_normalised.set_weights(drawn_weights(self._on_normalised, seed))
        try:
            yield
        finally:
            self._on_normalised.set_weights(trained)

    def completeness_gap(self, image: Floats, label: int, attribution: Floats) -> float:
        """Return by what share integrated gradients miss logit(image) - logit(black); shrinks with more points."""
        top, bottom = self.logits(np.stack([image, np.zeros_like(image)]))[:, label].astype(np.float64)
        return float(abs(attribution.sum(dtype=np.float64) - (top - bottom)) / max(abs(top - bottom), 1e-12))

    def _cam_parts(self, images: Any, label: Any) -> Any:
        # tf-explain wraps `inputs` in a list; a bare tensor keeps Keras from warning of a list in a list.
        network = SimpleNamespace(
            inputs=self._on_normalised.inputs[0],
            output=self._on_normalised.output,
            get_layer=self._on_normalised.get_layer,
        )
        return GradCAM.get_gradients_and_filters(network, images, self.cam_layer, label, use_guided_grads=False)

    def _cam_input(self, image: Floats, label: int) -> tuple[Any, Any]:
        """Return activations and gradients of the layer, [1, h, w, K] each."""
        parts: tuple[Any, Any] = self._activations_and_gradients(normalised(image[None]), tf.constant(label))
        return parts

    def _grad_cam(self, image: Floats, label: int, seed: int) -> Any:
        evidence = tf.stack(GradCAM.generate_ponderated_output(*self._cam_input(image, label)))
        return scaled_map(evidence, image.shape[:2])[0]

    def _hires_cam(self, image: Floats, label: int, seed: int) -> Any:
        return hires_cam(*self._cam_input(image, label), image.shape[:2])[0]

    def _occlusion(self, image: Floats, label: int, seed: int) -> Floats:
        # tf-explain asks the network for nothing but this.
        network = SimpleNamespace(predict=lambda images, batch_size: self.logits(np.asarray(images)))
        falls_from_one = OcclusionSensitivity().get_sensitivity_map(network, image, label, self.config.occlusion_patch)
        drops: Floats = falls_from_one - 1 + self.logits(image[None])[0, label]
        return drops

    def _smooth_grad(self, image: Floats, label: int, seed: int) -> Floats:
        noise = self.config.smoothgrad_noise * float(np.ptp(image))
        with _global_numpy_seed(seed):
            copies = SmoothGrad.generate_noisy_images(image[None], self.config.smoothgrad_samples, noise)
        mean = np.mean(list(self._gradients(copies, label)), axis=0)
        sizes: Floats = np.abs(mean).sum(axis=-1)
        return sizes

    def _integrated_gradients(self, image: Floats, label: int, seed: int) -> Floats:
        black = np.zeros_like(image)
        num_points = self.config.integrated_gradients_points
        path = np.asarray(IntegratedGradients.generate_linear_path(black, image, num_points), np.float32)
        # The trapezoidal rule: both ends count half.
        weights = np.full(num_points, 1 / (num_points - 1))
        weights[[0, -1]] /= 2
        mean = sum(weight * gradient for weight, gradient in zip(weights, self._gradients(path, label), strict=True))
        shares: Floats = (mean * (image - black)).sum(axis=-1)
        return shares

    def _gradients(self, images: Floats, label: int) -> Iterator[Floats]:
        """Yield the gradient of the logit with respect to each of the images, [D, D, 3]."""
        for block, num_images in self._blocks(images):
            # tf-explain's mean over 1 step is the gradient itself. A label given as a tensor does not make a new graph.
            found = IntegratedGradients.get_integrated_gradients(block, self._on_pixels, tf.constant(label), 1)
            yield from np.asarray(found)[:num_images]

    def _blocks(self, images: Floats) -> Iterator[tuple[Floats, int]]:
        """Yield full batches, the last one filled up with copies, and how many of their images count."""
        size = self.config.batchsize_xplain
        for start in range(0, len(images), size):
            num_images = min(size, len(images) - start)
            yield images[start + np.arange(size) % num_images].astype(np.float32), num_images


def choose_cam_layer(classifier: keras.Model, wanted: str) -> str:
    """Return the layer for Grad-CAM and HiResCAM: `wanted`, or for `auto` the last with 7 or more places a side."""
    if wanted != "auto":
        return wanted
    large = [name for name in _CAM_LAYERS if classifier.get_layer(name).output.shape[1] >= _FEWEST_PLACES]
    return large[0] if large else _CAM_LAYERS[-1]


def logit_network(classifier: keras.Model) -> keras.Model:
    """Return the classifier without its sigmoid: [N, D, D, 3] -> logits [N, L]. The head's weights are copied."""
    head = classifier.get_layer(HEAD_NAME)
    logits = keras.layers.Dense(head.units, name="logits", dtype="float32")
    network = keras.Model(classifier.inputs[0], logits(head.input), name="logit_network")
    logits.set_weights(head.get_weights())
    return network


def normalised(images: Floats) -> Floats:
    """Return images in [0, 255], [N, D, D, 3], as the classifier takes them."""
    values: Floats = ((images / 255 - _MEAN) / _DEVIATION).astype(np.float32)
    return values


def pixels(images: Floats) -> Floats:
    """Return what the classifier takes, [N, D, D, 3], as images in [0, 255]: the inverse of `normalised`."""
    values: Floats = ((images * _DEVIATION + _MEAN) * 255).astype(np.float32)
    return values


def mean_grey(dimension: int) -> Floats:
    """Return the image [D, D, 3] in [0, 255] that the network takes as zeros: ImageNet's mean colour."""
    return pixels(np.zeros((dimension, dimension, 3), np.float32))


def drawn_weights(network: keras.Model, seed: int) -> list[npt.NDArray[Any]]:
    """Return weights as before any training, in the order of `get_weights`.

    Kernels are Glorot-uniform (Keras' own start for DenseNet), scales and moving variances 1, all others 0.
    """
    weights = []
    for number, variable in enumerate(network.weights):
        kind = variable.path.rpartition("/")[2]
        if kind == "kernel":
            own_seed = int(np.random.default_rng((seed, number)).integers(2**31))
            weights.append(np.asarray(keras.initializers.GlorotUniform(own_seed)(variable.shape)))
        else:
            weights.append(np.full(variable.shape, float(kind in ("gamma", "moving_variance")), np.float32))
    return weights


def _with_pixel_input(network: keras.Model) -> keras.Model:
    """Return the network behind the normalisation, so that it takes images in [0, 255]."""
    images = keras.Input(network.inputs[0].shape[1:])
    normalise = keras.layers.Rescaling(
        (1 / (255 * _DEVIATION)).tolist(), (-_MEAN / _DEVIATION).tolist(), dtype="float32"
    )
    return keras.Model(images, network(normalise(images), training=False))


@contextlib.contextmanager
def _global_numpy_seed(seed: int) -> Iterator[None]:
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
