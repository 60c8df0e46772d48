"""Splits made of others: pixels, labels and patients bit for bit, and what does not fit together is refused."""

from pathlib import Path

import numpy as np
import pytest

from medsynth.data import derived_splits
from medsynth.data.audit_scan import scan
from medsynth.data.derived_splits import write_subset, write_union
from medsynth.data.labels import (
    LabelTable,
    read_label_table,
    read_patients,
    record_order,
    write_label_table,
    write_patients,
)
from medsynth.data.pyramid import ImagePyramid, open_records
from medsynth.data.tfrecords import available_resolutions, read_labels, record_path, write_split
from medsynth.errors import DataError
from tests.commands import run_script
from tests.toy_data import write_toy_split

SIZE, NUM_IMAGES = 16, 41


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived_splits, "_IMAGES_PER_BLOCK", 7)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source" / "train"
    write_toy_split(folder, NUM_IMAGES, SIZE, seed=1)
    write_patients(folder, [f"p{number // 2}" for number in range(NUM_IMAGES)])
    return folder


def by_path(folder: Path, resolution: int) -> dict[str, tuple[bytes, bytes]]:
    """Pixels and labels of every image, found by its path through the order of records."""
    paths, labels = read_label_table(folder).paths, read_labels(folder)
    images = open_records(folder, resolution).read(range(len(paths)))
    rows = record_order(len(paths))
    return {paths[row]: (images[i].tobytes(), labels[i].tobytes()) for i, row in enumerate(rows)}


@pytest.mark.parametrize("as_mask", [True, False])
def test_subset_keeps_pixels_labels_and_patients(source, tmp_path, as_mask):
    mask = np.random.default_rng(0).random(NUM_IMAGES) < 0.5
    assert 10 < mask.sum() < 30
    target = tmp_path / "new" / "train"
    keep = mask if as_mask else np.random.default_rng(1).permutation(np.flatnonzero(mask))
    assert write_subset(source, target, keep) == mask.sum()

    kept_rows = np.sort(record_order(NUM_IMAGES)[mask])
    table = read_label_table(source)
    assert read_label_table(target).paths == tuple(table.paths[row] for row in kept_rows)
    patients = read_patients(source, table.paths)
    assert patients is not None
    assert read_patients(target, read_label_table(target).paths) == tuple(patients[row] for row in kept_rows)
    assert available_resolutions(target) == available_resolutions(source) == [2, 3, 4]
    for level in (4, 8, 16):
        whole, part = by_path(source, level), by_path(target, level)
        assert len(whole) == NUM_IMAGES
        assert part == {path: whole[path] for path in part}
    kept_pixels = {image.tobytes() for image in open_records(source, SIZE).read(np.flatnonzero(mask))}
    assert kept_pixels == {pixels for pixels, _ in by_path(target, SIZE).values()}


def test_a_subset_of_everything_is_the_same_files(source, tmp_path):
    target = tmp_path / "copy" / "train"
    write_subset(source, target, np.ones(NUM_IMAGES, bool))
    names = sorted(path.name for path in source.iterdir())
    assert names == sorted(path.name for path in target.iterdir())
    assert all((source / name).read_bytes() == (target / name).read_bytes() for name in names)


