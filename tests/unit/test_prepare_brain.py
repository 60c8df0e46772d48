import csv
import hashlib
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from build_dataset import prepare_brain as module
from build_dataset.brain import TYPES, read_slice_rows
from build_dataset.brain_slices import picture
from build_dataset.prepare_brain import format_summary, prepare_brain
from build_dataset.rsna_labels import read_stage_2_labels
from medsynth.data.dicom import read_slice
from medsynth.errors import DataError, RunFolderError, UsageError
from tests.dicom_files import head, save, set_raw, slice_dataset

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MEDSYNTH_DATA", ROOT / ".." / "shared" / "data"))
HEAD_CT = DATA / "head_ct_dicom"
NAMES = (module.TABLE_NAME, module.REPORT_NAME, module.SETTINGS_NAME)


def image_id(number: int) -> str:
    return f"ID_{number:09x}"


def rows_of(image: str, positives: tuple[str, ...] = ()) -> list[tuple[str, int]]:
    wanted = {*positives, "any"} if positives else set()
    return [(f"{image}_{kind}", int(kind in wanted)) for kind in TYPES]


def lines(rows: Iterable[tuple[str, Any]]) -> str:
    return "".join(f"{name},{int(label) if isinstance(label, bool) else label}\n" for name, label in rows)


def write_table(path: Path, rows: Iterable[tuple[str, Any]]) -> Path:
    path.write_text("ID,Label\n" + lines(rows))
    return path


def make_folder(tmp_path: Path, num_images: int = 6, **elements: Any) -> tuple[Path, Path]:
    """Write slices of two patients in turns, and a table that names them; return folder and table."""
    rows = []
    for number in range(num_images):
        units = head(48, 40 + number) + number
        elements = {"PatientID": f"patient-{number % 2}"} | elements
        save(slice_dataset((units + 1024).astype(np.int16), **elements), tmp_path / f"raw/{image_id(number)}.dcm")
        elements.pop("PatientID")
        rows += rows_of(image_id(number), ("subdural",) if number % 3 == 1 else ())
    return tmp_path / "raw", write_table(tmp_path / "stage_2_train.csv", rows)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


# What comes out.


def test_the_table_and_the_images_are_what_create_from_brain_reads(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path)
    summary = prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    assert summary == {
        "images": 6, "patients": 2, "failed": 0, "missing": 0, "inverted": 0, "not_named": 0, "duplicate_rows": 0,
    }  # fmt: skip
    lines = (tmp_path / "out" / module.TABLE_NAME).read_text().split("\n")
    assert lines[:7] == ["ID,Label,PatientID", *(f"ID_000000000_{kind},0,patient-0" for kind in TYPES)]
    assert lines[11] == "ID_000000001_subdural,1,patient-1"
    assert len(lines) == 1 + 36 + 1
    rows = read_slice_rows(str(tmp_path / "out"))
    assert rows.patients.tolist() == [f"patient-{number % 2}" for number in range(6)]
    assert {name for name in contents(tmp_path / "out") if name.endswith(".png")} == set(rows.files)
    assert read_rows(tmp_path / "out" / module.REPORT_NAME) == [["file", "reason"]]
    with Image.open(tmp_path / "out" / "ID_000000003.png") as image:
        assert (image.size, image.mode, image.info) == ((128, 128), "L", {})


def test_hounsfield_units_become_grey_levels(tmp_path: Path) -> None:
    units = np.repeat(np.array([-1000, 0, 20, 40, 60, 80, 1000, 3000], np.int16), 8)[None].repeat(64, axis=0)
    image = read_slice(save(slice_dataset((units + 1024).astype(np.int16)), tmp_path / "a.dcm"))
    middles = np.arange(4, 64, 8)
    expected = {
        "brain": [0, 0, 64, 128, 191, 255, 255, 255],
        "subdural": [0, 26, 51, 76, 102, 128, 255, 255],
        "bone": [0, 73, 75, 76, 78, 80, 164, 255],
    }
    for window, levels in expected.items():
        pixels = picture(image, window, 64)
        assert pixels.dtype == np.uint8
        np.testing.assert_allclose(pixels[32, middles], levels, atol=1)
    stack = picture(image, "stack", 64)
    for channel, window in enumerate(expected):
        np.testing.assert_array_equal(stack[..., channel], picture(image, window, 64))


