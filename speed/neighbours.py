"""Time and memory of the nearest-neighbour search, and how much faster a second run is that reads its features.

python3 speed/neighbours.py [--references 200000] [--queries 1000] [--embedded 1000] [--image-dimension 224]

The search runs in a process of its own on made features, which lie on disk in parts as nn.py keeps them; a product of
the whole matrices by scikit-learn stands beside it. Then made images pass through a DenseNet-121 with random weights,
once, and once more from the cache.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth import app

NUM_FEATURES, NUM_NEIGHBOURS = 1024, 5
PART = 8192
MEBIBYTE = 2**20


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("--references", type=int, default=200_000, help="training images")
    parser.add_argument("--queries", type=int, default=1000, help="synthetic images")
    parser.add_argument("--embedded", type=int, default=1000, help="images that pass through the network")
    parser.add_argument("--image-dimension", type=int, default=224, help="pixels a side that the network sees")
    parser.add_argument("--resolution", type=int, default=64, help="of the images before that, a power of two")
    parser.add_argument("--only", choices=("ours", "sklearn"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def memory() -> float:
    """Return the most memory that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEBIBYTE


class Parts:
    """Made features, read from disk a part at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        from medsynth.training.checkpoint import read_arrays

        for path in sorted(self.folder.glob("*.safetensors")):
            yield read_arrays(path)[0]["features"]


def make_features(folder: Path, num_images: int, seed: int) -> None:
    """Write features that are not negative and lie around a few directions, as those of images do."""
    from medsynth.training.checkpoint import write_arrays

    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(0).standard_normal((200, NUM_FEATURES), np.float32)
    for number, start in enumerate(range(0, num_images, PART)):
        size = min(PART, num_images - start)
        vectors = directions[rng.integers(200, size=size)] + rng.standard_normal((size, NUM_FEATURES), np.float32)
        write_arrays(folder / f"{number:05d}.safetensors", {"features": np.maximum(vectors, 0)}, {})


def search(folder: Path, which: str) -> dict[str, float | list[int]]:
    """Search once in this process: seconds, memory, and the nearest of every query."""
    # What is loaded before the clock starts: TensorFlow is, as in nn.py.
    import sklearn.neighbors

    import medsynth.training.checkpoint  # noqa: F401
    from medsynth.classify.neighbours.search import nearest_neighbours

    queries, references = Parts(folder / "queries"), Parts(folder / "references")
    libraries = memory()
    if which == "ours":
        start, cpu_start = time.perf_counter(), time.process_time()
        nearest = nearest_neighbours(queries, references, NUM_NEIGHBOURS).numbers[:, 0]
    else:
        start, cpu_start = time.perf_counter(), time.process_time()
        model = sklearn.neighbors.NearestNeighbors(n_neighbors=NUM_NEIGHBOURS, metric="cosine", algorithm="brute")
        nearest = model.fit(np.concatenate(list(references))).kneighbors(np.concatenate(list(queries)))[1][:, 0]
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "memory": memory(),
        "libraries": libraries,
        "nearest": nearest.tolist(),
    }


def features_twice(folder: Path, num_images: int, resolution: int, image_dimension: int) -> tuple[float, float]:
    """Return the seconds that the features of made images take when computed and when read."""
    import keras

    from medsynth.data.tfrecords import RecordFile, RecordWriter
    from medsynth.files import write_json
    from medsynth.metrics.cache import FeatureCache, RecordFeatures
    from medsynth.metrics.features import classifier_extractor
    from medsynth.networks.densenet import build_densenet121
    from medsynth.networks.trained_classifier import BEST_WEIGHTS, TRAIN_FOLDER, read_classifier
    from medsynth.networks.weights import save_weights
    from medsynth.runs import CONFIG_NAME

    keras.utils.set_random_seed(1)
    save_weights(build_densenet121(image_dimension, 5), folder / TRAIN_FOLDER / BEST_WEIGHTS)
    settings = {
        "trained_on": "no",
        "initialisation": "random initialisation",
        "random_seed": 1,
        "resolution": resolution,
        "data.labels": list("abcde"),
        "train.image_dimension": image_dimension,
        "train.precision": "float32",
        "train.output_weights_name": "weights.h5",
    }
    write_json(folder / TRAIN_FOLDER / CONFIG_NAME, settings)
    rng = np.random.default_rng(0)
    with RecordWriter(folder / "train-r.tfrecords") as writer:
        for _ in range(num_images):
            writer.write(rng.integers(0, 256, (resolution, resolution, 1), dtype=np.uint8))
    records, extractor = RecordFile(folder / "train-r.tfrecords"), classifier_extractor(read_classifier(folder))
    extractor(records.read([0]))  # the graph is made at the first call
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        for _part in RecordFeatures(FeatureCache(folder / "cache"), extractor, records):
            pass
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1]


def main(arguments: argparse.Namespace) -> None:
    """Make features, search in processes of their own, and print a table."""
    if arguments.only is not None:
        print(json.dumps(search(arguments.folder, arguments.only)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_features(folder / "references", arguments.references, 1)
        make_features(folder / "queries", arguments.queries, 2)
        print(
            f"{arguments.queries:,} queries against {arguments.references:,} references, {NUM_FEATURES} features; load "
            f"before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
        )
        print("| search | seconds (CPU s), disk to result | MiB at most | MiB of libraries alone |")
        print("| --- | --- | --- | --- |", flush=True)
        nearest = []
        for which, label in (("ours", "in blocks"), ("sklearn", "scikit-learn, all in memory")):
            command = [sys.executable, __file__, f"--only={which}", f"--folder={folder}"]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(output.splitlines()[-1])
            nearest.append(found["nearest"])
            seconds = f"{found['seconds']:.1f} ({found['cpu_seconds']:.1f})"
            print(f"| {label} | {seconds} | {found['memory']:,.0f} | {found['libraries']:,.0f} |", flush=True)
        print(f"\nnearest neighbours that differ: {sum(a != b for a, b in zip(*nearest, strict=True))}")
    with tempfile.TemporaryDirectory() as name:
        size = (arguments.embedded, arguments.resolution, arguments.image_dimension)
        computed, read = features_twice(Path(name), *size)
        print(
            f"features of {arguments.embedded:,} images at {arguments.image_dimension}x{arguments.image_dimension}: "
            f"{computed:.2f} s computed, {read:.3f} s read from the cache ({computed / read:,.0f} times as fast)"
        )


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
