"""Head CT: the RSNA Intracranial Hemorrhage 2019 slices, as prepare_brain leaves them."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from build_dataset.benchmarks import ClassOrder, Dealt
from build_dataset.rows import ImageRows
from build_dataset.splits import (
    rank_combinations,
    require_fraction,
    require_limit,
    require_seed,
    rows_above_limit,
    shuffled,
    split_patients,
)
from medsynth.data.images import ImageForm
from medsynth.data.names import has_control_characters
from medsynth.data.text_table import Cells, TextTable, read_text_table
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError
from medsynth.files import require_folder

TABLE_NAME = "new_stage_2_train.csv"
TYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
NO_FINDING = "no finding"
ORDER = ClassOrder(is_rarest_first=False, shuffles_classes=False, shuffles_train=True)
IMAGE_ID = re.compile(r"ID_[0-9a-f]{1,64}")


@dataclass(frozen=True)
class BrainSource:
    """CT slices of the combinations of haemorrhage types that occur often enough.

    Attributes:
        limit: Combinations with this many images or fewer are left out.
        num_classes: How many of the most frequent ones (in train) the samples benchmark uses; 0 is all.
        no_finding_length: Images without a finding that are kept, chosen at random.
        split: Fraction of the patients for validation, and the same for the test.
        seed: Chooses the images without a finding; seed + 1 splits the patients.
        image_size: Pixels a side; a power of two, and the size of the PNG files.
    """

    limit: int = 110
    num_classes: int = 0
    no_finding_length: int = 107_365
    split: float = 0.1
    seed: int = 1000
    image_size: int = 128

    def check(self) -> None:
        """Refuse numbers that no data fit.

        Raises:
            UsageError: A number out of its range.
        """
        require_seed(self.seed)
        require_fraction(self.split)
        require_limit(self.limit)
        if self.num_classes < 0:
            raise UsageError("--num-classes is a number of combinations, or 0 for all.", received=self.num_classes)
        if self.no_finding_length < 0:
            raise UsageError("--no-finding-length is a number of images.", received=self.no_finding_length)

    def deal(self, raw_dir: str) -> Dealt:
        """Read RAW_DIR/new_stage_2_train.csv and deal its patients.

        Raises:
            UsageError: A number out of its range.
            DataError: A missing folder or file, a table of another form, or too few images or patients.
        """
        self.check()
        rows = read_slice_rows(raw_dir)
        rows = rows.take(rows_above_limit(rank_combinations(rows.labels), self.limit))
        rows = rows.take(self._with_fewer_healthy(rows))
        splits = rows.by_split(split_patients(rows.patients, self.split, self.seed + 1))
        patterns = rank_combinations(splits["train"].labels).patterns
        return Dealt(
            splits=splits,
            patterns=patterns[: self.num_classes or len(patterns)],
            seed=self.seed + 1,
            order=ORDER,
            drops_last_test_row=True,
        )

    def form(self) -> ImageForm:
        """Return what an image becomes: grey, its brightest pixel 255, its size unchanged."""
        return ImageForm(self.image_size, fit="exact")

    def _with_fewer_healthy(self, rows: ImageRows) -> np.ndarray:
        """Return all rows with a finding in file order, then the chosen ones without."""
        healthy = rows.labels[:, rows.label_names.index(NO_FINDING)] == 1
        chosen = shuffled(np.flatnonzero(healthy), self.seed)[: self.no_finding_length]
        return np.concatenate([np.flatnonzero(~healthy), chosen])


def read_slice_rows(raw_dir: str) -> ImageRows:
    """Read new_stage_2_train.csv: six rows an image, the last of which ("any") becomes "no finding".

    Args:
        raw_dir: The folder that holds the table and the PNG files; it is put in front of every path.

    Raises:
        DataError: Missing folder or file, or rows of another form (names the line).
    """
    require_folder(Path(raw_dir), f"{TABLE_NAME} and its images")
    table = read_text_table(Path(raw_dir) / TABLE_NAME, verbatim=True)
    if table.cells.shape[1] != 3 or len(table) % len(TYPES):
        raise DataError(
            "Three columns (ID_<hex>_<type>, label, patient) and six rows an image were expected.",
            received=f"{counted(table.cells.shape[1], 'column')} and {counted(len(table), 'row')}",
            path=table.path,
        )
    # [6 N, 3] -> three times [N, 6]
    names, labels, patients = (column.reshape(-1, len(TYPES)) for column in table.cells.T)
    identifiers = np.array([name.rpartition("_")[0] for name in names[:, 0]], object)
    expected = np.stack([identifiers + f"_{kind}" for kind in TYPES], axis=1)
    _refuse(table, names != expected, f"rows run ID_<hex>_ with {', '.join(TYPES)}, for every image", names)
    is_misnamed = np.array([IMAGE_ID.fullmatch(name) is None for name in identifiers])
    _refuse(table, _at(is_misnamed, 0), "an image is named ID_<hex>", names)
    _refuse(table, _at(pd.Series(identifiers).duplicated().to_numpy(bool), 0), "an image stands once", names)
    _refuse(table, ~np.isin(labels, ("0", "1")), "a label is 0 or 1", labels)
    _refuse(table, (patients != patients[:, :1]) | (patients == ""), "an image has one patient", patients)
    _refuse(table, _at(has_control_characters(patients[:, 0]), 0), "a patient's name has no line break", patients)
    values = (labels == "1").astype(np.float32)
    any_finding = values[:, :-1].any(axis=1)
    _refuse(table, _at((values[:, -1] == 1) != any_finding, -1), '"any" sums up the other five', labels)
    values[:, -1] = ~any_finding
    return ImageRows(
        folder=raw_dir.rstrip("/"),
        files=np.array([f"{identifier}.png" for identifier in identifiers], object),
        labels=values,
        patients=patients[:, 0],
        lines=table.lines[:: len(TYPES)],
        label_names=(*TYPES[:-1], NO_FINDING),
        table=table.path,
        num_listed=len(table),
        path_column="path",
        notes=table.notes,
    )


def _at(wrong: npt.NDArray[np.bool_], column: int) -> npt.NDArray[np.bool_]:
    """Return marks [N, 6] from marks of images [N], which stand in one of the six columns."""
    marks = np.zeros((len(wrong), len(TYPES)), bool)
    marks[:, column] = wrong
    return marks


def _refuse(table: TextTable, wrong: npt.NDArray[np.bool_], sentence: str, cells: Cells) -> None:
    """Raise for the first cell [N, 6] that is marked wrong."""
    table.refuse(wrong.ravel(), f"{sentence}.", cells.ravel())