@pytest.mark.parametrize("shape", [(64, 64), (40, 80), (90, 30), (1, 3000), (1, 1), (7, 5)])
def test_a_slice_keeps_its_aspect_in_the_middle_of_a_black_square(tmp_path: Path, shape: tuple[int, int]) -> None:
    stored = np.full(shape, 1024 + 80, np.int16)
    pixels = picture(read_slice(save(slice_dataset(stored), tmp_path / "a.dcm")), "brain", 32)
    assert pixels.shape == (32, 32)
    is_bright = pixels == 255
    rows, columns = np.flatnonzero(is_bright.any(axis=1)), np.flatnonzero(is_bright.any(axis=0))
    expected = [max(1, round(32 * side / max(shape))) for side in shape]
    assert [len(rows), len(columns)] == expected
    assert is_bright.sum() == len(rows) * len(columns), "one rectangle"
    assert abs(rows[0] - (31 - rows[-1])) <= 1
    assert abs(columns[0] - (31 - columns[-1])) <= 1


def test_monochrome1_is_inverted_after_the_window_and_counted(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path)
    prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    path = raw / "ID_000000002.dcm"
    dataset = pydicom.dcmread(path)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(path)
    assert prepare_brain(raw, table, tmp_path / "inverted", patient_ids="keep")["inverted"] == 1
    plain, inverted = (np.asarray(Image.open(tmp_path / name / "ID_000000002.png")) for name in ("out", "inverted"))
    inside = plain[:, 20:-20].astype(int)  # the slice is narrow; beside it the square is black
    assert inside.std() > 50
    assert np.abs(inside + inverted[:, 20:-20] - 255).max() <= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_real_slices_look_like_a_head(tmp_path: Path, workers: int) -> None:
    files = sorted((HEAD_CT / "ge_head").glob("*.dcm"))[10:16]
    if not files:
        pytest.skip(f"no real slices in {HEAD_CT}; MEDSYNTH_DATA names another folder")
    (tmp_path / "raw").mkdir()
    rows = []
    for number, file in enumerate(files):
        (tmp_path / "raw" / image_id(number)).symlink_to(file.resolve())  # any extension, or none
        rows += rows_of(image_id(number))  # the labels are made up
    table = write_table(tmp_path / "t.csv", rows)
    assert (
        prepare_brain(tmp_path / "raw", table, tmp_path / "out", patient_ids="keep", num_workers=workers)["images"] == 6
    )
    for number in range(len(files)):
        pixels = np.asarray(Image.open(tmp_path / "out" / f"{image_id(number)}.png")).astype(int)
        assert (pixels[:8] == 0).all(), "air above the head"
        brain = pixels[45:75, 45:75]
        assert 60 < np.median(brain) < 150, "brain at 20 to 45 HU"
        assert (pixels == 255).mean() > 0.03, "skull"


# Patients' ids.


def test_ids_are_hashed_with_a_key_that_is_made_once(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path)
    key = tmp_path / "keys" / "brain.key"
    prepare_brain(raw, table, tmp_path / "out", key_file=key)
    assert len(key.read_bytes()) == 32
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    ids = [row[2] for row in read_rows(tmp_path / "out" / module.TABLE_NAME)[1::6]]
    assert ids[0] == ids[2] == ids[4] != ids[1] == ids[3] == ids[5]
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in ids)
    prepare_brain(raw, table, tmp_path / "again", key_file=key)
    assert contents(tmp_path / "again") == contents(tmp_path / "out")
    prepare_brain(raw, table, tmp_path / "other", key_file=tmp_path / "other.key")
    assert ids[0] not in (tmp_path / "other" / module.TABLE_NAME).read_text()
    for content in contents(tmp_path / "out").values():
        assert b"patient-" not in content
        assert key.read_bytes() not in content
        assert key.read_bytes().hex().encode() not in content