def test_union_has_all_images_at_the_shared_levels(source, tmp_path):
    other = tmp_path / "inference" / "train"
    images = np.random.default_rng(2).integers(0, 256, (9, SIZE, SIZE, 1), dtype=np.uint8)
    labels = np.eye(3, dtype=np.float32)[np.arange(9) % 3]
    write_split(other, images, labels[record_order(9)], 4)  # synthetic images come at the full resolution alone
    names = read_label_table(source).names
    own_paths = tuple(f"inference/train/{number}.jpg" for number in range(8))
    paths = (*own_paths, read_label_table(source).paths[3])
    write_label_table(other, LabelTable(paths, names, labels))

    target = tmp_path / "both" / "train"
    assert write_union(target, [source, other]) == NUM_IMAGES + 9
    assert available_resolutions(target) == [4]
    table = read_label_table(target)
    assert table.paths[:NUM_IMAGES] == read_label_table(source).paths
    assert table.paths[NUM_IMAGES:] == (*own_paths, f"{other}/{paths[-1]}")
    assert len(set(table.paths)) == NUM_IMAGES + 9
    joined = by_path(target, SIZE)
    expected = by_path(source, SIZE)
    expected |= {own_paths[row]: value for row in range(8) for value in [by_path(other, SIZE)[own_paths[row]]]}
    expected[f"{other}/{paths[-1]}"] = by_path(other, SIZE)[paths[-1]]
    assert joined == expected
    assert read_patients(target, table.paths) is None, "of synthetic images there are none"
    pyramid = ImagePyramid(target, SIZE, smallest_resolution=SIZE, seed=0)
    assert (pyramid.num_images, pyramid.label_names) == (NUM_IMAGES + 9, names)


def test_patients_of_all_sources_are_kept(source, tmp_path):
    other = tmp_path / "second" / "valid"
    write_toy_split(other, 6, SIZE, seed=3)
    write_patients(other, [f"q{number}" for number in range(6)])
    write_union(tmp_path / "both" / "train", [source, other])
    patients = read_patients(tmp_path / "both" / "train", read_label_table(tmp_path / "both" / "train").paths)
    assert patients is not None
    assert patients[:2] == ("p0", "p0")
    assert patients[-2:] == ("q4", "q5")


def test_the_audit_reads_them(source, tmp_path):
    root = tmp_path / "new"
    write_subset(source, root / "train", np.arange(20))
    write_subset(source, root / "valid", np.arange(20, NUM_IMAGES))
    scanned = scan(root, 1)
    for split in scanned.splits.values():
        assert split.faults == []
        assert split.images is not None
        assert [file.fault for file in split.files] == [None] * 6
        assert all(len(wrong) == 0 for wrong in split.images.wrong_levels.values())
    done = run_script("build_dataset/dataset_tool.py", "verify", root)
    assert "Traceback" not in done.stderr, done.stderr
    assert (root / "manifest.json").is_file()


def coloured(folder: Path) -> None:
    for level in available_resolutions(folder):
        images = np.zeros((12, 2**level, 2**level, 3), np.uint8)
        write_split(folder, images, read_labels(folder), level)


@pytest.mark.parametrize(("change", "words"), [
    (lambda folder: write_toy_split(folder, 12, SIZE, names=("A", "B", "C")), ["No Finding", "Received: A, B, C"]),
    (lambda folder: (write_toy_split(folder, 12, SIZE), coloured(folder)), ["(4, 4, 1)", "Received: shape (4, 4, 3)"]),
    (lambda folder: (write_toy_split(folder, 12, 32), [record_path(folder, n).unlink() for n in (2, 3, 4)]),
     ["4, 8, 16", "Received: resolutions 32"]),
    (lambda folder: (write_toy_split(folder, 12, SIZE), write_patients(folder, ["p"])), ["Received: 1 patient"]),
    (lambda folder: None, ["Received: no such folder"]),
])  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(source, tmp_path, change, words):
    other = tmp_path / "other" / "train"
    change(other)
    target = tmp_path / "both" / "train"
    with pytest.raises(DataError) as caught:
        write_union(target, [source, other])
    assert str(other) in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert not target.exists()
    assert not list(tmp_path.glob("both/.*")), "nothing half-written stays"


@pytest.mark.parametrize(("keep", "error", "words"), [
    (np.zeros(NUM_IMAGES, bool), DataError, "no image to keep"),
    (np.array([1, 1]), ValueError, "twice"),
    (np.array([NUM_IMAGES]), IndexError, "out of bounds"),
    (np.ones(3, bool), IndexError, "boolean"),
])  # fmt: skip
def test_a_choice_that_cannot_be_is_refused(source, tmp_path, keep, error, words):
    with pytest.raises(error, match=words):
        write_subset(source, tmp_path / "new" / "train", keep)
