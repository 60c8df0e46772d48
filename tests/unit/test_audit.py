"""Every planted fault is found and named; a sound dataset passes."""

import contextlib
import errno
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from build_dataset.verify import AUDIT_FILES, draw, verify_command
from medsynth.data import audit_scan
from medsynth.data.audit import Audit, audit_dataset, find_datasets, manifest_of, verify
from medsynth.data.audit_checks import CHECKS
from medsynth.data.labels import (
    LabelTable,
    read_label_table,
    read_patients,
    record_order,
    write_label_table,
    write_patients,
)
from medsynth.data.tfrecords import (
    RecordFile,
    RecordWriter,
    downscale_levels,
    labels_path,
    read_labels,
    record_path,
    write_labels,
)
from medsynth.errors import DataError
from tests.toy_data import write_toy_split

SIZES = {"train": 64, "valid": 24, "test": 24}
LEVEL = 5  # log2 of the full resolution


@pytest.fixture(scope="module")
def sound_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "data"
    for seed, (name, num_images) in enumerate(SIZES.items()):
        write_toy_split(root / name, num_images, 2**LEVEL, seed)
        write_patients(root / name, [f"{name}-{number // 2}" for number in range(num_images)])
    return root


@pytest.fixture
def dataset(sound_dataset: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(sound_dataset, tmp_path / "data"))


def images_of(split: Path, level: int = LEVEL) -> np.ndarray:
    records = RecordFile(record_path(split, level))
    return records.read(range(len(records)))


def write_images(split: Path, level: int, images: np.ndarray) -> None:
    with RecordWriter(record_path(split, level)) as writer:
        for image in images:
            writer.write(image)


def replace_image(split: Path, record: int, image: np.ndarray) -> None:
    """Put another image [H, W, 1] into a record, at every level."""
    for level, version in zip(range(LEVEL, 1, -1), downscale_levels(image, LEVEL), strict=True):
        images = images_of(split, level)
        images[record] = version
        write_images(split, level, images)


def found(audit: Audit, severity: str = "error") -> list[tuple[str, str]]:
    return [(finding.place, finding.message) for finding in audit.findings(severity)]


def only_finding(audit: Audit, severity: str = "error") -> tuple[str, str]:
    other = {"error": "warning", "warning": "error"}[severity]
    assert found(audit, other) == []
    (finding,) = found(audit, severity)
    return finding


def test_a_sound_dataset_passes(dataset: Path) -> None:
    (audit,) = verify(dataset)
    assert found(audit) == found(audit, "warning") == []
    scopes = {check.name: check.scope for check in audit.checks}
    assert len(scopes) == len(CHECKS)
    assert scopes["checksums"] == "21 files, 448 records"
    assert scopes["patients"] == "32 x 12 x 12 patients"
    assert scopes["identical images"] == scopes["near duplicates"] == "64 x 24 x 24 images of 32x32"
    assert scopes["lower levels"] == "336 images against the finest level"


@pytest.mark.parametrize("level", [5, 2])
@pytest.mark.parametrize("byte_in_record", [3, 10, 30, -1], ids=["length", "length crc", "content", "crc"])
def test_a_flipped_byte_is_named_with_file_record_and_offset(dataset: Path, level: int, byte_in_record: int) -> None:
    path = record_path(dataset / "valid", level)
    size = path.stat().st_size // SIZES["valid"]
    content = bytearray(path.read_bytes())
    content[7 * size + byte_in_record % size] ^= 4
    path.write_bytes(content)
    place, message = only_finding(audit_dataset(dataset))
    assert place == f"valid/valid-r{level:02d}.tfrecords"
    assert f"Record 7 at byte {7 * size} has a wrong checksum" in message


@pytest.mark.parametrize("lost_bytes", [1, 100, 1000])
def test_a_truncated_file_is_named(dataset: Path, lost_bytes: int) -> None:
    path = record_path(dataset / "test", LEVEL)
    size = path.stat().st_size // SIZES["test"]
    path.write_bytes(path.read_bytes()[:-lost_bytes])
    audit = audit_dataset(dataset)
    assert only_finding(audit)[0] == "test/test-r05.tfrecords"
    assert f"Record 23 at byte {23 * size} is cut off" in only_finding(audit)[1]
    scopes = {check.name: check.scope for check in audit.checks}
    assert scopes["identical images"] == "64 x 24 x 24 images of 16x16", "the finest level that is whole everywhere"


