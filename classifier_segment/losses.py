"""CEntIoU: cross-entropy that also asks where the classifier looks.

    loss = w * cross-entropy - (1 - w) * overlap

`published` is the original's number. What it calls IoU is the share of the salient area that lies on the lesion, of
maps cut at 0.5, pooled over the batch and computed outside the graph: no gradient comes from it, and the loss trains as
plain cross-entropy. `differentiable` is a soft intersection over union of maps that are not cut, through which the
gradient goes back into the maps and the weights behind them.

Source: Parola et al. 2024; the soft form is that of Rahman and Wang 2016, "Optimizing intersection-over-union in deep
neural networks for image segmentation".
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from classifier_segment.saliency import SaliencyNetwork

Form = Literal["published", "differentiable"]
NormsAt = Literal["layer", "weights"]
PUBLISHED_WEIGHT, PUBLISHED_CUT = 0.7, 0.5


class LossTerms(NamedTuple):
    """A batch's loss and what it is made of, scalars.

    Attributes:
        loss: w * cross_entropy - (1 - w) * overlap.
        cross_entropy: Mean over the batch, from 0.
        overlap: Of saliency and lesion, in [0, 1].
    """

    loss: Any
    cross_entropy: Any
    overlap: Any


@dataclass(frozen=True)
class CEntIoU:
    """The loss.

    Attributes:
        form: Of the overlap; only `differentiable` trains it.
        weight: w, in [0, 1]; 1 is plain cross-entropy.
    """

    form: Form = "published"
    weight: float = PUBLISHED_WEIGHT

    def __call__(self, logits: Any, labels: Any, maps: Any, masks: Any) -> LossTerms:
        """Return the terms of a batch.

        Args:
            logits: [N, L].
            labels: Integers [N].
            maps: Saliency for these labels, [N, H, W] in [0, 1].
            masks: 1 on the lesion, 0 beside it, [N, H, W].
        """
        entropy = cross_entropy(logits, labels)
        masks = ops.cast(masks, "float32")
        overlap = soft_overlap(maps, masks) if self.form == "differentiable" else published_overlap(maps, masks)
        return LossTerms(self.weight * entropy - (1 - self.weight) * overlap, entropy, overlap)


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Return the mean over the batch of -log softmax(logits)[label], for logits [N, L] and integers [N]."""
    logits = ops.cast(logits, "float32")
    return ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def published_overlap(maps: Any, masks: Any) -> Any:
    """Return which share of the salient area lies on lesions: pooled over the batch, 0 where nothing is salient.

    Args:
        maps: [N, H, W] in [0, 1]; salient is what is above 0.5.
        masks: 0 or 1, [N, H, W].
    """
    salient = ops.cast(ops.stop_gradient(maps) > PUBLISHED_CUT, "float32")
    return ops.sum(salient * masks) / ops.maximum(ops.sum(salient), 1)


def soft_overlap(maps: Any, masks: Any) -> Any:
    """Return the mean over images of sum(m g) / sum(m + g - m g), maps m and masks g; an image without both counts 0.

    A mean over images rather than a pool of pixels: small lesions count as much as large ones, and it is the same
    however a batch is shared out to devices. Images with an empty mask have nothing to point at and are left out.

    Args:
        maps: [N, H, W] in [0, 1].
        masks: 0 or 1, [N, H, W].
    """
    lesion = ops.sum(masks, axis=(1, 2))
    both = ops.sum(maps * masks, axis=(1, 2))
    either = ops.sum(maps, axis=(1, 2)) + lesion - both
    has_lesion = ops.cast(lesion > 0, "float32")
    return ops.sum(has_lesion * both / ops.maximum(either, 1)) / ops.maximum(ops.sum(has_lesion), 1)


class LossGradients(NamedTuple):
    """What a step needs, and what it reports.

    Attributes:
        terms: Of the batch.
        logits: [N, L].
        gradients: Of the loss, one for each trainable weight.
        cross_entropy_norm: Norm of the gradient of w * cross-entropy.
        overlap_norm: Norm of the gradient of (1 - w) * overlap; 0 for `published`.
    """

    terms: LossTerms
    logits: Any
    gradients: list[Any]
    cross_entropy_norm: Any
    overlap_norm: Any


def loss_gradients(
    network: SaliencyNetwork,
    weights: list[Any],
    loss: CEntIoU,
    images: Any,
    labels: Any,
    masks: Any,
    *,
    norms_at: NormsAt = "layer",
) -> LossGradients:
    """Return the loss of a batch and its gradients; to be called in a tf.function.

    Args:
        network: The classifier.
        weights: Its trainable variables.
        loss: CEntIoU.
        images: Normalised, [N, D, D, 3].
        labels: Integers [N].
        masks: 0 or 1, [N, H, W].
        norms_at: What both terms' gradient norms are taken with respect to: `layer`, the activations of the layer that
            the maps are of, where both terms enter the backbone, which costs little behind a late layer; or `weights`,
            all of them, for which `differentiable` needs a second pass back through the whole network.
    """
    trains_overlap = loss.form == "differentiable" and loss.weight < 1
    with tf.GradientTape(persistent=True) as tape:
        found = network(images, labels, training=True)
        maps = found.maps((masks.shape[1], masks.shape[2]))
        terms = loss(found.logits, labels, maps, masks)
        cross_entropy_part = loss.weight * terms.cross_entropy
        overlap_part = -(1 - loss.weight) * terms.overlap
        # Of the published overlap nothing is recorded, so it is left out.
        parts = [cross_entropy_part, overlap_part] if trains_overlap else [cross_entropy_part]
        total = sum(parts)
    variables = [getattr(weight, "value", weight) for weight in weights]
    if norms_at == "weights":
        separate = [_gradients(tape, part, variables) for part in parts]
        gradients = [sum(shares) for shares in zip(*separate, strict=True)]
    else:
        separate = [_gradients(tape, part, [found.activations]) for part in parts]
        gradients = _gradients(tape, total, variables)
    norms = [tf.linalg.global_norm(part) for part in separate] + [tf.constant(0.0)]
    return LossGradients(terms, found.logits, gradients, norms[0], norms[1])


def _gradients(tape: tf.GradientTape, value: Any, sources: list[Any]) -> list[Any]:
    found = tape.gradient(value, sources, unconnected_gradients="zero")
    # That of a table whose rows are taken, as Swin's, comes as slices.
    return [tf.convert_to_tensor(gradient) for gradient in found]
