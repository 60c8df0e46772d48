"""Label tables: the csv beside the records, and what is computed from labels alone."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from medsynth.data.tfrecords import read_labels
from medsynth.data.wording import counted
from medsynth.errors import DataError
from medsynth.files import read_json, require_folder, write_text

PATH_COLUMNS = ("Path", "path")
DESCRIPTION_NAME = "dataset.json"  # beside the splits: what built them, and from what
SCORE_SUFFIX, PATIENT = " score", "Patient"
# What results call their own columns and rows, beside the labels.
_TAKEN = (*PATH_COLUMNS, PATIENT, "mean", "Epoch", "Mean_auroc")
_PATIENT_IN_PATH = re.compile(r"patient(\d+)")
LabelMatrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LabelTable:
    """The rows of a split's csv.

    Attributes:
        paths: One source path per row, in csv order.
        names: The label columns.
        values: float32 [N, L], 0 or 1, in csv order.
        path_column: The header of the path column as it stands in the file.
    """

    paths: tuple[str, ...]
    names: tuple[str, ...]
    values: LabelMatrix
    path_column: str = "Path"


def read_csv(path: Path, **options: object) -> pd.DataFrame:
    """Read a csv file with pandas.

    Raises:
        DataError: Missing, empty or no csv.
    """
    try:
        return pd.read_csv(path, **options)  # type: ignore[call-overload]
    except FileNotFoundError:
        raise DataError("A csv file was expected here.", received="no such file", path=path) from None
    except OSError as error:
        raise DataError("A csv file was expected here.", received=error.strerror, path=path) from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, ValueError) as error:
        raise DataError("The file is no readable csv.", received=error, path=path) from None


def read_label_table(split_folder: Path) -> LabelTable:
    """Read <split>/<split>.csv; see `read_labelled_paths`."""
    return read_labelled_paths(split_folder / f"{split_folder.name}.csv")


def read_labelled_paths(path: Path) -> LabelTable:
    """Read a csv of a path column, then label columns of zeros and ones.

    Raises:
        DataError: Missing file or column, or a label that is not 0 or 1 (with its row).
    """
    frame = read_csv(path, dtype={0: str}, keep_default_na=False)
    require_usable_names(tuple(map(str, frame.columns[1:])), path)
    if frame.shape[1] == 0 or frame.columns[0] not in PATH_COLUMNS:
        raise DataError("The first column must be Path.", received=list(frame.columns[:1]), path=path)
    nameless = np.flatnonzero(frame.iloc[:, 0].astype(str).str.strip() == "")
    if len(nameless):
        raise DataError(f"Line {nameless[0] + 2} has no path.", received="an empty cell", path=path)
    names = tuple(str(name) for name in frame.columns[1:])
    values = frame.iloc[:, 1:].apply(pd.to_numeric, errors="coerce").to_numpy(np.float32)
    wrong = np.argwhere(~np.isin(values, (0.0, 1.0)))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"Labels are 0 or 1; line {row + 2}, column {names[column]!r} is neither.",
            received=repr(frame.iat[row, column + 1]),
            path=path,
        )
    return LabelTable(tuple(frame.iloc[:, 0].astype(str)), names, values, str(frame.columns[0]))


def require_usable_names(names: Sequence[str], path: Path) -> None:
    """Refuse labels whose names results need for other things.

    Raises:
        DataError: Names the label.
    """
    for name in names:
        if name in _TAKEN or (name.endswith(SCORE_SUFFIX) and name.removesuffix(SCORE_SUFFIX) in names):
            raise DataError(
                f"No label may be called {', '.join(_TAKEN)}, or as another label with '{SCORE_SUFFIX}' behind it, "
                "since results have such columns of their own; rename it.",
                received=name,
                path=path,
            )


def label_table_text(table: LabelTable) -> str:
    """Return the text of a split's csv; labels print as 1.0 and 0.0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((table.path_column, *table.names))
    rows = zip(table.paths, table.values.astype(np.float64), strict=True)
    writer.writerows((path, *values.tolist()) for path, values in rows)
    return text.getvalue()


def write_label_table(split_folder: Path, table: LabelTable) -> None:
    """Write <split>/<split>.csv atomically."""
    write_text(split_folder / f"{split_folder.name}.csv", label_table_text(table))


def require_split(split_folder: Path) -> Path:
    """Return the folder of a split if there is one.

    Raises:
        DataError: There is none; says how one is made.
    """
    return require_folder(
        split_folder,
        "TFRecords, labels and a csv made by build_dataset (of your own images or frames, and a csv file that names "
        "them, by dataset_tool.py create_from_folder)",
    )