def test_swapped_labels_are_named_with_records_and_lines(dataset: Path) -> None:
    labels = read_labels(dataset / "train")
    other = next(record for record in range(4, 64) if (labels[record] != labels[3]).any())
    labels[[3, other]] = labels[[other, 3]]
    write_labels(dataset / "train", labels)
    place, message = only_finding(audit_dataset(dataset))
    order = record_order(64)
    assert place == "train/train-rxx.labels"
    assert f"2 (record 3 = line {order[3] + 2} of the csv, record {other} = line {order[other] + 2}" in message


def test_records_out_of_order_at_one_level_are_found(dataset: Path) -> None:
    images = images_of(dataset / "train", 3)
    images[[10, 20]] = images[[20, 10]]
    write_images(dataset / "train", 3, images)
    place, message = only_finding(audit_dataset(dataset))
    assert place == "train/train-r03.tfrecords"
    assert "not the means of the same record at 32x32: 2 (10, 20)" in message


def test_a_missing_record_is_found(dataset: Path) -> None:
    write_images(dataset / "train", 4, images_of(dataset / "train", 4)[:-1])
    place, message = only_finding(audit_dataset(dataset))
    assert place == "train/train-r04.tfrecords"
    assert message.endswith("64 rows of labels was expected. Received: 63 records")


def test_images_of_another_size_than_the_name_says_are_found(dataset: Path) -> None:
    shutil.copy(record_path(dataset / "train", 4), record_path(dataset / "train", 3))
    assert only_finding(audit_dataset(dataset)) == (
        "train/train-r03.tfrecords",
        "The name says 8x8. Received: images of 16x16",
    )


def test_images_with_another_number_of_channels_are_found(dataset: Path) -> None:
    write_images(dataset / "valid", 2, np.repeat(images_of(dataset / "valid", 2), 3, axis=-1))
    assert only_finding(audit_dataset(dataset)) == (
        "valid/valid-r02.tfrecords",
        "Images with 1 channels were expected. Received: 3 channels",
    )


def test_a_patient_in_two_splits_is_named(dataset: Path) -> None:
    patients = list(read_patients(dataset / "test", [""] * SIZES["test"]) or ())
    patients[5] = "train-9"
    write_patients(dataset / "test", patients)
    assert only_finding(audit_dataset(dataset)) == ("train and test", "Patients in both: 1 (train-9).")


def test_unknown_patients_are_said_to_be_unchecked(dataset: Path) -> None:
    for name in SIZES:
        (dataset / name / f"{name}-patients.txt").unlink()
    table = read_label_table(dataset / "valid")
    paths = tuple(f"scan_{number}.png" for number in range(len(table.paths)))
    write_label_table(dataset / "valid", LabelTable(paths, table.names, table.values))
    audit = audit_dataset(dataset)
    assert {check.name: check.scope for check in audit.checks}["patients"] == "not checked in valid: unknown"
    assert [place for place, _ in found(audit)] == ["train and test"], "the paths name the others"
    sentence = "Patients are unknown, so that images of one person may lie in two splits: not checked."
    assert found(audit, "warning") == [("valid", sentence)]
    assert manifest_of(audit)["overlaps"]["train-valid"]["patients"] is None


def test_images_that_count_as_patients_are_not_taken_for_people(dataset: Path) -> None:
    assert found(audit_dataset(dataset), "warning") == []
    (dataset / "dataset.json").write_text(json.dumps({"patients_known": False}))
    audit = audit_dataset(dataset)
    assert only_finding(audit, "warning")[0] == "train, valid, test"
    assert {check.name: check.scope for check in audit.checks}["patients"].startswith("not checked in train, valid")
    assert manifest_of(audit)["splits"]["train"]["patients"] is None


