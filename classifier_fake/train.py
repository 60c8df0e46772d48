"""Train the classifier on a GAN's synthetic images.

python3 train.py train model_dir results_dir random_seed resolution [--set key=value] [--dry-run]

Reads model_dir/config.ini (model_dir is this folder, or a copy of it) and
results_dir/inference/{train,valid}, and writes results_dir/classification_results/train.
The same command goes on with a training that was stopped or killed.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("train", help="train a network")
    command.add_argument("model_dir", type=Path, help="folder of config.ini")
    command.add_argument("results_dir", type=Path, help="results of a GAN, with inference/")
    command.add_argument("random_seed", type=app.non_negative_seed)
    command.add_argument("resolution", type=app.power_of_two, help="of the records to read: a power of two")
    app.add_config_options(command)
    app.add_leak_option(command)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Check data and settings, then train."""
    from medsynth.classify import experiment

    request = experiment.TrainingRequest(
        model_dir=arguments.model_dir,
        splits_dir=experiment.inference_folder(arguments.results_dir),
        results=experiment.fake_results_folder(arguments.results_dir),
        seed=arguments.random_seed,
        resolution=arguments.resolution,
        trained_on=experiment.name_of_gan(arguments.results_dir),
        overrides=arguments.overrides,
        data_report=experiment.report_of_gan(arguments.results_dir, allow_leak=arguments.allow_leak),
    )
    experiment.train(request, dry_run=arguments.dry_run)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
