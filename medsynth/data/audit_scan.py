"""One pass over a dataset folder: the checksum of every file and record, and what is needed of every image.

Nothing here judges; medsynth/data/audit.py does. Faults are kept instead of raised, so that one damaged file does not
hide the next.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from medsynth.data.labels import (
    DESCRIPTION_NAME,
    LabelMatrix,
    LabelTable,
    patients_path,
    read_label_table,
    read_patients,
)
from medsynth.data.near_duplicates import Floats, ImageSet, Numbers, perceptual_hashes, thumbnail_side, thumbnails
from medsynth.data.tfrecords import (
    SMALLEST_RESOLUTION_LOG2,
    Images,
    RecordFile,
    downscale_levels,
    labels_path,
    read_labels,
)
from medsynth.errors import DataError
from medsynth.files import read_json, sha256_of
from medsynth.parallel import ordered_map
from medsynth.progress import Progress

SPLITS = ("train", "valid", "test")
LARGEST_ROUNDING = 1  # grey levels; a level made before the full one was rounded may differ by so much

_LEVEL_IN_NAME = re.compile(r"-r(\d\d)\.tfrecords$")
_PIXELS_PER_TASK = 2**22
_BYTES_WORTH_PROCESSES = 2**28  # below, starting processes takes longer than the work

Value = TypeVar("Value")


@dataclass(frozen=True)
class Fault:
    """Something that could not be read.

    Attributes:
        path: The file.
        sentence: What was expected and what was found.
    """

    path: Path
    sentence: str


@dataclass(frozen=True)
class ScannedFile:
    """A file of the dataset.

    Attributes:
        path: Where it lies.
        size: Bytes.
        sha256: Of its content, hexadecimal; empty where it cannot be read.
        records: Its images, where it is a whole record file.
        fault: What is wrong with it.
    """

    path: Path
    size: int
    sha256: str
    records: RecordFile | None = None
    fault: Fault | None = None

    @property
    def level(self) -> int | None:
        """log2 of the resolution in a record file's name; None for other files."""
        match = _LEVEL_IN_NAME.search(self.path.name)
        return int(match.group(1)) if match else None


@dataclass(frozen=True)
class ScannedImages:
    """What is kept of every image of a split, in record order.

    Attributes:
        level: log2 of the resolution that was looked at: the finest that every split has.
        digests: Of the pixels there, uint64 [N].
        is_constant: Whether all pixels are the same, [N].
        hashes: float32 [N, F] for `ImageSet`; [N, 0] where images are too small.
        wrong_levels: By log2 of a lower resolution, the records that are not the means of the finest one.
    """

    level: int
    digests: npt.NDArray[np.uint64]
    is_constant: npt.NDArray[np.bool_]
    hashes: Floats
    wrong_levels: dict[int, Numbers]


@dataclass
class ScannedSplit:
    """A split's folder.

    Attributes:
        folder: Where it lies.
        files: Everything in it.
        table: The csv, where it can be read.
        labels: The .labels file, where it can be read.
        patients: Of every csv row, where they are known.
        faults: What cannot be read of the three.
        images: Where it has whole record files.
    """

    folder: Path
    files: list[ScannedFile]
    table: LabelTable | None = None
    labels: LabelMatrix | None = None
    patients: tuple[str, ...] | None = None
    faults: list[Fault] = field(default_factory=list)
    images: ScannedImages | None = None

    @property
    def records(self) -> dict[int, RecordFile]:
        """The whole record files whose images have the size in the file's name, by its log2, finest first."""
        found = {
            file.level: file.records
            for file in self.files
            if file.level is not None and file.records is not None and has_named_size(file.records, file.level)
        }
        return dict(sorted(found.items(), reverse=True))

    def image_set(self) -> ImageSet | None:
        """Return the images for the search for copies; None where there are none, or too small ones."""
        if self.images is None or self.images.hashes.shape[1] == 0:
            return None
        side = thumbnail_side(2**self.images.level)
        records = self.records[_thumbnail_level(self.records, side)]
        return ImageSet(self.images.hashes, lambda numbers: thumbnails(records.read(numbers), side))


