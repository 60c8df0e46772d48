"""Train the classifier on real images.

python3 train.py train model_dir data_dir random_seed resolution [--set key=value] [--dry-run]

Reads model_dir/config.ini (model_dir is this folder, or a copy of it) and
data_dir/{train,valid}, and writes data_dir/classification_results_res_<resolution>/train.
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
    command.add_argument("data_dir", type=Path, help="dataset made by build_dataset")
    command.add_argument("random_seed", type=app.non_negative_seed)
    command.add_argument("resolution", type=app.power_of_two, help="of the records to read: a power of two")
    app.add_config_options(command)
    app.add_leak_option(command)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Check data and settings, then train."""
    from medsynth.classify import experiment
    from medsynth.data.manifest import check_manifest

    request = experiment.TrainingRequest(
        model_dir=arguments.model_dir,
        splits_dir=arguments.data_dir,
        results=experiment.real_results_folder(arguments.data_dir, arguments.resolution),
        seed=arguments.random_seed,
        resolution=arguments.resolution,
        trained_on=experiment.name_of_images(arguments.data_dir),
        overrides=arguments.overrides,
        data_report=check_manifest(arguments.data_dir, allow_leak=arguments.allow_leak),
    )
    experiment.train(request, dry_run=arguments.dry_run)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
