"""The whole idea in one command: images in, a GAN trained, synthetic images out, and what they are worth.

python3 demo.py out_dir [--data DIR] [--seed N]

Without --data it runs on made-up chest radiographs. --data is a folder that holds
CheXpert-v1.0-small, or one laid out like it, or your own images and a csv file that
names images, patients and labels. The same command goes on where it stopped.
"""

import argparse
import shlex
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument(
        "out_dir", type=Path, help="folder for everything that the demo makes; one for each data and seed"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="your images")
    parser.add_argument("--seed", type=app.non_negative_seed, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--dataset-options",
        type=shlex.split,
        default=[],
        metavar="'--OPTION VALUE ...'",
        help="more for the command that builds the dataset, e.g. '--labels a,b --patient-column id'",
    )
    app.add_leak_option(parser)
    parser.add_argument(
        "--permute-labels",
        action="store_true",
        help="negative control: train the GAN on shuffled labels; the synthetic classifier must then know nothing",
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Run every step that is not done, then write the pictures and the summary."""
    from benchmark.chain import run_chain

    summary = run_chain(
        arguments.out_dir,
        arguments.data,
        arguments.seed,
        permute_labels=arguments.permute_labels,
        dataset_options=arguments.dataset_options,
        allow_leak=arguments.allow_leak,
    )
    print(summary)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