@dataclass(frozen=True)
class ScannedDataset:
    """A dataset.

    Attributes:
        root: Holds the splits.
        splits: Those that are there, by name.
        description: What dataset.json says; empty where there is none.
        files: All files, those of the splits among them.
        faults: What cannot be read beside the splits.
    """

    root: Path
    splits: dict[str, ScannedSplit]
    description: dict[str, Any]
    files: list[ScannedFile]
    faults: list[Fault]


def has_named_size(records: RecordFile, level: int) -> bool:
    """Return whether the images are squares of 2^level pixels a side."""
    return records.shape[:2] == (2**level, 2**level)


def scan(root: Path, num_workers: int) -> ScannedDataset:
    """Read everything below the split folders of `root` once.

    Args:
        root: Holds train, valid and test.
        num_workers: Processes; small datasets are read by this one alone.
    """
    folders = [root / name for name in SPLITS if (root / name).is_dir()]
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    if (root / DESCRIPTION_NAME).is_file():
        paths.append(root / DESCRIPTION_NAME)
    num_bytes = sum(path.stat().st_size for path in paths)
    num_workers = num_workers if num_bytes >= _BYTES_WORTH_PROCESSES else 1
    files = _scan_files(paths, num_bytes, num_workers)
    splits = {
        folder.name: _scan_labels(ScannedSplit(folder, [file for file in files if folder in file.path.parents]))
        for folder in folders
    }
    faults: list[Fault] = []
    description = _read_description(root, faults)
    if description.get("patients_known") is False:  # the table named none, so each image counts as a patient
        for split in splits.values():
            split.patients = None
    _scan_images([split for split in splits.values() if split.records], num_workers)
    return ScannedDataset(root, splits, description, files, faults)


def _scan_files(paths: list[Path], num_bytes: int, num_workers: int) -> list[ScannedFile]:
    progress = Progress("checking files", num_bytes / 1e6, "MB")
    files = []
    with contextlib.closing(ordered_map(_scan_file, paths, num_workers)) as scanned:
        for file in scanned:
            files.append(file)
            progress.advance(file.size / 1e6)
    progress.close()
    return files


def _scan_file(path: Path) -> ScannedFile:
    """Read a file twice: for its sha256, and record by record where it holds images."""
    try:
        size = path.stat().st_size
        sha256 = sha256_of(path)
        records = RecordFile(path) if path.suffix == ".tfrecords" else None
    except DataError as error:
        return ScannedFile(path, size, sha256, fault=_fault(path, error))
    except OSError as error:
        return ScannedFile(path, 0, "", fault=Fault(path, f"The file cannot be read. Received: {error.strerror}"))
    return ScannedFile(path, size, sha256, records)


def _fault(path: Path, error: DataError) -> Fault:
    return Fault(path, f"{error.expected} Received: {error.received}")


def _read_description(root: Path, faults: list[Fault]) -> dict[str, Any]:
    """Return dataset.json of a dataset, or of the benchmark that it is one part of."""
    for path in (root / DESCRIPTION_NAME, root.parent / DESCRIPTION_NAME):
        if path.is_file():
            try:
                description = read_json(path)
            except DataError as error:
                faults.append(_fault(path, error))
                return {}
            if isinstance(description, dict):
                return description
            faults.append(Fault(path, "The file does not describe a dataset."))
    return {}


def _scan_labels(split: ScannedSplit) -> ScannedSplit:
    """Fill in csv, labels and patients."""

    def attempt(path: Path, read: Callable[[], Value]) -> Value | None:
        try:
            return read()
        except DataError as error:
            split.faults.append(_fault(path, error))
        except OSError as error:
            split.faults.append(Fault(path, f"The file cannot be read. Received: {error.strerror}"))
        return None

    folder = split.folder
    table = split.table = attempt(folder / f"{folder.name}.csv", lambda: read_label_table(folder))
    split.labels = attempt(labels_path(folder), lambda: read_labels(folder))
    if table is not None:
        split.patients = attempt(patients_path(folder), lambda: read_patients(folder, table.paths))
    return split


