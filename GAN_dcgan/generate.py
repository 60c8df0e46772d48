"""Images, grids and videos from a trained DCGAN.

python3 generate.py images      results_dir out_dir --num 10
python3 generate.py grid        results_dir out.png
python3 generate.py interpolate results_dir out.mp4
python3 generate.py progress    results_dir out.mp4

results_dir is the folder of a training, or (but for progress) a bundle made by export.py.
"""

import argparse

from medsynth import app
from medsynth.gan.command_line import generate_parser


def main(arguments: argparse.Namespace) -> None:
    """Load the network and write what was asked for."""
    from GAN_dcgan.application import APPLICATION
    from medsynth.gan.gallery import run

    run(APPLICATION.generator_classes, arguments)


if __name__ == "__main__":
    app.run(__file__, generate_parser(__doc__), main)
