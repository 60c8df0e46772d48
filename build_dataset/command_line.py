"""The command line of dataset_tool.py, made from the settings of each command."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from build_dataset.commands import COMMANDS, Command, settings_of
from medsynth import app
from medsynth.data.images import IMAGE_FITS

# Help by setting; a setting without a line here is set by the command itself.
_HELP = {
    "limit": "leave out combinations of labels with N images or fewer",
    "num_classes": "use the N most frequent combinations",
    "no_finding_length": "images without a finding to keep",
    "split": "share of the patients for validation, and as much for the test",
    "seed": "of the split; further seeds count up from it",
    "image_size": "full resolution, a power of two",
    "test_val_samples": "images in validation and in test; 0 keeps every one",
    "drop_empty_labels": "leave out labels without a positive in train",
    "classes": "numbers of classes, for example 20,15,10",
    "train_per_class": "training images of each class, for example 400,200",
    "valid_per_class": "validation images of each class",
    "test_per_class": "test images of each class",
    "index_size": "training images of each class to choose from; 0 is the largest --train-per-class",
    "csv": "table in RAW_DIR (default: the only csv file there)",
    "path_column": "column that names the images (default: path, image, file, ...)",
    "patient_column": "column that names the patients (default: patient, patient_id, subject, ...)",
    "labels": "label columns, for example Edema,Mass (default: those that are half zeros and ones, or more)",
    "missing_labels": "what an empty label means: error, absent, or drop the row",
    "channels": "1 (grey) or 3 (colour)",
    "fit": f"what becomes of a picture that is not square: {', '.join(IMAGE_FITS)} (refuse another size)",
}


def add_create_commands(commands: Any) -> None:
    """Add every dataset command to the subparsers of dataset_tool.py."""
    for name, command in COMMANDS.items():
        parser = commands.add_parser(
            name,
            help=command.help,
            description=f"Make a dataset in TARGET_DIR from {command.help}.",
            allow_abbrev=False,
        )
        parser.add_argument("target_dir", help="folder of the dataset; new or empty")
        parser.add_argument("raw_dir", help="folder with the raw table and images")
        _add_settings(parser, command)
        parser.add_argument("--labels-only", action="store_true", help="write csv files and labels, read no image")
        parser.add_argument(
            "--overwrite", action="store_true", help="replace a finished dataset, forget an unfinished one"
        )
        app.add_check_option(parser)
        add_workers(parser)


def add_brain_command(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add prepare_brain.

    Args:
        add: Makes a command from its name and a line of help.
    """
    brain = add("prepare_brain", "RSNA's head CT, DICOM and csv, to what create_from_brain reads")
    brain.add_argument("raw_dicom_dir", type=Path, help="folder with ID_<hex>.dcm, at any depth")
    brain.add_argument("labels_csv", type=Path, help="RSNA's stage_2_train.csv")
    brain.add_argument("out_dir", type=Path, help="new folder for PNG files and new_stage_2_train.csv")
    brain.add_argument("--window", default="brain", help="brain, subdural, bone or stack (default: %(default)s)")
    brain.add_argument("--image-size", type=int, default=128, metavar="N", help="pixels a side (default: %(default)s)")
    brain.add_argument("--patient-ids", default="hash", help="hash them with a key, or keep them (default: hash)")
    brain.add_argument("--key-file", type=Path, metavar="FILE", help="key for the hash; made if it does not exist")
    brain.add_argument("--allow-burned-in", action="store_true", help="take images with text in their pixels, too")


