"""Your own images: a folder with a csv file that names images, patients and labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from build_dataset.benchmarks import Dealt
from build_dataset.chest import ORDER
from build_dataset.label_columns import (
    MISSING_RULES,
    Labels,
    is_label,
    read_label_column,
    refuse_other_values,
)
from build_dataset.rows import ImageRows
from build_dataset.splits import (
    MOST_LABELS,
    rank_combinations,
    require_fraction,
    require_limit,
    require_seed,
    rows_above_limit,
    stratify_patients,
)
from medsynth.data.images import IMAGE_FITS, ImageForm
from medsynth.data.names import has_control_characters, read_files, read_names, stripped
from medsynth.data.patient_ids import warning_of_likeness, without_decimals
from medsynth.data.text_table import Cells, TextTable, read_text_table
from medsynth.data.wording import counted, listed
from medsynth.errors import DataError, UsageError
from medsynth.files import require_folder

NO_FINDING = "No Finding"
PATH_NAMES = ("path", "image", "imagepath", "imagefile", "imagename", "file", "filename", "filepath", "img")
PATIENT_NAMES = ("patient", "patientid", "subject", "subjectid", "person", "group", "groupid")
# Columns that number the frames of a clip: never a label, though those of short clips hold zeros and ones alone.
FRAME_NAMES = ("frame", "framenumber", "nframes", "numframes", "fps", "time", "times", "seconds")


@dataclass(frozen=True)
class FolderSource:
    """The images that a csv file names, split by patient so that every label keeps its share.

    Attributes:
        csv: Name of the table in the folder; empty: the only csv file there. See
            `medsynth.data.text_table.read_text_table` for its form.
        path_column: Header of the file names; empty: a usual name (PATH_NAMES, whatever its case,
            spaces and digits). They are relative to the folder, or absolute paths into it.
        patient_column: Header of the patients; empty: a usual name (PATIENT_NAMES), or each image alone.
        labels: Headers of the labels; empty: every other column at least half of whose cells are zeros
            and ones (true and false, yes and no), where another value is an error. Another column that
            is named here becomes one label per word or class number; see
            `build_dataset.label_columns.read_label_column`.
        missing_labels: What an empty cell, NA, n/a, NaN or null means: "error", "absent", or "drop" the row.
        limit: Combinations of labels with this many images or fewer are left out.
        split: Fraction of the images for validation, and the same for the test.
        seed: Of the split.
        image_size: Pixels a side of the full level; a power of two.
        channels: 1 (grey) or 3 (colour).
        fit: What becomes of a picture that is not square: "stretch", "pad" or "crop".
    """

    csv: str = ""
    path_column: str = ""
    patient_column: str = ""
    labels: Sequence[str] = ()
    missing_labels: str = "error"
    limit: int = 0
    split: float = 0.1
    seed: int = 100
    image_size: int = 256
    channels: int = 1
    fit: str = "stretch"

    def check(self) -> None:
        """Refuse numbers and words that no data fit; what the table's columns are is left to `deal`.

        Raises:
            UsageError: A number or word out of its range.
        """
        require_seed(self.seed)
        require_fraction(self.split)
        require_limit(self.limit)
        if self.missing_labels not in MISSING_RULES:
            raise UsageError(f"--missing-labels is one of {', '.join(MISSING_RULES)}.", received=self.missing_labels)

    def deal(self, raw_dir: str) -> Dealt:
        """Read the table in RAW_DIR and deal its patients.

        Raises:
            UsageError: A number or name out of its range.
            DataError: A missing folder, file or column, a label that is none, or too few images.
        """
        self.check()
        rows = self.read_rows(raw_dir)
        rows = rows.take(rows_above_limit(rank_combinations(rows.labels), self.limit))
        return Dealt(
            splits=rows.by_split(stratify_patients(rows.patients, rows.labels, self.split, self.seed)),
            patterns=rank_combinations(rows.labels).patterns,
            seed=self.seed,
            order=ORDER,
        )

    def form(self) -> ImageForm:
        """Return what an image becomes.

        Raises:
            UsageError: A number of channels that is not 1 or 3, or an unknown fit.
        """
        if self.channels not in (1, 3):
            raise UsageError("--channels is 1 (grey) or 3 (colour).", received=self.channels)
        if self.fit not in IMAGE_FITS:
            raise UsageError(f"--fit is one of {', '.join(IMAGE_FITS)}.", received=self.fit)
        return ImageForm(self.image_size, self.channels, self.fit)

    def read_rows(self, raw_dir: str) -> ImageRows:
        """Read the table, in its order. A row without any label gets the label "No Finding".

        Raises:
            UsageError, DataError: See `deal`.
        """
        path = find_table(require_folder(Path(raw_dir), "images and a csv file"), self.csv)
        table = read_text_table(path, verbatim=True)
        path_column = find_column(table, self.path_column, PATH_NAMES, "--path-column")
        if path_column is None:
            raise DataError(
                f"Which column names the images? Say so with --path-column, or call it {PATH_NAMES[0]}.",
                received=f"columns {listed(table.names)}",
                path=table.path,
            )
        patient_column = find_column(table, self.patient_column, PATIENT_NAMES, "--patient-column")
        label_columns = self._label_columns(table, (path_column, patient_column))
        files = read_files(table, path_column, raw_dir)
        patients = files
        if patient_column is not None:
            patients = without_decimals(read_names(table, patient_column, "a patient"))
        names, labels = self._read_labels(table, label_columns)
        kept = np.flatnonzero(~np.isnan(labels).any(axis=1))
        if len(kept) == 0:
            raise DataError("Every row lacks a label; none is left.", received="--missing-labels drop", path=table.path)
        contradiction = _contradiction(names, labels[kept], table.lines[kept])
        names, labels = _with_no_finding(names, labels[kept])
        if len(names) > MOST_LABELS:
            raise DataError(
                f"At most {MOST_LABELS} labels can be combined; choose fewer columns with --labels.",
                received=f"{len(names)} labels",
                path=table.path,
            )
        return ImageRows(
            folder=raw_dir.rstrip("/") or "/",
            files=files[kept],
            labels=labels,
            patients=patients[kept],
            lines=table.lines[kept],
            label_names=names,
            table=table.path,
            num_listed=len(table),
            notes=_notes(table, (path_column, patient_column, *label_columns), patient_column, len(kept))
            + _categories(label_columns, names, labels),
            warnings=tuple(
                warning
                for warning in (
                    None if patient_column is None else warning_of_likeness(patients[kept]),
                    contradiction,
                )
                if warning
            ),
            patients_known=patient_column is not None,
        )

    def _label_columns(self, table: TextTable, taken: Sequence[str | None]) -> list[str]:
        """Return the columns that hold labels.

        Raises:
            UsageError: --labels names a column twice, or one that is something else.
            DataError: --labels names no column, or none looks like a label.
        """
        columns = label_columns(table, self.labels, taken)
        if not columns:
            raise DataError(
                "A column of zeros and ones was expected for each label; name the columns with --labels (one of "
                "words becomes one label per word).",
                received=f"columns {listed(table.names)}",
                path=table.path,
            )
        return columns

    def _read_labels(self, table: TextTable, columns: Sequence[str]) -> tuple[tuple[str, ...], Labels]:
        """Return the labels that some columns give and their values [N, labels], NaN in a row to be dropped."""
        parts = [read_label_column(table, column, self.missing_labels) for column in columns]
        names = tuple(name for part, _ in parts for name in part)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(
                "Every label has its own name; rename them in the table.",
                received=f"{listed(twice)} more than once",
                path=table.path,
            )
        bad = has_control_characters(np.array(names, object)) | (np.array(names) == "Path")
        if bad.any():
            raise DataError(
                "A label is not named Path, as the images' column of a dataset is, and its name holds no line break.",
                received=repr(names[int(np.argmax(bad))]),
                path=table.path,
            )
        return names, np.concatenate([values for _, values in parts], axis=1)


def find_table(folder: Path, csv: str) -> Path:
    """Return the table of this name in a folder, or the only one there where no name is given.

    Raises:
        DataError: There is none, or there are several.
    """
    if csv:
        return folder / csv
    found = tables_in(folder)
    if len(found) != 1:
        raise DataError(
            "One csv file with images, patients and labels was expected here; say which with --csv.",
            received=listed([path.name for path in found]) or "no csv file",
            path=folder,
        )
    return found[0]


def tables_in(folder: Path) -> list[Path]:
    """Return the csv files of a folder, but for hidden ones, which macOS leaves beside a file on other disks."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv" and path.name[0] != ".")


