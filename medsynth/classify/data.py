"""The images and labels of a split as batches for the classifier."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.classify.config import TrainConfig
from medsynth.data.labels import LabelMatrix, read_split_labels, require_split
from medsynth.data.pyramid import ImagePyramid, open_records
from medsynth.data.tfrecords import Images, RecordFile

_FLIP_STREAM = 2


@dataclass(frozen=True)
class SplitData:
    """A split at one resolution, in record order.

    Attributes:
        folder: Where it lies.
        names: The labels.
        labels: float32 [N, L].
        records: The images, uint8 [H, W, 1 or 3].
    """

    folder: Path
    names: tuple[str, ...]
    labels: LabelMatrix
    records: RecordFile

    def __len__(self) -> int:
        return len(self.labels)


def read_split(folder: Path, resolution: int) -> SplitData:
    """Open a split's images of one resolution with its labels.

    Raises:
        DataError: Missing or damaged files, no records of this resolution (the
            message lists those there are), or records and labels that differ in number.
    """
    require_split(folder)
    labels = read_split_labels(folder)
    return SplitData(
        folder, labels.names, labels.values, open_records(folder, resolution, expected_num=len(labels.values))
    )


def training_batches(data: ImagePyramid, config: TrainConfig, first_step: int, last_step: int) -> Any:
    """Return a tf.data.Dataset of normalised, randomly flipped images [B, D, D, 3] and labels [B, L].

    Every image is seen once before any is seen twice. Order and flips are fixed
    by the seed of `data` and the step, so a training can go on at any step.

    Args:
        data: The training split.
        config: [TRAIN]: image_dimension D, batch_size B, resize.
        first_step: Number of the first batch, counted from the beginning of the training.
        last_step: Where to stop (exclusive).
    """
    import tensorflow as tf  # noqa: PLC0415  (reading and checking data needs no TensorFlow)

    from medsynth.classify.preprocess import random_flip  # noqa: PLC0415
    from medsynth.networks.imagenet_input import preprocess  # noqa: PLC0415

    batch_size = config.batch_size

    def gather(step: npt.NDArray[np.int64]) -> tuple[Images, LabelMatrix]:
        return data.batch(int(step) * batch_size, batch_size, data.resolution)

    # Stateless draws take two integers below 2^63; the second one is the step.
    flip_seed = int(np.random.default_rng((data.seed, _FLIP_STREAM)).integers(2**31))

    def load(step: Any) -> tuple[Any, Any, Any]:
        images, labels = tf.numpy_function(gather, [step], [tf.uint8, tf.float32], stateful=False)
        images.set_shape([batch_size, data.resolution, data.resolution, data.num_channels])
        labels.set_shape([batch_size, len(data.label_names)])
        return step, images, labels

    def prepare(step: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        seed = tf.stack([tf.constant(flip_seed, tf.int64), step])
        return random_flip(preprocess(images, config.image_dimension, config.resize), seed), labels

    # Reading is a copy; resizing and flipping are what several threads are for. The order stays that of the steps.
    batches = tf.data.Dataset.range(first_step, last_step).map(load)
    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def evaluation_batches(data: SplitData, image_dimension: int, resize: str, batch_size: int, num_images: int) -> Any:
    """Return a tf.data.Dataset of the first `num_images` images in record order, [B, D, D, 3], normalised.

    All batches are full, since an image's result can differ in its last bits
    between batch sizes: the last one is filled up with copies of its last
    image, whose results the caller cuts off.
    """
    import tensorflow as tf  # noqa: PLC0415

    from medsynth.networks.imagenet_input import preprocess  # noqa: PLC0415

    def gather(start: npt.NDArray[np.int64]) -> Images:
        return data.records.read(np.minimum(np.arange(int(start), int(start) + batch_size), num_images - 1))

    def load(start: Any) -> Any:
        images = tf.numpy_function(gather, [start], tf.uint8, stateful=False)
        images.set_shape([batch_size, *data.records.shape])
        return preprocess(images, image_dimension, resize)

    return tf.data.Dataset.range(0, num_images, batch_size).map(load).prefetch(2)
