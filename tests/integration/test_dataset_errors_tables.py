"""Bad tables of the three sources: one clear line that names the file, exit code 2, and nothing half-written."""

import codecs
import csv
import io
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from build_dataset import dataset_tool
from build_dataset.brain import TABLE_NAME, TYPES, read_slice_rows
from build_dataset.chest import FINDINGS, TABLE_PATH, read_frontal_rows
from build_dataset.commands import create
from build_dataset.folder import FolderSource
from build_dataset.rows import ImageRows
from build_dataset.writing import WriteOptions
from medsynth import app
from medsynth.data.labels import read_label_table, read_patients
from medsynth.errors import MedsynthError

Table = list[list[str]]

NUM_IMAGES = 12


def chest_table() -> Table:
    table = [["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]]
    for number in range(NUM_IMAGES):
        path = f"CheXpert-v1.0-small/train/patient{number:05d}/study1/view1_frontal.jpg"
        findings = ["1.0" if place == number % 3 else "" for place in range(len(FINDINGS))]
        table.append([path, "Male", "50", "Frontal", "AP", *findings])
    return table


def brain_table() -> Table:
    table = [["ID", "Label", "Patient"]]
    for number in range(NUM_IMAGES):
        positives = {"subdural", "any"} if number % 2 else set()
        table += [[f"ID_{number:08x}_{kind}", str(int(kind in positives)), f"P{number}"] for kind in TYPES]
    return table


def folder_table() -> Table:
    rows = [[f"{number}.png", f"p{number}", str(number % 2), "ab"[number % 2]] for number in range(NUM_IMAGES)]
    return [["image", "patient", "mass", "kind"], *rows]


@dataclass(frozen=True)
class Kind:
    """A source: its command, where its table lies, a sound table, and what reads it."""

    command: str
    table_path: Path
    make: Callable[[], Table]
    read: Callable[[str], ImageRows]
    options: tuple[str, ...]


KINDS = {
    "chest": Kind("create_from_xray", TABLE_PATH, chest_table, read_frontal_rows, ("--test-val-samples=0",)),
    "brain": Kind("create_from_brain", Path(TABLE_NAME), brain_table, read_slice_rows, ("--test-val-samples=0",)),
    "folder": Kind(
        "create_from_folder", Path("labels.csv"), folder_table, lambda raw: FolderSource().read_rows(raw), ()
    ),
}


def write(path: Path, table: Table, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n", **options).writerows(table)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run dataset_tool.py in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["dataset_tool.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        app.run(dataset_tool.__file__, dataset_tool.build_parser(), dataset_tool.main, needs_tensorflow=False)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("name", KINDS)
def test_the_tables_are_sound_before_the_damage(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS[name]
    write(tmp_path / "raw" / kind.table_path, kind.make())
    options = ["--limit=0", "--split=0.2", "--labels-only", *kind.options]
    assert call(monkeypatch, kind.command, tmp_path / "out", tmp_path / "raw", *options) == 0
    assert (tmp_path / "out/dataset.json").is_file()


# Damages of any csv file: what happens to its bytes.

BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "Names of columns were expected in line 1"),
    "only blank lines": (lambda _: b"\n\n\n", "Names of columns were expected in line 1"),
    "only a header": (lambda text: text.splitlines()[0], "The table has no rows"),
    "UTF-8 with another byte": (
        lambda text: codecs.BOM_UTF8 + text.replace(b"\n", "\nMüller".encode("latin-1"), 3),
        "Line 2 is not in utf-8.*xfc",
    ),
    "half a character of UTF-16": (lambda text: text.decode().encode("utf-16")[:-1], r"Line \d+ is not in utf-16"),
    "a spreadsheet": (lambda text: b"PK\x03\x04\xff\xd8" + text, "no table of text; save it as csv"),
    "an open quote": (lambda text: text.replace(b"\n", b'\n"', 2), r"no readable table from line [23] on"),
    "text behind a quote": (lambda text: text.replace(b"\n", b'\n"a"b', 1), "no readable table from line 2 on"),
    "a cell too many": (lambda text: text.replace(b"\n", b"\n,", 2), r"Line 2 must have \d+ cells, as line 1 has"),
    "an empty cell too many": (lambda text: text.replace(b"\n", b",\n").replace(b",\n", b"\n", 1), "Line 2 must have"),
    "a row cut short": (lambda text: text.rstrip().rpartition(b",")[0] + b"\n", r"Line \d+ must have \d+ cells"),
    "a huge cell": (lambda text: text.replace(b"\n", b"\n" + b"x" * 200_000, 1), "from line 2 on.*field limit"),
    "a column twice": (
        lambda text: b"\n".join(line + b"," + line.split(b",")[1] for line in text.splitlines()),
        r"Line 1: every column has its own name. Received: '(Sex|Label|patient)' in columns 2 and \d+",
    ),
}

# Damages of one table's rows. Row 0 is the header, so row i stands in line i + 1.


def set_cell(row: int, column: int, cell: str) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        table[row][column] = cell

    return change


def set_column(column: int, cell: str) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        for row in table[1:]:
            row[column] = cell

    return change


def drop_column(column: int) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        for row in table:
            del row[column]

    return change


def swap_rows(one: int, other: int) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        table[one], table[other] = table[other], table[one]

    return change


def repeat_image(table: Table) -> None:
    table += [list(row) for row in table[1 : 1 + len(TYPES)]]


def add_many_labels(table: Table) -> None:
    for number, row in enumerate(table):
        row += [f"label{place}" if number == 0 else "1" for place in range(70)]


ROWS: dict[str, tuple[str, Callable[[Table], None], tuple[str, ...], str]] = {
    # name: (source, damage, options, what the message says)
    "chest: no path column": ("chest", drop_column(0), (), "14 findings were expected; Path is missing"),
    "chest: a finding missing": ("chest", drop_column(10), (), "; Edema is missing"),
    "chest: a finding in words": ("chest", set_cell(4, 7, "yes"), (), "Line 5: a finding is 1, 0, -1 .*'Cardiomegaly'"),
    "chest: a finding of 2": ("chest", set_cell(2, 5, "2"), (), "Line 3: a finding is .*'No Finding'. Received: '2'"),
    "chest: no finding at all": (
        "chest", lambda table: [set_column(5 + place, "")(table) for place in range(14)] and None, (),
        "with a finding were expected. Received: none in 12 rows",
    ),
    "chest: lateral views alone": ("chest", set_column(0, "patient1/view1_lateral.jpg"), (), "Frontal images"),
    "chest: no patient in the path": (
        "chest", set_cell(3, 0, "train/someone/view1_frontal.jpg"), (), "Line 4: a path names its patient.*someone",
    ),
    "brain: two columns": ("brain", drop_column(2), (), "Three columns .* Received: 2 columns"),
    "brain: a row lost": ("brain", lambda table: table.pop(9) and None, (), "six rows an image.* 3 columns and 71"),
    "brain: rows in another order": ("brain", swap_rows(8, 9), (), "Line 9: rows run ID_<hex>_ with epidural"),
    "brain: an unknown type": ("brain", set_cell(3, 0, "ID_00000000_other"), (), "Line 4: rows run ID_"),
    "brain: no hexadecimal name": (
        "brain", lambda table: [set_cell(row, 0, f"ID_../x_{TYPES[row - 1]}")(table) for row in range(1, 7)] and None,
        (), "Line 2: an image is named ID_<hex>",
    ),
    "brain: a label in words": ("brain", set_cell(10, 1, "yes"), (), "Line 11: a label is 0 or 1. Received: 'yes'"),
    "brain: an empty label": ("brain", set_cell(10, 1, ""), (), "Line 11: a label is 0 or 1. Received: ''"),
    "brain: an image of two patients": ("brain", set_cell(9, 2, "Q"), (), "Line 10: an image has one patient"),
    "brain: an image without a patient": ("brain", set_column(2, ""), (), "Line 2: an image has one patient"),
    "brain: a line break in a patient": (
        "brain", set_column(2, "P\x0b1"), (), "Line 2: a patient's name has no line break",
    ),
    "brain: any without a finding": ("brain", set_cell(6, 1, "1"), (), 'Line 7: "any" sums up'),
    "brain: a finding without any": ("brain", set_cell(12, 1, "0"), (), 'Line 13: "any" sums up'),
    "brain: an image twice": ("brain", repeat_image, (), "Line 74: an image stands once"),
    "folder: no path column": ("folder", set_cell(0, 0, "scan"), (), "Say so with --path-column.*scan, patient, mass"),
    "folder: another path column": ("folder", set_cell(0, 0, "x"), ("--path-column=y",), "--path-column names.*'y'"),
    "folder: another patient column": ("folder", set_cell(0, 1, "x"), ("--patient-column=y",), "--patient-column"),
    "folder: no label column": ("folder", drop_column(2), (), "A column of zeros and ones was expected for each label"),
    "folder: an unknown label": ("folder", set_cell(0, 2, "m"), ("--labels=mass,x",), "--labels .*; mass, x is none"),
    "folder: a label without cells": ("folder", set_column(2, ""), ("--labels=mass",), "Line 2: a label is expected"),
    "folder: an uncertain label": (
        "folder", set_cell(5, 2, "-1"), (), "Line 6: column 'mass' is a label.*-1 means .*Received: '-1'",
    ),
    "folder: a label without a name": ("folder", set_cell(0, 2, ""), (), "Column 3 holds zeros and ones, and has no"),
    "folder: an empty label": ("folder", set_cell(5, 2, ""), (), "Line 6: a label is expected in column 'mass'"),
    "folder: every row dropped": (
        "folder", set_column(2, ""), ("--labels=kind,mass", "--missing-labels=drop"),
        "Column 'mass' is no label.*Received: 0 different values",
    ),
    "folder: a label of one word": ("folder", set_column(3, "a"), ("--labels=kind",), "2 to 30 different words"),
    "folder: a label of many words": ("folder", lambda _: None, ("--labels=image",), "--labels names a column once"),
    "folder: words of two cases": ("folder", set_cell(1, 3, "A"), ("--labels=kind",), "case.*Received: A, a"),
    "folder: a label called Path": ("folder", set_cell(0, 2, "Path"), ("--path-column=image",), "is not named Path"),
    "folder: a line break in a label": ("folder", set_cell(0, 2, "a\nb"), (), r"no line break\. Received: 'a\\nb'"),
    "folder: a word twice": (
        "folder", lambda table: [row.append(row[3]) for row in table] and set_cell(0, 4, "other")(table),
        ("--labels=kind,other",), "Every label has its own name.*Received: a, b more than once",
    ),
    "folder: more labels than can be combined": ("folder", add_many_labels, (), "At most 62 labels"),
    "folder: no image named": ("folder", set_cell(3, 0, " "), (), "Line 4: an image is expected in column 'image'"),
    "folder: an image twice": ("folder", set_cell(3, 0, "./0.png"), (), "Line 4: an image is listed once"),
    "folder: an image elsewhere": ("folder", set_cell(2, 0, "../x.png"), (), "Line 3: an image lies in the folder"),
    "folder: an absolute path": ("folder", set_cell(2, 0, "/etc/passwd"), (), "Line 3: an image lies in the folder"),
    "folder: a null byte": ("folder", set_cell(2, 0, "a\0b.png"), (), "Line 3: an image has no line break"),
    "folder: no patient named": ("folder", set_cell(7, 1, ""), (), "Line 8: a patient is expected in column 'patient'"),
    "folder: a line break in a patient": ("folder", set_cell(7, 1, "p\n7"), (), "Line 8: a patient has no line break"),
}  # fmt: skip


def assert_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, kind: Kind, *options: str
) -> str:
    """Call a source's command on folder/raw, check that it refuses in one line, and return what it says."""
    before = sorted(folder.rglob("*"))
    arguments = [kind.command, folder / "out", folder / "raw", "--limit=0", "--workers=1", *kind.options, *options]
    assert call(monkeypatch, *arguments) == 2
    assert sorted(folder.rglob("*")) == before
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("dataset_tool.py: error: ")
    assert " Received: " in line
    assert len(line) < 2000
    return line


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("damage", BYTES)
def test_a_file_that_is_no_table(
    source: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, (change, sentence) = KINDS[source], BYTES[damage]
    path = tmp_path / "raw" / kind.table_path
    write(path, kind.make())
    sound = path.read_bytes()
    path.write_bytes(change(sound))
    assert path.read_bytes() != sound
    line = assert_refused(monkeypatch, capsys, tmp_path, kind)
    assert re.search(f"{re.escape(str(path))}: .*{sentence}", line), line


@pytest.mark.parametrize("damage", ROWS)
def test_a_table_with_a_bad_row(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, change, options, sentence = ROWS[damage]
    kind = KINDS[source]
    path = tmp_path / "raw" / kind.table_path
    table = kind.make()
    change(table)
    write(path, table)
    line = assert_refused(monkeypatch, capsys, tmp_path, kind, *options)
    if "--labels names a column once" not in line:  # a mistake in the call, not in the file
        assert f": error: {path}: " in line
    assert re.search(sentence, line), line


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("place", ["no folder", "a file", "no table", "a folder for a table", "two patients"])
def test_a_raw_folder_that_is_none(
    source: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, raw = KINDS[source], tmp_path / "raw"
    path = raw / kind.table_path
    if place == "a file":
        raw.write_text("")
    elif place == "no table":
        path.parent.mkdir(parents=True)
    elif place == "a folder for a table":
        path.mkdir(parents=True)
    elif place == "two patients":
        write(path, kind.make()[: 13 if source == "brain" else 3])
    said = {"no folder": "no such folder", "a file": "a file", "no table": "no such file|no csv file",
            "a folder for a table": "Is a directory", "two patients": "2 patients"}[place]  # fmt: skip
    line = assert_refused(monkeypatch, capsys, tmp_path, kind)
    assert f": error: {raw}" in line
    assert re.search(f"Received: .*({said})", line), line


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--channels=2"], "--channels is 1 .grey. or 3"),
        (["--fit=squash"], "--fit is one of stretch, pad, crop"),
        (["--missing-labels=guess"], "--missing-labels is one of error, absent, drop"),
        (["--labels=mass,mass"], "--labels names a column once"),
        (["--labels=patient"], "--labels names a column once, and neither"),
        (["--split=0.5"], "--split"),
        (["--limit=6"], "raw: No combination of labels occurs more than 6 times"),
        (["--csv=other.csv"], r"raw/other\.csv: A table was expected here\. Received: no such file"),
        (["--test-val-samples=9"], "raw: The valid split has fewer images"),
    ],
)
def test_options_that_do_not_fit_the_folder(
    options: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write(tmp_path / "raw/labels.csv", folder_table())
    assert re.search(sentence, assert_refused(monkeypatch, capsys, tmp_path, KINDS["folder"], *options))


@pytest.mark.parametrize("names", [",", "", "mass,", "mass,,kind"])
def test_labels_without_a_name_are_refused(
    names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "raw/labels.csv", folder_table())
    assert call(monkeypatch, "create_from_folder", tmp_path / "out", tmp_path / "raw", f"--labels={names}") == 2
    said = capsys.readouterr().err
    assert f"--labels: names with commas between them were expected. Received: {names!r}" in said
    assert not (tmp_path / "out").exists()


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("create_from_folder", "{raw}/../" + LONG, "{raw}", "--labels-only"),
        ("create_from_folder", "{raw}/../" + LONG[:250], "{raw}", "--labels-only"),  # its hidden folder is longer
        ("create_from_folder", "{raw}/../out", "{raw}/" + LONG),
        ("create_from_folder", "{raw}/../out", "{raw}", "--csv=" + LONG),
        ("create_from_folder", "/proc/out", "{raw}", "--labels-only"),
        ("create_from_xray", "{raw}/../out", LONG),
        ("create_from_brain", "{raw}/../out", LONG),
        ("create_phantom", "{raw}/../" + LONG, "--patients=3"),
        ("create_phantom", "/proc/out", "--patients=3"),
        ("prepare_brain", LONG, "{raw}/labels.csv", "{raw}/../out", "--patient-ids=keep"),
        ("prepare_brain", "{raw}", LONG, "{raw}/../out", "--patient-ids=keep"),
        ("prepare_brain", "{raw}", "{raw}/labels.csv", "{raw}/../out", "--key-file=" + LONG),
        ("verify", LONG),
    ],
    ids=lambda arguments: " ".join(arguments).replace(LONG, "LONG")[:60],
)
def test_paths_that_no_file_system_takes(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "raw/labels.csv", folder_table())
    before = sorted(tmp_path.rglob("*"))
    command, *others = (argument.format(raw=tmp_path / "raw") for argument in arguments)
    assert call(monkeypatch, command, *others) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dataset_tool.py: error: ")
    assert " Received: " in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "damage"), [("x" * 300 + ".png", "missing"), ("3.png", "missing"), ("3.png", "folder")]
)
def test_images_that_are_not_there(
    name: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folder_table()
    table[4][0] = name
    write(tmp_path / "raw/labels.csv", table)
    for row in table[1:]:
        if row[0] != name:
            Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / "raw" / row[0])
    if damage == "folder":
        (tmp_path / "raw" / name).mkdir()
    line = assert_refused(monkeypatch, capsys, tmp_path, KINDS["folder"], "--image-size=8")
    assert f"raw/{name}: An image was expected here; it is named in line 5 of {tmp_path}/raw/labels.csv. " in line
    assert line.endswith("1 missing of 12 images")


