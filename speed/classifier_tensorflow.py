"""The suite's side of classifier.py: the classifier's training step as fit runs it, or its input pipeline alone."""

import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import rivals
import tensorflow as tf
from safetensors.numpy import save_file

from medsynth.classify.config import TrainConfig
from medsynth.classify.data import training_batches
from medsynth.classify.trainer import build_classifier
from medsynth.data.labels import LabelTable, record_order, write_label_table
from medsynth.data.pyramid import ImagePyramid
from medsynth.data.tfrecords import write_split
from medsynth.training.checkpoint import named_variables

NUM_RECORDS = 256


def serve_step(config: TrainConfig, num_labels: int) -> None:
    """Serve the orders `steps` and `prove` of a training step."""
    network = build_classifier(config, num_labels, 1, None)
    optimizer = keras.optimizers.Adam(config.initial_learning_rate)
    network.compile(optimizer=optimizer, loss="binary_crossentropy", jit_compile=False)
    random = np.random.default_rng(1)
    images = random.standard_normal((config.batch_size, config.image_dimension, config.image_dimension, 3), np.float32)
    labels = (random.random((config.batch_size, num_labels)) < 0.3).astype(np.float32)
    network.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors((images, labels)).cache().repeat())

    def step() -> None:
        float(network.train_function(batches)["loss"])

    def prove(path: str) -> None:
        """Write weights, input, loss and gradients."""
        for key, variable in named_variables(network).items():
            # Values as drawn, ones and zeros, would hide a scale or a bias at the wrong place.
            if key.endswith(("gamma", "beta", "bias")):
                variable.assign(variable + 0.1 * random.standard_normal(variable.shape))
        variables = {key: variable for key, variable in named_variables(network).items() if variable.trainable}

        @tf.function(autograph=False)
        def differentiate() -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                scores = network(tf.constant(images), training=True)
                loss = tf.reduce_mean(keras.losses.binary_crossentropy(labels, scores))
            return loss, tape.gradient(loss, [variable.value for variable in variables.values()])

        arrays = {f"weight/{key}": variable.numpy() for key, variable in variables.items()}
        loss, gradients = differentiate()
        arrays |= {"input/images": images, "input/labels": labels, "loss": loss.numpy()}
        arrays |= {f"gradient/{key}": g.numpy() for key, g in zip(variables, gradients, strict=True)}
        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path)

    rivals.serve({"steps": rivals.timed_steps(step), "prove": prove})


def serve_pipeline(config: TrainConfig, num_labels: int, resolution: int) -> None:
    """Serve `steps`: so many batches of images from records, resized, normalised and flipped."""
    with tempfile.TemporaryDirectory() as folder:
        split = Path(folder) / "train"
        random = np.random.default_rng(1)
        labels = np.eye(num_labels, dtype=np.float32)[random.integers(num_labels, size=NUM_RECORDS)]
        images = random.integers(0, 256, (NUM_RECORDS, resolution, resolution, 1)).astype(np.float32)
        write_split(split, images, labels[record_order(NUM_RECORDS)], resolution.bit_length() - 1)
        paths = tuple(f"patient{number:05d}/view1.png" for number in range(NUM_RECORDS))
        names = tuple(f"label {number}" for number in range(num_labels))
        write_label_table(split, LabelTable(paths, names, labels))
        data = ImagePyramid(split, resolution, smallest_resolution=resolution, seed=1)
        batches = iter(training_batches(data, config, 0, 10**9))
        rivals.serve({"steps": rivals.timed_steps(lambda: next(batches))})


def main() -> None:
    """Serve what the command line asks for."""
    size, precision = json.loads(sys.argv[1]), sys.argv[2]
    config = TrainConfig(
        image_dimension=size["image_dimension"],
        batch_size=size["num_images"],
        precision="mixed_bfloat16" if precision == "bfloat16" else "float32",
    )
    if precision == "pipeline":
        serve_pipeline(config, size["num_labels"], size["resolution"])
    else:
        serve_step(config, size["num_labels"])


if __name__ == "__main__":
    main()
