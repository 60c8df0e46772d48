"""Split a COCO dataset: FOLDER/dataset.json becomes FOLDER/train.json, val.json and test.json."""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = app.parser(
        "Split a COCO dataset: FOLDER/dataset.json becomes FOLDER/train.json, val.json and test.json.\n"
        "As published image by image, every class in the same shares; with --group-by whole groups of images, such\n"
        "as those of a patient or copies of each other, never some images of one."
    )
    parser.add_argument("--folder", type=Path, required=True, help="with dataset.json")
    parser.add_argument("--dataset", default="dataset.json", metavar="FILE", help="in FOLDER (default: %(default)s)")
    parser.add_argument("--train-perc", type=float, default=0.70, metavar="SHARE", help="(default: 0.7)")
    parser.add_argument("--val-perc", type=float, default=0.15, metavar="SHARE", help="(default: 0.15)")
    parser.add_argument("--seed", type=app.non_negative_seed, default=42, metavar="N", help="(default: 42)")
    parser.add_argument(
        "--group-by", default="", metavar="NAME", help="field of the images' records, or column of --groups"
    )
    parser.add_argument(
        "--groups", type=Path, metavar="FILE", help="csv file with images and their groups, in FOLDER or elsewhere"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Split."""
    from classifier_segment.coco import read_coco
    from classifier_segment.curation import split
    from classifier_segment.curation.census import format_census, take_census
    from medsynth.data.wording import counted
    from medsynth.errors import UsageError

    shares = split.Shares(arguments.train_perc, arguments.val_perc)
    shares.require()
    if arguments.groups and not arguments.group_by:
        raise UsageError("--groups needs --group-by, the column with the groups.", received="none")
    dataset = read_coco(arguments.folder / arguments.dataset)
    if not arguments.group_by:
        parts = split.split_by_class(dataset, shares, arguments.seed)
        note = "Image by image: if a patient has several, they may be on both sides (--group-by keeps them together)."
    else:
        in_folder = arguments.groups and arguments.folder / arguments.groups
        table = in_folder if in_folder and in_folder.is_file() else arguments.groups
        groups = (
            split.groups_of_table(dataset, table, arguments.group_by)
            if arguments.groups
            else split.groups_of_field(dataset, arguments.group_by)
        )
        parts = split.split_by_group(dataset, groups, shares, arguments.seed)
        num_images = sum(len(part.images) for part in parts.values())
        note = f"{counted(len(set(groups.values())), 'group')} of {counted(num_images, 'image')}; none is divided."
    for name, part in parts.items():
        part.write()
        print(f"{part.path} ({len(part.images) / max(len(dataset.images), 1):.1%} of the images)")
        census = take_census(part)
        print(format_census(census))
        if census.empty_classes:
            print(f"warning: no image of {', '.join(census.empty_classes)} in {name}")
    print(note)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
