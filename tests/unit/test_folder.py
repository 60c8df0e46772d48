"""create_from_folder: a user's own csv and images."""

import csv
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.transform import resize

from build_dataset.commands import create
from build_dataset.folder import FolderSource
from build_dataset.rows import ImageRows
from build_dataset.splits import SPLIT_NAMES, stratify_patients
from build_dataset.writing import WriteOptions, format_result
from medsynth.data.audit import audit_dataset
from medsynth.data.labels import read_label_table, read_patients, read_split_labels, record_order
from medsynth.data.tfrecords import RecordFile, available_resolutions, record_path
from medsynth.errors import DataError, UsageError
from tests.dicom_files import head, save, slice_dataset

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MEDSYNTH_DATA", ROOT / ".." / "shared" / "data"))
Row = Sequence[object]


def write_table(folder: Path, header: Row, rows: Sequence[Row], name: str = "table.csv", **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="", encoding=options.pop("encoding", "utf-8")) as file:
        csv.writer(file, **options).writerows([header, *rows])
    return folder


def read(folder: Path, **options: Any) -> ImageRows:
    return FolderSource(**options).read_rows(str(folder))


def by_label(rows: ImageRows) -> dict[str, list[float]]:
    return {name: rows.labels[:, number].tolist() for number, name in enumerate(rows.label_names)}


def of_column(folder: Path, cells: Sequence[str], name: str = "mass", **options: Any) -> dict[str, list[float]]:
    """Return the labels of a table with one label column of these cells."""
    rows = [(f"{number}.png", cell) for number, cell in enumerate(cells)]
    return by_label(read(write_table(folder, ("path", name), rows), **options))


# Which column is what.


@pytest.mark.parametrize("path", ["path", "Path", "Image Path", "image_path", "FILE", "Filename", "image", "Image1"])
@pytest.mark.parametrize("patient", ["patient", "Patient ID", "patient_id", "subject", "Subject-ID", "group_id"])
def test_columns_are_found_by_their_usual_names(tmp_path: Path, path: str, patient: str) -> None:
    table = [("1", "p1", "a.png"), ("0", "p2", "b.png"), ("0", "p2", "c.png")]
    rows = read(write_table(tmp_path, ("mass", patient, path), table))
    assert rows.files.tolist() == ["a.png", "b.png", "c.png"]
    assert rows.patients.tolist() == ["p1", "p2", "p2"]
    assert by_label(rows) == {"mass": [1, 0, 0], "No Finding": [0, 1, 1]}
    assert rows.lines.tolist() == [2, 3, 4]
    assert (rows.num_listed, rows.notes, rows.table) == (3, (), tmp_path / "table.csv")


def test_columns_are_found_by_option(tmp_path: Path) -> None:
    header = ("path", "patient", "Bild", "Person Nr.", "x", "y")
    write_table(tmp_path, header, [("1", "0", "a.png", "7", "0", "1"), ("1", "1", "b.png", "8", "1", "1")])
    rows = read(tmp_path, path_column="Bild", patient_column="Person Nr.", labels=("y", "x"))
    assert rows.files.tolist() == ["a.png", "b.png"]
    assert rows.patients.tolist() == ["7", "8"]
    assert by_label(rows) == {"y": [1, 1], "x": [0, 1]}
    assert rows.notes == ("Columns of the table that were not used: path, patient.",)


def test_a_path_is_preferred_to_an_image_and_a_patient_to_a_group(tmp_path: Path) -> None:
    write_table(tmp_path, ("group", "image", "patient", "path", "mass"), [("g", "i", "p", "a.png", "1")])
    rows = read(tmp_path)
    assert (rows.files.tolist(), rows.patients.tolist()) == (["a.png"], ["p"])


def test_the_table_is_found_or_named(tmp_path: Path) -> None:
    write_table(tmp_path, ("path", "mass"), [("a.png", 1), ("b.png", 0)], "Labels.CSV")
    (tmp_path / "._Labels.CSV").write_bytes(b"\x00\x05\x16\x07")  # what macOS leaves on other disks
    assert read(tmp_path).table.name == "Labels.CSV"
    write_table(tmp_path, ("path", "mass"), [("c.png", 1)], "other.csv")
    assert read(tmp_path, csv="other.csv").files.tolist() == ["c.png"]
    with pytest.raises(DataError, match=r"say which with --csv\. Received: Labels\.CSV, other\.csv"):
        read(tmp_path)