# Whatever stands in the file: rows, or an error that names it.

CELL = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),  # surrogates cannot be written in UTF-8
    st.sampled_from(["", "0", "1", "1.0", "-1", "nan", "inf", "1e999", "yes", "NA", "\0", "\n", "\r\n", '"', "a.png"]),
    st.sampled_from(["Path", "path", "image", "patient", "No Finding", "../x", "/", ".", "\\", "\u2028", "\x85", "é"]),
)
Change = Callable[[st.DrawFn, Table], Table]


def as_csv(table: Table, **options: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(table)
    return text.getvalue().encode()


def any_place(draw: st.DrawFn, cells: list[Any]) -> int:
    return draw(st.integers(0, len(cells) - 1))


def with_columns(table: Table, columns: list[int]) -> Table:
    return [[row[column] for column in columns if column < len(row)] for row in table]


def shuffled_columns(draw: st.DrawFn, table: Table) -> Table:
    return with_columns(table, draw(st.permutations(range(len(table[0])))))


def fewer_columns(draw: st.DrawFn, table: Table) -> Table:
    return with_columns(table, draw(st.lists(st.sampled_from(range(len(table[0]))), unique=True, min_size=1)))


def doubled_column(draw: st.DrawFn, table: Table) -> Table:
    return with_columns(table, [*range(len(table[0])), any_place(draw, table[0])])


def another_column(draw: st.DrawFn, table: Table) -> Table:
    column, cell = any_place(draw, table[0]), draw(CELL)
    return [table[0], *([*row[:column], cell, *row[column + 1 :]] for row in table[1:])]


def another_cell(draw: st.DrawFn, table: Table) -> Table:
    row, column = any_place(draw, table), any_place(draw, table[0])
    return [[*cells[:column], draw(CELL), *cells[column + 1 :]] if place == row else cells
            for place, cells in enumerate(table)]  # fmt: skip


def moved_row(draw: st.DrawFn, table: Table) -> Table:
    moved, place = any_place(draw, table), any_place(draw, table)
    others = table[:moved] + table[moved + 1 :]
    return [*others[:place], table[moved], *others[place:]]


def repeated_row(draw: st.DrawFn, table: Table) -> Table:
    return [*table, table[any_place(draw, table)]]


def fewer_rows(draw: st.DrawFn, table: Table) -> Table:
    return table[: draw(st.integers(1, len(table)))]


def longer_row(draw: st.DrawFn, table: Table) -> Table:
    row = any_place(draw, table)
    return [[*cells, draw(CELL)] if place == row else cells for place, cells in enumerate(table)]


def another_header(draw: st.DrawFn, table: Table) -> Table:
    column = any_place(draw, table[0])
    return [[*table[0][:column], draw(CELL), *table[0][column + 1 :]], *table[1:]]


CHANGES: tuple[Change, ...] = (
    *(shuffled_columns, fewer_columns, doubled_column, another_column, another_header),
    *(another_cell, moved_row, repeated_row, fewer_rows, longer_row),
)


@st.composite
def changed_tables(draw: st.DrawFn, kind: Kind, *, most_changes: int) -> bytes:
    """Draw a sound table with some changes, separated in some way, and now and then cut off."""
    table = kind.make()
    for change in draw(st.lists(st.sampled_from(CHANGES), max_size=most_changes)):
        table = change(draw, table)
    options = {"delimiter": draw(st.sampled_from(",;\t")), "lineterminator": draw(st.sampled_from(["\n", "\r\n"]))}
    content = as_csv(table, **options)
    return content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 7)) == 7 else content


