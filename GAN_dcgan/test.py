"""Make synthetic frames with a trained DCGAN: frame I of seed S is the same whatever else is made.

python3 test.py generate results_dir out_dir --num 10000 --seed S

The same command goes on with a generation that was stopped or killed. See docs/GAN_dcgan.md.
"""

import argparse

from GAN_dcgan.command_line import generate_parser
from medsynth import app


def main(arguments: argparse.Namespace) -> None:
    """Load the network and write the frames."""
    from GAN_dcgan.generation import GenerationRequest, generate

    request = GenerationRequest(
        arguments.seed, arguments.first, arguments.num, num_gpus=arguments.num_gpus, snapshot=arguments.snapshot
    )
    generate(arguments.results_dir, arguments.out_dir, request)


if __name__ == "__main__":
    app.run(__file__, generate_parser(__doc__), main)
