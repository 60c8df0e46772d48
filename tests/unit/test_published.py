"""Whether splits are the published ones; the full CheXpert table itself may not be redistributed."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from build_dataset import commands, published
from build_dataset.chest import FINDINGS
from build_dataset.rows import ImageRows
from build_dataset.writing import WriteOptions, format_result
from tests.golden_files import golden_files
from tests.integration.chest_folder import OPTIONS, make_chest_folder

COMMAND = "create_from_xray"


def rows_of(num_rows: int = 6) -> ImageRows:
    labels = np.zeros((num_rows, 2), np.float32)
    labels[::2, 0] = labels[1::2, 1] = 1
    return ImageRows(
        folder="/raw",
        files=np.array([f"CheXpert-v1.0-small/train/patient{number:05d}/v.jpg" for number in range(num_rows)], object),
        labels=labels,
        patients=np.array([f"{number:05d}" for number in range(num_rows)], object),
        lines=np.arange(num_rows) + 2,
        label_names=("A", "B"),
        table=Path("train.csv"),
        num_listed=num_rows,
    )


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "_published", lambda: {COMMAND: {"train/train.csv": published.facts_of(rows_of())}})


def test_the_shipped_table_is_the_recorded_one() -> None:
    (golden,) = golden_files("published_splits.json")
    assert json.loads(published._TABLE.read_text()) == json.loads(golden.read_text())
    names = {name for name, command in commands.COMMANDS.items() if command.has_published_splits}
    assert names == set(json.loads(golden.read_text())) - {"about"}
    assert len(names) == 3


def test_facts_are_of_the_text_without_the_raw_folder() -> None:
    text = "Path,A,B\nCheXpert-v1.0-small/train/patient00000/v.jpg,1.0,0.0\n"
    assert published.facts_of(rows_of(1)) == {
        "rows": 1,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "columns": ["A", "B"],
        "positives": {"A": 1, "B": 0},
    }


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        ({"train": rows_of()}, "same"),
        ({"train": rows_of().take(np.arange(6)[::-1])}, "train/train.csv: same counts, other rows or another order"),
        ({"train": rows_of(5)}, "train/train.csv: 5 rows, published 6"),
        ({"train": rows_of().take(np.array([0, 0, 0, 0, 1, 2]))}, "train/train.csv: 5 positives of A, published 3"),
        ({"train": rows_of().keep_labels(np.array([True, False]))}, "train/train.csv: columns A, published A, B"),
        ({}, "train/train.csv is not made"),
        ({"train": rows_of(), "test": rows_of()}, "test/test.csv is not published"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("recorded")
def test_every_difference_is_named(splits: dict[str, ImageRows], sentence: str) -> None:
    assert published.compare_with_published(COMMAND, splits) == sentence


@pytest.mark.parametrize("is_full", [False, True])
def test_only_the_full_table_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_full: bool) -> None:
    raw = make_chest_folder(tmp_path / "raw")
    if is_full:
        monkeypatch.setattr(commands, "NUM_ROWS", 120)
    description = commands.create(COMMAND, tmp_path / "out", raw, WriteOptions(labels_only=True), **OPTIONS)
    assert len(FINDINGS) == 14
    assert ("published_split" in description) == is_full
    said = "not the published splits: test/test.csv: 12 rows, published 4,000" in format_result(description)
    assert said == is_full