def test_the_user_is_told_what_was_not_used(tmp_path: Path) -> None:
    columns = [f"extra{number}" for number in range(25)]
    write_table(tmp_path, ("path", "mass", *columns), [("a.png", 1, *columns), ("b.png", "", *columns)])
    patients, unused, dropped = read(tmp_path, missing_labels="drop").notes
    assert patients.startswith("No column names the patients (--patient-column): each image counts as a patient of its")
    assert unused == f"Columns of the table that were not used: {', '.join(columns[:20])}, and 5 more."
    assert dropped == "Rows that lack a label and were left out: 1 of 2."


# Labels.


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (("0", "1", "1"), [0, 1, 1]),
        (("0.0", "1.0", "1"), [0, 1, 1]),
        (("False", "TRUE", "true"), [0, 1, 1]),
        (("no", "Yes", " yes "), [0, 1, 1]),
        (("n", "Y", "t"), [0, 1, 1]),
    ],
)
def test_what_counts_as_zero_and_one(tmp_path: Path, cells: tuple[str, ...], values: list[float]) -> None:
    assert of_column(tmp_path, cells)["mass"] == values


def test_a_column_of_words_becomes_a_label_per_word(tmp_path: Path) -> None:
    cells = ("benign", "malignant ", "normal", "benign")
    expected = {"benign": [1, 0, 0, 1], "malignant": [0, 1, 0, 0], "normal": [0, 0, 1, 0]}
    assert of_column(tmp_path, cells, "diagnosis", labels=("diagnosis",)) == expected
    with pytest.raises(DataError, match="name the columns with --labels"):
        of_column(tmp_path, cells, "diagnosis")


def test_a_label_of_numbers_says_what_they_are_of(tmp_path: Path) -> None:
    expected = {"grade 0": [1, 0, 0], "grade 1": [0, 1, 0], "grade 2": [0, 0, 1]}
    assert of_column(tmp_path, ("0", "1", "2"), "grade", labels=("grade",)) == expected


@pytest.mark.parametrize("cells", [("1", "0", "2", "y"), ("0", "3", "4", "Y"), ("5", "3", "4", "no")])
def test_a_word_among_class_numbers_is_the_cell_that_is_wrong(tmp_path: Path, cells: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"\.csv: Line 5: column 'b_lines' holds class numbers") as caught:
        of_column(tmp_path, cells, "b_lines", labels=("b_lines",))
    assert f"Received: '{cells[3]}'" in str(caught.value)
    assert "true, t, yes, y, false, f, no, n stand for 1 and 0 in columns of zeros and ones" in str(caught.value)
    assert of_column(tmp_path, ("1", "0", "1", "y"), "b_lines", labels=("b_lines",))["b_lines"] == [1, 0, 1, 1]


@pytest.mark.parametrize("labels", [(), ("mass",)], ids=["found", "named"])
@pytest.mark.parametrize("value", ["-1", "2.5", "0.5", "inf", "1e400", "9" * 400, "?", "uncertain"])
def test_another_value_does_not_make_a_label_vanish(tmp_path: Path, value: str, labels: tuple[str, ...]) -> None:
    with pytest.raises(
        DataError, match=r"Line 5: column 'mass' is a label, since 4 of its 5 cells are 0 or 1"
    ) as caught:
        of_column(tmp_path, ("1", "0", "1", value, "0"), labels=labels)
    assert f"Received: '{value[:100]}" in str(caught.value)
    assert "--labels" in str(caught.value)
    assert "(true, t, yes, y, false, f, no, n count as such)" in str(caught.value), "what is allowed"
    assert ("is yours to decide" in str(caught.value)) == (value == "-1")
    # The premise: with a 0 in its place the column is read.
    assert of_column(tmp_path, ("1", "0", "1", "0", "0"), labels=labels)["mass"] == [1, 0, 1, 0, 0]


@pytest.mark.parametrize(("cells", "is_label"), [(("0", "1", "7", "8"), True), (("0", "1", "7", "8", "9"), False)])
def test_half_zeros_and_ones_make_a_label(tmp_path: Path, cells: tuple[str, ...], is_label: bool) -> None:
    rows = [(f"{number}.png", cell, number % 2) for number, cell in enumerate(cells)]
    write_table(tmp_path, ("path", "age", "mass"), rows)
    if is_label:
        with pytest.raises(DataError, match=r"Line 4: column 'age' is a label.*Received: '7', and 1 more row"):
            read(tmp_path)
    else:
        rows = read(tmp_path)
        assert list(by_label(rows)) == ["mass", "No Finding"]
        assert "Columns of the table that were not used: age." in rows.notes
    assert list(by_label(read(tmp_path, labels=("mass",)))) == ["mass", "No Finding"], "the remedy"