def patients_path(split_folder: Path) -> Path:
    """Return the file that holds a split's patients."""
    return split_folder / f"{split_folder.name}-patients.txt"


def write_patients(split_folder: Path, patients: Iterable[str]) -> None:
    """Write the patient of every csv row, one a line, in csv order."""
    write_text(patients_path(split_folder), "".join(f"{patient}\n" for patient in patients))


def patients_in_paths(paths: Sequence[str]) -> tuple[str, ...] | None:
    """Return the patient that each path names as CheXpert's do (`patient<digits>`), or None where one does not."""
    found = [_PATIENT_IN_PATH.findall(path) for path in paths]
    # The last one: a folder further up may be called so, too.
    return tuple(names[-1] for names in found) if found and all(found) else None


def read_patients(split_folder: Path, paths: Sequence[str]) -> tuple[str, ...] | None:
    """Return the patient of every csv row, or None where they are not known.

    A dataset that was made elsewhere has no file of them; CheXpert's paths name the patient
    (`patient<digits>`). One made of a table without patients says so in dataset.json, and lists the images instead.

    Args:
        split_folder: For example target_dir/train.
        paths: The csv's paths, in its order.

    Raises:
        DataError: The file is damaged, or has another number of patients than the csv has rows.
    """
    if not _patients_are_known(split_folder.parent):
        return None
    path = patients_path(split_folder)
    try:
        patients = tuple(path.read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return patients_in_paths(paths)
    except UnicodeDecodeError as error:
        raise DataError("The patients, one a line, were expected here.", received=error, path=path) from None
    if len(patients) != len(paths):
        raise DataError(
            f"One patient for each of the {len(paths)} rows of the csv was expected. Build the dataset again.",
            received=counted(len(patients), "patient"),
            path=path,
        )
    return patients


def _patients_are_known(root: Path) -> bool:
    """Whether dataset.json, here or of the benchmark that this is one part of, says nothing to the contrary."""
    for path in (root / DESCRIPTION_NAME, root.parent / DESCRIPTION_NAME):
        try:
            description = read_json(path)
        except DataError:  # there is none; or it is damaged, which the audit says
            continue
        return not (isinstance(description, dict) and description.get("patients_known") is False)
    return True


def record_order(num_images: int) -> npt.NDArray[np.int64]:
    """Return the published order of records: RandomState(123) shuffles range(N).

    Record i of every .tfrecords file, and row i of the .labels file, belong to
    csv row `record_order(N)[i]`.
    """
    order = np.arange(num_images)
    np.random.RandomState(123).shuffle(order)
    return order


def patient_numbers(patients: Sequence[str], num_records: int) -> npt.NDArray[np.int64]:
    """Return the patient of every record [N], counted from 0, from those of the csv rows [N]."""
    _, numbers = np.unique(np.asarray(patients)[record_order(num_records)], return_inverse=True)
    return numbers.astype(np.int64)


@dataclass(frozen=True)
class SplitLabels:
    """The labels of a split in record order.

    Attributes:
        names: The label columns.
        values: float32 [N, L]; row i belongs to record i.
    """

    names: tuple[str, ...]
    values: LabelMatrix


def read_split_labels(split_folder: Path) -> SplitLabels:
    """Read a split's .labels and check them against its csv.

    Raises:
        DataError: They differ in rows, columns or content.
    """
    table = read_label_table(split_folder)
    values = read_labels(split_folder)
    if values.shape != table.values.shape:
        raise DataError(
            f"{split_folder.name}.csv has {table.values.shape[0]} rows and {table.values.shape[1]} labels, "
            "and the .labels file beside it must have the same.",
            received=f"{values.shape[0]} rows and {values.shape[1]} labels",
            path=split_folder,
        )
    different = np.flatnonzero((values != table.values[record_order(len(values))]).any(axis=1))
    if len(different):
        raise DataError(
            f"Labels and csv disagree; the first differing record is {different[0]}. Build the dataset again.",
            received=f"{len(different)} differing records",
            path=split_folder,
        )
    return SplitLabels(table.names, values)


def require_positives(names: tuple[str, ...], values: LabelMatrix, place: Path) -> None:
    """Refuse label columns without a single positive: nothing can be learnt or measured for them.

    Raises:
        DataError: Names every such column.
    """
    empty = [name for name, count in zip(names, values.sum(axis=0), strict=True) if count == 0]
    if empty:
        raise DataError(
            "Every label needs a positive example; drop these columns when the dataset is built "
            "(--drop-empty-labels) or add images that have them.",
            received=f"no positives for {', '.join(empty)}",
            path=place,
        )
