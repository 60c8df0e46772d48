"""Export a trained DCGAN as a folder that can be given away.

python3 export.py export results_dir bundle_dir [--data-manifest data_dir] [--license CC-BY-4.0]

bundle_dir gets the generator's weights and description (network-final/), samples.png,
model_card.md, model_card.json and SHA256SUMS. test.py and generate.py take it as results_dir.
"""

import argparse

from medsynth import app
from medsynth.gan.command_line import export_parser


def main(arguments: argparse.Namespace) -> None:
    """Load the network and write the bundle."""
    from GAN_dcgan.application import APPLICATION
    from medsynth.gan.release import run

    run(APPLICATION.generator_classes, arguments)


if __name__ == "__main__":
    app.run(__file__, export_parser(__doc__), main)
