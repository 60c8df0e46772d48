"""Train the GAN of constant resolution, cpD-GAN.

python3 train.py train data_dir results_dir random_seed resolution [--preset cpu] [--set key=value]

Reads data_dir/train as made by build_dataset. results_dir gets reals.png, fakesNNNNNN.png,
network-snapshot-NNNNNN/, network-final/, log.txt, config.json and TensorBoard events. The same
command goes on with a training that was stopped or killed.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("train", help="train a network")
    command.add_argument("data_dir", type=Path, help="dataset made by build_dataset; data_dir/train is read")
    command.add_argument("results_dir", type=Path, help="folder for everything that the training leaves")
    command.add_argument("random_seed", type=app.non_negative_seed)
    command.add_argument("resolution", type=app.power_of_two, help="of the images: a power of two")
    app.add_config_options(command, "published")
    app.add_leak_option(command)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Check data and settings, build the networks, and train."""
    from GAN_cpd.application import APPLICATION  # TensorFlow loads here, not for --help
    from medsynth.gan.application import prepare_training

    training = prepare_training(
        APPLICATION,
        arguments.data_dir,
        arguments.random_seed,
        arguments.resolution,
        arguments.preset,
        arguments.overrides,
        allow_leak=arguments.allow_leak,
    )
    if arguments.dry_run:
        print(training.describe())
        return
    training.run(arguments.results_dir)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
