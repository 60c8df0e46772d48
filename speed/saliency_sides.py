"""The sides of saliency_step.py: ways to the gradients of CEntIoU, and the step around each."""

import json
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import rivals
import tensorflow as tf
from safetensors.numpy import save_file

from classifier_segment.losses import CEntIoU, Form, LossTerms, loss_gradients
from classifier_segment.models.classifier import build_classifier
from classifier_segment.saliency import SaliencyNetwork, maps_one_by_one

LEARNING_RATE = 4e-6  # as published
NUM_CLASSES, SEED = 3, 1

Found = tuple[LossTerms, list[Any]]  # and the gradients


class Sides:
    """A classifier and the ways to its gradients; each takes images, labels and masks.

    Args:
        image_dimension: Pixels a side.
    """

    def __init__(self, image_dimension: int) -> None:
        keras.utils.set_random_seed(SEED)
        self.classifier = build_classifier("squeezenet1_0", NUM_CLASSES, image_dimension=image_dimension)
        # Logits end in ReLU, below which there is nothing to explain.
        self.classifier.head.get_layer("classifier.1").bias.assign([1.0] * NUM_CLASSES)
        self.network = SaliencyNetwork(self.classifier)
        self.weights = self.classifier.network.trainable_variables
        self.size = (image_dimension, image_dimension)

    def plain(self, images: Any, labels: Any, masks: Any) -> Found:
        """Weighted cross-entropy alone: without a map there is no overlap."""
        return self.after_maps(images, labels, tf.zeros((1, 1, 1)), tf.zeros((1, 1, 1)))

    def batched(self, images: Any, labels: Any, masks: Any, form: Form = "differentiable") -> Found:
        """What a training does."""
        found = loss_gradients(self.network, self.weights, CEntIoU(form), images, labels, masks)
        return found.terms, found.gradients

    def batched_published(self, images: Any, labels: Any, masks: Any) -> Found:
        """What a training with the published loss does."""
        return self.batched(images, labels, masks, "published")

    def loop(self, images: Any, labels: Any, masks: Any) -> Found:
        """Maps in a loop of the graph, the next after the last, then the step."""

        def one(image_and_label: tuple[Any, Any]) -> Any:
            image, label = image_and_label
            return self.network(image[None], label[None]).maps(self.size)[0]

        maps = tf.map_fn(one, (images, labels), fn_output_signature=tf.float32, parallel_iterations=1)
        return self.after_maps(images, labels, masks, maps)

    def branches(self, images: Any, labels: Any, masks: Any) -> Found:
        """A pass an image side by side in the graph, of which the runtime may do several at once, and the step."""
        return self.after_maps(images, labels, masks, self.maps_one_by_one(images, labels))

    def through(self, images: Any, labels: Any, masks: Any) -> Found:
        """The same with the gradient going back through every one of these passes."""
        with tf.GradientTape() as tape:
            maps = self.maps_one_by_one(images, labels)
            logits = self.classifier.network(images, training=True)
            terms = CEntIoU("differentiable")(logits, labels, maps, masks)
        return terms, tape.gradient(terms.loss, [weight.value for weight in self.weights])

    def averaged(self, images: Any, labels: Any, masks: Any) -> Found:
        """The batched way for batches of one image, averaged: the same loss where every image has a lesion."""
        batch = (images, labels, masks)
        parts = [self.batched(*(values[row : row + 1] for values in batch)) for row in range(images.shape[0])]
        terms, gradients = (list(zip(*values, strict=True)) for values in zip(*parts, strict=True))
        return LossTerms(*map(tf.reduce_mean, terms)), [tf.add_n(values) / len(parts) for values in gradients]

    def maps_one_by_one(self, images: Any, labels: Any) -> Any:
        """Return maps [N, D, D]."""
        return maps_one_by_one(self.network, images, labels, self.size)

    def after_maps(self, images: Any, labels: Any, masks: Any, maps: Any) -> Found:
        """Return the terms of the published loss with maps that are there already."""
        with tf.GradientTape() as tape:
            logits = self.classifier.network(images, training=True)
            terms = CEntIoU("published")(logits, labels, maps, masks)
        return terms, tape.gradient(terms.loss, [weight.value for weight in self.weights])


def compiled(sides: Sides, side: str, then: Callable[[Found], Any]) -> Callable[[Any, Any, Any], Any]:
    """Return a side as a graph, with what is done with its terms and gradients; `eager` makes its maps outside."""
    if side != "eager":
        return tf.function(lambda *batch: then(getattr(sides, side)(*batch)), autograph=False)
    step = tf.function(lambda *batch: then(sides.after_maps(*batch)), autograph=False)
    return lambda images, labels, masks: step(images, labels, masks, sides.maps_one_by_one(images, labels))


def made_batch(num_images: int, image_dimension: int) -> tuple[Any, Any, Any]:
    """Return normalised images, labels, and masks with a rectangular lesion each."""
    random = np.random.default_rng(SEED)
    masks = np.zeros((num_images, image_dimension, image_dimension), np.float32)
    for mask, (top, left) in zip(masks, random.integers(0, image_dimension // 2, (num_images, 2)), strict=True):
        mask[top : top + image_dimension // 3, left : left + image_dimension // 4] = 1
    images = random.normal(size=(num_images, image_dimension, image_dimension, 3)).astype(np.float32)
    return tf.constant(images), tf.constant(random.integers(0, NUM_CLASSES, num_images)), tf.constant(masks)


def main() -> None:
    """Serve the orders `prove` and `steps`."""
    size, side = json.loads(sys.argv[1]), sys.argv[2]
    sides, batch = Sides(size["image_dimension"]), made_batch(size["num_images"], size["image_dimension"])
    dropout = sides.classifier.head.get_layer("head_dropout")
    optimiser = keras.optimizers.Adam(LEARNING_RATE)
    optimiser.build(sides.weights)

    def update(found: Found) -> Any:
        terms, gradients = found
        optimiser.apply(gradients, sides.weights)
        return terms.loss

    step = compiled(sides, side, update)

    def prove(path: str, way: str = side) -> None:
        # Those that take the images apart would draw other masks.
        rate, dropout.rate = dropout.rate, 0.0
        terms, gradients = compiled(sides, way, lambda found: found)(*batch)
        dropout.rate = rate
        arrays = {name: np.asarray(value) for name, value in terms._asdict().items()}
        arrays |= {f"gradient/{number}": value.numpy() for number, value in enumerate(gradients)}
        save_file(arrays, path)

    rivals.serve({"prove": prove, "steps": rivals.timed_steps(lambda: float(step(*batch)))})


if __name__ == "__main__":
    main()
