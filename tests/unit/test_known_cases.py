"""Results whose verdict is known beforehand: what they are made of."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.gates.known_cases import HELD_OUT, MEMORISER, NOISE, make_cases
from medsynth.data.labels import read_label_table, read_split_labels, write_label_table
from medsynth.data.pyramid import open_records
from medsynth.errors import DataError
from tests.commands import refused, run_script
from tests.toy_data import write_toy_dataset

RESOLUTION, SPLITS = 16, ("train", "valid", "test")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("data")
    return write_toy_dataset(root / "own"), write_toy_dataset(root / "other", num_images=48)


@pytest.fixture(scope="module")
def cases(datasets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    own, other = datasets
    return make_cases(own, tmp_path_factory.mktemp("cases"), RESOLUTION, other=other, seed=1)


def images_of(split: Path) -> np.ndarray:
    records = open_records(split, RESOLUTION)
    return records.read(np.arange(len(records))).astype(np.float64)


@pytest.mark.parametrize("split", SPLITS)
def test_a_memoriser_shows_training_images_of_the_same_labels(
    datasets: tuple[Path, Path], cases: dict[str, Path], split: str
) -> None:
    own = datasets[0]
    train, labels = images_of(own / "train"), read_split_labels(own / "train").values
    made = images_of(cases[MEMORISER] / "inference" / split)
    wanted = read_split_labels(cases[MEMORISER] / "inference" / split).values
    np.testing.assert_array_equal(wanted, read_split_labels(own / split).values)
    assert read_label_table(cases[MEMORISER] / "inference" / split).paths == read_label_table(own / split).paths
    distances = np.abs(made[:, None] - train[None]).mean(axis=(2, 3, 4))  # [n, N] of images [R, R, C]
    nearest = distances.argmin(axis=1)
    assert distances.min(axis=1).max() < 4, "the noise is slight"
    assert distances.min(axis=1).min() > 0.5, "and it is there"
    assert np.median(distances) > 20, "other training images lie far off"
    known = {tuple(row) for row in labels.tolist()}
    fitting = [row for row, label in enumerate(wanted.tolist()) if tuple(label) in known]
    assert len(fitting) > len(wanted) / 2
    np.testing.assert_array_equal(labels[nearest[fitting]], wanted[fitting])
    assert len(set(nearest.tolist())) > len(nearest) / 4, "not the same image again and again"


def test_noise_has_no_image_in_it(cases: dict[str, Path]) -> None:
    made = images_of(cases[NOISE] / "inference" / "train")
    rows = made.reshape(len(made), -1)
    assert abs(rows.mean() - 127.5) < 2
    assert np.abs(np.corrcoef(rows)[np.triu_indices(len(rows), 1)]).mean() < 0.1


def test_held_out_images_are_those_of_the_others(datasets: tuple[Path, Path], cases: dict[str, Path]) -> None:
    for split in SPLITS:
        np.testing.assert_array_equal(images_of(cases[HELD_OUT] / "inference" / split), images_of(datasets[1] / split))


def test_other_labels_are_refused(datasets: tuple[Path, Path], tmp_path: Path) -> None:
    own, _ = datasets
    other = write_toy_dataset(tmp_path / "other")
    for split in SPLITS:
        table = read_label_table(other / split)
        renamed = type(table)(table.paths, (*table.names[:-1], "another"), table.values, table.path_column)
        write_label_table(other / split, renamed)
    with pytest.raises(DataError, match=r"must have the labels of .*Received: .*another"):
        make_cases(own, tmp_path / "cases", RESOLUTION, other=other, seed=1)
    assert not (tmp_path / "cases").exists() or not any((tmp_path / "cases").iterdir())


def test_the_script_says_what_each_must_be_judged(datasets: tuple[Path, Path], tmp_path: Path) -> None:
    own, _ = datasets
    made = run_script("benchmark/known_cases.py", own, tmp_path / "cases", RESOLUTION)
    assert made.returncode == 0, made.stderr
    assert "memoriser: privacy must fail" in made.stdout
    assert not (tmp_path / "cases" / HELD_OUT).exists()
    assert "Results need a folder of their own" in refused("benchmark/known_cases.py", own, own / "x", RESOLUTION)
