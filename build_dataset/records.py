"""Records of every image at every resolution, written by several processes at the places where they belong.

All records of one resolution have the same length, so record i lies at i times that length: worker
processes write straight into the files, an image once for every place where it belongs. What a killed
build left is kept where its checksums are right.
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsynth.data.images import ImageForm, ImageSource, load_image
from medsynth.data.tfrecords import (
    SMALLEST_RESOLUTION_LOG2,
    downscale_levels,
    encode_record,
    is_whole_record,
    record_path,
)
from medsynth.errors import DataError, RunFolderError
from medsynth.files import explained_writes, flush
from medsynth.parallel import ordered_map
from medsynth.progress import Progress

if TYPE_CHECKING:  # pandas, which every worker process would load in vain
    from build_dataset.rows import ImageRows

_IMAGES_PER_TASK = 32
_TASKS_WORTH_PROCESSES = 4  # below, starting processes takes longer than the work


@dataclass(frozen=True)
class Layout:
    """Where records go: what a worker needs to know beside its images.

    Attributes:
        folders: The split folders, in the dataset's order.
        form: What an image becomes.
        resolution_log2: log2 of the full resolution.
    """

    folders: tuple[Path, ...]
    form: ImageForm
    resolution_log2: int

    def levels(self) -> range:
        """Return log2 of every resolution, the full one first."""
        return range(self.resolution_log2, SMALLEST_RESOLUTION_LOG2 - 1, -1)

    def record_bytes(self, level: int) -> int:
        """Return the length of every record of a resolution."""
        return len(encode_record(np.zeros((2**level, 2**level, self.form.num_channels), np.uint8)))


@dataclass(frozen=True)
class _ImageTask:
    """An image and all places where it belongs.

    Attributes:
        source: Its file.
        places: (number of the split folder, number of the record).
    """

    source: ImageSource
    places: tuple[tuple[int, int], ...]


class UniqueImages:
    """Every image file of a dataset once, with all places where it belongs.

    Args:
        rows_of_split: The rows of every split, in csv order.
    """

    def __init__(self, rows_of_split: "list[ImageRows]") -> None:
        in_record_order = [rows.in_record_order() for rows in rows_of_split]
        self._rows = in_record_order
        self._split = np.repeat(np.arange(len(in_record_order)), [len(rows) for rows in in_record_order])
        self._record = np.concatenate([np.arange(len(rows)) for rows in in_record_order])
        # Files are numbered as they appear; `_by_file` lists the places, file after file.
        numbers: dict[str, int] = {}
        number_of_place = np.array(
            [numbers.setdefault(file, len(numbers)) for rows in in_record_order for file in rows.files], np.int64
        )
        self._by_file = np.argsort(number_of_place, kind="stable")
        self._bounds = np.searchsorted(number_of_place[self._by_file], np.arange(len(numbers) + 1))

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def starts(self) -> range:
        """Return the number of the first image of every task."""
        return range(0, len(self), _IMAGES_PER_TASK)

    def tasks(self, start: int, stop: int) -> list[_ImageTask]:
        """Return the images numbered from `start` to before `stop`."""
        return [self._task(number) for number in range(start, min(stop, len(self)))]

    def _task(self, number: int) -> _ImageTask:
        places = self._by_file[self._bounds[number] : self._bounds[number + 1]]
        splits, records = self._split[places].tolist(), self._record[places].tolist()
        return _ImageTask(self._rows[splits[0]].source(records[0]), tuple(zip(splits, records, strict=True)))

    def require_files(self) -> None:
        """Refuse missing files before any long work.

        Raises:
            DataError: Names the first missing file, where it is listed, and how many are missing.
        """
        missing = [number for number in range(len(self)) if not os.path.isfile(self._task(number).source.path)]
        if missing:
            source = self._task(missing[0]).source
            raise DataError(
                f"An image was expected here; it is named in {source.origin}.",
                received=f"{len(missing)} missing of {len(self)} images",
                path=source.path,
            )


def reserve(layout: Layout, num_records: list[int]) -> None:
    """Give every file its final size, so that a disk that is too small says so before the work.

    Raises:
        RunFolderError: There is no space for them.
    """
    sizes = {
        record_path(folder, level): count * layout.record_bytes(level)
        for folder, count in zip(layout.folders, num_records, strict=True)
        for level in layout.levels()
    }
    missing = sum(size - _stored_bytes(path) for path, size in sizes.items())
    free = shutil.disk_usage(layout.folders[0]).free
    if free < missing:
        raise RunFolderError(
            f"No space is left on the disk for this dataset: its records need {missing / 1e6:,.1f} MB more. "
            "Free some, choose another disk or a smaller --image-size.",
            received=f"{free / 1e6:,.1f} MB free",
            path=layout.folders[0],
        )
    new = [path for path in sizes if not path.exists()]
    try:
        for path, size in sizes.items():
            with explained_writes(path), path.open("ab") as file:
                file.truncate(size)
                if size and hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise


def _stored_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512 if path.exists() else 0


def write_records(layout: Layout, images: UniqueImages, num_workers: int) -> None:
    """Write every record that is not there yet.

    Args:
        layout: Where they go; its files have their final size (see `reserve`).
        images: What to write.
        num_workers: Processes; the records do not depend on it.

    Raises:
        DataError: An image is missing or damaged.
        RunFolderError: A file cannot be written.
    """
    num_tasks = -(-len(images) // _IMAGES_PER_TASK)
    tasks = ((layout, images.tasks(start, start + _IMAGES_PER_TASK)) for start in images.starts())
    progress = Progress("writing the dataset", len(images), "images")
    is_worth_processes = num_tasks >= _TASKS_WORTH_PROCESSES
    num_kept = 0
    with contextlib.closing(
        ordered_map(_write_images, tasks, num_workers if is_worth_processes else min(num_workers, 1))
    ) as done:
        for num_images, kept in done:
            num_kept += kept
            progress.advance(num_images, f"{num_kept:,} kept from before" if num_kept else "")
    progress.close(f"{num_kept:,} kept from before" if num_kept else "")
    for folder in layout.folders:
        for level in layout.levels():
            flush(record_path(folder, level))


def _write_images(task: tuple[Layout, list[_ImageTask]]) -> tuple[int, int]:
    """Write some images at every resolution to all their places.

    Returns:
        How many images these were, and how many of them were there already, whole.
    """
    layout, images = task
    lengths = {level: layout.record_bytes(level) for level in layout.levels()}
    smallest_first = [*reversed(lengths.items())]  # a missing record is found out at once
    num_kept = 0
    with contextlib.ExitStack() as stack:
        files = _OpenFiles(layout, stack)
        for image in images:
            if all(
                is_whole_record(os.pread(files.descriptor(split, level), length, record * length))
                for split, record in image.places
                for level, length in smallest_first
            ):
                num_kept += 1
                continue
            pixels = load_image(image.source, layout.form)
            for level, picture in zip(layout.levels(), downscale_levels(pixels, layout.resolution_log2), strict=True):
                content = encode_record(picture)
                for split, record in image.places:
                    files.write(split, level, content, record * lengths[level])
    return len(images), num_kept


class _OpenFiles:
    """The record files that a task touches, each opened once."""

    def __init__(self, layout: Layout, stack: contextlib.ExitStack) -> None:
        self._layout, self._stack = layout, stack
        self._descriptors: dict[tuple[int, int], int] = {}

    def descriptor(self, split: int, level: int) -> int:
        """Return the open file of a split and a resolution."""
        if (split, level) not in self._descriptors:
            descriptor = os.open(record_path(self._layout.folders[split], level), os.O_RDWR)
            self._stack.callback(os.close, descriptor)
            self._descriptors[split, level] = descriptor
        return self._descriptors[split, level]

    def write(self, split: int, level: int, content: bytes, position: int) -> None:
        """Write all of `content` at a position."""
        with explained_writes(record_path(self._layout.folders[split], level)):
            written = 0
            while written < len(content):
                written += os.pwrite(self.descriptor(split, level), content[written:], position + written)
