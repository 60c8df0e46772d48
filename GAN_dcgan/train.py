"""Train the DCGAN on frames, such as those of lung ultrasound.

python3 train.py train data_dir results_dir random_seed [128] [--image-extension jpg] [--set key=value]
python3 train.py train data_dir results_dir random_seed --table labels.csv --held-out 0.2

results_dir gets losses.csv, losses.png, real-and-generated-NNNN.png, network-final/ (the best), network-last/,
fakesNNNNNN.png, log.txt, config.json and TensorBoard events. The same command goes on with a training that was stopped
or killed. The original's options are the settings here under their old names. See docs/GAN_dcgan.md.
"""

import argparse

from GAN_dcgan.command_line import train_arguments, train_parser
from medsynth import app


def main(arguments: argparse.Namespace) -> None:
    """Check data and settings, and train."""
    train_arguments(arguments)
    from GAN_dcgan.application import application_for  # TensorFlow loads here, not for --help
    from medsynth.gan.application import train

    train(application_for(arguments), arguments)


if __name__ == "__main__":
    app.run(__file__, train_parser(__doc__), main)