@pytest.mark.parametrize("value", ["-1", "1.5", "inf", "-inf", "1,5"])
def test_class_numbers_are_whole_and_not_negative(tmp_path: Path, value: str) -> None:
    cells = ("3", "2", "2.0", value, "4")
    with pytest.raises(DataError, match=rf"Line 5: column 'grade' holds numbers.*whole, none below 0.*'{value}'"):
        of_column(tmp_path, cells, "grade", labels=("grade",))


def test_class_numbers_have_one_spelling_and_are_counted(tmp_path: Path) -> None:
    cells = ("10", "2", "2.0", "0", "1.00")
    rows = [(f"{number}.png", cell) for number, cell in enumerate(cells)]
    found = read(write_table(tmp_path, ("path", "grade"), rows), labels=("grade",))
    assert by_label(found) == {
        "grade 0": [0, 0, 0, 1, 0], "grade 1": [0, 0, 0, 0, 1], "grade 2": [0, 1, 1, 0, 0], "grade 10": [1, 0, 0, 0, 0]
    }  # fmt: skip
    sentence = "Words and class numbers became a label each: grade 0 (1), grade 1 (1), grade 2 (2), grade 10 (1)."
    assert found.notes[-1] == sentence


@pytest.mark.parametrize("empty", ["", "  ", "NA", "n/a", "NaN", "null"])
def test_empty_labels_follow_the_rule(tmp_path: Path, empty: str) -> None:
    cells = ("1", empty, "0", "1")
    with pytest.raises(DataError, match=r"Line 3: a label is expected in column 'mass' \(see --missing-labels\)"):
        of_column(tmp_path, cells)
    assert of_column(tmp_path, cells, missing_labels="absent") == {"mass": [1, 0, 0, 1], "No Finding": [0, 1, 1, 0]}
    assert of_column(tmp_path, cells, missing_labels="drop") == {"mass": [1, 0, 1], "No Finding": [0, 1, 0]}
    words = ("b", empty, "a", "b")
    chosen = {"labels": ("kind",), "missing_labels": "absent"}
    assert of_column(tmp_path, words, "kind", **chosen) == {
        "a": [0, 0, 1, 0], "b": [1, 0, 0, 1], "No Finding": [0, 1, 0, 0]
    }  # fmt: skip
    assert of_column(tmp_path, words, "kind", **chosen | {"missing_labels": "drop"}) == {"a": [0, 1, 0], "b": [1, 0, 1]}


def test_a_row_that_is_dropped_for_one_label_is_dropped_for_all(tmp_path: Path) -> None:
    table = [("1.png", "p", 1, 1), ("2.png", "q", "", 1), ("3.png", "r", 1, ""), ("4.png", "s", 0, 1)]
    rows = read(write_table(tmp_path, ("path", "patient", "a", "b"), table), missing_labels="drop")
    assert by_label(rows) == {"a": [1, 0], "b": [1, 1]}
    assert rows.files.tolist() == ["1.png", "4.png"]
    assert rows.patients.tolist() == ["p", "s"]
    assert rows.lines.tolist() == [2, 5]


@pytest.mark.parametrize("name", ["No Finding", "no_finding", "NoFinding", "NO FINDING"])
def test_a_column_for_no_finding_is_used(tmp_path: Path, name: str) -> None:
    write_table(tmp_path, ("path", "mass", name), [("a.png", 1, 0), ("b.png", 0, 0), ("c.png", 0, 1)])
    assert by_label(read(tmp_path)) == {"mass": [1, 0, 0], name: [0, 1, 1]}


def test_no_finding_is_added_only_where_a_row_has_no_label(tmp_path: Path) -> None:
    write_table(tmp_path, ("path", "a", "b"), [("1.png", 1, 0), ("2.png", 0, 1)])
    assert list(by_label(read(tmp_path))) == ["a", "b"]


# The form of the file.

