"""Check a COCO file: whether its records fit together, and whether its images can be read."""

import argparse
from pathlib import Path

from medsynth import app
from medsynth.parallel import available_cpus


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = app.parser(
        "List everything that does not fit in a COCO file: ids twice, annotations without image, outlines that are "
        "none,\nimages that are missing, damaged or of another size. Exit code 2 where there is any."
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="FILE", help="the json file")
    parser.add_argument(
        "--images", default="", metavar="FOLDER",
        help="of the images, relative to the file's folder (default: oral1 or images there, else that folder itself)",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per processor)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Check."""
    from classifier_segment.curation.check import check

    num_workers = available_cpus() if arguments.workers is None else arguments.workers
    print(check(arguments.dataset, arguments.images, num_workers))


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
