"""Find the real training images nearest to synthetic ones, and say whether any are too near.

python3 nn.py nn model_dir data_dir results_dir resolution [--set key=value] [--dry-run]

Compares results_dir/inference/test with data_dir/train by the features of the real
classifier (its weights in results_dir/classification_results/nn, or else
data_dir/classification_results_res_<resolution>), and held-out real images with the same,
and writes results_dir/classification_results/nn. docs/neighbours.md describes the files.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("nn", help="search nearest neighbours")
    command.add_argument("model_dir", type=Path, help="folder of config.ini")
    command.add_argument("data_dir", type=Path, help="dataset made by build_dataset, on which the GAN was trained")
    command.add_argument("results_dir", type=Path, help="results of a GAN, with inference/")
    command.add_argument("resolution", type=app.power_of_two, help="of the records to read: a power of two")
    app.add_config_options(command)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Check data and settings, then search."""
    from medsynth.classify.neighbours import command

    command.run(
        arguments.model_dir,
        arguments.data_dir,
        arguments.results_dir,
        resolution=arguments.resolution,
        overrides=arguments.overrides,
        dry_run=arguments.dry_run,
    )


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
