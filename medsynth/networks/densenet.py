"""DenseNet-121 with a multi-label head, the classifier of every experiment.

Source: Huang et al. 2017, "Densely Connected Convolutional Networks", table 1;
head and input as in Schuette et al. 2021.
"""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from medsynth.networks.batch_norm import normalise_by_batch
from medsynth.networks.weights import load_backbone_weights

HEAD_NAME = "predictions"
SMALLEST_IMAGE_DIMENSION = 32
RANDOM_INITIALISATION = "random initialisation"


class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation in one operation instead of nine.

    Keras 3 composes the layer from elementwise operations. With 121 such layers
    the fused kernel makes training 1.4 times as fast (speed/densenet_step.py).
    Weights and configuration are those of the Keras layer, and so is the name, by
    which Keras' weight files find a layer. The moving variance is the unbiased
    one, as in Keras 2, with which the published numbers were made.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise [N, H, W, C] over N, H, W (training) or with the moving statistics."""
        if not training:
            return tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=tf.convert_to_tensor(self.gamma),
                offset=tf.convert_to_tensor(self.beta),
                mean=tf.convert_to_tensor(self.moving_mean),
                variance=tf.convert_to_tensor(self.moving_variance),
                epsilon=self.epsilon,
                is_training=False,
            ).y
        outputs, mean, variance = normalise_by_batch(inputs, self.gamma, self.beta, self.epsilon)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs


def _fused(momentum: float) -> Any:
    """Return a clone function that replaces batch normalisation layers by fused ones."""

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.BatchNormalization):
            return BatchNormalization.from_config(layer.get_config() | {"momentum": momentum})
        return layer.__class__.from_config(layer.get_config())

    return clone


def densenet121_backbone(image_dimension: int, batch_norm_momentum: float = 0.99) -> keras.Model:
    """Return DenseNet-121 without its top: normalised images [N, D, D, 3] -> mean over places [N, 1024].

    Args:
        image_dimension: D, pixels a side; at least 32.
        batch_norm_momentum: Share of the moving statistics that a training step keeps.
    """
    original = keras.applications.DenseNet121(
        include_top=False, weights=None, pooling="avg", input_shape=(image_dimension, image_dimension, 3)
    )
    return keras.models.clone_model(original, clone_function=_fused(batch_norm_momentum))


def build_densenet121(
    image_dimension: int,
    num_labels: int,
    *,
    precision: str = "float32",
    batch_norm_momentum: float = 0.99,
    backbone_weights: Path | None = None,
) -> keras.Model:
    """Return DenseNet-121: normalised images [N, D, D, 3] -> probabilities [N, L] in [0, 1].

    DenseNet-121 without its top, average pooling to [N, 1024], one dense layer
    with sigmoid named `predictions` (always computed in float32).

    Args:
        image_dimension: D, pixels a side; at least 32.
        num_labels: L.
        precision: `float32` or `mixed_bfloat16` (float32 weights, bfloat16 convolutions).
        batch_norm_momentum: Share of the moving statistics that a training step keeps.
        backbone_weights: File with ImageNet weights of the part before the head;
            None initialises at random (seed it with keras.utils.set_random_seed).

    Raises:
        NetworkError: The weights are missing, damaged or of another architecture.
    """
    previous = keras.config.dtype_policy()
    # keras.applications takes no dtype, so the policy is set around the call.
    keras.config.set_dtype_policy(precision)
    try:
        backbone = densenet121_backbone(image_dimension, batch_norm_momentum)
    finally:
        keras.config.set_dtype_policy(previous)
    if backbone_weights is not None:
        load_backbone_weights(backbone, backbone_weights)
    head = keras.layers.Dense(num_labels, activation="sigmoid", name=HEAD_NAME, dtype="float32")
    return keras.Model(backbone.input, head(backbone.output), name="densenet121")
