"""A step of a classifier's training on one device, and on two logical ones that see the same images.

python3 tests/distributed_classifier.py folder

Both devices get equal halves of a batch, and every image is its own mirror image, so that flips change
nothing: batch normalisation then sees on each device what it sees on one device with half the batch, and
gradients (a tenth of which are Adam's first moments after one step) and moving statistics must be the same.
Prints how much they differ.
"""

import json
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras.src.applications.densenet import DenseNet

from medsynth.classify.config import TrainConfig
from medsynth.classify.data import read_split
from medsynth.classify.trainer import ClassifierTrainer, build_classifier
from medsynth.data.labels import LabelTable, record_order, write_label_table
from medsynth.data.pyramid import ImagePyramid
from medsynth.data.tfrecords import Images, write_split
from medsynth.runs import RunFolder

NAMES, RESOLUTION, NUM_IMAGES, SHARE = ("Bright", "Striped"), 16, 32, 8


class Doubled(ImagePyramid):
    """Batches whose second half repeats the first."""

    def batch(self, images_seen: int, size: int, resolution: int) -> tuple[Images, npt.NDArray[np.float32]]:
        """Return half as many images as asked for, twice."""
        images, labels = super().batch(images_seen // 2, size // 2, resolution)
        return np.concatenate([images] * 2), np.concatenate([labels] * 2)


def write_images(folder: Path, seed: int) -> None:
    """Write a split of images that are their own mirror images."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((NUM_IMAGES, 2)) < 0.5).astype(np.float32)
    images = rng.normal(90, 20, (NUM_IMAGES, RESOLUTION, RESOLUTION, 1)) + 60 * labels[:, :1, None, None]
    images[:, ::2] += 50 * labels[:, 1, None, None, None]
    images = (images + images[:, :, ::-1]) / 2
    paths = tuple(f"patient{number:05d}/view1.png" for number in range(NUM_IMAGES))
    order = record_order(NUM_IMAGES)
    write_split(folder, images[order].clip(0, 255), labels[order], RESOLUTION.bit_length() - 1)
    write_label_table(folder, LabelTable(paths, NAMES, labels))


def train(folder: Path, strategy: tf.distribute.Strategy) -> dict[str, npt.NDArray[np.float64]]:
    """Train for one step in folder/run<devices>; return its loss, gradients and moving statistics, each flat."""
    factor = strategy.num_replicas_in_sync
    config = TrainConfig(
        samples_per_epoch=SHARE * factor,
        epochs=1,
        batch_size=SHARE * factor,
        image_dimension=32,
        batch_norm_momentum=0.5,
        resize="half_pixel",
    )
    kind = ImagePyramid if factor == 1 else Doubled
    data = kind(folder / "train", RESOLUTION, smallest_resolution=RESOLUTION, seed=0)
    network = build_classifier(config, len(NAMES), 0, None, strategy)
    with RunFolder(folder / f"run{factor}", {}) as run:
        row = ClassifierTrainer(run, network, config, data, read_split(folder / "valid", RESOLUTION)).train()
    moments = [variable.numpy() for variable in network.optimizer.variables if "momentum" in variable.path]
    moving = [variable.numpy() for variable in network.non_trainable_variables]
    flat = {"gradients": 10 * np.concatenate([each.ravel() for each in moments], dtype=np.float64)}
    flat["statistics"] = np.concatenate([each.ravel() for each in moving], dtype=np.float64)
    return flat | {"loss": np.array([row["loss"]])}


def main(folder: Path) -> None:
    """Train both ways and print the relative differences as JSON."""
    # A step of all 121 layers on two devices takes minutes to trace; blocks of one layer each are made of the same.
    keras.applications.DenseNet121 = partial(DenseNet, [1, 1, 1, 1])
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    for seed, split in enumerate(("train", "valid")):
        write_images(folder / split, seed)
    one = train(folder, tf.distribute.get_strategy())
    two = train(folder, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    print(json.dumps({name: float(np.linalg.norm(two[name] - one[name]) / np.linalg.norm(one[name])) for name in one}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
