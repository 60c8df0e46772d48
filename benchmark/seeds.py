"""Sum up several runs of the demo: what one run's interval leaves out is the chance in a training.

python3 seeds.py demo_dirs... [--out FILE]

Each folder is that of a finished demo, or holds a comparison.json of compare.py. Shows each run's mean AUROC, and over
the runs the mean with its 95 % interval by Student's t distribution, for every classifier and for the gap to the first.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("demo_dirs", type=Path, nargs="+", help="at least two, of different seeds")
    parser.add_argument("--out", type=Path, help="write the table to this file too")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Read all runs, print the table and write it."""
    from benchmark.over_seeds import format_runs, read_runs
    from medsynth.files import write_text

    text = format_runs(read_runs(arguments.demo_dirs))
    print(text, end="")
    if arguments.out is not None:
        write_text(arguments.out, text)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