HEADER = ("mass", "path", "patient")  # no usual name first, where a byte order mark would hide in it
ROWS = [("1", "a.png", "p,1"), ("0", "b.png", 'p"2'), ("1", "c.png", "p;3")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("lineterminator", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_tables_of_every_program_read_the_same(
    tmp_path: Path, delimiter: str, lineterminator: str, encoding: str, quoting: Any
) -> None:
    options = {"delimiter": delimiter, "lineterminator": lineterminator, "encoding": encoding, "quoting": quoting}
    rows = read(write_table(tmp_path, HEADER, ROWS, **options))
    assert rows.files.tolist() == ["a.png", "b.png", "c.png"]
    assert rows.patients.tolist() == ["p,1", 'p"2', "p;3"]
    assert by_label(rows) == {"mass": [1, 0, 1], "No Finding": [0, 1, 0]}
    assert rows.lines.tolist() == [2, 3, 4]


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    table = 'path,mass,remark\na.png,1,"two\nlines"\n\n,,\nb.png,0,"three\n\nlines"\nc.png,2,one\n'
    (tmp_path / "table.csv").write_text(table)
    lines = table.splitlines()
    rows = read(tmp_path, labels=("mass",))
    assert [lines[line - 1][:5] for line in rows.lines] == rows.files.tolist() == ["a.png", "b.png", "c.png"]


def test_an_unnamed_column_is_no_label(tmp_path: Path) -> None:
    write_table(tmp_path, ("", "path", "mass", ""), [("0", "a.png", "1", "0"), ("1", "b.png", "1", "1")])
    assert by_label(read(tmp_path)) == {"mass": [1, 1]}


@pytest.mark.parametrize(("cells", "is_label"), [(("0", "1", "1"), True), (("a", "b", ""), False)])
def test_an_unnamed_column_with_values_is_not_passed_over(
    tmp_path: Path, cells: tuple[str, ...], is_label: bool
) -> None:
    rows = [(f"{number}.png", number % 2, cell) for number, cell in enumerate(cells)]
    write_table(tmp_path, ("path", "mass", ""), rows)
    if is_label:
        with pytest.raises(DataError, match=r"Column 3 holds zeros and ones, and has no name in line 1"):
            read(tmp_path)
    else:
        sentence = "Columns that hold values, have no name in line 1 and were not used: column 3."
        assert sentence in read(tmp_path).notes
    assert list(by_label(read(tmp_path, labels=("mass",)))) == ["mass", "No Finding"]
    write_table(tmp_path, ("path", "mass", ""), [(*row[:2], "") for row in rows])
    assert all("no name in line 1" not in note for note in read(tmp_path).notes), "nothing is in it"


# Patients.


def of_patients(folder: Path, patients: Sequence[str]) -> ImageRows:
    rows = [(f"{number}.png", patient, number % 2) for number, patient in enumerate(patients)]
    return read(write_table(folder, ("path", "patient", "mass"), rows))


def test_whole_numbers_are_one_patient_with_and_without_decimals(tmp_path: Path) -> None:
    rows = of_patients(tmp_path, ("1", "1.0", "12.0", "2.00"))
    assert (rows.patients.tolist(), rows.warnings) == (["1", "1", "12", "2"], ())


@pytest.mark.parametrize(
    ("one", "other"), [("patient1", "PATIENT1"), ("P 1", "P1"), ("7", "007"), ("7", "7.0"), ("Ⅱ", "II")]
)
def test_patients_that_are_nearly_spelled_alike_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one: str, other: str
) -> None:
    patients = [one, other, "x", "y", "z"]
    rows = of_patients(tmp_path / "raw", patients)
    assert rows.patients.tolist() == patients
    (warning,) = rows.warnings
    assert f"{min(one, other)!r} and {max(one, other)!r} differ only in case" in warning
    assert of_patients(tmp_path / "raw", [one, "q", "x", "y", "z"]).warnings == ()
    of_patients(tmp_path / "raw", patients)
    description = create("create_from_folder", tmp_path / "out", tmp_path / "raw", WriteOptions(labels_only=True))
    said = capsys.readouterr().err
    assert f"warning: {tmp_path}/raw/table.csv: {warning}" in said
    assert description["warnings"] == [warning]


def test_no_finding_beside_a_finding_is_warned_of(tmp_path: Path) -> None:
    table = [("1.png", 1, 0), ("2.png", 1, 1), ("3.png", 0, 1), ("4.png", 1, 1)]
    rows = read(write_table(tmp_path, ("path", "mass", "no_finding"), table))
    (warning,) = rows.warnings
    assert warning.startswith("2 rows with both 'no_finding' and a finding: the first is line 3, with 'mass'.")
    assert by_label(rows) == {"mass": [1, 1, 0, 1], "no_finding": [0, 1, 1, 1]}
    assert read(write_table(tmp_path, ("path", "mass", "no_finding"), table[::2])).warnings == ()


# Names.


def test_names_may_hold_what_a_file_system_allows(tmp_path: Path) -> None:
    names = [
        "Ünïcödé/影像 1.png",
        "a b/c  d.png",
        "no ending",
        "quote'\".png",
        "comma,.png",
        "#1.png",
        "narrow\u202f.png",
    ]
    rows = read(write_table(tmp_path / "Röntgen Ⅱ", ("path", "patient", "mass"), [(n, n, 1) for n in names]))
    assert rows.files.tolist() == rows.patients.tolist() == names


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("./a.png", "a.png"),
        ("sub//a.png", "sub/a.png"),
        ("sub/../a.png", "a.png"),
        ("sub\\a.png", "sub/a.png"),
        (" a.png ", "a.png"),
        ("..a.png", "..a.png"),
        ("{folder}/sub/a.png", "sub/a.png"),
    ],
)
def test_a_file_has_one_name(tmp_path: Path, written: str, file: str) -> None:
    rows = [(written.format(folder=tmp_path), 1), ("b.png", 0)]
    assert read(write_table(tmp_path, ("path", "mass"), rows)).files.tolist() == [file, "b.png"]
    write_table(tmp_path, ("path", "mass"), [*rows, (file, 1)])
    with pytest.raises(DataError, match=r"table\.csv: Line 4: an image is listed once"):
        read(tmp_path)


