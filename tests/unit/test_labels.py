"""Label tables: names that results cannot have, and whose patients are known."""

import json
from pathlib import Path

import pytest

from medsynth.data.labels import read_label_table, read_patients, write_patients
from medsynth.errors import DataError


def write_split(folder: Path, header: str) -> Path:
    folder.mkdir(parents=True)
    (folder / f"{folder.name}.csv").write_text(f"{header}\na.png,0,1\nb.png,1,0\n")
    return folder


@pytest.mark.parametrize("names", ["mean,x", "x,Patient", "x,Epoch", "x,path", "Mean_auroc,x", "a,a score"])
def test_names_that_results_need_are_refused(tmp_path: Path, names: str) -> None:
    folder = write_split(tmp_path / "train", f"Path,{names}")
    with pytest.raises(DataError, match=r"train\.csv: No label may be called .*rename it\. Received: "):
        read_label_table(folder)


@pytest.mark.parametrize("names", ["score,b", "a score,b", "Mean,b"])
def test_names_that_only_look_like_them_are_fine(tmp_path: Path, names: str) -> None:
    assert read_label_table(write_split(tmp_path / "train", f"Path,{names}")).names == tuple(names.split(","))


@pytest.mark.parametrize("where", ["", ".."])
@pytest.mark.parametrize(("known", "expected"), [(True, ("i", "j")), (False, None), (None, ("i", "j"))])
def test_images_that_stand_for_patients_are_not_taken_for_them(
    tmp_path: Path, where: str, known: bool | None, expected: tuple[str, ...] | None
) -> None:
    root = tmp_path / "benchmark" / "part"
    folder = write_split(root / "test", "Path,x,y")
    write_patients(folder, ["i", "j"])
    description = {} if known is None else {"patients_known": known}
    (root / where / "dataset.json").write_text(json.dumps(description))
    assert read_patients(folder, ("a.png", "b.png")) == expected


def test_a_damaged_description_is_left_to_the_audit(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "test", "Path,x,y")
    write_patients(folder, ["i", "j"])
    (tmp_path / "dataset.json").write_text("{")
    assert read_patients(folder, ("a.png", "b.png")) == ("i", "j")


def test_a_row_without_a_path_is_named(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "train", "Path,x,y")
    (folder / "train.csv").write_text("Path,x,y\na.png,0,1\n ,1,0\n")
    with pytest.raises(DataError, match=r"train\.csv: Line 3 has no path"):
        read_label_table(folder)
