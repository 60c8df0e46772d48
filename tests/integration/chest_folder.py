"""A small made-up folder laid out as CheXpert-v1.0-small."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from build_dataset.chest import FINDINGS
from build_dataset.commands import create
from build_dataset.writing import WriteOptions

COMBINATIONS = (("No Finding",), ("Cardiomegaly",), ("Lung Opacity", "Support Devices"))
NUM_PATIENTS, NUM_STUDIES = 60, 2
OPTIONS = {"limit": 5, "test_val_samples": 0, "image_size": 16}
SEED = 11


def create_from_xray(
    target: Path | str, raw: Path, *, num_workers: int = 1, overwrite: bool = False, **settings: Any
) -> dict[str, Any]:
    """Run the command of that name in this process."""
    return create("create_from_xray", target, raw, WriteOptions(num_workers, overwrite), **settings)


def make_chest_folder(raw: Path) -> Path:
    """Write 120 frontal images of 60 patients, with labels in three combinations, and their train.csv."""
    random = np.random.RandomState(SEED)
    rows = []
    for number in range(NUM_PATIENTS * NUM_STUDIES):
        patient, study = divmod(number, NUM_STUDIES)
        name = f"CheXpert-v1.0-small/train/patient{patient + 1:05d}/study{study + 1}/view1_frontal.jpg"
        (raw / name).parent.mkdir(parents=True)
        Image.fromarray(random.randint(0, 256, (20, 24)).astype(np.uint8)).save(raw / name)
        rows.append({"Path": name, "Sex": "Male", "Age": 50, "Frontal/Lateral": "Frontal", "AP/PA": "AP"})
        rows[-1] |= dict.fromkeys(COMBINATIONS[number % 3], 1.0)
    columns = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]
    pd.DataFrame(rows, columns=columns).to_csv(table_path(raw), index=False)
    return raw


def table_path(raw: Path) -> Path:
    return raw / "CheXpert-v1.0-small" / "train.csv"


def first_image(raw: Path) -> Path:
    return raw / pd.read_csv(table_path(raw))["Path"][0]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