@pytest.mark.parametrize("written", ["../a.png", "sub/../../a.png", "/etc/a.png", "..", ".", "C:\\images\\a.png"])
def test_a_file_outside_the_folder_is_refused(tmp_path: Path, written: str) -> None:
    write_table(tmp_path, ("path", "mass"), [("b.png", 0), (written, 1)])
    with pytest.raises(DataError, match=r"table\.csv: Line 3: an image lies in the folder /.*Received: '"):
        read(tmp_path)


def test_the_folder_may_be_named_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "raw", ("path", "mass"), [(tmp_path / "raw/a.png", 1), ("b.png", 0)])
    monkeypatch.chdir(tmp_path)
    rows = read(Path("raw"))
    assert rows.files.tolist() == ["a.png", "b.png"]
    assert rows.source(0).path == Path("raw/a.png")


# Who goes into which split.


@st.composite
def patients_and_labels(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    sizes = draw(st.lists(st.integers(1, 8), min_size=3, max_size=25))
    patients = np.repeat([f"p{number}" for number in range(len(sizes))], sizes)
    num_labels = draw(st.integers(1, 4))
    bits = draw(st.lists(st.integers(0, 2**num_labels - 1), min_size=len(patients), max_size=len(patients)))
    labels = (np.array(bits)[:, None] >> np.arange(num_labels)) & 1
    order = np.random.RandomState(draw(st.integers(0, 99))).permutation(len(patients))
    return patients[order], labels[order].astype(np.float32)


@given(patients_and_labels(), st.floats(0.001, 0.499), st.integers(0, 2**32 - 1))
def test_patients_are_dealt_whole_and_to_every_split(
    table: tuple[np.ndarray, np.ndarray], fraction: float, seed: int
) -> None:
    patients, labels = table
    splits = stratify_patients(patients, labels, fraction, seed)
    assert list(splits) == list(SPLIT_NAMES)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(patients)))
    for rows in splits.values():
        assert rows.tolist() == sorted(rows.tolist())
        assert len(rows)
    for one, other in itertools.combinations(splits.values(), 2):
        assert not set(patients[one]) & set(patients[other])
    again = stratify_patients(patients, labels, fraction, seed)
    assert all((splits[name] == again[name]).all() for name in SPLIT_NAMES)


def largest_miss(patients: np.ndarray, labels: np.ndarray, fraction: float, seed: int) -> float:
    """Return by how much a split's share of the images, or of a label's positives, is off at most."""
    splits = stratify_patients(patients, labels, fraction, seed)
    columns = np.column_stack([labels, np.ones(len(labels))])
    shares = np.stack([columns[splits[name]].sum(axis=0) / columns.sum(axis=0) for name in SPLIT_NAMES])
    return float(np.abs(shares - np.array([[1 - 2 * fraction], [fraction], [fraction]])).max())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.2, 1 / 3]))
