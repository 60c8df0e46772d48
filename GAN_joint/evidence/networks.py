"""The small networks: one reads the row from the image, one tells matched pairs, one predicts the targets.

Images come in as uint8 [N, D, D, 1], rows encoded, [N, K] in [0, 1].
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from GAN_joint.encoding import EncodedColumn
from GAN_joint.evidence.pairs import Rows

_FIRST_FILTERS, _MOST_FILTERS = 16, 128
_LAST_SIDE = 4  # about so many pixels a side are left for the last block
_WIDTH = 64
_DROPOUT = 0.3
_BATCH_NORM_MOMENTUM = 0.9  # epochs of some twenty steps would leave Keras' 0.99 far behind
_LEAST_DEVIATION = 1e-3  # of a number that hardly varies in the train rows, in shares of its range


@keras.saving.register_keras_serializable("GAN_joint")
class ScaleAndPlace(layers.Layer):
    """Scales images to [-1, 1] and adds each pixel's place, from -1 to 1, as two channels.

    What is pooled over an image no longer says where it was seen, and on an ECG sheet the place says which lead it is.

    Source: Liu et al. 2018, "An Intriguing Failing of Convolutional Neural Networks and the CoordConv Solution",
    https://arxiv.org/abs/1807.03247.
    """

    def call(self, images: Any) -> Any:
        """Return float32 [N, H, W, C + 2] of uint8 [N, H, W, C]."""
        _, height, width, _ = images.shape
        across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        places = ops.convert_to_tensor(np.stack([down, across], axis=-1)[None], "float32")  # [1, H, W, 2]
        places = ops.broadcast_to(places, (ops.shape(images)[0], height, width, 2))
        return ops.concatenate([ops.cast(images, "float32") / 127.5 - 1.0, places], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return [N, H, W, C + 2]."""
        return (*input_shape[:-1], input_shape[-1] + 2)


