"""Measure how close a DCGAN's images come to real ones.

python3 evaluate.py metrics results_dir data_dir --metrics fid,kid,precision,recall --features densenet --weights FOLDER

Makes as many synthetic images as real ones are drawn from data_dir, a dataset made by build_dataset, and compares them.
results_dir/metrics gets the figures as json, csv, text and, for several snapshots, png: value, 95 % interval, number of
images, and what real images score in place of synthetic ones. The same command goes on where it was stopped. See
docs/metrics.md.
"""

import argparse

from medsynth import app
from medsynth.gan.command_line import evaluate_parser


def main(arguments: argparse.Namespace) -> None:
    """Compute the metrics and print them."""
    from GAN_dcgan.application import APPLICATION  # TensorFlow loads here, not for --help
    from medsynth.gan.evaluation import run

    run(APPLICATION, arguments)


if __name__ == "__main__":
    app.run(__file__, evaluate_parser(__doc__), main)