def _thumbnail_level(levels: dict[int, Any], side: int) -> int:
    """Return the coarsest level that is not coarser than a thumbnail."""
    return min(level for level in levels if 2**level >= side)


@dataclass(frozen=True)
class _ImageTask:
    """Some images of a split at every level.

    Attributes:
        first: Number of the first record.
        levels: The records, finest first.
        level: log2 of the resolution that is looked at.
    """

    first: int
    levels: dict[int, RecordFile]
    level: int

    def read(self, level: int) -> Images:
        return self.levels[level].read(np.arange(len(self.levels[level])))


def _scan_images(splits: list[ScannedSplit], num_workers: int) -> None:
    """Fill in the images of splits that have records."""
    shared = set.intersection(*(set(split.records) for split in splits)) if splits else set()
    if not shared:
        return
    level = max(shared)
    progress = Progress("checking images", sum(_num_images(split) for split in splits), "images")
    tasks = (task for split in splits for task in _tasks(split, level))
    with contextlib.closing(ordered_map(_scan_block, tasks, num_workers)) as blocks:
        for split in splits:
            parts: list[ScannedImages] = []
            for _ in _tasks(split, level):
                parts.append(next(blocks))
                progress.advance(len(parts[-1].digests))
            split.images = ScannedImages(
                level,
                np.concatenate([part.digests for part in parts]),
                np.concatenate([part.is_constant for part in parts]),
                np.concatenate([part.hashes for part in parts]),
                {
                    lower: np.concatenate([part.wrong_levels.get(lower, _NOTHING) for part in parts])
                    for lower in list(split.records)[1:]
                },
            )
    progress.close()


_NOTHING: Numbers = np.empty(0, np.int64)


def _num_images(split: ScannedSplit) -> int:
    """Return how many images every file has; where files differ, that is a finding of its own."""
    return min(len(records) for records in split.records.values())


def _tasks(split: ScannedSplit, level: int) -> Iterator[_ImageTask]:
    levels, num_images = split.records, _num_images(split)
    size = max(1, _PIXELS_PER_TASK >> 2 * max(levels))
    for first in range(0, num_images, size):
        stop = min(first + size, num_images)
        yield _ImageTask(first, {log2: records.part(first, stop) for log2, records in levels.items()}, level)


def _scan_block(task: _ImageTask) -> ScannedImages:
    """Look at some images; the result's numbers of records count from the beginning of the split."""
    images = task.read(task.level)
    side = thumbnail_side(2**task.level)
    source = task.read(_thumbnail_level(task.levels, side)) if side else images
    digests = b"".join(hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    flat = images.reshape(len(images), -1)
    return ScannedImages(
        task.level,
        np.frombuffer(digests, np.uint64),
        flat.min(axis=1) == flat.max(axis=1),
        perceptual_hashes(thumbnails(source, side)) if side else np.zeros((len(images), 0), np.float32),
        {level: task.first + wrong for level, wrong in _wrong_levels(task)},
    )


def _wrong_levels(task: _ImageTask) -> Iterator[tuple[int, Numbers]]:
    """Yield every lower level and the numbers in the task of the images that are not the means of the finest one."""
    finest = next(iter(task.levels))
    images = task.read(finest)
    num_images, side, _, channels = images.shape
    # [n, H, W, C] -> [H, W, n * C]: one pass for all images
    together = images.transpose(1, 2, 0, 3).reshape(side, side, num_images * channels)
    expected_levels = zip(
        range(finest, SMALLEST_RESOLUTION_LOG2 - 1, -1), downscale_levels(together, finest), strict=True
    )
    for level, expected in expected_levels:
        if level == finest or level not in task.levels:
            continue
        stored = task.read(level)
        if stored.shape[-1] != channels:
            continue
        # [h, w, n * C] -> [n, h, w, C]
        means = expected.reshape(*expected.shape[:2], num_images, channels).transpose(2, 0, 1, 3)
        difference = np.abs(means.astype(np.int16) - stored).max(axis=(1, 2, 3))
        yield level, np.flatnonzero(difference > LARGEST_ROUNDING)