def any_file(kind: Kind) -> st.SearchStrategy[bytes]:
    header = as_csv(kind.make()[:1])
    cells = st.lists(st.lists(CELL, min_size=1, max_size=5), min_size=1, max_size=6).map(as_csv)
    return st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(header.__add__),
        cells,
        cells.map(header.__add__),
        changed_tables(kind, most_changes=1),
        changed_tables(kind, most_changes=3),
    )


def require_sound(rows: ImageRows, path: Path) -> None:
    assert len(rows) == len(rows.files) == len(rows.patients) == len(rows.lines) > 0
    assert rows.labels.shape == (len(rows), len(rows.label_names))
    assert rows.labels.dtype == np.float32
    assert set(np.unique(rows.labels)) <= {0.0, 1.0}
    assert len(set(rows.label_names)) == len(rows.label_names)
    assert all(isinstance(text, str) and text for text in (*rows.files, *rows.patients, *rows.label_names))
    assert all(len(patient.splitlines()) == 1 for patient in rows.patients)
    num_lines = path.read_bytes().count(b"\n") + path.read_bytes().count(b"\r") + 1
    assert (np.diff(rows.lines) > 0).all()
    assert rows.lines[0] >= 2
    assert rows.lines[-1] <= num_lines
    assert rows.table == path


