"""Train the joint GAN on images and the rows of a table, or propose a schema for the table.

python3 train.py schema data_dir [--preset published]
python3 train.py train data_dir results_dir random_seed [image_size] [--preset cpu] [--set key=value]

data_dir holds table.csv, a folder of images, and schema.json, which `schema` proposes and you correct. results_dir gets
reals.png, fakesNNNNNN.png, network-snapshot-NNNNNN/, network-final/, log.txt, config.json and TensorBoard events. The
same command goes on with a training that was stopped or killed. See docs/GAN_joint.md.
"""

import argparse

from GAN_joint.command_line import train_parser
from medsynth import app


def main(arguments: argparse.Namespace) -> None:
    """Carry out the command."""
    if arguments.command == "schema":
        propose(arguments)
    else:
        train(arguments)


def propose(arguments: argparse.Namespace) -> None:
    """Write a schema, and say what the user should look at."""
    from GAN_joint.schema import propose_schema, schema_path, write_schema

    proposal = propose_schema(arguments.data_dir, arguments.preset, file_name_order=arguments.file_name_order)
    write_schema(arguments.data_dir, proposal.schema, may_replace=arguments.overwrite)
    for note in proposal.notes:
        print(note)
    print(f"Look through {schema_path(arguments.data_dir)}, and correct it.")


def train(arguments: argparse.Namespace) -> None:
    """Check data and settings, and train."""
    from GAN_joint.application import application_for
    from medsynth.gan import application
    from medsynth.runs import require_own_folder

    require_own_folder(arguments.results_dir, [arguments.data_dir])
    application.train(application_for(arguments.data_dir, arguments.resolution, arguments.random_seed), arguments)


if __name__ == "__main__":
    app.run(__file__, train_parser(__doc__), main)
