"""New splits out of existing ones: some of a split's images, or the images of several splits together.

What is written has the form that build_dataset writes (csv, labels, patients, records in the published order), so that
trainings, tests and the audit read it as any other split. Pixels and labels are copied, never computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.data.labels import (
    LabelTable,
    read_label_table,
    read_patients,
    read_split_labels,
    record_order,
    require_split,
    write_label_table,
    write_patients,
)
from medsynth.data.pyramid import open_records
from medsynth.data.tfrecords import (
    Images,
    RecordFile,
    RecordWriter,
    atomic_split,
    available_resolutions,
    record_path,
    write_labels,
)
from medsynth.errors import DataError
from medsynth.progress import Progress

Numbers = npt.NDArray[np.int64]
_IMAGES_PER_BLOCK = 256


@dataclass(frozen=True)
class _Source:
    """A split to copy from, or some of its rows.

    Attributes:
        folder: Where it lies.
        table: The chosen rows of its csv.
        records: The record of every such row, int64 [N].
        patients: Of every such row; None where they are not known.
    """

    folder: Path
    table: LabelTable
    records: Numbers
    patients: tuple[str, ...] | None

    @classmethod
    def read(cls, folder: Path) -> "_Source":
        require_split(folder)
        read_split_labels(folder)  # refuses a split whose labels are not those of its csv
        table = read_label_table(folder)
        patients = read_patients(folder, table.paths)
        return cls(folder, table, np.argsort(record_order(len(table.paths))), patients)

    def rows(self, rows: Numbers) -> "_Source":
        """Return these rows alone."""
        table = LabelTable(
            tuple(self.table.paths[row] for row in rows),
            self.table.names,
            self.table.values[rows],
            self.table.path_column,
        )
        patients = None if self.patients is None else tuple(self.patients[row] for row in rows)
        return _Source(self.folder, table, self.records[rows], patients)

    @property
    def levels(self) -> set[int]:
        return set(available_resolutions(self.folder))

    def open_level(self, level: int) -> RecordFile:
        return open_records(self.folder, 2**level, expected_num=len(read_label_table(self.folder).paths))


def write_subset(source_split: Path, target_split: Path, keep: npt.NDArray[Any]) -> int:
    """Write some of a split's images as a split of their own, at every resolution that it has.

    Rows keep their order in the csv; the records stand in the published order for that many rows.

    Args:
        source_split: For example results_dir/inference/train.
        target_split: The new split's folder, such as out_dir/train; replaced as a whole where it is there.
        keep: Which records: bool [N] in record order (that of images and features), or distinct record numbers.

    Returns:
        How many images were written.

    Raises:
        DataError: A missing or damaged split, or nothing is kept.
        ValueError: `keep` is not of this split.
    """
    source = _Source.read(source_split)
    kept = np.zeros(len(source.records), np.bool_)
    kept[keep] = True  # numpy refuses a mask of another length and numbers beyond the split
    if kept.sum() != (keep.sum() if keep.dtype == np.bool_ else len(keep)):
        raise ValueError("a record is named twice")
    if not kept.any():
        raise DataError("A split needs an image or more.", received="no image to keep", path=source_split)
    _write(target_split, [source.rows(np.flatnonzero(kept[source.records]))])
    return int(kept.sum())


def write_union(target_split: Path, sources: Sequence[Path]) -> int:
    """Write the images of several splits as one, at the resolutions that all of them have.

    The csv has the rows of the first split, then those of the second, and so on. Where a path stands in an earlier
    split already, the folder of its split is put in front, so that paths stay apart. Patients are kept where they are
    known of every split.

    Args:
        target_split: The new split's folder, such as out_dir/train; replaced as a whole where it is there.
        sources: The splits, one or more.

    Returns:
        How many images were written.

    Raises:
        DataError: A missing or damaged split, or one that differs from the first one in labels or channels, or has no
            resolution in common with those before it; names it.
    """
    opened = [_Source.read(folder) for folder in sources]
    for source in opened[1:]:
        if source.table.names != opened[0].table.names:
            raise DataError(
                f"It is to be joined with {opened[0].folder}, whose labels are {', '.join(opened[0].table.names)}; it "
                "must have the same in the same order.",
                received=", ".join(source.table.names) or "no labels",
                path=source.folder,
            )
    _write(target_split, opened)
    return sum(len(source.records) for source in opened)


def _write(target: Path, sources: Sequence[_Source]) -> None:
    """Write the rows of all sources as one split."""
    levels = _shared_levels(sources)
    table = LabelTable(
        _distinct_paths(sources),
        sources[0].table.names,
        np.concatenate([source.table.values for source in sources]),
        sources[0].table.path_column,
    )
    order = record_order(len(table.paths))
    progress = Progress(f"write {target.parent.name}/{target.name}", len(levels) * len(order), "images")
    with atomic_split(target) as folder:
        for level in levels:
            _write_level(record_path(folder, level), _opened(sources, level), sources, order, progress)
        write_labels(folder, table.values[order])
        write_label_table(folder, table)
        patients = [source.patients for source in sources]
        if None not in patients:
            write_patients(folder, [name for names in patients for name in names or ()])
    progress.close()


def _shared_levels(sources: Sequence[_Source]) -> list[int]:
    """Return log2 of the resolutions that all sources have, ascending.

    Raises:
        DataError: There is none; names the first source that shares none with those before it.
    """
    shared = sources[0].levels
    for source in sources:
        before = shared
        shared = before & source.levels
        if not shared:
            sizes = [", ".join(str(2**level) for level in sorted(levels)) for levels in (before, source.levels)]
            raise DataError(
                f"Records of a resolution of {sources[0].folder} were expected: {sizes[0] or 'it has none itself'}.",
                received=f"resolutions {sizes[1] or 'none'}",
                path=source.folder,
            )
    return sorted(shared)


def _opened(sources: Sequence[_Source], level: int) -> list[RecordFile]:
    """Open the records of all sources.

    Raises:
        DataError: Damaged records, or images of another shape than the first source's.
    """
    files = [source.open_level(level) for source in sources]
    for file in files:
        if file.shape != files[0].shape:
            raise DataError(
                f"Images are to be joined with those of {files[0].path}, of shape {files[0].shape}.",
                received=f"shape {file.shape}",
                path=file.path,
            )
    return files


def _write_level(
    path: Path, files: Sequence[RecordFile], sources: Sequence[_Source], order: Numbers, progress: Progress
) -> None:
    """Write the records of one resolution, a block in memory at a time."""
    owners = np.repeat(np.arange(len(sources)), [len(source.records) for source in sources])[order]
    records = np.concatenate([source.records for source in sources])[order]
    with RecordWriter(path) as writer:
        for start in range(0, len(order), _IMAGES_PER_BLOCK):
            block = slice(start, start + _IMAGES_PER_BLOCK)
            images: Images = np.empty((len(order[block]), *files[0].shape), np.uint8)
            for number, file in enumerate(files):
                is_its = owners[block] == number
                images[is_its] = file.read(records[block][is_its])
            for image in images:
                writer.write(image)
            progress.advance(len(images))


def _distinct_paths(sources: Sequence[_Source]) -> tuple[str, ...]:
    """Return the paths of all sources; those that an earlier one has get their split's folder in front."""
    known: set[str] = set()
    paths: list[str] = []
    for source in sources:
        own = [f"{source.folder}/{path.lstrip('/')}" if path in known else path for path in source.table.paths]
        known |= set(own)
        paths += own
    return tuple(paths)
