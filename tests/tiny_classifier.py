"""A trained classifier's folder, without the training: what nn, cxpl, xplain and the metrics read."""

from pathlib import Path
from typing import Any

import keras

from medsynth.files import write_json, write_text
from medsynth.networks.densenet import build_densenet121
from medsynth.networks.trained_classifier import BEST_WEIGHTS, TRAIN_FOLDER
from medsynth.networks.weights import save_weights
from medsynth.runs import CONFIG_NAME, DONE_NAME


def write_classifier(
    results: Path, names: tuple[str, ...], *, resolution: int = 16, dimension: int = 32, seed: int = 1, **more: Any
) -> keras.Model:
    """Write results/train with weights drawn from a seed, and return the network.

    Args:
        results: The classifier's results folder.
        names: Labels.
        resolution: Of the records.
        dimension: Pixels a side that the network sees.
        seed: Of the weights.
        more: Further settings, dots written as double underscores (train__resize="half_pixel").
    """
    keras.utils.set_random_seed(seed)
    network = build_densenet121(dimension, len(names))
    folder = results / TRAIN_FOLDER
    save_weights(network, folder / BEST_WEIGHTS)
    settings = {
        "trained_on": "real",
        "initialisation": "random initialisation",
        "random_seed": seed,
        "resolution": resolution,
        "data.labels": list(names),
        "train.image_dimension": dimension,
        "train.precision": "float32",
        "train.output_weights_name": "weights.h5",
        "train.resize": "tf1_corner",
    }
    write_json(folder / CONFIG_NAME, settings | {key.replace("__", "."): value for key, value in more.items()})
    write_text(folder / DONE_NAME, "made for a test\n")
    return network
