"""Generate a synthetic dataset with a trained cpD-GAN.

python3 test.py test data_dir results_dir random_seed resolution

For every row of data_dir/{train,valid,test} one image is made with that row's labels by
results_dir/network-final, and written to results_dir/inference in the same form as the dataset.
"""

import argparse

from medsynth import app
from medsynth.gan.command_line import test_parser


def main(arguments: argparse.Namespace) -> None:
    """Load the final network and write inference/."""
    from GAN_cpd.application import APPLICATION  # TensorFlow loads here, not for --help
    from medsynth.gan.application import generate_dataset

    generate_dataset(APPLICATION, arguments)


if __name__ == "__main__":
    app.run(__file__, test_parser(__doc__), main)