def test_files_that_changed_since_the_last_verify_are_named(dataset: Path) -> None:
    for _ in range(2):
        (audit,) = verify(dataset)
        assert found(audit, "warning") == []
    write_patients(dataset / "valid", [f"other-{number}" for number in range(SIZES["valid"])])
    (dataset / "train" / "notes.txt").write_text("new files are no change")
    (audit,) = verify(dataset)
    sentence = "Files changed since the last verify: 1 (valid/valid-patients.txt)."
    assert only_finding(audit, "warning") == ("manifest.json", sentence)
    (dataset / "train" / "notes.txt").unlink()
    (audit,) = verify(dataset)
    sentence = "Files gone since the last verify: 1 (train/notes.txt)."
    assert only_finding(audit, "warning") == ("manifest.json", sentence)
    (dataset / "manifest.json").write_text("{")
    (audit,) = verify(dataset)
    scopes = {check.name: check.scope for check in audit.checks}
    assert (scopes["last verify"], found(audit)) == ("not checked: the manifest cannot be read", [])


def plant(dataset: Path, alter: Callable[[np.ndarray], np.ndarray]) -> None:
    """Put an altered copy of train's record 11 into test's record 6."""
    image = images_of(dataset / "train")[11, ..., 0]
    replace_image(dataset / "test", 6, alter(image)[..., None])


def jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


def test_an_identical_image_in_two_splits_is_an_error(dataset: Path) -> None:
    plant(dataset, lambda image: image)
    audit = audit_dataset(dataset)
    assert only_finding(audit) == ("train and test", "Identical images: 1 (train record 11 = test record 6).")
    assert audit.findings("error")[0].is_leak
    (pair,) = manifest_of(audit)["pairs"]
    order = record_order(SIZES["train"])
    assert (pair["kind"], pair["train"]) == ("exact_duplicates", {"record": 11, "line": int(order[11]) + 2})


def test_every_pair_is_listed_not_the_best_partner_alone(dataset: Path) -> None:
    image = images_of(dataset / "train")[11]
    for record in (20, 30):
        replace_image(dataset / "train", record, image)
    mirrored = image[:, ::-1]
    for record, copy in ((3, image), (6, image), (9, mirrored)):
        replace_image(dataset / "test", record, copy)
    audit = audit_dataset(dataset)
    manifest = manifest_of(audit)
    assert manifest["num_pairs"]["train-test"] == {"exact_duplicates": 6, "near_duplicates": 3}
    shared = manifest["overlaps"]["train-test"]
    assert (shared["exact_duplicates"], shared["near_duplicates"]) == (2, 1), "images of the test split"
    pairs = {(pair["kind"], pair["train"]["record"], pair["test"]["record"]) for pair in manifest["pairs"]}
    expected = {("exact_duplicates", one, other) for one in (11, 20, 30) for other in (3, 6)}
    assert pairs == expected | {("near_duplicates", one, 9) for one in (11, 20, 30)}
    (exact,), (near,) = found(audit), found(audit, "warning")
    assert exact[1].startswith("Identical images: 2 of test, in pairs: 6 (train record 11 = test record 3, ")
    assert near[1].startswith("Seemingly copies: 1 of test, in pairs: 3 (")
    draw(audit)
    with Image.open(dataset / "verify_pairs.png") as picture:
        height = picture.height
    replace_image(dataset / "test", 9, images_of(dataset / "test")[10])
    draw(audit_dataset(dataset))
    with Image.open(dataset / "verify_pairs.png") as picture:
        assert picture.height < height, "nine pairs were drawn before, and six now"


@pytest.mark.parametrize(
    ("alter", "word"), [(lambda image: image[:, ::-1], " mirrored"), (jpeg, "")], ids=["mirrored", "re-compressed"]
)
def test_a_copy_in_two_splits_is_a_warning(dataset: Path, alter, word: str) -> None:
    plant(dataset, alter)
    place, message = only_finding(audit_dataset(dataset), "warning")
    assert (place, message) == ("train and test", f"Seemingly copies: 1 (train record 11 = test record 6{word}).")


def test_a_constant_image_is_a_warning(dataset: Path) -> None:
    for name in ("train", "test"):
        replace_image(dataset / name, 2, np.zeros((32, 32, 1), np.uint8))
    audit = audit_dataset(dataset)
    message = "Records with one value everywhere: 1 (2)."
    assert found(audit, "warning") == [("train", message), ("test", message)]
    assert found(audit) == [], "two black images are no copies of each other"


def test_a_label_without_positives_is_a_warning(dataset: Path) -> None:
    table = read_label_table(dataset / "valid")
    values = table.values * [1, 0, 1]
    write_label_table(dataset / "valid", LabelTable(table.paths, table.names, values.astype(np.float32)))
    write_labels(dataset / "valid", values[record_order(len(values))])
    assert only_finding(audit_dataset(dataset), "warning") == ("valid", "No positives for Cardiomegaly.")


