"""Give a COCO dataset fewer classes: FOLDER/coco_dataset.json becomes FOLDER/dataset.json."""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = app.parser(
        "Give a COCO dataset fewer classes: FOLDER/coco_dataset.json becomes FOLDER/dataset.json.\n"
        "Annotations of classes that the map does not name are dropped, and images that are left without any."
    )
    parser.add_argument("--folder", type=Path, required=True, help="with coco_dataset.json")
    parser.add_argument(
        "--classes", default="oral", metavar="MAP",
        help="a yaml file, `new: [old, old]` a line, or a map that is shipped (default: %(default)s, as published)",
    )  # fmt: skip
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Simplify."""
    from classifier_segment.coco import read_coco
    from classifier_segment.curation.census import format_census, take_census
    from classifier_segment.curation.simplify import read_class_map, simplify

    classes = read_class_map(arguments.classes)
    dataset = read_coco(arguments.folder / "coco_dataset.json")
    simple = simplify(dataset, classes, arguments.folder / "dataset.json")
    simple.write()
    print(format_census(take_census(simple)))
    print(f"{simple.path}: {len(simple.images):,} of {len(dataset.images):,} images")


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
