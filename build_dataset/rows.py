"""Rows of a raw table: which image, whose, with which labels, listed where."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.data.images import ImageSource
from medsynth.data.labels import LabelTable, record_order

Splits = Mapping[str, "ImageRows"]


@dataclass(frozen=True)
class ImageRows:
    """Rows of a raw table, each an image with its labels.

    Attributes:
        folder: Put in front of every file name, for the csv and for reading.
        files: str [N], below that folder.
        labels: float32 [N, L], 0 or 1.
        patients: str [N].
        lines: int64 [N], the line of the table that lists the image.
        label_names: The L columns.
        table: The csv file, for messages.
        num_listed: How many rows that file has.
        path_column: Header of the path column in the datasets' csv files.
        notes: What the user should know of how the table was read, in sentences.
        warnings: What in the table is likely to be a mistake, in sentences.
        patients_known: Whether `patients` are people; otherwise each image counts as one of its own.
    """

    folder: str
    files: npt.NDArray[np.object_]
    labels: npt.NDArray[np.float32]
    patients: npt.NDArray[np.object_]
    lines: npt.NDArray[np.int64]
    label_names: tuple[str, ...]
    table: Path
    num_listed: int
    path_column: str = "Path"
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    patients_known: bool = True

    def __len__(self) -> int:
        return len(self.files)

    def take(self, rows: npt.NDArray[np.int64]) -> "ImageRows":
        """Return these rows, in this order."""
        return dataclasses.replace(
            self,
            files=self.files[rows],
            labels=self.labels[rows],
            patients=self.patients[rows],
            lines=self.lines[rows],
        )

    def by_split(self, members: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, "ImageRows"]:
        """Return the rows of every split, given their numbers."""
        return {name: self.take(rows) for name, rows in members.items()}

    def keep_labels(self, keep: npt.NDArray[np.bool_]) -> "ImageRows":
        """Return all rows with only the label columns marked in `keep` [L]."""
        names = tuple(itertools.compress(self.label_names, keep))
        return dataclasses.replace(self, labels=self.labels[:, keep], label_names=names)

    def in_record_order(self) -> "ImageRows":
        """Return the rows in the order of the records; the csv keeps the order of this table."""
        return self.take(record_order(len(self)))

    def without_folder(self) -> "ImageRows":
        """Return the rows with their files as the raw table names them."""
        return dataclasses.replace(self, folder="")

    def paths(self) -> Iterator[str]:
        """Yield the path of every image, as the csv shall name it."""
        prefix = f"{self.folder}/" if self.folder else ""
        return (prefix + file for file in self.files)

    def source(self, row: int) -> ImageSource:
        """Return the file of one row, with the place that lists it."""
        return ImageSource(Path(f"{self.folder}/{self.files[row]}"), f"line {self.lines[row]} of {self.table}")

    def label_table(self) -> LabelTable:
        """Return what stands in the csv."""
        return LabelTable(tuple(self.paths()), self.label_names, self.labels, self.path_column)
