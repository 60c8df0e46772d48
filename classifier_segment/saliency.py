"""Saliency maps of a classifier for one class an image, of a whole batch at once, and differentiable.

A batch costs one pass forward and one pass back from the class scores to the layer, however many images it has: an
image's score depends on this image alone, so the gradient of the sum of all scores holds every image's own. Where only
a head lies behind the layer (SqueezeNet, ConvNeXt, DenseNet), that pass back is next to nothing.

Source: Draelos and Carin 2020, https://arxiv.org/abs/2011.08891 (HiResCAM); Selvaraju et al. 2017,
https://arxiv.org/abs/1610.02391 (Grad-CAM); the formulas are in medsynth.networks.saliency.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf

from classifier_segment.models.classifier import Classifier
from medsynth.errors import UsageError
from medsynth.networks.saliency import grad_cam, hires_cam

Explained = Literal["logit", "log_probability"]
# As the published argument generate_map calls them.
METHODS: dict[str, Callable[[Any, Any, tuple[int, int]], Any]] = {"hirescam": hires_cam, "grad-cam": grad_cam}


class SaliencyPass(NamedTuple):
    """What one pass forward and the short one back give.

    Attributes:
        logits: Of the head with its dropout in training, without it else, [N, L].
        labels: The classes that the maps are for, [N].
        activations: Of the layer, [N, h, w, K].
        gradients: Of each image's class score with respect to them, [N, h, w, K]; the head without its dropout.
    """

    logits: Any
    labels: Any
    activations: Any
    gradients: Any

    def maps(self, size: tuple[int, int], method: str = "hirescam") -> Any:
        """Return maps [N, H, W] in [0, 1], float32; one without positive evidence is 0 everywhere.

        Args:
            size: (H, W).
            method: A key of `METHODS`.
        """
        activations, gradients = (tf.cast(values, tf.float32) for values in (self.activations, self.gradients))
        return method_of(method)(activations, gradients, size)


class SaliencyNetwork:
    """A classifier that also gives a layer's activations and the gradients of class scores.

    Dropout in the head is left out of the maps, as published, though the original then stays without it for good.
    It takes no second pass through the backbone, whose own random parts (stochastic depth) are those of the logits.

    Args:
        classifier: As `build_classifier` gives it.
        layer: Name of a layer of its backbone with an output [N, h, w, K]; the training's own where not given.
        explains: What the maps explain: `logit`, the class's own score, as published; or `log_probability`, the score
            against those of all classes, in which evidence against the others counts, too.
    """

    def __init__(self, classifier: Classifier, layer: str | None = None, *, explains: Explained = "logit") -> None:
        self._explains = explains
        inner = classifier.backbone.get_layer(layer or classifier.saliency_layer).output
        self._parts = keras.Model(classifier.backbone.input, [inner, classifier.backbone.output])
        self._head = classifier.head
        self._graph = tf.function(self._run)

    def __call__(self, images: Any, labels: Any | None = None, *, training: bool = False) -> SaliencyPass:
        """Return a pass over a batch; a `tf.GradientTape` around it sees everything, the gradients too.

        Args:
            images: Normalised, [N, D, D, 3].
            labels: The classes to explain, integers [N]; each image's predicted one where not given.
            training: Whether dropout and batch normalisation are in training.
        """
        # Of what a tape holds, a graph runs backwards only what lies behind the layer; eagerly, everything would be.
        run: Callable[..., SaliencyPass] = self._graph if tf.executing_eagerly() else self._run
        labels = None if labels is None else tf.convert_to_tensor(labels)
        return run(tf.convert_to_tensor(images), labels, training)

    def _run(self, images: Any, labels: Any | None, training: bool) -> SaliencyPass:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            activations, features = self._parts(images, training=training)
            scores = self._head(features, training=False)
            if labels is None:
                labels = tf.argmax(scores, axis=-1)
            # A product, since a gather's second derivative is slower.
            explained = tf.nn.log_softmax(scores) if self._explains == "log_probability" else scores
            score = tf.reduce_sum(explained * tf.one_hot(labels, scores.shape[-1], dtype=scores.dtype))
        gradients = tape.gradient(score, activations, unconnected_gradients="zero")
        logits = self._head(features, training=True) if training else scores
        return SaliencyPass(logits, labels, activations, gradients)


def method_of(name: str) -> Callable[[Any, Any, tuple[int, int]], Any]:
    """Return the method of that published name.

    Raises:
        UsageError: There is none.
    """
    if name not in METHODS:
        raise UsageError(f"generate_map takes {' or '.join(METHODS)}.", received=name)
    return METHODS[name]


def maps_one_by_one(
    network: SaliencyNetwork, images: Any, labels: Any, size: tuple[int, int], method: str = "hirescam"
) -> Any:
    """Return the maps [N, H, W] of a batch by a pass of its own for each image: the slow way, to compare with."""
    maps = [network(images[row : row + 1], labels[row : row + 1]).maps(size, method) for row in range(images.shape[0])]
    return tf.concat(maps, axis=0)
