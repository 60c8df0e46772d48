"""One training step and one validation step of each kind of network."""

from typing import Any, Protocol

import keras
import tensorflow as tf

from classifier_segment.inputs import ClassifierInput
from classifier_segment.losses import CEntIoU, NormsAt, cross_entropy, loss_gradients
from classifier_segment.saliency import SaliencyNetwork

Batch = dict[str, tf.Tensor]
Scalars = dict[str, tf.Tensor]


class Task(Protocol):
    """What the training loop needs of a kind of network."""

    network: keras.Model
    optimizer: keras.optimizers.Optimizer

    def train_step(self, batch: Batch) -> Scalars:
        """Change the weights by a batch; return scalars, of which `loss` is one. A compiled function."""

    def validation_step(self, batch: Batch) -> Scalars:
        """Return means over a batch, of which `loss` is one. A compiled function."""


def batch_signature(size: int) -> dict[str, tf.TensorSpec]:
    """Return the form of batches from `data.batches`: the last one of an epoch may be smaller."""
    return {
        "image": tf.TensorSpec([None, size, size, 3], tf.float32),
        "mask": tf.TensorSpec([None, size, size, 1], tf.float32),
        "label": tf.TensorSpec([None], tf.int32),
        "record": tf.TensorSpec([None], tf.int32),
    }


class CrossEntropyTask:
    """Whole and masked classification: cross-entropy.

    Args:
        network: Normalised images -> logits.
        optimizer: Of its weights.
        prepare: From a batch's images to normalised ones.
        image_size: Pixels a side.
    """

    def __init__(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        prepare: ClassifierInput,
        image_size: int,
    ) -> None:
        self.network, self.optimizer, self.prepare = network, optimizer, prepare
        signature = [batch_signature(image_size)]
        self.train_step = tf.function(self._train, signature, autograph=False)
        self.validation_step = tf.function(self._validate, signature, autograph=False)

    def _train(self, batch: Batch) -> Scalars:
        images = self.prepare.images(batch["image"])
        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)
            loss = cross_entropy(logits, batch["label"])
        _apply(self.optimizer, tape.gradient(loss, _values(self.network)), self.network)
        return {"loss": loss, "accuracy": _accuracy(logits, batch["label"])}

    def _validate(self, batch: Batch) -> Scalars:
        logits = self.network(self.prepare.images(batch["image"]), training=False)
        return {"loss": cross_entropy(logits, batch["label"]), "accuracy": _accuracy(logits, batch["label"])}


class SaliencyTask:
    """Classification with CEntIoU, which also asks where the network looks.

    Args:
        saliency: Of the network.
        network: Normalised images -> logits.
        optimizer: Of its weights.
        prepare: From a batch's images and masks to the network's.
        loss: CEntIoU.
        norms_at: See `losses.loss_gradients`.
        image_size: Pixels a side.
    """

    def __init__(
        self,
        saliency: SaliencyNetwork,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        prepare: ClassifierInput,
        loss: CEntIoU,
        norms_at: NormsAt,
        image_size: int,
    ) -> None:
        self.saliency, self.network, self.optimizer = saliency, network, optimizer
        self.prepare, self.loss, self.norms_at = prepare, loss, norms_at
        signature = [batch_signature(image_size)]
        self.train_step = tf.function(self._train, signature, autograph=False)
        self.validation_step = tf.function(self._validate, signature, autograph=False)

    def _train(self, batch: Batch) -> Scalars:
        images, masks = self.prepare.images(batch["image"]), self.prepare.masks(batch["mask"])
        found = loss_gradients(
            self.saliency,
            self.network.trainable_variables,
            self.loss,
            images,
            batch["label"],
            masks,
            norms_at=self.norms_at,
        )
        _apply(self.optimizer, found.gradients, self.network)
        return {
            "loss": found.terms.loss,
            "cross_entropy": found.terms.cross_entropy,
            "overlap": found.terms.overlap,
            "cross_entropy_norm": found.cross_entropy_norm,
            "overlap_norm": found.overlap_norm,
            "accuracy": _accuracy(found.logits, batch["label"]),
        }

    def _validate(self, batch: Batch) -> Scalars:
        images, masks = self.prepare.images(batch["image"]), self.prepare.masks(batch["mask"])
        found = self.saliency(images, batch["label"])
        terms = self.loss(found.logits, batch["label"], found.maps((masks.shape[1], masks.shape[2])), masks)
        return {
            "loss": terms.loss,
            "cross_entropy": terms.cross_entropy,
            "overlap": terms.overlap,
            "accuracy": _accuracy(found.logits, batch["label"]),
        }


class SegmentationTask:
    """Segmentation: binary cross-entropy of every pixel.

    Args:
        network: Images in [0, 1] -> logits [N, S, S, 1].
        optimizer: Of its weights.
        image_size: Pixels a side.
    """

    def __init__(self, network: keras.Model, optimizer: keras.optimizers.Optimizer, image_size: int) -> None:
        self.network, self.optimizer = network, optimizer
        signature = [batch_signature(image_size)]
        self.train_step = tf.function(self._train, signature, autograph=False)
        self.validation_step = tf.function(self._validate, signature, autograph=False)

    def _train(self, batch: Batch) -> Scalars:
        with tf.GradientTape() as tape:
            logits = self.network(batch["image"], training=True)
            loss = _pixel_cross_entropy(logits, batch["mask"])
        _apply(self.optimizer, tape.gradient(loss, _values(self.network)), self.network)
        return {"loss": loss, "dice": _dice(logits, batch["mask"])}

    def _validate(self, batch: Batch) -> Scalars:
        logits = self.network(batch["image"], training=False)
        return {"loss": _pixel_cross_entropy(logits, batch["mask"]), "dice": _dice(logits, batch["mask"])}


def _values(network: keras.Model) -> list[Any]:
    return [variable.value for variable in network.trainable_variables]


def _apply(optimizer: keras.optimizers.Optimizer, gradients: list[Any], network: keras.Model) -> None:
    optimizer.apply(gradients, network.trainable_variables)


def _accuracy(logits: Any, labels: Any) -> Any:
    return tf.reduce_mean(tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32))


def _pixel_cross_entropy(logits: Any, masks: Any) -> Any:
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(masks, tf.cast(logits, tf.float32)))


def _dice(logits: Any, masks: Any) -> Any:
    """Return Dice of all pixels of a batch, at a probability of one half."""
    marked = tf.cast(logits > 0, tf.float32)
    return 2 * tf.reduce_sum(marked * masks) / tf.maximum(tf.reduce_sum(marked + masks), 1)
