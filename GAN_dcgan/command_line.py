"""The command lines of GAN_dcgan's scripts; loads without TensorFlow."""

import argparse
import json
from pathlib import Path
from typing import Any

from medsynth import app
from medsynth.errors import UsageError
from medsynth.gan.command_line import add_numbered_options

IMAGE_SIZE, IMAGE_SIZES = 128, (16, 32, 64, 128, 256)
DEFAULT_SEED = 1  # where the original's options name the folders, and nothing names a seed
RUNS_FOLDER = Path("runs")
EPOCHS_KEY, TABLE_KEY = "schedule.total_kimg", "data.table"
# The original's options and what they are among the settings here; those of a second column are this suite's own.
SETTINGS_OF = {
    "batch_size": ("schedule.minibatch_base",),
    "latent_vector_length": ("network.latent_size",),
    "generator_features": ("network.generator_features",),
    "discriminator_features": ("network.discriminator_features",),
    "filename_filter": ("data.filename_filter",),
    "image_extension": ("data.image_extension",),
    "lr": ("schedule.generator_learning_rate", "schedule.discriminator_learning_rate"),
    "beta": ("optimiser.beta_1",),
    "table": (TABLE_KEY,),
    "file_column": ("data.file_column",),
    "group_column": ("data.group_column",),
    "held_out": ("data.held_out_share",),
}


def train_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the command train; `train_arguments` completes what it parses.

    Args:
        description: Shown by --help.
    """
    parser = app.parser(description)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train the DCGAN", description="train the DCGAN", allow_abbrev=False)
    train.add_argument(
        "places",
        nargs="*",
        metavar="data_dir results_dir random_seed [image_size]",
        help="a folder of frames, a csv table of them, or a dataset made by build_dataset; a folder for everything "
        f"that the training leaves; a seed; pixels a side, one of {', '.join(map(str, IMAGE_SIZES))} "
        f"(default: {IMAGE_SIZE}). Of frames of more than 8 bits, the brightest pixel of each becomes white",
    )
    original = train.add_argument_group("the original's options")
    original.add_argument("--data-folder", type=Path, metavar="DIR", help="data_dir")
    original.add_argument("--experiment-name", metavar="NAME", help=f"results_dir is {RUNS_FOLDER}/NAME")
    _add(original, "--batch-size", int, "frames of a batch (default: 64)")
    _add(original, "--latent-vector-length", int, "numbers of a latent (default: 100)")
    _add(original, "--generator-features", int, "multiplier of the generator's channels (default: 64)")
    _add(original, "--discriminator-features", int, "multiplier of the discriminator's (default: 64)")
    _add(original, "--filename-filter", str, "text that a frame's path below data_dir must have (default: none)")
    _add(original, "--image-extension", str, "ending of the frames' names, several with commas, or any (default: png)")
    original.add_argument("--epochs", type=float, metavar="N", help="passes over the frames (default: 10)")
    _add(original, "--lr", float, "learning rate of both networks (default: 0.0002)")
    _add(original, "--beta", float, "Adam's beta 1 (default: 0.7)")
    frames = train.add_argument_group("frames that belong together")
    _add(
        frames, "--table", str, "csv of the frames and their groups below data_dir (default: that of create_from_video)"
    )
    _add(frames, "--file-column", str, "its column of paths, relative to itself (default: path)")
    _add(frames, "--group-column", str, "its column of groups, such as patients (default: group_id)")
    _add(frames, "--held-out", float, "share of the groups that is kept from training (default: 0)")
    app.add_config_options(train, "published")
    app.add_leak_option(train)
    return parser


def train_arguments(arguments: argparse.Namespace) -> argparse.Namespace:
    """Complete the parsed arguments: data_dir, results_dir, random_seed, resolution, and options as settings.

    Raises:
        UsageError: Something is missing, or given twice and not alike.
    """
    named = arguments.data_folder is not None and arguments.experiment_name is not None
    *folders, rest = _places(arguments.places, named)
    arguments.data_dir = _one_of("data_dir", folders[0], "--data-folder", arguments.data_folder)
    by_name = None if arguments.experiment_name is None else RUNS_FOLDER / arguments.experiment_name
    arguments.results_dir = _one_of("results_dir", folders[1], "--experiment-name", by_name)
    seed, size = [*rest, *[None] * 2][:2]
    try:
        arguments.random_seed = DEFAULT_SEED if seed is None else app.non_negative_seed(seed)
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error).rpartition(" Received: ")[0], received=seed) from None
    if size is not None and size not in map(str, IMAGE_SIZES):
        raise UsageError(f"The image size is one of {', '.join(map(str, IMAGE_SIZES))}.", received=size)
    arguments.resolution = IMAGE_SIZE if size is None else int(size)
    arguments.overrides = _settings(arguments)
    return arguments


def generate_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the command generate.

    Args:
        description: Shown by --help.
    """
    parser = app.parser(description)
    commands = parser.add_subparsers(dest="command", required=True)
    summary = "make synthetic frames, each fixed by seed and number"
    generate = commands.add_parser("generate", help=summary, description=summary, allow_abbrev=False)
    generate.add_argument("results_dir", type=Path, help="folder of the training, or a bundle made by export.py")
    generate.add_argument("out_dir", type=Path, help="folder for the frames")
    add_numbered_options(generate, "frame")
    return parser


def _add(group: Any, option: str, kind: type, text: str) -> None:
    group.add_argument(option, type=kind, metavar={int: "N", float: "X", str: "TEXT"}[kind], help=text)


def _places(places: list[str], named: bool) -> tuple[Path | None, Path | None, list[str]]:
    """Return data_dir, results_dir, and [random_seed, image_size] as far as they are given."""
    if named and len(places) <= 2:
        return None, None, places
    if not 3 <= len(places) <= 4:
        raise UsageError(
            "Give data_dir results_dir random_seed [image_size]; with both --data-folder and --experiment-name "
            "[random_seed [image_size]] is enough.",
            received=" ".join(places) or "none of them",
        )
    return Path(places[0]), Path(places[1]), places[2:]


def _one_of(name: str, place: Path | None, option: str, by_option: Path | None) -> Path:
    if place is not None and by_option is not None and place != by_option:
        raise UsageError(f"{name} and {option} are the same setting; give one.", received=f"{place} and {by_option}")
    chosen = place if place is not None else by_option
    if chosen is None:
        raise UsageError(f"{name} is missing.", received="nothing")
    return chosen


def _settings(arguments: argparse.Namespace) -> list[str]:
    """Return all settings as `key=value`, those of options first."""
    by_key = {text.partition("=")[0]: text for text in arguments.overrides}
    if arguments.epochs is not None:
        if EPOCHS_KEY in by_key:
            raise _twice("--epochs", by_key[EPOCHS_KEY])
        if not 0 < arguments.epochs < 1e9:
            raise UsageError("--epochs is above 0.", received=arguments.epochs)
    found = []
    for name, keys in SETTINGS_OF.items():
        value = getattr(arguments, name)
        for key in keys if value is not None else ():
            if key in by_key:
                raise _twice(f"--{name.replace('_', '-')}", by_key[key])
            found.append(f"{key}={json.dumps(value)}")
    return found + arguments.overrides


def _twice(option: str, setting: str) -> UsageError:
    return UsageError(f"{option} and --set {setting} are the same setting; give one.", received="both")
