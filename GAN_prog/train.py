"""Train the progressive GAN.

python3 train.py train data_dir results_dir random_seed resolution [--preset cpu] [--set key=value]

Reads data_dir/train as made by build_dataset. results_dir gets reals.png, fakesNNNNNN.png,
network-snapshot-NNNNNN/, network-final/, log.txt, config.json and TensorBoard events. The same
command goes on with a training that was stopped or killed.
"""

import argparse

from medsynth import app
from medsynth.gan.command_line import train_parser


def main(arguments: argparse.Namespace) -> None:
    """Check data and settings, and train."""
    from GAN_prog.application import APPLICATION  # TensorFlow loads here, not for --help
    from medsynth.gan.application import train

    train(APPLICATION, arguments)


if __name__ == "__main__":
    app.run(__file__, train_parser(__doc__), main)
