"""Does the DCGAN collapse? Train it with several settings and seeds for the same time, and compare what comes out.

python3 collapse.py out_dir data_dir resolution --variant published --variant 'stable=--preset stable' \
    --weights data_dir/classification_results_res_64 [--minutes 5] [--seeds 5] [--options '--generator-features 16 ...']

A variant is a name and options of GAN_dcgan/train.py; a name alone is a preset. All are checked first. A short trial of
each says how many images fit into the minutes, 1,000 at least; all its seeds are then trained on as many. Leaves
table.txt, results.csv, collapse.png, samples.png and every training. The same command goes on where it stopped.
"""

import argparse
import shlex
from pathlib import Path

from medsynth import app

METRICS = "kid,fid,precision,recall,density,coverage,modes,birthday"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("out_dir", type=Path, help="folder for everything that is made")
    parser.add_argument("data_dir", type=Path, help="a dataset made by build_dataset")
    parser.add_argument("resolution", type=int, help="of the images")
    parser.add_argument(
        "--variant",
        action="append",
        required=True,
        dest="variants",
        metavar="NAME[=OPTIONS]",
        help="settings to train with; the first is what the others are held against",
    )
    parser.add_argument(
        "--options", type=shlex.split, default=[], metavar="'...'", help="of train.py, for all variants"
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="of each training (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 1 to N (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at once (default: %(default)s)")
    parser.add_argument("--metrics", default=METRICS, help="of evaluate.py (default: %(default)s)")
    parser.add_argument("--features", default="densenet", help="of evaluate.py (default: %(default)s)")
    parser.add_argument("--weights", type=Path, help="of the features")
    parser.add_argument("--no-floor", action="store_true", help="compare with all images, and none with real ones")
    parser.add_argument("--split", default="train", help="whose images are compared with (default: %(default)s)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Train, evaluate, and write tables and figures."""
    from benchmark.variants import Request, compare_variants, parse_variant

    request = Request(
        out_dir=arguments.out_dir,
        data_dir=arguments.data_dir,
        resolution=arguments.resolution,
        variants=tuple(parse_variant(text) for text in arguments.variants),
        options=tuple(arguments.options),
        minutes=arguments.minutes,
        num_seeds=arguments.seeds,
        num_jobs=arguments.jobs,
        metrics=arguments.metrics,
        features=arguments.features,
        weights=arguments.weights,
        split=arguments.split,
        with_floor=not arguments.no_floor,
    )
    print(compare_variants(request), end="")


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