def label_columns(table: TextTable, wanted: Sequence[str], taken: Sequence[str | None]) -> list[str]:
    """Return the label columns that are wanted, or else those of zeros and ones.

    Args:
        table: With the columns.
        wanted: --labels; empty: those that look like labels.
        taken: Columns that are something else.

    Raises:
        UsageError: --labels names a column twice, or one that is taken.
        DataError: --labels names no column, or one that looks like a label holds another value.
    """
    unknown = [name for name in wanted if not name or name not in table.names]
    if unknown:
        raise DataError(
            f"--labels names columns of the table; {listed(unknown)} is none.",
            received=f"columns {listed(table.names)}",
            path=table.path,
        )
    if len(set(wanted)) < len(wanted) or set(wanted) & set(taken):
        raise UsageError(
            "--labels names a column once, and neither the images nor the patients.", received=listed(wanted)
        )
    return list(wanted) or columns_of_zeros_and_ones(table, taken)


def columns_of_zeros_and_ones(table: TextTable, taken: Sequence[str | None]) -> list[str]:
    """Return the columns that are labels by what they hold.

    Raises:
        DataError: One of them holds another value, or has no name.
    """
    columns = []
    for number, (name, cells) in enumerate(zip(table.names, table.cells.T, strict=True), start=1):
        if name in taken or _letters(name) in FRAME_NAMES or not is_label(cells) or (not name and _counts_rows(cells)):
            continue
        if not name:
            raise DataError(
                f"Column {number} holds zeros and ones, and has no name in line {table.header_line}: a label needs "
                "one. Name it, or choose the label columns with --labels.",
                received=f"columns {listed(table.names)}",
                path=table.path,
            )
        refuse_other_values(table, f"column {name!r}", cells)
        columns.append(name)
    return columns


