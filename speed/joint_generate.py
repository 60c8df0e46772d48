"""Synthetic patients of a full-size joint generator, in blocks, against one at a time as in the published notebook.

python3 speed/joint_generate.py [--width 1.0] [--rounds 5] [--minutes 8] [--memory]

All sides have the same weights and write an image of 200x200 as JPEG for every patient, and keep its row. First both
make 8 patients, which must be the same up to rounding. --memory instead compares the peak memory of test.py generate at
1,000 and at 20,000 patients.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rivals

from medsynth import app
from medsynth.processor import fastest_precision

NUM_COLUMNS, IMAGE_SIZE, SEED = 35, 200, 1  # of the published training
STEP = 64  # patients
MEMORY_WIDTH, FEW, MANY = 0.1, 1000, 20_000
MOST_DIFFERENCE = 1e-3


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("--width", type=float, default=1.0, help="of the network; 1 is the published size")
    parser.add_argument("--rounds", type=int, default=5, help="undisturbed rounds wanted")
    parser.add_argument("--minutes", type=float, default=8.0, help="about what the timing may take")
    parser.add_argument("--memory", action="store_true", help="compare peak memory instead")
    parser.add_argument("--side", choices=("float32", "mixed_bfloat16", "single"), help=argparse.SUPPRESS)
    return parser


def build_generator(width: float, precision: str) -> Any:
    """Return a generator with weights drawn from a seed."""
    import keras

    from GAN_joint.networks import Generator
    from medsynth.training.precision import dtype_policy

    keras.utils.set_random_seed(SEED)
    generator = Generator(IMAGE_SIZE, NUM_COLUMNS, width, dtype=dtype_policy(precision))
    generator.build()
    return generator


def build_encoder() -> Any:
    """Return an encoder of as many numbers as the published table has."""
    from GAN_joint.columns import Column
    from GAN_joint.encoding import FittedColumn, RowEncoder

    return RowEncoder(tuple(FittedColumn(Column(f"factor {i}", "number")) for i in range(NUM_COLUMNS)))


def serve_blocks(width: float, precision: str, folder: Path) -> None:
    """Carry out orders with this suite's generation."""
    from GAN_joint.generation import PairSampler, PartWriter
    from GAN_joint.synthetic import SyntheticForm

    sampler = PairSampler(build_generator(width, precision), SEED)
    writer = PartWriter(folder, build_encoder(), SyntheticForm("jpeg", "csv"))
    parts = itertools.count()

    def step() -> None:
        number = next(parts)
        part = range(number * STEP, (number + 1) * STEP)
        writer.write(part, sampler.pairs(part))

    def first() -> list[Any]:
        ((_, images, rows),) = sampler.pairs(range(8))
        return [images[:, ::20, ::20, 0].tolist(), rows.tolist()]

    with writer:
        rivals.serve({"steps": rivals.timed_steps(step), "first": first})


def serve_single(width: float, folder: Path) -> None:
    """Carry out orders as the notebook does: the network is called for a patient, who is written, and so on."""
    import tensorflow as tf
    from PIL import Image

    from GAN_joint.generation import PairSampler

    generator = build_generator(width, "float32")
    latents = PairSampler(generator, SEED).latents
    numbers, rows_kept = itertools.count(), []

    def patient(latent: Any) -> tuple[Any, Any]:
        image, row = generator(tf.constant(latent[None]))
        return np.uint8(np.rint(image.numpy()[0, :, :, 0] * 127.5 + 127.5)), row.numpy()[0]

    def step() -> None:
        for latent in latents(0):
            image, row = patient(latent)
            Image.fromarray(image).save(folder / f"{next(numbers)}.jpg", quality=95)
            rows_kept.append(row)

    def first() -> list[Any]:
        pairs = [patient(latent) for latent in latents(0)[:8]]
        return [[image[::20, ::20].tolist() for image, _ in pairs], [row.tolist() for _, row in pairs]]

    rivals.serve({"steps": rivals.timed_steps(step), "first": first})


def compare_speed(arguments: argparse.Namespace, folder: Path) -> None:
    """Prove that all sides make the same patients, then time them."""
    names = {"single": "one at a time, float32", "float32": "blocks, float32"}
    if fastest_precision() == "mixed_bfloat16":
        names["mixed_bfloat16"] = "blocks, bfloat16"
    else:
        print("bfloat16: not measured, since this processor has no instructions for it")
    sides = {}
    for side, name in names.items():
        command = [sys.executable, __file__, "--side", side, "--width", str(arguments.width)]
        sides[side] = rivals.Rival(name, command)
    images, rows = (np.array(part, np.float64) for part in sides["single"].ask("first"))
    for side, rival in sides.items():
        found = [np.array(part, np.float64) for part in rival.ask("first")]
        pixels, difference = np.abs(found[0] - images).max(), np.abs(found[1] - rows).max()
        print(f"{rival.name}: rows differ by {difference:.1e}, pixels by {pixels:.0f} of 255")
        if side == "float32" and difference > MOST_DIFFERENCE:
            raise SystemExit("The two sides make different patients; nothing is timed.")
    contenders = [sides["float32"], *(sides[side] for side in names if side != "float32")]
    print(rivals.contest(contenders, [sides["single"]], STEP, arguments.rounds, arguments.minutes * 60))


def compare_memory(folder: Path) -> None:
    """Print the peak memory of a whole generation of few and of many patients."""
    from GAN_joint.application import ENCODER, NAME
    from medsynth.training.checkpoint import save_networks

    facts = {"label_names": [f"factor {i}" for i in range(NUM_COLUMNS)], "images_seen": 0, "application": NAME}
    generator = build_generator(MEMORY_WIDTH, "float32")
    save_networks(folder / "network-final", {"average": generator}, {**facts, ENCODER: build_encoder().to_json()})
    script = Path(__file__).resolve().parents[1] / "GAN_joint" / "test.py"
    peaks = {}
    for num in (FEW, MANY):
        command = [sys.executable, str(script), "generate", str(folder), str(folder / f"{num}"), "--num", str(num)]
        measure = "import json, resource, subprocess, sys; subprocess.run(json.loads(sys.argv[1]), check=True); " \
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", measure, json.dumps(command)], capture_output=True, text=True, check=True
        )
        peaks[num] = int(done.stdout.split()[-1]) / 1024
        print(f"{num:,} patients: {peaks[num]:,.0f} MiB")
    print(f"{peaks[MANY] / peaks[FEW]:.3f} times as much")


def main(arguments: argparse.Namespace) -> None:
    """Be a worker, or compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.side == "single":
            serve_single(arguments.width, folder)
        elif arguments.side:
            serve_blocks(arguments.width, arguments.side, folder)
        elif arguments.memory:
            compare_memory(folder)
        else:
            compare_speed(arguments, folder)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