def add_video_command(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add create_from_video.

    Args:
        add: Makes a command from its name and a line of help.
    """
    video = add("create_from_video", "ultrasound clips (mp4, avi, gif, DICOM) to what create_from_folder reads")
    video.add_argument("target_dir", help="folder of the frames; new or empty")
    video.add_argument("raw_dir", help="folder with the clips, and a csv file if there is one")
    for option, text in (
        ("--csv", "table in RAW_DIR (default: the only csv file there, if any)"),
        ("--path-column", "column that names the clips (default: clip, video, path, file, ...)"),
        ("--patient-column", _HELP["patient_column"]),
    ):
        video.add_argument(option, default="", metavar="NAME", help=text)
    video.add_argument(
        "--labels", type=_names, default=(), metavar="NAME,...",
        help="label columns, kept as they are (default: those that are half zeros and ones, or more)",
    )  # fmt: skip
    video.add_argument(
        "--crop", default="none", metavar="MARGINS",
        help="40, 8%%, or top,right,bottom,left to cut off; auto: keep what changes; none (default)",
    )  # fmt: skip
    video.add_argument("--every", type=int, default=1, metavar="K", help="take every K-th frame (default: 1)")
    video.add_argument("--fps", type=float, default=0.0, metavar="N", help="take N frames a second (default: all)")
    video.add_argument("--max-per-clip", type=int, default=0, metavar="N", help="at most N of a clip (default: all)")
    video.add_argument(
        "--drop-below", type=float, default=1.0, metavar="LEVELS",
        help="drop a frame that differs less from the one before it, in grey levels; 0 drops none (default: 1)",
    )  # fmt: skip
    video.add_argument("--patient-ids", default="hash", help="of DICOM files: hash with a key, or keep (default: hash)")
    video.add_argument("--key-file", metavar="FILE", help="key for the hash; made if it does not exist")
    video.add_argument("--skip-damaged", action="store_true", help="leave out clips that cannot be read, and list them")
    video.add_argument("--overwrite", action="store_true", help="replace finished frames, forget unfinished ones")


def add_phantom_commands(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add the built-in data.

    Args:
        add: Makes a command from its name and a line of help.
    """
    chest = add("create_phantom", "made-up chest radiographs in CheXpert's layout, to try everything")
    chest.add_argument("target_dir", type=Path, help="folder to give to create_from_xray as RAW_DIR")
    chest.add_argument("--patients", type=int, metavar="N", help="patients (default: enough for the demo)")
    app.add_check_option(chest)
    ecg = add("create_phantom_ecg", "made-up ECGs with a table of risk factors, to try GAN_joint")
    ecg.add_argument("data_dir", type=Path, help="folder to give to GAN_joint; new or empty")
    ecg.add_argument(
        "--patients", dest="num_patients", type=int, default=1000, metavar="N", help="rows (default: 1000)"
    )
    ecg.add_argument(
        "--image-size", type=int, default=200, metavar="N", help="pixels a side, a multiple of 8 (default: 200)"
    )
    ecg.add_argument("--overwrite", action="store_true", help="replace another phantom")
    lung = add("create_phantom_ultrasound", "made-up lung ultrasound with a table of findings, to try GAN_dcgan")
    lung.add_argument("target_dir", type=Path, help="new or empty folder")
    lung.add_argument("--patients", dest="num_patients", type=int, default=100, metavar="N", help="(default: 100)")
    lung.add_argument("--clips", dest="num_clips", type=int, default=2, metavar="N", help="of a patient (default: 2)")
    lung.add_argument("--frames", dest="num_frames", type=int, default=5, metavar="N", help="of a clip (default: 5)")
    lung.add_argument("--image-size", type=int, default=128, metavar="N", help="pixels a side (default: 128)")
    lung.add_argument("--form", default="png", help="png: frames; gif: clips, for create_from_video (default: png)")
    lung.add_argument("--overwrite", action="store_true", help="replace another phantom")
    lesions = add("create_phantom_lesions", "made-up photographs of lesions in COCO form, to try classifier_segment")
    lesions.add_argument("target_dir", type=Path, help="new or empty folder")
    lesions.add_argument(
        "--patients", dest="num_patients", type=int, default=300, metavar="N", help="of 1 to 3 images (default: 300)"
    )
    lesions.add_argument("--image-size", type=int, default=256, metavar="N", help="shorter side (default: 256)")
    lesions.add_argument(
        "--test-cue", default="absent", help="sticker in the test: absent, or permuted, of any colour (default: absent)"
    )
    lesions.add_argument("--overwrite", action="store_true", help="replace another phantom")
    for command in (chest, ecg, lung, lesions):
        command.add_argument(
            "--seed", type=app.non_negative_seed, default=0, metavar="N", help="of everything random (default: 0)"
        )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --workers."""
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per processor)")


def _add_settings(parser: argparse.ArgumentParser, command: Command) -> None:
    for key, default in settings_of(command).items():
        if key not in _HELP or (key == "num_classes" and default == 0) or _is_chosen_by_benchmark(key, command):
            continue
        option, shown = "--" + key.replace("_", "-"), _HELP[key]
        if isinstance(default, bool):
            parser.add_argument(option, dest=key, action="store_true", help=shown)
            continue
        metavar, read = _kind(key, default)
        if default not in ("", ()) and default is not None:
            shown += f" (default: {','.join(map(str, default)) if isinstance(default, tuple) else default})"
        parser.add_argument(option, dest=key, type=read, default=default, metavar=metavar, help=shown)


def _is_chosen_by_benchmark(key: str, command: Command) -> bool:
    """Return whether the classes benchmark, not the user, says how many combinations a source keeps."""
    return key == "num_classes" and hasattr(command.benchmark, "classes")


def _kind(key: str, default: Any) -> tuple[str, Any]:
    """Return how an option's value is shown and read."""
    if key == "labels":
        return "NAME,...", _names
    if isinstance(default, tuple):
        return "N,...", _numbers
    if key == "seed":
        return "N", app.non_negative_seed
    if key == "split":
        return "FRACTION", float
    if isinstance(default, str):
        return "NAME", str
    return "N", int


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"names with commas between them were expected. Received: {text!r}")
    return names


def _numbers(text: str) -> Sequence[int]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"whole numbers with commas were expected. Received: {text!r}") from None
