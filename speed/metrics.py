"""Time and memory of each image metric at 10,000 images, and the Frechet distance beside scipy's matrix square root.

python3 speed/metrics.py [--num 10000] [--size 2048] [--resolution 32] [--metrics fid,kid]

Each metric runs in a process of its own, on random features or small random images: once for the value alone,
once with its interval. Memory is what the process took at most, beyond its inputs.
"""

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from medsynth import app

MEBIBYTE = 2**20
METRICS = ("fid", "fid_infinity", "kid", "kid_subsets", "precision", "modes", "birthday", "is", "ms_ssim", "swd")
SHARED = {
    "precision": "precision, recall, density, coverage",
    "modes": "modes, ndb",
    "birthday": "birthday, support",
}
NUM_CLASSES = 1008


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("--num", type=int, default=10_000, help="images of each set")
    parser.add_argument("--size", type=int, default=2048, help="features of an image")
    parser.add_argument("--resolution", type=int, default=32, help="of the images of ms_ssim and swd")
    parser.add_argument("--metrics", default=",".join(METRICS), help="which ones (default: all)")
    parser.add_argument("--sizes-beside-scipy", type=int, nargs="*", default=[64, 2048], metavar="D")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser


def _memory() -> float:
    """Return the most memory that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEBIBYTE


def measure(metric: str, num_images: int, size: int, resolution: int) -> dict[str, float]:
    """Time one metric in this process."""
    import numpy as np

    from medsynth.metrics.evaluate import ImageSet, evaluate

    rng = np.random.default_rng(0)
    uses_pixels = metric in ("ms_ssim", "swd")
    side = resolution if uses_pixels else 1
    sets = []
    for shift in (0.0, 0.1):
        images = rng.integers(0, 256, (num_images, side, side, 1), dtype=np.uint8)
        # Uneven scales, as features of images have them; filled in by blocks, so that the inputs are all that is held.
        features = np.empty((0 if uses_pixels else num_images, size), np.float32)
        for start in range(0, len(features), 500):
            block = features[start : start + 500]
            block[:] = rng.standard_normal(block.shape, np.float32) * np.exp(-3 * np.arange(size) / size) + shift
        weights = rng.standard_normal((size, NUM_CLASSES), np.float32) if metric == "is" else None
        sets.append(ImageSet(images, features, weights))
    before = _memory()
    found = {"inputs": before}
    for name, options in (("value", {"num_blocks": 0}), ("interval", {})):
        start, cpu_start = time.perf_counter(), time.process_time()
        evaluate((metric,), *sets, **options)
        found[name], found[f"{name} cpu"] = time.perf_counter() - start, time.process_time() - cpu_start
    return found | {"memory": _memory() - before}


def _best(function: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Return what a function returns, and the least seconds that it took."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = function()
        seconds.append(time.perf_counter() - start)
    return value, min(seconds)


def beside_scipy(size: int) -> str:
    """Compare one Frechet distance with the same by scipy's matrix square root, full rank and not."""
    import numpy as np
    import scipy.linalg

    from medsynth.metrics.frechet import frechet_distance, moments

    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(size, size)) / np.sqrt(size)
    repeats = 20 if size < 500 else 1
    lines = []
    for num_images in (2 * size, size * 3 // 4):
        real, fake = (moments(rng.normal(size=(num_images, size)) @ mixing + shift) for shift in (0.0, 0.1))

        def by_root(real: Any = real, fake: Any = fake) -> float:
            first, second, shift = real.covariance, fake.covariance, real.mean - fake.mean
            root = scipy.linalg.sqrtm(first @ second)
            return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)

        ours, seconds = _best(functools.partial(frechet_distance, real, fake), repeats)
        theirs, their_seconds = _best(by_root, repeats)
        error = abs(ours / theirs - 1)
        lines.append(f"| {size} | {num_images} | {seconds:.4f} | {their_seconds:.4f} | {error:.1e} |")
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> None:
    """Measure every metric in a process of its own, and print a table."""
    size = (arguments.num, arguments.size, arguments.resolution)
    if arguments.one is not None:
        print(json.dumps(measure(arguments.one, *size)))
        return
    print(
        f"{arguments.num:,} images of each set, {arguments.size} features, grey pixels {arguments.resolution}x"
        f"{arguments.resolution}; load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
    )
    print("| metric | value: s (CPU s) | with interval: s (CPU s) | MiB beyond inputs | MiB of inputs and libraries |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for metric in arguments.metrics.split(","):
        options = [f"--{name}={value}" for name, value in zip(("num", "size", "resolution"), size, strict=True)]
        command = [sys.executable, __file__, f"--one={metric}", *options]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        seconds = " | ".join(f"{found[name]:.1f} ({found[name + ' cpu']:.1f})" for name in ("value", "interval"))
        memory = f"{found['memory']:,.0f} | {found['inputs']:,.0f}"
        print(f"| {SHARED.get(metric, metric)} | {seconds} | {memory} |", flush=True)
    print("\n| features | images | one Frechet distance, s | by scipy's sqrtm, s | relative difference |")
    print("| --- | --- | --- | --- | --- |")
    for number in arguments.sizes_beside_scipy:
        print(beside_scipy(number), flush=True)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
