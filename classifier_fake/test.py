"""Test the classifier that was trained on a GAN's synthetic images on the real images of data_dir/test.

python3 test.py test model_dir data_dir results_dir random_seed resolution [--set key=value]

Writes every metric with its interval (test.log, results.json, results.csv), the scores (predictions.csv,
predictions_valid.csv) and the curves (roc_char.npy, roc.png, precision_recall.png, calibration.png) into
results_dir/classification_results/test. The operating point of sensitivity and specificity is chosen on the
synthetic images in results_dir/inference/valid, all that the trainer had.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("test", help="score test images")
    command.add_argument("model_dir", type=Path, help="folder of config.ini")
    command.add_argument("data_dir", type=Path, help="dataset made by build_dataset; data_dir/test is read")
    command.add_argument("results_dir", type=Path, help="results of a GAN, with a trained classifier")
    command.add_argument("random_seed", type=app.non_negative_seed)
    command.add_argument("resolution", type=app.power_of_two, help="must be the training's")
    app.add_config_options(command)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Score the test images with the trained weights."""
    from medsynth.classify import experiment, testing

    testing.test(
        arguments.model_dir,
        arguments.data_dir / "test",
        arguments.results_dir / "inference" / "valid",
        experiment.fake_results_folder(arguments.results_dir),
        seed=arguments.random_seed,
        resolution=arguments.resolution,
        overrides=arguments.overrides,
        dry_run=arguments.dry_run,
    )


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
