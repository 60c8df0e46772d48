"""Map where masking a tile of an image makes the classifier that was trained on real images worse.

python3 cxpl.py cxpl model_dir data_dir resolution [--from-test N] [--coarse-to-fine] [--prepare] [--set key=value]

Reads the images that data_dir/classification_results_res_<resolution>/test/nn_files/nn_path_and_labels.csv names, and
writes y_cx_nn.npy, x_cx_nn.npy, attr_nn.npy and pictures into .../test/cxpl. See docs/attribution.md.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("cxpl", help="map what matters")
    command.add_argument("model_dir", type=Path, help="folder of config.ini")
    command.add_argument("data_dir", type=Path, help="dataset made by build_dataset, with a trained classifier")
    command.add_argument("resolution", type=app.power_of_two, help="must be the training's")
    command.add_argument("--from-test", type=int, metavar="N", help="make nn_files of the first N rows of the test csv")
    command.add_argument("--coarse-to-fine", action="store_true", help="estimate all tiles, compute those that matter")
    command.add_argument("--prepare", action="store_true", help="bring images of another size to the network's")
    app.add_config_options(command)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Make the maps."""
    from medsynth.classify import experiment
    from medsynth.classify.attribution import command

    request = command.Request(
        model_dir=arguments.model_dir,
        results=experiment.real_results_folder(arguments.data_dir, arguments.resolution),
        test_split=arguments.data_dir / "test",
        num_from_test=arguments.from_test,
        coarse_to_fine=arguments.coarse_to_fine,
        prepare=arguments.prepare,
        resolution=arguments.resolution,
        overrides=arguments.overrides,
    )
    command.attribute(request, dry_run=arguments.dry_run)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
