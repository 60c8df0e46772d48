"""May synthetic images be shared in place of real ones? Three gates, one page.

python3 verdict.py results_dir data_dir [resolution] [--out DIR] [--train] [--filter]

Judges the synthetic images in results_dir/inference (of GAN_dcgan and GAN_joint: images or patients made for it)
against the real ones of data_dir, and writes verdict.html, one file that opens without a network, and verdict.json.
Nothing is trained unless --train is given: what is missing is said, with the commands that make it. Ends with code 0
whatever the verdict is. docs/verdict.md says how to read it.
"""

import argparse
import sys
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("results_dir", type=Path, help="results of a GAN, or any folder with inference/")
    parser.add_argument("data_dir", type=Path, help="what the GAN was trained on: a dataset, or table and images")
    parser.add_argument("resolution", type=app.power_of_two, nargs="?", help="of the images (default: the GAN's own)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the files (default: results_dir/verdict)")
    parser.add_argument("--metadata", type=Path, metavar="FILE", help="csv about patients, with age or sex")
    parser.add_argument(
        "--features", metavar="NAME", help="whose features are compared (default: the real classifier's, if trained)"
    )
    parser.add_argument("--weights", type=Path, metavar="PATH", help="of these features; nothing is downloaded")
    parser.add_argument("--train", action="store_true", help="train and test the classifiers that are missing")
    parser.add_argument(
        "--filter",
        action="store_true",
        help="measure what dropping the images nearest to training images costs; trains classifiers",
    )
    parser.add_argument("--thresholds", type=Path, metavar="FILE", help="your own numbers that decide")
    parser.add_argument(
        "--no-private-pictures", action="store_true", help="leave out pictures that show, or may show, real patients"
    )
    parser.add_argument("--seed", type=app.non_negative_seed, default=0, help="of every draw (default: %(default)s)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Judge, write the files, and print the verdict."""
    from benchmark.gates.command import make_verdict
    from benchmark.gates.inputs import Request

    request = Request(
        results_dir=arguments.results_dir,
        data_dir=arguments.data_dir,
        resolution=arguments.resolution,
        out_dir=arguments.out,
        metadata=arguments.metadata,
        features=arguments.features,
        weights=arguments.weights,
        train=arguments.train,
        filter=arguments.filter,
        seed=arguments.seed,
    )
    verdict = make_verdict(
        request,
        thresholds_path=arguments.thresholds,
        shows_private_pictures=not arguments.no_private_pictures,
        command=("python3", "benchmark/verdict.py", *sys.argv[1:]),
    )
    print("\n".join(verdict.lines()))


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
