"""The command lines of an application's train.py, test.py and evaluate.py; loads without TensorFlow."""

import argparse
from pathlib import Path

from medsynth import app


def train_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the command train.

    Args:
        description: Shown by --help.
    """
    parser = app.parser(description)
    command = parser.add_subparsers(dest="command", required=True).add_parser("train", help="train a network")
    command.add_argument("data_dir", type=Path, help="dataset made by build_dataset; data_dir/train is read")
    command.add_argument("results_dir", type=Path, help="folder for everything that the training leaves")
    command.add_argument("random_seed", type=app.non_negative_seed)
    command.add_argument("resolution", type=app.power_of_two, help="of the images: a power of two")
    app.add_config_options(command, "published")
    app.add_leak_option(command)
    return parser


def test_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the command test.

    Args:
        description: Shown by --help.
    """
    parser = app.parser(description)
    command = parser.add_subparsers(dest="command", required=True).add_parser("test", help="generate images")
    command.add_argument("data_dir", type=Path, help="dataset whose label rows are used")
    command.add_argument("results_dir", type=Path, help="folder of the training; inference/ is written into it")
    command.add_argument("random_seed", type=app.non_negative_seed)
    command.add_argument("resolution", type=app.power_of_two, help="must be the network's")
    return parser


def evaluate_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the command metrics.

    Args:
        description: Shown by --help.
    """
    parser = app.parser(description)
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