def test_many_small_patients_keep_every_share(seed: int, fraction: float) -> None:
    random = np.random.RandomState(seed)
    patients = random.randint(0, 250, 600).astype(str)
    labels = (random.rand(600, 5) < [0.1, 0.2, 0.3, 0.5, 0.9]).astype(np.float32)
    assert labels.sum(axis=0).min() > 30
    assert largest_miss(patients, labels, fraction, seed) < 0.04
    shuffled = random.permutation(600)
    assert largest_miss(patients[shuffled], labels, fraction, seed) < 0.04


@pytest.mark.parametrize("seed", range(5))
def test_a_few_large_patients_spoil_no_share(seed: int) -> None:
    random = np.random.RandomState(seed)
    patients = np.minimum(random.zipf(1.6, 2000), 300).astype(str)
    labels = (random.rand(2000, 8) < 0.15).astype(np.float32)
    sizes = np.sort(np.unique(patients, return_counts=True)[1])
    assert sizes[-1] > 600  # the premise: one patient with far more than a split's 200 images
    assert largest_miss(patients, labels, 0.1, seed) < 0.08


def test_the_largest_patient_is_for_training() -> None:
    patients = np.array(["large"] * 50 + [f"small{number}" for number in range(50)])
    labels = np.ones((100, 1), np.float32)
    for seed in range(5):
        splits = stratify_patients(patients, labels, 0.1, seed)
        assert set(patients[splits["train"]]) > {"large"}
        assert {name: len(rows) for name, rows in splits.items()} == {"train": 80, "valid": 10, "test": 10}