def test_other_labels_in_one_split_are_found(dataset: Path) -> None:
    table = read_label_table(dataset / "valid")
    write_label_table(dataset / "valid", LabelTable(table.paths, ("A", "B", "C"), table.values))
    place, message = only_finding(audit_dataset(dataset))
    assert (place, message[-17:]) == ("valid/valid.csv", "Received: A, B, C")


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("train-rxx.labels", Path.unlink, "no such file"),
        ("train-rxx.labels", lambda path: path.write_bytes(path.read_bytes()[:-5]), "no readable .npy matrix"),
        ("train.csv", Path.unlink, "no such file"),
        ("train.csv", lambda path: path.write_text("Path,A\nx,7\n"), "Labels are 0 or 1; line 2"),
        ("train-patients.txt", lambda path: path.write_text("one\n"), "One patient for each of the 64 rows"),
        ("train-r05.tfrecords", lambda path: path.write_bytes(b""), "holds no records"),
        ("train-r05.tfrecords", lambda path: path.write_text("no records at all"), "wrong checksum"),
    ],
    ids=["no labels", "short labels", "no csv", "bad csv", "bad patients", "empty records", "no records"],
)
def test_a_file_that_cannot_be_read_hides_no_other_fault(dataset: Path, name: str, damage, words: str) -> None:
    damage(dataset / "train" / name)
    place, message = only_finding(audit_dataset(dataset))
    assert place == f"train/{name}"
    assert words in message
    other = record_path(dataset / "test", 4)
    other.write_bytes(other.read_bytes()[:-3])
    assert {place for place, _ in found(audit_dataset(dataset))} == {f"train/{name}", "test/test-r04.tfrecords"}


def test_a_split_without_any_whole_file_is_said_to_be_unchecked(dataset: Path) -> None:
    for level in range(2, LEVEL + 1):
        record_path(dataset / "valid", level).write_bytes(b"x")
    plant(dataset, lambda image: image)
    audit = audit_dataset(dataset)
    assert ("train and test", "Identical images: 1 (train record 11 = test record 6).") in found(audit)
    scopes = {check.name: check.scope for check in audit.checks}
    assert scopes["identical images"] == "not checked in valid: no whole records"
    assert scopes["near duplicates"].startswith("not checked in valid")


def test_a_level_that_one_split_lacks_is_found(dataset: Path) -> None:
    record_path(dataset / "valid", 3).unlink()
    assert only_finding(audit_dataset(dataset)) == ("valid", "Records of 8x8 are missing in this split.")


@pytest.mark.parametrize(("described", "severity"), [(False, "warning"), (True, "error")])
def test_a_missing_split_is_found(dataset: Path, described: bool, severity: str) -> None:
    shutil.rmtree(dataset / "test")
    if described:
        (dataset / "dataset.json").write_text(json.dumps({"splits": {"train": {}, "valid": {}, "test": {}}}))
    assert only_finding(audit_dataset(dataset), severity)[0] == "test"


def test_the_description_is_held_against_the_files(dataset: Path) -> None:
    positives = {"No Finding": 1, "Cardiomegaly": 1, "Pleural Effusion": 1}
    facts = {"train": {"images": 64, "positives": positives}, "test": {"images": 25}}
    (dataset / "dataset.json").write_text(json.dumps({"splits": facts, "resolutions": [4, 8, 16, 32]}))
    (train, train_message), (test, test_message) = found(audit_dataset(dataset))
    assert (train, test) == ("train", "test")
    assert "dataset.json gives positives {'No Finding': 1" in train_message
    assert test_message == "dataset.json gives images 25. Received: 24 in the csv"


def test_a_damaged_description_is_found(dataset: Path) -> None:
    (dataset / "dataset.json").write_text("{")
    place, message = only_finding(audit_dataset(dataset))
    assert (place, message[:26]) == ("dataset.json", "The file is not valid JSON")


