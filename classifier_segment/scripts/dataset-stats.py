"""Count a COCO dataset, and draw it."""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = app.parser(
        "Print images and annotations of each class, and write them as json and as pictures (classes, sizes, a sheet "
        "of\nimages with their outlines) into a folder."
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="FILE", help="the json file")
    parser.add_argument(
        "--images", default="", metavar="FOLDER",
        help="of the images, relative to the file's folder (default: oral1 or images there, else that folder itself)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="(default: FILE without its ending, and _stats)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Count and draw."""
    from dataclasses import asdict

    from classifier_segment.coco import image_folder, read_coco
    from classifier_segment.curation.census import format_census, take_census
    from classifier_segment.curation.statistics import write_figures
    from medsynth.files import make_folder, write_json

    dataset = read_coco(arguments.dataset)
    census = take_census(dataset)
    print(format_census(census))
    out = make_folder(arguments.out or arguments.dataset.with_name(f"{arguments.dataset.stem}_stats"))
    write_json(out / "stats.json", asdict(census))
    images = image_folder(arguments.dataset, arguments.images)
    for path in write_figures(dataset, dict(census.images_of_class), images, out):
        print(path)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