def read_or_refuse(read: Callable[[], ImageRows], path: Path) -> ImageRows | None:
    """Return the rows, or None where they are refused with an error that names the file."""
    try:
        rows = read()
    except MedsynthError as error:
        refusal = str(error)
    else:
        require_sound(rows, path)
        return rows
    assert refusal.startswith(f"{path}: ")
    assert " Received: " in refusal
    assert len(refusal) < 2000
    return None


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Give every source a raw folder."""
    raw = {name: tmp_path_factory.mktemp(name) for name in KINDS}
    for name, kind in KINDS.items():
        (raw[name] / kind.table_path).parent.mkdir(parents=True, exist_ok=True)
    return raw


@pytest.mark.parametrize("source", KINDS)
def test_any_file_gives_rows_or_an_error_that_names_it(source: str, places: dict[str, Path]) -> None:
    kind, raw = KINDS[source], places[source]
    path = raw / kind.table_path
    outcomes = []

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(any_file(kind))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        outcomes.append(read_or_refuse(lambda: kind.read(str(raw)), path) is not None)

    check()
    assert 0 < sum(outcomes) < len(outcomes)  # the premise: both happen


NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)


@st.composite
def own_tables(draw: st.DrawFn) -> Table:
    """Draw a table of images, patients and two columns of labels, all with names of any characters."""
    num_rows = draw(st.integers(3, 8))
    files = draw(st.lists(NAME, min_size=num_rows, max_size=num_rows, unique=True))
    patients = draw(st.lists(NAME, min_size=3, max_size=3))
    labels = draw(st.lists(NAME, min_size=2, max_size=2))
    some_words = st.lists(st.one_of(NAME, st.sampled_from("01")), min_size=2, max_size=3, unique=True)
    words = draw(st.one_of(st.just(["0", "1"]), some_words))
    rows = [
        [f"{file}.png", patients[number % 3], words[number % len(words)], draw(st.sampled_from(["0", "1", ""]))]
        for number, file in enumerate(files)
    ]
    return [["image", "patient", *labels], *rows]


def test_what_is_read_of_a_folder_is_written_and_read_back(places: dict[str, Path], tmp_path: Path) -> None:
    raw, path = places["folder"], places["folder"] / KINDS["folder"].table_path
    num_built = 0

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(own_tables(), st.sampled_from(["absent", "drop"]))
    def check(table: Table, missing_labels: str) -> None:
        nonlocal num_built
        path.write_bytes(as_csv(table))
        labels = tuple(name.strip() for name in table[0][2:])
        if len({"image", "patient", *labels}) < 4:
            return  # refused as a mistake in the call, whatever the file
        source = FolderSource(labels=labels, missing_labels=missing_labels)
        rows = read_or_refuse(lambda: source.read_rows(str(raw)), path)
        if rows is None or len(set(rows.patients)) < 3:
            return
        written = WriteOptions(labels_only=True, overwrite=True)
        description = create("create_from_folder", tmp_path / "out", raw, written, image_size=4, labels=labels,
                             missing_labels=missing_labels)  # fmt: skip
        expected = dict(zip(rows.paths(), zip(rows.patients, rows.labels.tolist(), strict=True), strict=True))
        found = {}
        for folder in description["splits"]:
            read = read_label_table(tmp_path / "out" / folder)
            assert read.names == rows.label_names
            patients = read_patients(tmp_path / "out" / folder, read.paths)
            found |= dict(zip(read.paths, zip(patients, read.values.tolist(), strict=True), strict=True))
        assert found == expected
        num_built += 1

    check()
    assert num_built > 10


@pytest.mark.parametrize("word", ["nan", "", " ", "inf", "-inf", "1e400", "0x1", "1,0", "--1", "1_0", "٣"])
def test_odd_numbers_in_a_chest_table(word: str, places: dict[str, Path]) -> None:
    table = chest_table()
    table[1][8] = word
    path = places["chest"] / TABLE_PATH
    write(path, table)
    rows = read_or_refuse(lambda: read_frontal_rows(str(places["chest"])), path)
    is_empty = word.strip() in ("", "nan")
    assert (rows is not None) == is_empty
    if rows is not None:
        assert rows.labels[0].sum() == 1
        assert not math.isnan(rows.labels.sum())
