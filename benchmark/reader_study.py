"""Can people tell synthetic images from real ones? A blinded study for readers of your own.

python3 reader_study.py create data_dir results_dir out_dir [--num 50] [--split test] [--form page|png|both]
python3 reader_study.py evaluate out_dir answers... [--margin 0.1] [--out DIR]

create writes out_dir/reader, which readers are given, and out_dir/key, which they must not see. evaluate takes the
tables that they send back, and writes reader_study.txt, .csv, .json and .png. See docs/reader_study.md.
"""

import argparse
from pathlib import Path

from medsynth import app

_share = app.number_between(0, 1)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="draw the images, and write the readers' folder and the key")
    create.add_argument("data_dir", type=Path, help="real images: a dataset made by build_dataset, or pictures")
    create.add_argument("results_dir", type=Path, help="synthetic images: a GAN's results with inference/, or pictures")
    create.add_argument("out_dir", type=Path, help="a new folder")
    create.add_argument("--num", type=app.whole_number_from(2), default=50, help="images in all (default: 50)")
    create.add_argument("--share-real", type=_share, default=0.5, help="share of real ones (default: 0.5)")
    create.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: test")
    create.add_argument(
        "--form", choices=("page", "png", "both"), default="page", help="what readers get (default: page)"
    )
    create.add_argument("--seed", type=app.non_negative_seed, help="of the draw (default: one that nobody can guess)")
    evaluate = commands.add_parser("evaluate", help="sum up what readers have answered")
    evaluate.add_argument("out_dir", type=Path, help="folder of the study, with key/")
    evaluate.add_argument("answers", type=Path, nargs="+", help="tables that came back, answers-NAME.csv")
    evaluate.add_argument("--out", type=Path, help="folder for the four files (default: out_dir/results)")
    evaluate.add_argument("--margin", type=_share, default=0.1, help="of equivalence to chance (default: 0.1)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Create a study, or evaluate one."""
    if arguments.command == "create":
        from benchmark.readers.study import create

        options = {name: getattr(arguments, name) for name in ("num", "share_real", "split", "form", "seed")}
        print(create(arguments.data_dir, arguments.results_dir, arguments.out_dir, **options))
        return
    from benchmark.readers.report import evaluate_study

    out = arguments.out or arguments.out_dir / "results"
    print(evaluate_study(arguments.out_dir, arguments.answers, out, margin=arguments.margin), end="")


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
