"""The results folder of a training that never took place: an untrained tiny network, settings, log and pictures."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from GAN_prog.networks import Generator
from medsynth.files import write_json, write_text
from medsynth.report.grids import save_image_grid
from medsynth.training.checkpoint import save_networks

LABELS = ("No Finding", "Cardiomegaly", "Edema")
RESOLUTION = 16
CLASSES = {"Generator": Generator}
SETTINGS = {
    "application": "prog-GAN",
    "random_seed": 3,
    "resolution": RESOLUTION,
    "data.num_images": 64,
    "network.fmap_base": 64,
    "network.precision": "float32",
    "schedule.total_kimg": 8.0,
    "schedule.initial_resolution": 8,
    "schedule.training_kimg": 1.0,
    "schedule.transition_kimg": 1.0,
}


def _tick(number: int, kimg: float, seconds: float) -> str:
    return (
        f"tick {number:<5d} kimg {kimg:<8.1f} lod 0.00  minibatch 8    time 40s      sec/tick {seconds:<7.1f} "
        "sec/kimg 5.00    maintenance 0.2   skipped 0"
    )


# Killed after its second tick, and gone on from the first.
_LINES = ("warning: no tick", _tick(1, 2, 10), _tick(2, 4, 99), "going on", _tick(2, 4, 10), _tick(3, 8, 20) + " fid 9")
LOG = "\n".join(_LINES) + "\n"


def tiny_generator(network_class: type = Generator, **changes: Any) -> Any:
    keras.utils.set_random_seed(5)
    size = {"resolution": RESOLUTION, "label_size": len(LABELS), "fmap_base": 64, "fmap_max": 8}
    network = network_class(**size | changes)
    network.build()
    return network


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "application": "prog-GAN",
        "label_names": list(LABELS),
        "resolution": RESOLUTION,
        "random_seed": 3,
        "images_seen": 8000,
        "chosen_by": "last",
    } | changes


def write_results(folder: Path, name: str = "network-final", network: Any = None, **changes: Any) -> Path:
    """Write a stored network with settings and log; pictures get brighter with every tick."""
    save_networks(folder / name, {"average": network or tiny_generator()}, facts(**changes))
    write_json(folder / "config.json", SETTINGS)
    write_text(folder / "log.txt", LOG)
    for number, kimg in enumerate((0, 2, 4, 8)):
        save_image_grid(folder / f"fakes{kimg:06d}.png", np.full((6, 16, 16, 1), 60 * number, np.uint8), 3)
    return folder
