"""From chosen rows to a dataset folder: records at every resolution, labels, csv, description.

A dataset appears under its name when all of it is written, or not at all.
"""

import contextlib
import dataclasses
import importlib.metadata
import itertools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.data.images import GreyImage, ImageSource, load_images, require_files
from medsynth.data.labels import LabelTable, record_order, write_label_table
from medsynth.data.tfrecords import (
    SMALLEST_RESOLUTION_LOG2,
    RecordWriter,
    downscale_levels,
    record_path,
    write_labels,
)
from medsynth.errors import RunFolderError, UsageError
from medsynth.files import atomic_path, make_folder, read_json, remove_leftovers, write_json
from medsynth.progress import Progress

DESCRIPTION_NAME = "dataset.json"
_LARGEST_RESOLUTION = 4096
_LIBRARIES = ("medsynth", "numpy", "pandas", "pillow", "scikit-image", "scikit-learn", "scipy")
_RECORD_OVERHEAD_BYTES = 64  # of the message and its checksums, a little above what is needed


@dataclass(frozen=True)
class ImageRows:
    """Rows of a raw table, each an image with its labels.

    Attributes:
        paths: str [N], as they shall stand in the csv.
        labels: float32 [N, L], 0 or 1.
        patients: str [N].
        origins: str [N], where each image is listed ("line 12 of train.csv").
        label_names: The L columns.
    """

    paths: npt.NDArray[np.str_]
    labels: npt.NDArray[np.float32]
    patients: npt.NDArray[np.str_]
    origins: npt.NDArray[np.str_]
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: npt.NDArray[np.int64]) -> "ImageRows":
        """Return these rows, in this order."""
        return dataclasses.replace(
            self,
            paths=self.paths[rows],
            labels=self.labels[rows],
            patients=self.patients[rows],
            origins=self.origins[rows],
        )

    def keep_labels(self, keep: npt.NDArray[np.bool_]) -> "ImageRows":
        """Return all rows with only the label columns marked in `keep` [L]."""
        names = tuple(itertools.compress(self.label_names, keep))
        return dataclasses.replace(self, labels=self.labels[:, keep], label_names=names)

    def in_record_order(self) -> "ImageRows":
        """Return the rows in the order of the records; the csv keeps the order of this table."""
        return self.take(record_order(len(self)))


def require_resolution(image_size: int) -> int:
    """Return log2 of `image_size`.

    Raises:
        UsageError: It is not a power of two from 4 to 4096.
    """
    if not 4 <= image_size <= _LARGEST_RESOLUTION or image_size & (image_size - 1):
        raise UsageError(f"--image-size is a power of two from 4 to {_LARGEST_RESOLUTION}.", received=image_size)
    return image_size.bit_length() - 1


def require_free_target(target: Path, overwrite: bool) -> None:
    """Refuse a target folder that holds anything, but for a finished dataset that may be overwritten.

    Raises:
        RunFolderError: Says what is there and what to do.
    """
    if target.is_file():
        raise RunFolderError("A folder for the dataset was expected here.", received="a file", path=target)
    if target.is_mount():
        raise RunFolderError(
            "A dataset replaces its folder as a whole, which a mount point cannot be; name a folder in it.",
            received="a mount point",
            path=target,
        )
    entries = sorted(entry.name for entry in target.iterdir()) if target.is_dir() else []
    if not entries:
        return
    if DESCRIPTION_NAME not in entries:
        raise RunFolderError(
            "An empty or new folder was expected here; choose another one, or empty it.",
            received=", ".join(entries[:4]),
            path=target,
        )
    description = read_json(target / DESCRIPTION_NAME)
    if not overwrite:
        raise RunFolderError(
            "This folder holds a finished dataset; choose another folder, or replace it with --overwrite.",
            received=f"a dataset made by {description.get('command')}",
            path=target,
        )
    own = {DESCRIPTION_NAME, *(Path(folder).parts[0] for folder in description.get("splits", {}))}
    others = [entry for entry in entries if entry not in own]
    if others:
        raise RunFolderError(
            "--overwrite replaces a dataset, and this folder holds more than one; move the rest away.",
            received=", ".join(others[:4]),
            path=target,
        )


def _require_space(parent: Path, num_images: int, resolution_log2: int) -> None:
    """Refuse to begin what the disk cannot hold."""
    levels = range(SMALLEST_RESOLUTION_LOG2, resolution_log2 + 1)
    needed = num_images * sum(4**level + _RECORD_OVERHEAD_BYTES for level in levels)
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise RunFolderError(
            f"No space is left on the disk for this dataset: its records need {needed / 1e6:,.1f} MB. "
            "Free some, choose another disk or a smaller --image-size.",
            received=f"{free / 1e6:,.1f} MB free",
            path=parent,
        )