def test_the_hash_is_hmac_sha256(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 1)
    key = bytes(range(32))
    (tmp_path / "key").write_bytes(key)
    prepare_brain(raw, table, tmp_path / "out", key_file=tmp_path / "key")
    # HMAC as RFC 2104 writes it.
    pad = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in pad) + b"patient-0").digest()
    expected = hashlib.sha256(bytes(byte ^ 0x5C for byte in pad) + inner).hexdigest()[:16]
    assert read_rows(tmp_path / "out" / module.TABLE_NAME)[1][2] == expected


def test_a_patient_id_that_csv_must_quote_is_kept_whole(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 1, PatientID='a,"b"')
    prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    assert read_rows(tmp_path / "out" / module.TABLE_NAME)[1] == ["ID_000000000_epidural", "0", 'a,"b"']


WRONG_CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "no key": ({}, r"--patient-ids hash needs --key-file: .* --patient-ids keep. Received: no --key-file"),
    "key in the output": ({"key_file": "out/key"}, "must not lie in the output folder"),
    "key that is a folder": ({"key_file": "raw"}, "raw cannot be read"),
    "short key": ({"key_file": "short"}, "must hold 32 random bytes, or not exist yet. Received: 5 bytes"),
    "long key": ({"key_file": "long"}, "must hold 32 random bytes, or not exist yet. Received: more"),
    "key without hash": ({"key_file": "key", "patient_ids": "keep"}, "--key-file is for --patient-ids hash"),
    "unknown ids": ({"patient_ids": "drop"}, "--patient-ids is one of hash, keep. Received: drop"),
    "unknown window": ({"patient_ids": "keep", "window": "lung"}, "--window is one of brain, subdural, bone, stack"),
    "odd size": ({"patient_ids": "keep", "image_size": 100}, "--image-size is a power of two"),
    "no workers": ({"patient_ids": "keep", "num_workers": 0}, "--workers is the number of processes"),
    "output in the input": ({"patient_ids": "keep", "out_dir": "raw/png"}, "into the folder of the DICOM files"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_CALLS)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path: Path, kind: str) -> None:
    raw, table = make_folder(tmp_path, 1)
    (tmp_path / "short").write_bytes(b"short")
    (tmp_path / "long").write_bytes(bytes(33))
    before = sorted(tmp_path.rglob("*"))
    options, message = WRONG_CALLS[kind]
    options = options | {name: tmp_path / options[name] for name in ("key_file", "out_dir") if name in options}
    with pytest.raises(UsageError, match=message):
        prepare_brain(raw, table, options.pop("out_dir", tmp_path / "out"), **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_error_in_the_table_makes_no_key(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 1)
    write_table(table, [("ID_1_any", 2)])
    with pytest.raises(DataError):
        prepare_brain(raw, table, tmp_path / "out", key_file=tmp_path / "key")
    assert not (tmp_path / "key").exists()
    assert not (tmp_path / "out").exists()


# Files that fail.


def spoil(raw: Path, number: int, **elements: Any) -> None:
    path = raw / f"{image_id(number)}.dcm"
    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_files_that_fail_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, table = make_folder(tmp_path, 9)
    spoil(raw, 0, PatientID=None)
    spoil(raw, 1, PatientID="")
    spoil(raw, 2, RescaleIntercept=None)
    spoil(raw, 3, BurnedInAnnotation="YES")
    spoil(raw, 4, NumberOfFrames=2)
    (raw / "ID_000000005.dcm").write_bytes((raw / "ID_000000005.dcm").read_bytes()[:-100])
    (raw / "ID_000000006.dcm").unlink()
    (raw / "deeper").mkdir()
    (raw / "ID_000000007.dcm").rename(raw / "deeper" / "ID_000000007")
    save(slice_dataset(), raw / "ID_fff.dcm")
    save(slice_dataset(), raw / "scout.dcm")
    (raw / "readme.txt").write_text("not counted")
    summary = prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    assert (summary["images"], summary["failed"], summary["missing"], summary["not_named"]) == (2, 7, 1, 2)
    report = read_rows(tmp_path / "out" / module.REPORT_NAME)
    assert [row[0] for row in report[1:]] == [f"{image_id(number)}.dcm" for number in range(7)]
    reasons = ["PatientID is needed", "PatientID is needed", "RescaleIntercept is needed", "--allow-burned-in"]
    reasons += ["multi-frame file of 2", "cut off", "no such file"]
    for row, reason in zip(report[1:], reasons, strict=True):
        assert reason in row[1], row
        assert "Received: " in row[1]
    assert read_slice_rows(str(tmp_path / "out")).files.tolist() == ["ID_000000007.png", "ID_000000008.png"]
    assert f"7 of 9 failed; see {module.REPORT_NAME}" in capsys.readouterr().err
    text = format_summary(summary)
    assert text.splitlines()[:3] == ["2 images", "2 patients", f"7 failed, named in {module.REPORT_NAME}"]
    assert "2 not named: DICOM files that no row" in text


def test_burned_in_text_is_taken_where_it_is_allowed(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 2)
    spoil(raw, 1, BurnedInAnnotation="YES")
    assert prepare_brain(raw, table, tmp_path / "a", patient_ids="keep")["failed"] == 1
    assert prepare_brain(raw, table, tmp_path / "b", patient_ids="keep", allow_burned_in=True)["failed"] == 0


def test_when_every_file_fails_the_first_reason_is_told(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 3, PixelData=b"")
    with pytest.raises(DataError, match=r"ID_000000000\.dcm: Not one of 3 slices .* The first: The file has no pixel"):
        prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    assert len(read_rows(tmp_path / "out" / module.REPORT_NAME)) == 4
    assert not (tmp_path / "out" / module.TABLE_NAME).exists()


def test_a_folder_without_the_files_is_refused_at_once(tmp_path: Path) -> None:
    _, table = make_folder(tmp_path, 2)
    save(slice_dataset(), tmp_path / "elsewhere" / "ID_abc.dcm")
    with pytest.raises(DataError, match=r"elsewhere: Not one of the 2 images .* ID_000000000\.dcm. Received: 1 other"):
        prepare_brain(tmp_path / "elsewhere", table, tmp_path / "out", patient_ids="keep")
    with pytest.raises(DataError, match=r"nowhere: A folder with the DICOM files"):
        prepare_brain(tmp_path / "nowhere", table, tmp_path / "out", patient_ids="keep")
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 2)
    save(slice_dataset(), raw / "b" / "ID_000000001.dicom")
    with pytest.raises(DataError, match=r"One file for each image was expected, and ID_000000001 has two"):
        prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")


