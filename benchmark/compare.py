"""Compare classifiers on the same real test images.

python3 compare.py results... --out DIR [--published modality,benchmark,setting]

Each of the results is a folder with predictions.csv and results.json, or the data_dir or
results_dir of a tested classifier. The first is the reference: give the classifier that was
trained on real images. Writes comparison.txt, .csv, .json and .png. Several seeds of one training are
summed up, too, with intervals that hold the choice of test patients and the seed (comparison_over_seeds.csv).
"""

import argparse
from pathlib import Path

from medsynth import app


def _resamples(text: str) -> int:
    if not text.isdigit() or int(text) < 100:
        raise argparse.ArgumentTypeError(f"a number from 100 was expected. Received: {text!r}")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="tested classifiers, the real one first")
    parser.add_argument("--out", type=Path, required=True, help="folder for the four files")
    parser.add_argument("--published", metavar="ROW", help="published row to show, such as chest,classes,20")
    parser.add_argument("--resamples", type=_resamples, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--seed", type=app.non_negative_seed, default=0, help="of the bootstrap (default: 0)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Compare, print the table, and write the files."""
    from benchmark.comparison import compare, format_table, write_comparison

    comparison = compare(
        arguments.results, published=arguments.published, num_resamples=arguments.resamples, seed=arguments.seed
    )
    print(format_table(comparison), end="")
    write_comparison(comparison, arguments.out)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
