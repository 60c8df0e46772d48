"""Look into negative controls: does the number of labels show in synthetic images, and does that explain the AUROC?

python3 control.py demo_dirs...

Each folder is that of a finished demo. For real and synthetic images: texture (mean absolute difference of neighbouring
pixels) by number of labels. And the AUROC of a linear classifier trained on the synthetic images and tested on real
ones: on all images, and on images of a single label alone.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("demo_dirs", type=Path, nargs="+", help="of finished demos")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Measure every demo and print the table."""
    from benchmark.label_counts import count_labels, format_counts

    print(format_counts([count_labels(folder) for folder in arguments.demo_dirs]), end="")


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