# The table.

GOOD = rows_of("ID_a") + rows_of("ID_b", ("epidural",))
BAD_TABLES: dict[str, tuple[str, str]] = {
    "empty": ("", "The file is no readable csv"),
    "only a header": ("ID,Label\n", "were expected. Received: none"),
    "only blank lines": ("ID,Label\n\n\n", "were expected. Received: none"),
    "no header": ("ID_a_any,0\nID_b_any,0\n", r"as line 1 names them.* Received: ID_a_any, 0"),
    "three columns": ("ID,Label,PatientID\nID_a_any,0,p\n", r"Two columns.* Received: ID, Label, PatientID"),
    "three values": ("ID,Label\nID_a_any,0,p\n", "Two columns"),
    "a third value": ("ID,Label\nID_a_any,0\nID_a_epidural,0,p\n", "The file is no readable csv"),
    "no type": ("ID,Label\nID_a,0\n", r"Line 2: a row is named ID_<hex>_<type>.* Received: 'ID_a'"),
    "another type": ("ID,Label\nID_a_any,0\n\nID_a_none,0\n", "Line 4: a row is named .* Received: 'ID_a_none'"),
    "no hex": ("ID,Label\nID_xyz_any,0\n", "Line 2: a row is named"),
    "upper case": ("ID,Label\nID_AB_any,0\n", "Line 2: a row is named"),
    "path as id": ("ID,Label\n../ID_a_any,0\n", "Line 2: a row is named"),
    "no id": ("ID,Label\n,0\n", "Line 2: a row is named .* Received: ''"),
    "no label": ("ID,Label\nID_a_any\n", "Line 2: a label is 0 or 1. Received: ''"),
    "label of 2": ("ID,Label\nID_a_any,2\n", "Line 2: a label is 0 or 1. Received: '2'"),
    "label as text": ("ID,Label\nID_a_any,yes\n", "Line 2: a label is 0 or 1. Received: 'yes'"),
    "a type missing": ("ID,Label\n" + lines(GOOD[:-2]), "Line 8: an image needs a row for"),
    "any without a type": ("ID,Label\n" + lines((f"ID_a_{kind}", kind == "any") for kind in TYPES), 'Line 2: "any"'),
    "a type without any": ("ID,Label\n" + lines((f"ID_a_{kind}", kind != "any") for kind in TYPES), 'Line 2: "any"'),
    "contradiction": ("ID,Label\n" + lines(GOOD) + "ID_a_any,1\n", "Line 7: another row of"),
    "not UTF-8": ("ID,Label\nID_a_any,\udcff\n", "The file is no readable csv"),
    "open quote": ('ID,Label\n"ID_a_any,0\n', "The file is no readable csv"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_a_wrong_table_is_refused_with_its_line(tmp_path: Path, kind: str) -> None:
    content, message = BAD_TABLES[kind]
    path = tmp_path / "stage_2_train.csv"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=rf"stage_2_train\.csv: .*{message}"):
        read_stage_2_labels(path)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv: A csv file was expected here"):
        read_stage_2_labels(tmp_path / "a.csv")


@pytest.mark.parametrize("rows_at_once", [1, 4, 1000])
def test_rows_in_any_order_and_twice_are_read_as_one_table(
    tmp_path: Path, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("build_dataset.rsna_labels._ROWS_AT_ONCE", rows_at_once)
    rows = GOOD[3:] + GOOD[:5] + [("ID_c_" + kind, "1.0") for kind in reversed(TYPES)]
    labels = read_stage_2_labels(write_table(tmp_path / "a.csv", rows))
    assert labels.images == ("ID_a", "ID_b", "ID_c"), "the order in which they are named first"
    assert labels.values.tolist() == [[0] * 6, [1, 0, 0, 0, 0, 1], [1] * 6]
    assert labels.num_duplicate_rows == 2


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = "\r\n".join(["ID,Label", *(f"{name},{label}" for name, label in GOOD), ""])
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_stage_2_labels(tmp_path / "a.csv").images == ("ID_a", "ID_b")


CELLS = st.one_of(
    st.sampled_from(["0", "1", "ID", "Label", "ID_a", "", "NaN", "-1", "1e0", "\n", '"', ",", "ID_a_any,1"]),
    st.builds(lambda image, kind: f"ID_{image}_{kind}", st.sampled_from("abc"), st.sampled_from(TYPES)),
    st.text(max_size=8),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(CELLS, max_size=3).map(",".join), max_size=8),
    is_headed=st.booleans(),
    num_good=st.integers(0, 12),
)
def test_nonsense_in_the_table_is_read_or_names_the_file(
    tmp_path: Path, rows: list[str], is_headed: bool, num_good: int
) -> None:
    path = tmp_path / "nonsense.csv"
    good = [f"{name},{label}" for name, label in GOOD[:num_good]]
    text = "\n".join([*(["ID,Label"] if is_headed else []), *good, *rows])
    path.write_bytes(text.encode(errors="replace"))
    try:
        labels = read_stage_2_labels(path)
    except DataError as error:
        message = str(error)
    else:
        assert labels.values.shape == (len(labels.images), 6)
        assert set(labels.values.ravel().tolist()) <= {0, 1}
        return
    assert message.startswith(f"{path}: ")


# Going on.


def test_the_number_of_processes_changes_nothing(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 40)
    prepare_brain(raw, table, tmp_path / "one", patient_ids="keep")
    prepare_brain(raw, table, tmp_path / "two", patient_ids="keep", num_workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 43


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 60)
    spoil(raw, 50, PatientID="")
    prepare_brain(raw, table, tmp_path / "whole", key_file=tmp_path / "key")
    arguments = [str(raw), str(table), str(tmp_path / "out")]
    code = (
        "import sys; from build_dataset.prepare_brain import prepare_brain; "
        f"prepare_brain(*sys.argv[1:], key_file={str(tmp_path / 'key')!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out").glob("ID_*.png"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = contents(tmp_path / "out")
    assert 5 <= len(begun) < 60, "killed in the middle"
    assert module.TABLE_NAME not in begun
    first = next(path for path in (tmp_path / "out").glob("ID_*.png"))
    (tmp_path / "out" / f".{process.pid}.partial.{first.name}").write_bytes(b"half a file")
    kept = first.stat().st_mtime_ns
    prepare_brain(*arguments, key_file=tmp_path / "key", num_workers=2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert first.stat().st_mtime_ns == kept, "not written again"


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_picture_that_was_cut_off_since_is_made_again(tmp_path: Path, share: float) -> None:
    raw, table = make_folder(tmp_path, 3)
    prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    before = contents(tmp_path / "out")
    path = tmp_path / "out" / "ID_000000001.png"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert contents(tmp_path / "out") != before
    assert prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")["failed"] == 0
    assert contents(tmp_path / "out") == before


def test_going_on_reads_only_headers_of_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, table = make_folder(tmp_path, 3)
    prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    before = contents(tmp_path / "out")
    decoded: list[Path] = []
    monkeypatch.setattr("build_dataset.brain_slices.read_slice", lambda path: decoded.append(path) or read_slice(path))
    prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    assert decoded == []
    (tmp_path / "out" / "ID_000000001.png").unlink()
    prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    assert decoded == [raw / "ID_000000001.dcm"]
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": "bone"}, "or give window brain. Received: window bone"),
        ({"image_size": 64}, "or give image_size 128. Received: image_size 64"),
        ({"allow_burned_in": True}, "or give allow_burned_in False. Received: allow_burned_in True"),
        ({"patient_ids": "keep", "key_file": None}, "or give patient_ids hash, key_check [0-9a-f]{16}"),
        ({"key_file": "other"}, "or give key_check"),
    ],
)
def test_other_settings_are_refused_with_what_differs(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    raw, table = make_folder(tmp_path, 2)
    options = {"window": "brain", "key_file": tmp_path / "key"}
    prepare_brain(raw, table, tmp_path / "out", **options)
    before = contents(tmp_path / "out")
    if changes.get("key_file"):
        changes = changes | {"key_file": tmp_path / changes["key_file"]}
    with pytest.raises(RunFolderError, match=rf"out: This folder was begun with other settings; .*{message}"):
        prepare_brain(raw, table, tmp_path / "out", **(options | changes))
    assert contents(tmp_path / "out") == before
    assert not (tmp_path / "other").exists(), "no key for a run that did not begin"


def test_another_table_is_refused(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 2)
    prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    write_table(table, rows_of(image_id(0)))
    with pytest.raises(RunFolderError, match="labels_csv_sha256"):
        prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ID_000000001.png").write_text("somebody's")
    with pytest.raises(RunFolderError, match=r"out: An empty or new folder was expected.* ID_000000001\.png"):
        prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    assert contents(tmp_path / "out") == {"ID_000000001.png": b"somebody's"}


def test_settings_hold_no_path(tmp_path: Path) -> None:
    raw, table = make_folder(tmp_path, 2)
    prepare_brain(raw, table, tmp_path / "out", patient_ids="keep")
    text = (tmp_path / "out" / module.SETTINGS_NAME).read_text()
    assert json.loads(text)["window"] == "brain"
    assert str(tmp_path) not in text


# Names.

NAME = "DOE^JANE"
TEXT_VRS = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
KEPT = {"PatientID", "PhotometricInterpretation", "SpecificCharacterSet"}
KEPT |= {"NumberOfFrames", "RescaleSlope", "RescaleIntercept"}


def plant(dataset: Any) -> int:
    """Write NAME into every text element that DICOM knows, private ones and nested ones; return their number."""
    tags = [
        tag
        for tag, (vr, _, _, _, keyword) in pydicom.datadict.DicomDictionary.items()
        if vr in TEXT_VRS and keyword not in KEPT and 0x0008 <= tag >> 16 < 0x7FE0
    ]
    for tag in tags:
        set_raw(dataset, tag, NAME.encode(), pydicom.datadict.dictionary_VR(tag))
    item = pydicom.Dataset()
    item.PatientName = item.PatientComments = NAME
    deeper = pydicom.Dataset()
    deeper.PersonName = NAME
    item.PersonIdentificationCodeSequence = [deeper]
    dataset.OtherPatientIDsSequence = [item, item]
    dataset["OtherPatientIDsSequence"].is_undefined_length = True
    private = dataset.private_block(0x0011, NAME, create=True)
    private.add_new(1, "LO", NAME)
    private.add_new(2, "SQ", [item])
    private.add_new(3, "UN", NAME.encode())
    dataset.preamble = (NAME * 16).encode()
    dataset.add_new(0xFFFCFFFC, "OB", NAME.encode())  # behind the pixels
    return len(tags)


def test_a_name_in_any_element_is_in_no_byte_of_the_output(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    rows: list[tuple[str, int]] = []
    changes: list[Callable[[Any], None]] = [
        lambda dataset: None,
        lambda dataset: setattr(dataset, "Rows", 13),
        lambda dataset: set_raw(dataset, 0x00280004, NAME.encode(), "CS"),
        lambda dataset: set_raw(dataset, 0x00281052, NAME.encode(), "DS"),
        lambda dataset: set_raw(dataset, 0x00280120, NAME.encode(), "LO"),
        lambda dataset: set_raw(dataset, 0x00080005, NAME.encode(), "CS"),
        lambda dataset: dataset.compress(pydicom.uid.JPEG2000Lossless, generate_instance_uid=False),
        lambda dataset: delattr(dataset, "PixelData"),
    ]
    for number, change in enumerate(changes):
        dataset = slice_dataset()
        change(dataset)
        assert plant(dataset) > 2000
        path = save(dataset, tmp_path / NAME / f"{image_id(number)}.dcm")
        assert path.read_bytes().count(NAME.encode()) > 2000
        rows += rows_of(image_id(number))
    table = write_table(tmp_path / "t.csv", rows)
    assert NAME in str(pydicom.dcmread(tmp_path / NAME / "ID_000000000.dcm").PatientName)
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as raised, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        summary = prepare_brain(tmp_path / NAME, table, tmp_path / "out", key_file=tmp_path / "key")
        with pytest.raises(RunFolderError) as refused:
            prepare_brain(tmp_path / NAME, table, tmp_path / "out", key_file=tmp_path / "key", window="bone")
    assert summary["images"] >= 2
    assert summary["failed"] >= 4
    files = contents(tmp_path / "out")
    assert set(NAMES) < set(files)
    for name, content in files.items():
        assert b"jane" not in content.lower(), name
    with Image.open(tmp_path / "out" / "ID_000000000.png") as image:
        assert image.info == {}
    said = "".join(capfd.readouterr()) + caplog.text + str(refused.value)
    said += "".join(str(warning.message) for warning in raised) + json.dumps(summary)
    assert "jane" not in said.lower()
