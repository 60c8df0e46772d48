"""Compare classifiers on the same real test images, or those of a whole grid.

python3 compare.py results... --out DIR [--published modality,benchmark,setting]
python3 compare.py grid_dir --out DIR [--margin 0.01] [--gap-margin 0.05]

Each of the results is a folder with predictions.csv and results.json, or the data_dir or
results_dir of a tested classifier. The first is the reference: give the classifier that was
trained on real images. Writes comparison.txt, .csv, .json and .png. Several seeds of one training are
summed up, too, with intervals that hold the choice of test patients and the seed (comparison_over_seeds.csv).

A grid_dir holds grid.json and cells.csv. Writes grid.txt, grid.csv, grid_comparison.json, a figure
grid_<benchmark>.png beside the published values, and learning_curves.txt, .csv and .png: how many samples per
class suffice, and how many classes a GAN can take.
"""

import argparse
from pathlib import Path

from medsynth import app

_margin = app.number_between(0, 0.5, "a difference of AUROC")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="tested classifiers, the real one first, or one grid")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--published", metavar="ROW", help="published row to show, such as chest,classes,20")
    parser.add_argument("--margin", type=_margin, help="grid: what a size that suffices may lose (default: 0.01 AUROC)")
    parser.add_argument("--gap-margin", type=_margin, help="grid: what a GAN may lose to real (default: 0.05 AUROC)")
    parser.add_argument(
        "--resamples", type=app.whole_number_from(100), default=1000, help="of the bootstrap (default: 1000)"
    )
    parser.add_argument("--seed", type=app.non_negative_seed, default=0, help="of the bootstrap (default: 0)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Compare, print the table, and write the files."""
    from benchmark.comparison import compare, format_table, write_comparison
    from benchmark.grid_report.cells import require_one_kind
    from benchmark.grid_report.report import report_grid
    from benchmark.learning_curves import Margins

    chance = {"num_resamples": arguments.resamples, "seed": arguments.seed}
    given = {"--published": arguments.published, "--margin": arguments.margin, "--gap-margin": arguments.gap_margin}
    if require_one_kind(arguments.results, [name for name, value in given.items() if value is not None]):
        default = Margins()
        margins = Margins(arguments.margin or default.of_size, arguments.gap_margin or default.of_gap)
        print(report_grid(arguments.results[0], arguments.out, margins, **chance), end="")
        return
    comparison = compare(arguments.results, published=arguments.published, **chance)
    print(format_table(comparison), end="")
    write_comparison(comparison, arguments.out)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
