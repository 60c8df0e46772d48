"""Map where masking a tile of an image makes the classifier that was trained on synthetic images worse.

python3 cxpl.py cxpl model_dir results_dir [--from-test N --data-dir data_dir] [--coarse-to-fine] [--prepare]

Reads the images that results_dir/classification_results/test/nn_files/nn_path_and_labels.csv names, and writes
y_cx_nn.npy, x_cx_nn.npy, attr_nn.npy and pictures into .../test/cxpl. See docs/attribution.md.
"""

import argparse
from pathlib import Path

from medsynth import app
from medsynth.classify.command_line import add_attribution_options, attribute
from medsynth.errors import UsageError


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("cxpl", help="map what matters")
    command.add_argument("model_dir", type=Path, help="folder of config.ini")
    command.add_argument("results_dir", type=Path, help="results of a GAN, with a trained classifier")
    command.add_argument("--data-dir", type=Path, help="dataset of the real test images, for --from-test")
    add_attribution_options(command)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Make the maps."""
    from medsynth.classify import experiment

    if arguments.from_test is not None and arguments.data_dir is None:
        raise UsageError("--from-test needs --data-dir, the dataset of the real test images.", received="none")
    test_split = None if arguments.data_dir is None else arguments.data_dir / "test"
    attribute(arguments, experiment.fake_results_folder(arguments.results_dir), test_split)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