def test_images_below_32_pixels_are_not_searched_for_copies(tmp_path: Path) -> None:
    for seed, name in enumerate(SIZES):
        write_toy_split(tmp_path / name, 16, 16, seed)
    scopes = {check.name: check.scope for check in audit_dataset(tmp_path).checks}
    assert scopes["near duplicates"] == "not checked in train, valid, test: no whole records of 32x32 or more"
    assert scopes["identical images"] == "16 x 16 x 16 images of 16x16"


def test_every_dataset_below_a_folder_is_found_and_results_are_not(sound_dataset: Path, tmp_path: Path) -> None:
    for name in ("6", "12"):
        shutil.copytree(sound_dataset, tmp_path / name)
    results = tmp_path / "6" / "classification_results_res_32" / "train"
    results.mkdir(parents=True)
    shutil.copy(sound_dataset / "train" / "train.csv", results)
    assert find_datasets(tmp_path) == [tmp_path / "12", tmp_path / "6"]
    (tmp_path / "dataset.json").write_text(
        json.dumps({"seed": 5, "splits": {"6/train": {"images": 64}, "12/train": {"images": 1}}})
    )
    twelve, six = verify(tmp_path)
    assert (len(found(twelve)), found(six)) == (1, [])
    assert json.loads((tmp_path / "6" / "manifest.json").read_text())["made_by"]["seed"] == 5


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folders"):
        verify(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        verify(tmp_path / "missing")


def test_the_number_of_processes_changes_nothing(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(dataset, jpeg)
    images = images_of(dataset / "train", 3)
    images[[50, 60]] = images[[60, 50]]
    write_images(dataset / "train", 3, images)
    alone = manifest_of(audit_dataset(dataset))
    monkeypatch.setattr(audit_scan, "_BYTES_WORTH_PROCESSES", 0)
    monkeypatch.setattr(audit_scan, "_PIXELS_PER_TASK", 2**14)
    assert manifest_of(audit_dataset(dataset, num_workers=2)) == alone
    assert ": 2 (50, 60)." in alone["findings"][0]["message"]


def test_colour_images_are_compared_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (6, 64, 64, 3), dtype=np.uint8) for name in SIZES}
    images["test"][4] = images["train"][1][:, ::-1]
    for name, pictures in images.items():
        labels = np.ones((6, 1), np.float32)
        (tmp_path / name).mkdir()
        write_images(tmp_path / name, 6, pictures)
        write_labels(tmp_path / name, labels)
        write_label_table(tmp_path / name, LabelTable(tuple(f"{name}{i}" for i in range(6)), ("A",), labels))
        write_patients(tmp_path / name, [f"{name}{i}" for i in range(6)])
    _, message = only_finding(audit_dataset(tmp_path), "warning")
    assert message == "Seemingly copies: 1 (train record 1 = test record 4 mirrored)."


def test_the_command_prints_and_draws_everything_then_fails(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(dataset, lambda image: image[:, ::-1])
    verify_command(dataset, 1)
    printed = capsys.readouterr().out
    for words in ("near duplicates", "32 x 12 x 12 patients", "Seemingly copies: 1", "Cardiomegaly"):
        assert words in printed
    for name in AUDIT_FILES:
        assert (dataset / name).stat().st_size > 500, name
    with Image.open(dataset / "verify_pairs.png") as picture:
        assert picture.width > 600

    replace_image(dataset / "test", 6, images_of(dataset / "test")[7])
    labels_path(dataset / "train").unlink()
    with pytest.raises(DataError, match="Received: errors: 1, in 1 of 1 datasets"):
        verify_command(dataset, 1)
    assert "error: train/train-rxx.labels:" in capsys.readouterr().out
    assert not (dataset / "verify_pairs.png").exists(), "there are no pairs any more"
    assert json.loads((dataset / "manifest.json").read_text())["num_errors"] == 1


@pytest.mark.parametrize("damaged", [False, True])
def test_where_nothing_can_be_written_the_exit_code_still_tells_the_result(
    dataset: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(target))

    if damaged:
        labels_path(dataset / "train").unlink()
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(DataError, match="The audit found errors") if damaged else contextlib.nullcontext():
        verify_command(dataset, 1)
    said = capsys.readouterr()
    assert "near duplicates" in said.out
    (line,) = [line for line in said.err.splitlines() if line.startswith("warning: ")]
    assert "the result could not be written" in line
    assert "manifest.json: This file system is read-only; choose another folder. Received: Read-only file" in line
