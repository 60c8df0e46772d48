"""Generate a synthetic dataset with a trained cpD-GAN.

python3 test.py test data_dir results_dir random_seed resolution

For every row of data_dir/{train,valid,test} one image is made with that row's labels by
results_dir/network-final, and written to results_dir/inference in the same form as the dataset.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("test", help="generate images")
    command.add_argument("data_dir", type=Path, help="dataset whose label rows are used")
    command.add_argument("results_dir", type=Path, help="folder of the training; inference/ is written into it")
    command.add_argument("random_seed", type=app.non_negative_seed)
    command.add_argument("resolution", type=app.power_of_two, help="must be the network's")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Load the final network and write inference/."""
    from GAN_cpd.application import APPLICATION
    from medsynth.gan.application import run_inference

    counts = run_inference(
        APPLICATION, arguments.data_dir, arguments.results_dir, arguments.random_seed, arguments.resolution
    )
    print("generated " + ", ".join(f"{split} {count:,}" for split, count in counts.items()))


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
