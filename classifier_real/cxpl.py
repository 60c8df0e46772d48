"""Map where masking a tile of an image makes the classifier that was trained on real images worse.

python3 cxpl.py cxpl model_dir data_dir resolution [--from-test N] [--coarse-to-fine] [--prepare] [--set key=value]

Reads the images that data_dir/classification_results_res_<resolution>/test/nn_files/nn_path_and_labels.csv names, and
writes y_cx_nn.npy, x_cx_nn.npy, attr_nn.npy and pictures into .../test/cxpl. See docs/attribution.md.
"""

import argparse
from pathlib import Path

from medsynth import app
from medsynth.classify.command_line import add_attribution_options, attribute


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("cxpl", help="map what matters")
    command.add_argument("model_dir", type=Path, help="folder of config.ini")
    command.add_argument("data_dir", type=Path, help="dataset made by build_dataset, with a trained classifier")
    command.add_argument("resolution", type=app.power_of_two, help="must be the training's")
    add_attribution_options(command)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Make the maps."""
    from medsynth.classify import experiment

    results = experiment.real_results_folder(arguments.data_dir, arguments.resolution)
    attribute(arguments, results, arguments.data_dir / "test", arguments.resolution)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
