"""Make results whose verdict is known beforehand, to see whether verdict.py gives it on your data.

python3 known_cases.py data_dir out_dir resolution [--other DATA_DIR] [--seed N]

Writes out_dir/memoriser (training images under slight noise: privacy must fail), out_dir/noise (fidelity and utility
must fail), and with --other, a dataset of other people with the same labels, out_dir/held-out (nothing may fail). Each
is a results_dir for verdict.py.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("data_dir", type=Path, help="dataset made by build_dataset")
    parser.add_argument("out_dir", type=Path, help="folder for the cases")
    parser.add_argument("resolution", type=app.power_of_two, help="of the images")
    parser.add_argument("--other", type=Path, metavar="DATA_DIR", help="dataset of other people with the same labels")
    parser.add_argument("--seed", type=app.non_negative_seed, default=0, help="of noise and choice (default: 0)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Make the cases, and say what each must be judged."""
    from benchmark.gates.known_cases import EXPECTED, make_cases
    from medsynth.runs import require_own_folder

    inputs = [arguments.data_dir, *filter(None, [arguments.other])]
    require_own_folder(arguments.out_dir, inputs, nor_below=True)
    made = make_cases(
        arguments.data_dir, arguments.out_dir, arguments.resolution, other=arguments.other, seed=arguments.seed
    )
    for name, folder in made.items():
        print(f"{folder}: {EXPECTED[name]}")


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
