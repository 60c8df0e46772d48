"""Show and measure what the classifier that was trained on real images looks at.

python3 xplain.py xplain model_dir data_dir resolution [--num N] [--label NAME] [--methods a,b]

Writes attribution maps of the first positive images of each label, a sheet of them, and a table that says how faithful
each method is, into data_dir/classification_results_res_<resolution>/test/xplain. See docs/explain.md.
"""

import argparse
from pathlib import Path

from medsynth import app
from medsynth.classify.command_line import add_explain_options, explain


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("xplain", help="explain images")
    command.add_argument("model_dir", type=Path, help="folder of config.ini")
    command.add_argument("data_dir", type=Path, help="dataset made by build_dataset, with a trained classifier")
    command.add_argument("resolution", type=app.power_of_two, help="must be the training's")
    add_explain_options(command)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Explain the images."""
    from medsynth.classify import experiment

    explain(arguments, experiment.real_results_folder(arguments.data_dir, arguments.resolution))


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
