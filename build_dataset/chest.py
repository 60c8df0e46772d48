"""Chest radiographs: CheXpert-v1.0-small, or any folder laid out as it is."""

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
    split_patients,
)
from medsynth.data.images import ImageForm
from medsynth.data.text_table import TextTable, read_text_table
from medsynth.data.wording import counted, listed
from medsynth.errors import DataError
from medsynth.files import require_folder

TABLE_PATH = Path("CheXpert-v1.0-small", "train.csv")
FINDINGS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)
ORDER = ClassOrder(is_rarest_first=True, shuffles_classes=True, shuffles_train=False)
# CheXpert holds a few third and fourth frontal views, which the published datasets leave out.
_FRONTAL = r"/view[12]_frontal\.jpg"
_TEST_MARGIN = 0.00005  # published


@dataclass(frozen=True)
class ChestSource:
    """Frontal chest radiographs with a finding, of the combinations of findings that occur often enough.

    Attributes:
        limit: Combinations with this many images or fewer are left out; None keeps the `num_classes`
            most frequent ones.
        num_classes: As many classes as the benchmark needs, where `limit` is None.
        split: Fraction of the patients for validation, and the same for the test.
        seed: Of the patient split.
        image_size: Pixels a side of the full level; a power of two.
    """

    limit: int | None
    num_classes: int = 0
    split: float = 0.1
    seed: int = 100
    image_size: int = 256

    def check(self) -> None:
        """Refuse numbers that no data fit.

        Raises:
            UsageError: A number out of its range.
        """
        require_seed(self.seed)
        require_fraction(self.split)
        if self.limit is not None:
            require_limit(self.limit)

    def deal(self, raw_dir: str) -> Dealt:
        """Read RAW_DIR/CheXpert-v1.0-small/train.csv and deal its patients.

        Raises:
            UsageError: A number out of its range.
            DataError: A missing folder, file or column, or too few images or patients.
        """
        self.check()
        rows = read_frontal_rows(raw_dir)
        combinations = rank_combinations(rows.labels)
        limit = combinations.limit_that_keeps(self.num_classes) if self.limit is None else self.limit
        rows = rows.take(rows_above_limit(combinations, limit))
        return Dealt(
            splits=rows.by_split(split_patients(rows.patients, self.split, self.seed)),
            patterns=rank_combinations(rows.labels).patterns,
            seed=self.seed,
            order=ORDER,
            test_margin=_TEST_MARGIN,
        )

    def form(self) -> ImageForm:
        """Return what an image becomes: grey, resized, its brightest pixel 255."""
        return ImageForm(self.image_size)


def read_frontal_rows(raw_dir: str) -> ImageRows:
    """Read train.csv: the frontal images with at least one finding, in file order.

    An uncertain finding (-1) counts as present, an empty one as absent.

    Args:
        raw_dir: The folder that holds CheXpert-v1.0-small; it is put in front of every path.

    Raises:
        DataError: Missing folder, file or column, a finding that is none of 1, 0, -1 and empty, a path
            without a patient, or no such image.
    """
    require_folder(Path(raw_dir), "CheXpert-v1.0-small")
    table = read_text_table(Path(raw_dir) / TABLE_PATH, verbatim=True)
    missing = [name for name in ("Path", *FINDINGS) if name not in table.names]
    if missing:
        raise DataError(
            f"CheXpert's columns Path and the 14 findings were expected; {', '.join(missing)} is missing.",
            received=f"columns {listed(table.names)}",
            path=table.path,
        )
    paths = pd.Series(table.column("Path"), dtype=object)
    labels = _binary_labels(table)
    is_frontal = paths.str.contains(_FRONTAL).to_numpy(bool)
    rows = np.flatnonzero(is_frontal & labels.any(axis=1))
    if len(rows) == 0:
        raise DataError(
            "Frontal images (.../view1_frontal.jpg or view2_frontal.jpg) with a finding were expected.",
            received=f"none in {counted(len(table), 'row')}",
            path=table.path,
        )
    patients = paths.str.extract(r"patient(\d+)", expand=False)
    nameless = patients.isna().to_numpy(bool) & np.isin(np.arange(len(table)), rows)
    table.refuse(nameless, "a path names its patient (.../patient00001/...).", table.column("Path"))
    return ImageRows(
        folder=raw_dir.rstrip("/"),
        files=paths.iloc[rows].to_numpy(object),
        labels=labels[rows],
        patients=patients.iloc[rows].to_numpy(object),
        lines=table.lines[rows],
        label_names=FINDINGS,
        table=table.path,
        num_listed=len(table),
        notes=table.notes + _notes(int(np.count_nonzero(is_frontal)), len(rows), len(table)),
    )


def _notes(num_frontal: int, num_kept: int, num_listed: int) -> tuple[str, ...]:
    """Return which of the listed images are left out, in sentences."""
    left_out = [
        ("Rows that are no first or second frontal view", num_listed - num_frontal, num_listed),
        (f"Frontal images with no finding at all (not even {FINDINGS[0]!r})", num_frontal - num_kept, num_frontal),
    ]
    return tuple(f"{what}, left out: {count:,} of {total:,}." for what, count, total in left_out if count)


def _binary_labels(table: TextTable) -> npt.NDArray[np.float32]:
    """Return the findings as 0 or 1, [N, 14]: 1 and -1 (uncertain) are present, 0 and empty are absent."""
    columns = [table.column(name) for name in FINDINGS]
    codes, words = pd.factorize(np.concatenate(columns))  # a few different words in millions of cells
    values = np.array([_finding(word) for word in words], np.float32)[codes]
    values = values.reshape(len(FINDINGS), -1).T  # [14 N] -> [N, 14]
    for name, cells, column in zip(FINDINGS, columns, values.T, strict=True):
        table.refuse(np.isnan(column), f"a finding is 1, 0, -1 (uncertain) or empty in column {name!r}.", cells)
    return values


def _finding(word: str) -> float:
    """Return 1 (present) or 0 (absent), NaN for a word that is no finding."""
    try:
        value = abs(float(word.strip() or "nan"))
    except ValueError:
        return np.nan
    return 0.0 if np.isnan(value) else value if value in (0.0, 1.0) else np.nan
