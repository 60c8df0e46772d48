"""The command lines of GAN_joint's scripts; loads without TensorFlow."""

import argparse
from pathlib import Path
from typing import Any

from medsynth import app
from medsynth.gan.command_line import add_numbered_options

IMAGE_SIZE = 200  # published


def train_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the commands schema and train.

    Args:
        description: Shown by --help.
    """
    parser = app.parser(description)
    commands = parser.add_subparsers(dest="command", required=True)

    schema = _command(commands, "schema", "propose what each column of the table is, in data_dir/schema.json")
    schema.add_argument("data_dir", type=Path, help="folder with table.csv and a folder of images")
    schema.add_argument(
        "--preset",
        default="guess",
        metavar="NAME",
        help="guess, or published: the published columns and their preprocessing (default: %(default)s)",
    )
    schema.add_argument(
        "--file-name-order", action="store_true", help="match image k with row k, for tables that name no images"
    )
    schema.add_argument("--overwrite", action="store_true", help="replace a schema.json, with what you changed in it")

    train = _command(commands, "train", "train the joint GAN")
    train.add_argument("data_dir", type=Path, help="folder with table.csv, images and schema.json")
    train.add_argument("results_dir", type=Path, help="folder for everything that the training leaves")
    train.add_argument("random_seed", type=app.non_negative_seed)
    train.add_argument(
        "resolution",
        type=int,
        nargs="?",
        default=IMAGE_SIZE,
        metavar="image_size",
        help="pixels a side, from 64 to 512 in steps of 8 (default: %(default)s)",
    )
    app.add_config_options(train, "published")
    train.set_defaults(allow_leak=False)
    return parser


def test_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the commands generate, analyse, joint, predict and export.

    Args:
        description: Shown by --help.
    """
    parser = app.parser(description)
    commands = parser.add_subparsers(dest="command", required=True)

    generate = _command(commands, "generate", "make synthetic patients: an image and a row each")
    generate.add_argument("results_dir", type=Path, help="folder of the training")
    generate.add_argument("out_dir", type=Path, help="folder for the synthetic patients")
    add_numbered_options(generate, "patient")
    generate.add_argument(
        "--images", default="png", choices=("png", "jpeg", "tfrecords", "none"), help="(default: %(default)s)"
    )
    generate.add_argument("--table", default="csv", choices=("csv", "parquet"), help="(default: %(default)s)")
    generate.add_argument(
        "--precision", default="float32", choices=("float32", "mixed_bfloat16"), help="(default: %(default)s)"
    )

    for name, summary in (
        ("analyse", "compare the synthetic table with the real one"),
        ("joint", "test whether images and rows belong together"),
        ("predict", "train a classifier of the targets, and test it on real and synthetic patients"),
        ("export", "write real and synthetic pairs as images of a dataset and arrays, for other programs"),
    ):
        command = _command(commands, name, summary)
        command.add_argument("data_dir", type=Path, help="the real patients, as for train.py")
        command.add_argument("synthetic_dir", type=Path, help="made by test.py generate")
        command.add_argument("out_dir", type=Path, help="folder for the results")
        command.add_argument(
            "--seed", type=app.non_negative_seed, default=1, metavar="S", help="of every draw (default: %(default)s)"
        )
        if name == "analyse":
            command.add_argument(
                "--max-rows",
                type=int,
                default=100_000,
                metavar="N",
                help="rows used of a larger table (default: %(default)s)",
            )
        else:
            command.add_argument(
                "--max-images", type=int, default=2000, metavar="N", help="synthetic pairs used (default: %(default)s)"
            )
            command.add_argument(
                "--image-size", type=int, default=64, metavar="D", help="in pixels (default: %(default)s)"
            )
        if name in ("joint", "predict"):
            command.add_argument("--epochs", type=int, default=30, metavar="N", help="at most (default: %(default)s)")
    return parser


def _command(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    return command
