"""Built datasets against what the original tool made of the same raw folders."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from build_dataset.commands import create
from medsynth.data.labels import read_label_table, read_patients
from medsynth.data.tfrecords import RecordFile, read_labels
from tests.golden_files import golden_files

# The originals' names of the numbers, by command, and ours.
CHEST = {"limit": "limit", "split": "split", "seed": "seed"}
BRAIN = {"lim": "limit", "no_finding_length": "no_finding_length", "split": "split", "seed": "seed"}
CLASSES = {"classes": "classes", "samples_per_class": "train_per_class"}
SAMPLES = {"samples_per_c": "train_per_class"}
RENAMED = {
    "create_from_xray": {**CHEST, "test_val_samples": "test_val_samples"},
    "create_class_from_xray": {**CHEST, **CLASSES, "val_size": "valid_per_class", "test_size": "test_per_class"},
    "create_samples_from_xray": {
        **CHEST, **SAMPLES, "test_val_size": ("valid_per_class", "test_per_class"), "train_size": "index_size"
    },
    "create_from_brain": {**BRAIN, "test_val_samples": "test_val_samples"},
    "create_class_from_brain": {
        **BRAIN, **CLASSES, "num_vl_per_c": "valid_per_class", "num_te_per_c": "test_per_class", "unq_num_classes": None
    },
    # The original takes its two limits for each other.
    "create_samples_from_brain": {
        **BRAIN, **SAMPLES, "num_vl_per_c": "test_per_class", "num_te_per_c": "valid_per_class",
        "num_tr_per_c": "index_size", "unq_num_classes": "num_classes",
    },
}  # fmt: skip


def settings_of(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a recorded call's arguments under our names."""
    settings = {}
    for name, value in arguments.items():
        ours = RENAMED[function][name]
        names = () if ours is None else (ours,) if isinstance(ours, str) else ours
        settings |= dict.fromkeys(names, value)
    return settings


LARGEST_SHARE_OF_CHANGED_PIXELS = 0.001  # a pixel may differ by 1 where a resize rounds

CALLS = golden_files("dataset_tool/*/expected/*/call.json")


def test_every_command_has_a_case() -> None:
    assert set(RENAMED) <= {path.parent.name for path in CALLS}


@pytest.fixture(scope="module", params=CALLS, ids=lambda path: f"{path.parents[2].name}-{path.parent.name}")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Build the dataset of one recorded call."""
    expected = request.param.parent
    call = json.loads(request.param.read_text())
    folder = tmp_path_factory.mktemp("case")
    with zipfile.ZipFile(expected.parents[1] / "input.zip") as archive:
        archive.extractall(folder / "raw")
    built = folder / "built"
    description = create(call["function"], built, folder / "raw", **settings_of(call["function"], call["arguments"]))
    return {
        "expected": expected,
        "raw": folder / "raw",
        "built": built,
        "records": json.loads((expected / "records.json").read_text()),
        "values": dict(np.load(expected / "values.npz", allow_pickle=False)),
        "description": description,
    }


def files_below(folder: Path, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(pattern))


def test_csv_files_are_the_same(case: dict[str, Any]) -> None:
    names = files_below(case["expected"], "*.csv")
    assert names
    assert files_below(case["built"], "*.csv") == names
    for name in names:
        expected = (case["expected"] / name).read_text().replace("{ROOT}", str(case["raw"]))
        assert (case["built"] / name).read_text() == expected


def test_records_have_the_same_number_shape_and_size(case: dict[str, Any]) -> None:
    assert case["records"]
    assert files_below(case["built"], "*.tfrecords") == sorted(case["records"])
    for name, expected in case["records"].items():
        records = RecordFile(case["built"] / name)
        height, width, channels = records.shape
        assert len(records) == expected["records"]
        assert [channels, height, width] == expected["shape"]
        assert (case["built"] / name).stat().st_size == expected["bytes"]


def test_labels_are_the_same(case: dict[str, Any]) -> None:
    recorded = {
        key.removeprefix("labels/"): value for key, value in case["values"].items() if key.startswith("labels/")
    }
    assert recorded
    for name, expected in recorded.items():
        labels = read_labels((case["built"] / name).parent)
        assert labels.dtype == expected.dtype
        np.testing.assert_array_equal(labels, expected)


def test_pixels_are_the_same_but_for_rounding(case: dict[str, Any]) -> None:
    num_files = num_samples = 0
    for name in case["records"]:
        images = RecordFile(case["built"] / name).read(range(case["records"][name]["records"]))
        allowed = LARGEST_SHARE_OF_CHANGED_PIXELS * images.size
        sums = images.reshape(len(images), -1).sum(axis=1, dtype=np.int64)
        assert np.abs(sums - case["values"][f"sum/{name}"]).sum() <= allowed
        num_files += 1
        for key in case["values"]:
            prefix, _, file = key.partition("/")
            if prefix.startswith("img") and file == name:
                # [C, H, W] -> [H, W, C]
                expected = case["values"][key].transpose(1, 2, 0).astype(np.int64)
                difference = np.abs(images[int(prefix.removeprefix("img"))] - expected)
                assert difference.max() <= 1
                assert difference.sum() <= allowed
                num_samples += 1
    assert num_files
    assert num_samples


def patients_of(split_folder: Path) -> tuple[str, ...]:
    table = read_label_table(split_folder)
    patients = read_patients(split_folder, table.paths)
    assert patients is not None
    return patients


def test_no_patient_is_in_two_splits(case: dict[str, Any]) -> None:
    by_dataset: dict[Path, list[set[str]]] = {}
    for name in files_below(case["built"], "*.csv"):
        folder = (case["built"] / name).parent
        by_dataset.setdefault(folder.parent, []).append(set(patients_of(folder)))
    assert by_dataset
    for splits in by_dataset.values():
        assert len(splits) == 3
        assert len(set.union(*splits)) == sum(map(len, splits))


def test_patients_are_those_of_the_raw_table(case: dict[str, Any]) -> None:
    num_rows = 0
    slices = case["raw"] / "new_stage_2_train.csv"
    of_slice = {}
    if slices.exists():
        of_slice = {name.rpartition("_")[0]: patient for name, _, patient in pd.read_csv(slices).to_numpy()}
    for name in files_below(case["built"], "*.csv"):
        folder = (case["built"] / name).parent
        for path, patient in zip(read_label_table(folder).paths, patients_of(folder), strict=True):
            assert patient == (of_slice[Path(path).stem] if of_slice else path.split("/patient")[1].split("/")[0])
            num_rows += 1
    assert num_rows


def test_description_agrees_with_the_files(case: dict[str, Any]) -> None:
    assert json.loads((case["built"] / "dataset.json").read_text()) == case["description"]
    for folder, split in case["description"]["splits"].items():
        table = pd.read_csv(case["built"] / folder / f"{Path(folder).name}.csv", index_col=0)
        assert split["images"] == len(table)
        assert split["positives"] == table.sum().astype(int).to_dict()
        assert split["patients"] == len(set(patients_of(case["built"] / folder)))