def find_column(table: TextTable, wanted: str, usual: Sequence[str], option: str) -> str | None:
    """Return the header that is asked for, or the first that has a usual name; None where there is none."""
    if wanted:
        if wanted not in table.names:
            raise DataError(
                f"{option} names a column of the table.",
                received=f"{wanted!r}, where the columns are {listed(table.names)}",
                path=table.path,
            )
        return wanted
    plain = {_letters(name): name for name in reversed(table.names)}
    return next((plain[name] for name in usual if name in plain), None)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _with_no_finding(names: tuple[str, ...], labels: Labels) -> tuple[tuple[str, ...], Labels]:
    """Give the rows without any label one of their own, since a GAN's label loss needs a label in every row."""
    without = labels.sum(axis=1) == 0
    if not without.any():
        return names, labels
    own = _no_finding_column(names)
    if own is not None:
        labels = labels.copy()
        labels[without, own] = 1
        return names, labels
    return (*names, NO_FINDING), np.column_stack([labels, without.astype(np.float32)])


def _no_finding_column(names: Sequence[str]) -> int | None:
    """Return which of the labels is the table's own "No Finding", however it is written."""
    plain = [re.sub(r"[\W_]", "", name).lower() for name in names]
    return plain.index("nofinding") if "nofinding" in plain else None


def _contradiction(names: Sequence[str], labels: Labels, lines: npt.NDArray[np.int64]) -> str | None:
    """Return a warning where the table's own "No Finding" stands beside a finding; else None."""
    own = _no_finding_column(names)
    if own is None:
        return None
    both = (labels[:, own] == 1) & (np.delete(labels, own, axis=1) == 1).any(axis=1)
    if not both.any():
        return None
    row = int(np.argmax(both))
    finding = next(name for number, name in enumerate(names) if number != own and labels[row, number] == 1)
    rows = counted(int(np.count_nonzero(both)), "row")
    return (
        f"{rows} with both {names[own]!r} and a finding: the first is line {lines[row]}, with {finding!r}. Both labels "
        "are kept; correct the table unless this is meant."
    )


def _counts_rows(cells: Cells) -> bool:
    """Return whether a column without a name is the row number that pandas writes."""
    words = stripped(cells)
    return bool(words.str.fullmatch(r"\d{1,18}").all()) and bool((np.diff(words.astype(np.int64)) > 0).all())


def _categories(columns: Sequence[str], names: Sequence[str], labels: Labels) -> tuple[str, ...]:
    """Return a sentence that counts the labels where a column became several."""
    made = [
        f"{name} ({int(count):,})"
        for name, count in zip(names, labels.sum(axis=0), strict=True)
        if name not in (*columns, NO_FINDING)
    ]
    return (f"Words and class numbers became a label each: {listed(made)}.",) if made else ()


def _notes(table: TextTable, used: Sequence[str | None], patient_column: str | None, num_kept: int) -> tuple[str, ...]:
    """Return what the user should know of how the table was read."""
    notes = [*table.notes]
    if patient_column is None:
        notes.append(
            "No column names the patients (--patient-column): each image counts as a patient of its own, so images "
            "of one person may lie in two splits."
        )
    unused = [name for name in table.names if name and name not in used]
    if unused:
        notes.append(f"Columns of the table that were not used: {listed(unused)}.")
    unnamed = [
        str(number)
        for number, (name, cells) in enumerate(zip(table.names, table.cells.T, strict=True), start=1)
        if not name and (stripped(cells) != "").any()
    ]
    if unnamed:
        notes.append(
            f"Columns that hold values, have no name in line {table.header_line} and were not used: column "
            f"{listed(unnamed)}."
        )
    if num_kept < len(table):
        notes.append(f"Rows that lack a label and were left out: {len(table) - num_kept:,} of {len(table):,}.")
    return tuple(notes)