@keras.saving.register_keras_serializable("GAN_joint")
class ReadingLoss(keras.losses.Loss):
    """How far a row that was read from an image is from the image's own, averaged over the columns.

    Half the squared error of a number, in variances of the train rows; the cross-entropy of a binary column or
    target, from its logit, and of a category, from its logits.

    Args:
        kinds: Of every column, in order: "number", "binary", "target" or "category".
        widths: Encoded columns of each.
        name: As Keras takes it.
    """

    def __init__(self, kinds: tuple[str, ...], widths: tuple[int, ...], name: str = "reading") -> None:
        super().__init__(name=name)
        self.kinds, self.widths = tuple(kinds), tuple(widths)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of every row, [N]; numbers in both are standardised, see `NumberScale`."""
        terms, start = [], 0
        for kind, width in zip(self.kinds, self.widths, strict=True):
            truth, read = y_true[:, start : start + width], y_pred[:, start : start + width]
            if kind == "category":
                terms.append(ops.categorical_crossentropy(truth, read, from_logits=True))
            elif kind == "number":
                terms.append(0.5 * ops.square(truth - read)[:, 0])
            else:
                terms.append(ops.binary_crossentropy(truth, read, from_logits=True)[:, 0])
            start += width
        return sum(terms) / len(terms)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"kinds": self.kinds, "widths": self.widths, "name": self.name}


def reading_loss(columns: Mapping[str, EncodedColumn]) -> ReadingLoss:
    """Return the loss of the network that reads these columns."""
    places = [(one.kind, one.columns.stop - one.columns.start) for one in columns.values()]
    return ReadingLoss(tuple(kind for kind, _ in places), tuple(width for _, width in places))


@dataclass(frozen=True)
class NumberScale:
    """Mean and standard deviation of the encoded columns of numbers in some rows, [K]; 0 and 1 for the others."""

    mean: Rows
    deviation: Rows

    @classmethod
    def fit(cls, columns: Mapping[str, EncodedColumn], rows: Rows) -> "NumberScale":
        """Return that of encoded rows [N, K]."""
        mean, deviation = np.zeros(rows.shape[1], np.float32), np.ones(rows.shape[1], np.float32)
        for column in columns.values():
            if column.kind == "number":
                mean[column.columns] = rows[:, column.columns].mean(axis=0)
                deviation[column.columns] = np.maximum(rows[:, column.columns].std(axis=0), _LEAST_DEVIATION)
        return cls(mean, deviation)

    def standardised(self, rows: Rows) -> Rows:
        """Return rows as the reader is taught them."""
        return (rows - self.mean) / self.deviation


def build_reader(image_size: int, num_columns: int) -> keras.Model:
    """Return the network that reads a row from an image: uint8 [N, D, D, 1] -> numbers and logits [N, K].

    Numbers come out in standard deviations from their mean (see `NumberScale`).
    """
    images = _image_input(image_size)
    return keras.Model(images, layers.Dense(num_columns, name="row")(_image_encoder(images)), name="reader")


def build_matcher(image_size: int, num_columns: int) -> keras.Model:
    """Return the network that tells whether rows are those of images.

    It reads a row from the image, as the reader does, and compares: what was read times what the row says, column by
    column, says how likely the row is; more may be found in the same of an embedding of either. Without the reading,
    which is taught beside, a few hundred pairs hardly set it going.

    It takes {"images": uint8 [N, D, D, 1], "rows": [N, M, K]}, M rows for each image, and returns {"pair": a logit for
    each pair, [N, M], "row": what the reader returns, [N, K]}.
    """
    images, rows = _image_input(image_size), keras.Input((None, num_columns), name="rows")
    seen = _image_encoder(images)
    read = layers.Dense(num_columns, name="row")(seen)
    said = layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, center=False, scale=False, name="rows_norm")(rows)
    image_side = _for_each_row(layers.Dense(_WIDTH, name="image_side")(seen), "image")
    row_side = layers.Dense(_WIDTH, name="row_side")(_table_encoder(rows))
    met = [
        layers.Multiply(name="read_times_said")([_for_each_row(read, "read"), said]),
        layers.Multiply(name="sides_product")([image_side, row_side]),
        layers.ReLU(name="sides_relu")(layers.Add(name="sides_sum")([image_side, row_side])),
    ]
    x = layers.Dropout(_DROPOUT, name="pair_dropout")(layers.Concatenate(name="pair_parts")(met))
    x = layers.Dense(_WIDTH // 2, activation="relu", name="pair_dense")(x)
    logits = layers.Flatten(name="pair")(layers.Dense(1, name="pair_logit")(x))  # [N, M, 1] -> [N, M]
    return keras.Model({"images": images, "rows": rows}, {"pair": logits, "row": read}, name="matcher")


def _for_each_row(seen: Any, name: str) -> Any:
    """Return what is seen on images, [N, E], with an axis for the rows it meets: [N, 1, E]."""
    return layers.Reshape((1, seen.shape[-1]), name=f"{name}_for_each_row")(seen)


@keras.saving.register_keras_serializable("GAN_joint")
def matching_loss(y_true: Any, y_pred: Any) -> Any:
    """Return the cross-entropy of logits [N, M], matched and shuffled pairs of an image counting as much: [N].

    Args:
        y_true: 1 for matched pairs, 0 for shuffled ones, [N, M].
        y_pred: Logits [N, M].
    """
    losses = ops.softplus(y_pred) - y_true * y_pred
    weights = y_true / ops.sum(y_true, -1, keepdims=True) + (1 - y_true) / ops.sum(1 - y_true, -1, keepdims=True)
    return 0.5 * ops.sum(weights * losses, axis=-1)


def build_predictor(image_size: int, num_factors: int, num_targets: int) -> keras.Model:
    """Return the network that predicts targets from image and factors.

    It takes {"images": uint8 [N, D, D, 1], "rows": [N, F]} and returns logits [N, T]. Without factors (F = 0) it takes
    images alone.
    """
    inputs = {"images": _image_input(image_size)}
    parts = [_image_encoder(inputs["images"])]
    if num_factors:
        inputs["rows"] = keras.Input((num_factors,), name="rows")
        parts.append(_table_encoder(inputs["rows"]))
    x = layers.Concatenate(name="both")(parts) if len(parts) > 1 else parts[0]
    x = layers.Dropout(_DROPOUT, name="both_dropout")(x)
    x = layers.Dense(_WIDTH // 2, activation="relu", name="both_dense")(x)
    return keras.Model(inputs, layers.Dense(num_targets, name="targets")(x), name="predictor")


def _image_input(image_size: int) -> Any:
    return keras.Input((image_size, image_size, 1), dtype="uint8", name="images")


def _image_encoder(images: Any) -> Any:
    """Return what is seen on images, [N, E].

    Blocks of convolution 3x3 with stride 2, batch normalisation and ReLU, then mean and largest value of every feature.
    """
    x = ScaleAndPlace(name="scale_and_place")(images)
    for block in range(math.ceil(math.log2(images.shape[1] / _LAST_SIDE))):
        filters = min(_FIRST_FILTERS * 2**block, _MOST_FILTERS)
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"image_{block}_convolution")(x)
        x = _normalised(x, f"image_{block}")
    pooled = [layers.GlobalAveragePooling2D(name="image_mean")(x), layers.GlobalMaxPooling2D(name="image_largest")(x)]
    x = layers.Dropout(_DROPOUT, name="image_dropout")(layers.Concatenate(name="image_pooled")(pooled))
    x = layers.Dense(_WIDTH, activation="relu", name="image_embedding")(x)
    return layers.Dropout(_DROPOUT, name="image_embedding_dropout")(x)


def _table_encoder(rows: Any) -> Any:
    """Return what rows say, [..., E], of [..., K]."""
    x = layers.Dense(_WIDTH, use_bias=False, name="row_dense")(rows)
    return layers.Dense(_WIDTH, activation="relu", name="row_embedding")(_normalised(x, "row"))


def _normalised(x: Any, name: str) -> Any:
    x = layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
