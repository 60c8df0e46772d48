"""Time atrous convolutions of the segmenters, forward and back: ours beside TensorFlow's, in turn, in one process.

python3 speed/atrous.py [--rounds N]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from classifier_segment.models.segmenters import AtrousConv2D

# (side of the maps, channels, filters, rate): of DeepLabV3-ResNet50 at 96 and at 224 pixels.
CASES = ((12, 512, 128, 4), (28, 512, 512, 4), (12, 512, 128, 12), (28, 2048, 256, 12), (28, 2048, 256, 24))
BATCH = 4


def make_step(kind: type, side: int, channels: int, filters: int, rate: int) -> Callable[[], list[tf.Tensor]]:
    """Return a compiled pass forward and back."""
    layer = kind(filters, 3, padding="same", dilation_rate=rate, use_bias=False)
    layer.build((BATCH, side, side, channels))
    layer.kernel.assign(tf.random.stateless_normal(layer.kernel.shape, (1, 2)) / np.sqrt(9 * channels))
    images = tf.random.stateless_normal([BATCH, side, side, channels], (3, 4))

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            maps = layer(images)
            total = tf.reduce_sum(tf.square(maps))
        return [maps, *tape.gradient(total, [images, layer.kernel.value])]

    return step


def main() -> None:
    """Prove that both compute the same, and time them in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    num_rounds = parser.parse_args().rounds
    print(f"batch {BATCH}, float32, medians of {num_rounds} rounds; ms, and how many times as long TensorFlow's takes")
    for case in CASES:
        steps = [make_step(kind, *case) for kind in (AtrousConv2D, keras.layers.Conv2D)]
        for ours, theirs in zip(*(step() for step in steps), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(tf.reduce_max(tf.abs(theirs))))
        times: list[list[float]] = [[], []]
        for _ in range(num_rounds):
            for taken, step in zip(times, steps, strict=True):
                start = time.perf_counter()
                step()[0].numpy()
                taken.append(1000 * (time.perf_counter() - start))
        ratios = sorted(theirs / ours for ours, theirs in zip(*times, strict=True))
        ours, theirs = map(statistics.median, times)
        side, channels, filters, rate = case
        print(
            f"{side}x{side}x{channels} -> {filters}, rate {rate}: ours {ours:.1f}, TensorFlow {theirs:.1f}, "
            f"{statistics.median(ratios):.1f} times ({ratios[0]:.1f}-{ratios[-1]:.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
