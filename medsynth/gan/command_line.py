"""The command lines of a GAN application's scripts; loads without TensorFlow."""

import argparse
from pathlib import Path
from typing import Any

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
    app.add_check_option(command)
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
        help="of fid, fid_infinity, kid, kid_subsets, precision, recall, density, coverage, modes, ndb, birthday, "
        "support, is, ms_ssim, swd (default: %(default)s)",
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


def generate_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the commands images, grid, interpolate and progress.

    Args:
        description: Shown by --help.
    """
    parser = app.parser(description)
    commands = parser.add_subparsers(dest="command", required=True)

    images = _command(commands, "images", "out_dir", "a PNG file per seed")
    images.add_argument("--num", type=int, metavar="N", help="images (default: 1, or a row each with --from-data)")
    _add_seed(images, 0, "of the first image; the next ones count up")
    labels = images.add_mutually_exclusive_group()
    labels.add_argument("--labels", metavar="'A,B'", help="labels that all images have")
    labels.add_argument("--label-vector", metavar="0,1,0", help="the same as a 0 or 1 for every label in order")
    labels.add_argument("--from-data", type=Path, metavar="DATA_DIR", help="the label rows of a dataset, in turn")
    images.add_argument("--split", default="test", help="of --from-data: train, valid or test (default: %(default)s)")
    _add_network_options(images)

    grid = _command(commands, "grid", "out.png", "one PNG file: a row per label, a column per seed")
    grid.add_argument("--columns", type=int, default=8, metavar="N", help="seeds (default: %(default)s)")
    _add_seed(grid, 0, "of the first column; the next ones count up")
    grid.add_argument(
        "--combination",
        action="append",
        default=[],
        metavar="'A,B'",
        help="a further row; repeatable",
    )
    _add_network_options(grid)

    interpolate = _command(commands, "interpolate", "out.mp4", "video of a closed path through the latents")
    _add_video_options(interpolate, 60.0)
    _add_seed(interpolate, 1000, "of the latents")
    interpolate.add_argument(
        "--smoothing", type=float, default=1.0, metavar="S", help="sigma in seconds (default: %(default)s)"
    )
    interpolate.add_argument("--columns", type=int, default=4, metavar="N", help="paths (default: %(default)s)")
    interpolate.add_argument(
        "--labels",
        action="append",
        default=[],
        metavar="'A,B'",
        help="a row of images with these labels; repeatable (default: a row for each label alone)",
    )
    _add_network_options(interpolate)

    progress = _command(commands, "progress", "out.mp4", "video of the training, from fakesNNNNNN.png and log.txt")
    _add_video_options(progress, 20.0)
    progress.add_argument(
        "--time-warp",
        type=float,
        default=1.5,
        metavar="W",
        help="above 1 the beginning of the training is slower (default: %(default)s)",
    )
    return parser


def add_numbered_options(command: argparse.ArgumentParser, thing: str) -> None:
    """Add the options of a generation in which every image is fixed by the seed and its own number.

    Args:
        command: What makes them.
        thing: What a number stands for ("frame").
    """
    command.add_argument("--num", type=int, default=1000, metavar="N", help=f"{thing}s (default: %(default)s)")
    command.add_argument(
        "--first",
        type=int,
        default=0,
        metavar="I",
        help=f"number of the first one; {thing} I is the same in every range (default: %(default)s)",
    )
    _add_seed(command, 1, "of the latents")
    command.add_argument("--num-gpus", type=int, default=1, metavar="N", help="that share it (default: %(default)s)")
    _add_snapshot(command)


def export_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the command export.

    Args:
        description: Shown by --help.
    """
    parser = app.parser(description)
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write a release bundle", allow_abbrev=False)
    export.add_argument("results_dir", type=Path, help="folder of the training")
    export.add_argument("bundle_dir", type=Path, help="new or empty folder")
    export.add_argument(
        "--data-manifest",
        type=Path,
        metavar="DATA_DIR",
        help="the dataset of the training, audited by dataset_tool.py verify; counts and findings go into the card",
    )
    _add_snapshot(export)
    export.add_argument("--license", default="", metavar="TEXT", help="under which the bundle is given away")
    return parser


def _command(commands: Any, name: str, out: str, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    folder = "folder of the training" if name == "progress" else "folder of the training, or a bundle made by export.py"
    command.add_argument("results_dir", type=Path, help=folder)
    command.add_argument("out", type=Path, metavar=out)
    return command


def _add_seed(command: argparse.ArgumentParser, default: int, purpose: str) -> None:
    command.add_argument(
        "--seed", type=app.non_negative_seed, default=default, metavar="S", help=f"{purpose} (default: %(default)s)"
    )


def _add_video_options(command: argparse.ArgumentParser, seconds: float) -> None:
    command.add_argument("--seconds", type=float, default=seconds, metavar="S", help="length (default: %(default)s)")
    command.add_argument("--fps", type=float, default=30.0, metavar="N", help="frames a second (default: %(default)s)")


def _add_network_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--truncation",
        type=float,
        default=1.0,
        metavar="PSI",
        help="scale the latents toward 0 by this factor, above 0 and at most 1 (default: %(default)s)",
    )
    _add_snapshot(command)


def _kimg(text: str) -> int:
    """Parse the number of a snapshot."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"the number of a network-snapshot-NNNNNN was expected. Received: {text!r}")
    return int(text)


def _add_snapshot(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--snapshot", type=_kimg, metavar="NNNNNN", help="network-snapshot-NNNNNN instead of network-final"
    )