def test_another_seed_deals_otherwise() -> None:
    patients, labels = np.arange(60).astype(str), np.tile([[1.0, 0.0], [0.0, 1.0]], (30, 1))
    first, again, other = (stratify_patients(patients, labels, 0.1, seed)["test"].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("num_patients", "fraction", "kind", "sentence"),
    [
        (2, 0.1, DataError, r"at least one patient each\. Received: 2 patients in all"),
        (9, 0.5, UsageError, "--split"),
        (9, 0.0, UsageError, "--split"),
        (9, float("nan"), UsageError, "--split"),
    ],
)
def test_an_impossible_deal_is_refused(
    num_patients: int, fraction: float, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        stratify_patients(np.arange(num_patients).astype(str), np.ones((num_patients, 1)), fraction, 1)


# Pictures, read and compared with a second way of computing them.

SIZE = 32


def picture(height: int, width: int, num_channels: int = 1, *, most: int = 255) -> np.ndarray:
    """Return a smooth picture with a bright corner, [H, W] or [H, W, C]."""
    y, x, c = np.mgrid[:height, :width, :num_channels]
    values = 0.5 + 0.3 * np.sin(x / 5 + c) * np.cos(y / 7 - c)
    values[: height // 4, : width // 3] = 0.9
    values = np.rint(values * most).astype(np.uint8 if most < 256 else np.uint16)
    return values[..., 0] if num_channels == 1 else values


def write_pictures(folder: Path) -> dict[str, np.ndarray]:
    """Write a picture of every kind, and return what each shows: grey [H, W] or RGB [H, W, 3]."""
    folder.mkdir()
    shown: dict[str, np.ndarray] = {}
    shown["grey.png"] = picture(40, 56)
    Image.fromarray(shown["grey.png"]).save(folder / "grey.png")
    shown["deep.png"] = picture(64, 64, most=40_000)
    Image.fromarray(shown["deep.png"]).save(folder / "deep.png")
    shown["deep.tif"] = picture(50, 31, most=4095)
    tifffile.imwrite(folder / "deep.tif", shown["deep.tif"], compression="zlib", predictor=True)
    shown["big_endian.tiff"] = picture(32, 32, most=65_535)
    tifffile.imwrite(folder / "big_endian.tiff", shown["big_endian.tiff"], byteorder=">")
    shown["colour.tif"] = picture(33, 47, 3)
    tifffile.imwrite(folder / "colour.tif", shown["colour.tif"], photometric="rgb")
    Image.fromarray(picture(45, 45, 3)).save(folder / "colour.jpg", quality=95)
    shown["colour.jpg"] = np.asarray(Image.open(folder / "colour.jpg"))
    shown["alpha.png"] = picture(36, 60, 3)
    opacity = np.full((36, 60, 1), 255, np.uint8)
    opacity[5:20] = 0
    Image.fromarray(np.concatenate([shown["alpha.png"], opacity], axis=2)).save(folder / "alpha.png")
    numbers = (picture(64, 48) // 64).astype(np.uint8)
    colours = np.array([[10, 0, 200], [0, 128, 30], [255, 255, 0], [90, 90, 90]], np.uint8)
    indexed = Image.fromarray(numbers, "P")
    indexed.putpalette(colours.ravel().tolist())
    indexed.save(folder / "palette.png")
    shown["palette.png"] = colours[numbers]
    units = head(40, 60)
    save(slice_dataset((units + 1024).astype(np.int16)), folder / "slice.dcm")
    shown["slice.dcm"] = (units - units.min()) / (units.max() - units.min())
    return shown


def luma(colour: np.ndarray) -> np.ndarray:
    """Return ITU-R 601-2 luma in the integers of Pillow's documentation."""
    return (colour.astype(np.int64) @ [19595, 38470, 7471] + 0x8000) >> 16


def stretch(pixels: np.ndarray) -> np.ndarray:
    return pixels


def pad(pixels: np.ndarray) -> np.ndarray:
    side = max(pixels.shape[:2])
    square = np.zeros((side, side, pixels.shape[2]))
    top, left = (side - pixels.shape[0]) // 2, (side - pixels.shape[1]) // 2
    square[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return square


def crop(pixels: np.ndarray) -> np.ndarray:
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]


@pytest.mark.parametrize("fit", [stretch, pad, crop])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_picture_in_one_folder(
    tmp_path: Path, fit: Callable[[np.ndarray], np.ndarray], channels: int
) -> None:
    shown = write_pictures(tmp_path / "raw")
    table = [(name, f"p{number}", number % 2) for number, name in enumerate(shown)]
    write_table(tmp_path / "raw", ("image", "patient", "odd"), table)
    create("create_from_folder", tmp_path / "out", tmp_path / "raw", image_size=SIZE, channels=channels,
           fit=fit.__name__, split=0.2)  # fmt: skip
    seen = {}
    for split in SPLIT_NAMES:
        folder = tmp_path / "out" / split
        paths = read_label_table(folder).paths
        images = RecordFile(record_path(folder, 5)).read(range(len(paths)))
        assert images.shape[1:] == (SIZE, SIZE, channels)
        seen |= {Path(paths[row]).name: image for row, image in zip(record_order(len(paths)), images, strict=True)}
    assert set(seen) == set(shown)
    for name, pixels in shown.items():
        grey = luma(pixels) if pixels.ndim == 3 and channels == 1 else pixels
        values = grey if grey.ndim == 3 else np.repeat(grey[..., None], channels, axis=2)
        expected = resize(fit(values.astype(np.float64)), (SIZE, SIZE))
        lost = expected / expected.max() * 255 - seen[name]  # the fraction is cut off
        assert lost.min() > -1e-6, name
        assert lost.max() < 1 + 1e-6, name
        assert seen[name].max() == 255
        assert seen[name].std() > 10, name


# The three benchmarks, from the table to the files.


@pytest.fixture(scope="module")
def own_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 240 images of 80 patients: no label, a, or a and b."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "images").mkdir()
    rows = []
    for number in range(240):
        Image.fromarray(picture(16, 16) // 2 + np.uint8(number // 2)).save(folder / f"images/{number}.png")
        rows.append((f"images/{number}.png", f"p{number // 3}", int(number % 5 > 1), int(number % 5 > 3), number))
    return write_table(folder, ("image", "patient_id", "a", "b", "age"), rows)


def check_dataset(description: dict[str, Any], target: Path, raw: Path) -> None:
    with (raw / "table.csv").open(newline="") as file:
        listed = {f"{raw}/{row['image']}": row for row in csv.DictReader(file)}
    for folder, split in description["splits"].items():
        assert available_resolutions(target / folder) == [2, 3]
        table = read_label_table(target / folder)
        assert len(read_split_labels(target / folder).values) == split["images"] == len(table.paths)
        patients = read_patients(target / folder, table.paths)
        assert patients == tuple(listed[path]["patient_id"] for path in table.paths)
        for path, values in zip(table.paths, table.values, strict=True):
            a, b = (float(listed[path][name]) for name in "ab")
            expected = {"a": a, "b": b, "No Finding": float(a + b == 0)}
            assert dict(zip(table.names, values, strict=True)).items() <= expected.items()


def patients_by_split(target: Path, number: str = "") -> list[set[str]]:
    folders = [target / number / name for name in SPLIT_NAMES]
    return [set(read_patients(folder, read_label_table(folder).paths) or ()) for folder in folders]


def test_the_resolution_benchmark(own_images: Path, tmp_path: Path) -> None:
    description = create("create_from_folder", tmp_path / "out", own_images, image_size=8)
    check_dataset(description, tmp_path / "out", own_images)
    images = {name: split["images"] for name, split in description["splits"].items()}
    assert sum(images.values()) == 240
    assert all(abs(images[name] - 24) <= 3 for name in ("valid", "test"))
    for label, total in (("a", 144), ("b", 48), ("No Finding", 96)):
        for name in ("valid", "test"):
            assert abs(description["splits"][name]["positives"][label] - total / 10) <= 3
    sets = patients_by_split(tmp_path / "out")
    assert len(set.union(*sets)) == sum(map(len, sets)) == 80
    assert description["notes"] == ["Columns of the table that were not used: age."]
    assert format_result(description).splitlines()[-1] == description["notes"][0]


def test_the_classes_benchmark(own_images: Path, tmp_path: Path) -> None:
    numbers = {"classes": (3, 2), "train_per_class": (20, 40), "valid_per_class": 3, "test_per_class": 2}
    description = create("create_class_from_folder", tmp_path / "out", own_images, image_size=8, **numbers)
    check_dataset(description, tmp_path / "out", own_images)
    images = {folder: split["images"] for folder, split in description["splits"].items()}
    assert images == {"3/train": 60, "3/valid": 9, "3/test": 6, "2/train": 80, "2/valid": 6, "2/test": 4}
    assert description["splits"]["2/train"]["positives"] == {"a": 40, "No Finding": 40}
    for number in ("2", "3"):
        sets = patients_by_split(tmp_path / "out", number)
        assert len(set.union(*sets)) == sum(map(len, sets))


def test_the_samples_benchmark(own_images: Path, tmp_path: Path) -> None:
    numbers = {"train_per_class": (30, 10), "valid_per_class": 3, "test_per_class": 2}
    description = create("create_samples_from_folder", tmp_path / "out", own_images, image_size=8, **numbers)
    check_dataset(description, tmp_path / "out", own_images)
    images = {folder: split["images"] for folder, split in description["splits"].items()}
    assert images == {"30/train": 90, "30/valid": 9, "30/test": 6, "10/train": 30, "10/valid": 9, "10/test": 6}
    many, few = (set(read_label_table(tmp_path / f"out/{number}/train").paths) for number in (30, 10))
    assert few < many


def test_without_patients_the_user_is_told(own_images: Path, tmp_path: Path) -> None:
    description = create("create_from_folder", tmp_path / "out", own_images, WriteOptions(labels_only=True),
                         patient_column="image", image_size=8)  # fmt: skip
    assert all("--patient-column" not in note for note in description["notes"])
    table = [(f"images/{number}.png", number % 2) for number in range(9)]
    write_table(own_images, ("image", "odd"), table, "other.csv")
    description = create("create_from_folder", tmp_path / "other", own_images, WriteOptions(labels_only=True),
                         csv="other.csv", image_size=8)  # fmt: skip
    (own_images / "other.csv").unlink()
    assert "images of one person may lie in two splits" in format_result(description)
    assert description["patients_known"] is False
    warnings = [finding.message for finding in audit_dataset(tmp_path / "other").findings("warning")]
    assert sum("Patients are unknown" in message for message in warnings) == 1
    warnings = [finding.message for finding in audit_dataset(tmp_path / "out").findings("warning")]
    assert all("unknown" not in message for message in warnings), "a column was named"
    assert sum(split["patients"] for split in description["splits"].values()) == 9


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("breast_ultrasound_busi", {"labels": ("label",), "patient_column": "neardup_group"}),
        ("lung_ultrasound", {"labels": ("label",), "patient_column": "group_id"}),
        ("lung_ultrasound", {"missing_labels": "drop"}),
    ],
)
def test_real_tables(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    if not (DATA / name / "labels.csv").is_file():
        pytest.skip(f"{name} is not below MEDSYNTH_DATA")
    written = WriteOptions(labels_only=True)
    description = create("create_from_folder", tmp_path / "out", DATA / name, written, **options)
    sets = patients_by_split(tmp_path / "out")
    assert len(set.union(*sets)) == sum(map(len, sets)) > 30
    images = {split: counts["images"] for split, counts in description["splits"].items()}
    for split in ("valid", "test"):
        assert 0.08 < images[split] / sum(images.values()) < 0.13
