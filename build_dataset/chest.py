"""Chest radiographs: CheXpert-v1.0-small, or any folder laid out as it is, to datasets."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from build_dataset.splits import (
    rank_combinations,
    rows_above_limit,
    split_patients,
    stratified_cut,
)
from build_dataset.writing import ImageRows, require_free_target, require_resolution, write_dataset
from medsynth.data.labels import read_csv
from medsynth.errors import DataError, UsageError
from medsynth.files import require_folder

TABLE_PATH = Path("CheXpert-v1.0-small", "train.csv")
FINDINGS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)
# CheXpert holds a few third and fourth frontal views, which the published datasets leave out.
_FRONTAL = r"/view[12]_frontal\.jpg"
_TEST_MARGIN = 0.00005  # published for the test split alone


def read_frontal_rows(raw_dir: str) -> ImageRows:
    """Read train.csv: the frontal images with at least one finding, in file order.

    An uncertain finding (-1) counts as present, an empty one as absent.

    Args:
        raw_dir: The folder that holds CheXpert-v1.0-small; it is put in front of every path.

    Raises:
        DataError: Missing folder, file or column, a path without a patient, or no such image.
    """
    require_folder(Path(raw_dir), "CheXpert-v1.0-small")
    table_path = Path(raw_dir) / TABLE_PATH
    # Blank lines are kept so that a row's number gives its line.
    table = read_csv(table_path, skip_blank_lines=False, low_memory=False)
    missing = [name for name in ("Path", *FINDINGS) if name not in table.columns]
    if missing:
        raise DataError(
            f"CheXpert's columns Path and the 14 findings were expected; {', '.join(missing)} is missing.",
            received=f"columns {', '.join(map(str, table.columns))}",
            path=table_path,
        )
    paths = table["Path"].astype("string").fillna("")
    labels = _binary_labels(table)
    rows = np.flatnonzero(paths.str.contains(_FRONTAL).to_numpy(bool) & labels.any(axis=1))
    if len(rows) == 0:
        raise DataError(
            "Frontal images (.../view1_frontal.jpg or view2_frontal.jpg) with a finding were expected.",
            received=f"none in {len(table)} rows",
            path=table_path,
        )
    patients = paths.iloc[rows].str.extract(r"patient(\d+)", expand=False)
    lines = rows + 2  # the first row stands in line 2
    if patients.isna().any():
        first = int(np.argmax(patients.isna().to_numpy(bool)))
        raise DataError(
            f"A path names its patient (.../patient00001/...); line {lines[first]} does not.",
            received=paths.iloc[rows[first]],
            path=table_path,
        )
    return ImageRows(
        paths=(raw_dir.rstrip("/") + "/" + paths.iloc[rows]).to_numpy(np.str_),
        labels=labels[rows],
        patients=patients.to_numpy(np.str_),
        origins=np.char.add(np.char.add("line ", lines.astype(np.str_)), f" of {table_path}"),
        label_names=FINDINGS,
    )


def _binary_labels(table: pd.DataFrame) -> npt.NDArray[np.float32]:
    """Return the findings as 0 or 1, [N, 14]: 1 and -1 (uncertain) are present, all else is absent."""
    values = table[list(FINDINGS)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    return (np.abs(values) == 1).astype(np.float32)


def split_for_resolutions(
    rows: ImageRows, *, limit: int, split: float, test_val_samples: int, seed: int
) -> dict[str, ImageRows]:
    """Return the resolution benchmark's train, valid and test rows, each in csv order.

    Raises:
        UsageError: A number out of its range.
        DataError: Too few images or patients for it.
    """
    if limit < 0:
        raise UsageError("--limit is a number of images, 0 or more.", received=limit)
    if not 0 <= seed <= 2**32 - 3:
        raise UsageError("--seed is a number from 0 to 4294967293.", received=seed)
    rows = rows.take(rows_above_limit(rank_combinations(rows.labels), limit))
    members = {name: rows.take(chosen) for name, chosen in split_patients(rows.patients, split, seed).items()}
    for name, shift, margin in (("valid", 1, 0.0), ("test", 2, _TEST_MARGIN)):
        labels = members[name].labels
        kept = stratified_cut(labels, test_val_samples, seed + shift, split=name, margin=margin)
        members[name] = members[name].take(kept)
    return members


def without_empty_labels(splits: dict[str, ImageRows]) -> dict[str, ImageRows]:
    """Drop, from every split, the label columns without a positive in `splits["train"]`."""
    keep = splits["train"].labels.sum(axis=0) > 0
    return {name: rows.keep_labels(keep) for name, rows in splits.items()}


def create_from_xray(
    target_dir: str | Path,
    raw_dir: str | Path,
    *,
    limit: int = 256,
    split: float = 0.1,
    test_val_samples: int = 4000,
    seed: int = 100,
    image_size: int = 256,
    drop_empty_labels: bool = False,
    num_workers: int = 1,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the resolution benchmark: target_dir/{train,valid,test}, grey, 4x4 to `image_size`.

    Args:
        target_dir: The dataset's folder; new or empty.
        raw_dir: The folder that holds CheXpert-v1.0-small.
        limit: Combinations of labels with this many images or fewer are left out.
        split: Fraction of the patients for validation, and the same for the test.
        test_val_samples: Images of the validation and of the test split; 0 keeps all.
        seed: Of the patient split; seed + 1 and seed + 2 cut validation and test.
        image_size: Pixels a side of the full level; a power of two.
        drop_empty_labels: Leave out labels without a positive in the train split.
        num_workers: Processes that read images; the result does not depend on it.
        overwrite: Replace a finished dataset.

    Returns:
        What dataset.json holds.

    Raises:
        UsageError: An argument out of its range.
        DataError: Missing or damaged input, or too little of it.
        RunFolderError: `target_dir` is not free, or cannot be written.
    """
    require_resolution(image_size)
    require_free_target(Path(target_dir).resolve(), overwrite)
    splits = split_for_resolutions(
        read_frontal_rows(str(raw_dir)),
        limit=limit,
        split=split,
        test_val_samples=test_val_samples,
        seed=seed,
    )
    arguments = {
        "raw_dir": str(raw_dir),
        "limit": limit,
        "split": split,
        "test_val_samples": test_val_samples,
        "seed": seed,
        "image_size": image_size,
        "drop_empty_labels": drop_empty_labels,
    }
    return write_dataset(
        Path(target_dir),
        without_empty_labels(splits) if drop_empty_labels else splits,
        command="create_from_xray",
        arguments=arguments,
        image_size=image_size,
        num_workers=num_workers,
        overwrite=overwrite,
    )
