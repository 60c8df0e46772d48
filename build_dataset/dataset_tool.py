"""Build datasets from raw images: `dataset_tool.py COMMAND TARGET_DIR [RAW_DIR] [options]`."""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = app.parser("Turn raw images into datasets: records at every resolution, labels and csv files.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    xray = commands.add_parser(
        "create_from_xray",
        help="resolution benchmark from chest radiographs laid out as CheXpert-v1.0-small",
        description="Write TARGET_DIR/{train,valid,test} from the images in RAW_DIR/CheXpert-v1.0-small.",
        allow_abbrev=False,
    )
    xray.add_argument("target_dir", help="folder of the dataset; new or empty")
    xray.add_argument("raw_dir", help="folder that holds CheXpert-v1.0-small")
    option = xray.add_argument
    option("--limit", type=int, default=256, metavar="N",
           help="leave out combinations of labels with N images or fewer (default: %(default)s)")  # fmt: skip
    option("--split", type=float, default=0.1, metavar="FRACTION",
           help="patients for validation, and as many for the test (default: %(default)s)")  # fmt: skip
    option("--test-val-samples", type=int, default=4000, metavar="N",
           help="images in validation and in test; 0 keeps every one (default: %(default)s)")  # fmt: skip
    option("--image-size", type=int, default=256, metavar="PIXELS",
           help="full resolution, a power of two (default: %(default)s)")  # fmt: skip
    option("--drop-empty-labels", action="store_true", help="leave out labels without a positive in train")
    option("--overwrite", action="store_true", help="replace a finished dataset in TARGET_DIR")
    _add_common(xray, default_seed=100)

    phantom = commands.add_parser(
        "create_phantom",
        help="made-up chest radiographs in the same layout, to try everything without a download",
        description="Write made-up chest radiographs as TARGET_DIR/CheXpert-v1.0-small.",
        allow_abbrev=False,
    )
    phantom.add_argument("target_dir", help="folder to give to create_from_xray as RAW_DIR")
    phantom.add_argument("--patients", type=int, metavar="N", help="patients (default: enough for the demo)")
    _add_common(phantom, default_seed=0)
    return parser


def _add_common(command: argparse.ArgumentParser, default_seed: int) -> None:
    seed_help = "of everything random (default: %(default)s)"
    command.add_argument("--seed", type=app.non_negative_seed, default=default_seed, metavar="N", help=seed_help)
    command.add_argument("--workers", type=int, metavar="N", help="processes (default: one per processor)")


def main(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from medsynth.data.images import available_cpus

    options = vars(arguments)
    command = options.pop("command")
    num_workers = options.pop("workers")
    num_workers = available_cpus() if num_workers is None else num_workers
    if command == "create_phantom":
        from medsynth.data import phantom

        num_patients = phantom.DEFAULT_NUM_PATIENTS if arguments.patients is None else arguments.patients
        print(phantom.create_phantom(Path(arguments.target_dir), num_patients, arguments.seed, num_workers))
    else:
        from build_dataset import chest, writing

        print(writing.format_summary(chest.create_from_xray(**options, num_workers=num_workers)))


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