def write_split(split_folder: Path, rows: ImageRows, images: Iterator[GreyImage], resolution_log2: int) -> None:
    """Write one split: a record file per resolution in one pass, the labels, and the csv.

    Args:
        split_folder: For example target_dir/train; its name is in the file names.
        rows: In csv order.
        images: The images of `rows` in record order, uint8 [2^resolution_log2, same].
        resolution_log2: log2 of the images' resolution; the lowest written is 4x4.
    """
    make_folder(split_folder)
    levels = range(resolution_log2, SMALLEST_RESOLUTION_LOG2 - 1, -1)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(RecordWriter(record_path(split_folder, level))) for level in levels]
        for image in images:
            # [H, W] -> [H, W, 1]
            for writer, level in zip(writers, downscale_levels(image[..., None], resolution_log2), strict=True):
                writer.write(level)
    write_labels(split_folder, rows.in_record_order().labels)
    write_label_table(split_folder, LabelTable(tuple(rows.paths), rows.label_names, rows.labels))


def write_dataset(
    target: Path,
    splits: Mapping[str, ImageRows],
    *,
    command: str,
    arguments: Mapping[str, Any],
    image_size: int,
    num_workers: int,
    overwrite: bool,
) -> dict[str, Any]:
    """Read, resize and write all images of a dataset; the folder appears when it is complete.

    Args:
        target: The dataset's folder.
        splits: Rows by folder below `target`, whose last part is the split's name ("train",
            "20/train").
        command: What made it, for dataset.json.
        arguments: All that the content depends on, as JSON can hold it, for dataset.json.
        image_size: Pixels a side of the full level; a power of two.
        num_workers: Processes that read images; the content does not depend on it.
        overwrite: Replace a finished dataset that is there.

    Returns:
        What dataset.json holds.

    Raises:
        DataError: An image is missing or damaged.
        RunFolderError: `target` is not free, or cannot be written.
    """
    target = target.resolve()
    resolution_log2 = require_resolution(image_size)
    require_free_target(target, overwrite)
    in_record_order = [rows.in_record_order() for rows in splits.values()]
    sources = [
        ImageSource(Path(path), origin)
        for rows in in_record_order
        for path, origin in zip(rows.paths.tolist(), rows.origins.tolist(), strict=True)
    ]
    require_files(sources)
    description = _describe(splits, command, arguments, resolution_log2)
    make_folder(target.parent)
    remove_leftovers(target)
    _require_space(target.parent, len(sources), resolution_log2)
    progress = Progress("writing the dataset", len(sources), "images")
    with (
        atomic_path(target) as partial,
        contextlib.closing(load_images(sources, image_size, num_workers)) as images,
    ):
        for folder, rows in splits.items():
            images_of_split = itertools.islice(images, len(rows))
            write_split(partial / folder, rows, _counted(images_of_split, progress), resolution_log2)
        write_json(partial / DESCRIPTION_NAME, description)
    progress.close()
    return description


def _counted(images: Iterator[GreyImage], progress: Progress) -> Iterator[GreyImage]:
    for image in images:
        yield image
        progress.advance()


def _describe(
    splits: Mapping[str, ImageRows], command: str, arguments: Mapping[str, Any], resolution_log2: int
) -> dict[str, Any]:
    return {
        "command": command,
        "arguments": dict(arguments),
        "seed": arguments["seed"],
        "label_names": list(dict.fromkeys(name for rows in splits.values() for name in rows.label_names)),
        "resolutions": [2**level for level in range(SMALLEST_RESOLUTION_LOG2, resolution_log2 + 1)],
        "splits": {
            folder: {
                "images": len(rows),
                "patients": len(np.unique(rows.patients)),
                "positives": dict(zip(rows.label_names, rows.labels.sum(axis=0, dtype=np.int64).tolist(), strict=True)),
            }
            for folder, rows in splits.items()
        },
        "library_versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def format_summary(description: Mapping[str, Any]) -> str:
    """Return images, patients and positives per label of every split as a table."""
    splits = description["splits"]
    names = description["label_names"]
    lines = [("", *splits)]
    lines += [(count, *(f"{split[count]:,}" for split in splits.values())) for count in ("images", "patients")]
    lines += [(name, *(f"{split['positives'].get(name, 0):,}" for split in splits.values())) for name in names]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [
                line[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in lines
    )
