"""Map where masking a tile of an image makes the classifier that was trained on synthetic images worse.

python3 cxpl.py cxpl model_dir results_dir [--from-test N --data-dir data_dir] [--coarse-to-fine] [--prepare]

Reads the images that results_dir/classification_results/test/nn_files/nn_path_and_labels.csv names, and writes
y_cx_nn.npy, x_cx_nn.npy, attr_nn.npy and pictures into .../test/cxpl. See docs/attribution.md.
"""

import argparse
from pathlib import Path

from medsynth import app
from medsynth.errors import UsageError


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("cxpl", help="map what matters")
    command.add_argument("model_dir", type=Path, help="folder of config.ini")
    command.add_argument("results_dir", type=Path, help="results of a GAN, with a trained classifier")
    command.add_argument("--from-test", type=int, metavar="N", help="make nn_files of the first N rows of the test csv")
    command.add_argument("--data-dir", type=Path, help="dataset of the real test images, for --from-test")
    command.add_argument("--coarse-to-fine", action="store_true", help="estimate all tiles, compute those that matter")
    command.add_argument("--prepare", action="store_true", help="bring images of another size to the network's")
    app.add_config_options(command)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Make the maps."""
    from medsynth.classify import experiment
    from medsynth.classify.attribution import command

    if arguments.from_test is not None and arguments.data_dir is None:
        raise UsageError("--from-test needs --data-dir, the dataset of the real test images.", received="none")
    request = command.Request(
        model_dir=arguments.model_dir,
        results=experiment.fake_results_folder(arguments.results_dir),
        test_split=None if arguments.data_dir is None else arguments.data_dir / "test",
        num_from_test=arguments.from_test,
        coarse_to_fine=arguments.coarse_to_fine,
        prepare=arguments.prepare,
        overrides=arguments.overrides,
    )
    command.attribute(request, dry_run=arguments.dry_run)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
