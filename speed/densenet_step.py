"""Training steps of the classifier per second: float32 and bfloat16, fused and Keras' own batch normalisation.

python3 densenet_step.py [--image-dimension 64] [--batch-size 48] [--rounds 5]

All variants run in turns in one process, so that other load on the machine hits
all of them; a row is the median over the rounds.
"""

import argparse
import statistics
import time
from typing import Any

from medsynth import app

NUM_LABELS = 7
STEPS_PER_ROUND = 4


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("--image-dimension", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    return parser


def _stock_network(image_dimension: int, precision: str) -> Any:
    """Return keras.applications' DenseNet-121 with the same head."""
    import keras

    keras.config.set_dtype_policy(precision)
    backbone = keras.applications.DenseNet121(
        include_top=False, weights=None, pooling="avg", input_shape=(image_dimension, image_dimension, 3)
    )
    keras.config.set_dtype_policy("float32")
    head = keras.layers.Dense(NUM_LABELS, activation="sigmoid", dtype="float32")
    return keras.Model(backbone.inputs, head(backbone.output))


def main(arguments: argparse.Namespace) -> None:
    """Build the variants, then time them in turns."""
    import keras
    import numpy as np

    from medsynth.networks.densenet import build_densenet121

    size, batch = arguments.image_dimension, arguments.batch_size
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, size, size, 3)).astype(np.float32)
    labels = rng.integers(0, 2, (batch, NUM_LABELS)).astype(np.float32)
    networks: dict[str, Any] = {}
    for precision in ("float32", "mixed_bfloat16"):
        networks[f"{precision}, fused"] = build_densenet121(size, NUM_LABELS, precision=precision)
        networks[f"{precision}, Keras' own"] = _stock_network(size, precision)
    first: dict[str, float] = {}
    for name, network in networks.items():
        network.compile(keras.optimizers.Adam(1e-4), "binary_crossentropy", jit_compile=False)
        start = time.perf_counter()
        for _ in range(2):  # the second step may trace again
            network.train_on_batch(images, labels)
        first[name] = time.perf_counter() - start
    rates: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(arguments.rounds):
        for name, network in networks.items():
            start = time.perf_counter()
            for _ in range(STEPS_PER_ROUND):
                network.train_on_batch(images, labels)
            rates[name].append(batch * STEPS_PER_ROUND / (time.perf_counter() - start))
    print(f"{size}x{size}, batch {batch}")
    print(f"{'variant':32s} {'images/s':>9s} {'against float32, Keras own':>27s} {'first two steps, s':>19s}")
    reference = statistics.median(rates["float32, Keras' own"])
    for name, values in rates.items():
        rate = statistics.median(values)
        print(f"{name:32s} {rate:9.1f} {rate / reference:27.2f} {first[name]:19.1f}")


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
