"""Measure how close a cpD-GAN's images come to real ones.

python3 evaluate.py metrics results_dir data_dir --metrics fid,kid,precision,recall --features densenet --weights FOLDER

Makes as many synthetic images as real ones are drawn, with their labels, and compares them. results_dir/metrics gets
the figures as json, csv, text and, for several snapshots, png: value, 95 % interval, number of images, and what real
images score in place of synthetic ones. The same command goes on where it was stopped. See docs/metrics.md.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("metrics", help="compute image metrics")
    command.add_argument("results_dir", type=Path, help="folder of the training; metrics/ is written into it")
    command.add_argument("data_dir", type=Path, help="dataset made by build_dataset")
    command.add_argument(
        "--metrics",
        default="fid,kid,precision,recall",
        metavar="LIST",
        help="of fid, fid_infinity, kid, kid_subsets, precision, recall, density, coverage, is, ms_ssim, swd "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--features",
        default="inception-2015",
        metavar="NAME",
        help="inception-2015 (published), inception-keras, densenet (of your domain), random (default: %(default)s)",
    )
    command.add_argument(
        "--weights", type=Path, metavar="PATH", help="the network's weights; nothing is downloaded, see docs/metrics.md"
    )
    command.add_argument("--num", type=int, default=10_000, metavar="N", help="images of each set (default: 10000)")
    command.add_argument("--split", default="test", metavar="NAME", help="train, valid or test (default: test)")
    command.add_argument(
        "--snapshots", default="final", metavar="WHICH", help="final, or all: every snapshot, newest first"
    )
    command.add_argument("--seed", type=app.non_negative_seed, default=1, help="of every draw (default: 1)")
    command.add_argument(
        "--no-floor", action="store_true", help="do not compare real images with real ones, so that all can be used"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Compute the metrics and print them."""
    from medsynth.metrics.catalogue import MetricsRequest, parse_metrics  # what it refuses needs no TensorFlow

    request = MetricsRequest(
        metrics=parse_metrics(arguments.metrics),
        features=arguments.features,
        weights=arguments.weights,
        num_images=arguments.num,
        split=arguments.split,
        snapshots=arguments.snapshots,
        seed=arguments.seed,
        with_floor=not arguments.no_floor,
    )
    from GAN_cpd.application import APPLICATION
    from medsynth.gan.evaluation import evaluate_networks

    text, paths = evaluate_networks(APPLICATION, arguments.data_dir, arguments.results_dir, request)
    print(text + "\nwritten: " + ", ".join(map(str, paths)))


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
